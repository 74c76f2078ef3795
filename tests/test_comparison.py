"""A comparison goes on where it was cut off, is read as it was run, and ranks its controllers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from ipa_rl.agents import State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import Comparison, compare, read_comparison
from ipa_rl.judge.experiment import LONG_STEPS, Experiment, Job, Setup, Trial, make_setup, play_job, trials
from ipa_rl.judge.play import Played
from ipa_rl.judge.pools import Here
from ipa_rl.judge.runs import RunDescription, RunFolder
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind, named_scenario
from ipa_rl.pipeline import Configuration
from ipa_rl.progress import Silent
from ipa_rl.report.verdict import verdict
from ipa_rl.simulation.accounting import BINS, SUMS
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window
from tests.short_comparison import SETUP, TRIALS, run, same_but_for_time

A = TypeVar("A")
R = TypeVar("R")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return run(tmp_path_factory.mktemp("here"), Here())


class Dying:
    """Is killed after some jobs."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.done: list[object] = []

    def each(self, function: Callable[[A], R], arguments: Sequence[A]) -> Iterator[tuple[int, R]]:
        for position, argument in enumerate(arguments):
            if position == self.after:
                raise KeyboardInterrupt
            self.done.append(argument)
            yield position, function(argument)


def test_a_run_that_was_cut_off_goes_on_with_what_is_missing(reference: Comparison, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Dying(3))
    with pytest.raises(InputError, match="has not ended"):
        read_comparison(tmp_path)
    rest = Dying(after=99)
    resumed = run(tmp_path, rest)
    assert rest.done == [Job(TRIALS[3], SETUP.only or ())]
    assert same_but_for_time(reference, resumed)


@pytest.mark.slow
def test_of_a_long_window_each_controller_is_a_job_with_the_same_figures(tmp_path: Path) -> None:
    """A window of two hours and a bit goes on after a kill, controller by controller."""
    seconds = (LONG_STEPS + 1) * SETUP.definition().timing.interval_s
    arrivals = np.resize(
        named_scenario(load_definition("video"), "steady-low").window.arrivals, HISTORY_STEPS + seconds
    )
    long = Scenario(Window("long", arrivals, HISTORY_STEPS))
    setup = Setup("video", None, SimulatorKind.fluid, ("fa2-low", "static"))
    experiment = Experiment("long", setup, trials([long], 2))
    with pytest.raises(KeyboardInterrupt):
        compare(experiment, tmp_path, Dying(1), Silent())
    rest = Dying(after=99)
    resumed = compare(experiment, tmp_path, rest, Silent())
    assert len(rest.done) == 3
    for (first, second), seed in zip(resumed.trials, range(2), strict=True):
        together = play_job(setup, Job(Trial(long, seed), ("fa2-low", "static")))
        for mine, other in zip((first, second), together, strict=True):
            assert mine.name == other.name
            assert np.array_equal(mine.sums, other.sums)
    assert RunFolder(tmp_path).loads(1, resumed.description).tolist() == arrivals[HISTORY_STEPS:].tolist()


def test_a_run_of_something_else_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Dying(3))
    other = Dying(after=99)
    compare(Experiment("others", SETUP, TRIALS[:2]), tmp_path, other, Silent())
    assert other.done == [Job(trial, SETUP.only or ()) for trial in TRIALS[:2]]


def test_a_folder_without_a_run_and_a_broken_result_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        read_comparison(tmp_path)
    run(tmp_path, Here())
    (tmp_path / "jobs" / "1.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"1\.npz: is not a readable result"):
        read_comparison(tmp_path)


def test_a_run_is_read_under_the_preference_that_it_ran_under(tmp_path: Path) -> None:
    setup = Setup("video", None, SimulatorKind.fluid, preference=(60.0, 1.0))
    known = replace(setup, only=("fa2-low",))
    compare(
        Experiment("steady low", known, trials([named_scenario(load_definition("video"), "steady-low")], 1)),
        tmp_path,
        Here(),
        Silent(),
    )
    again = read_comparison(tmp_path)
    assert again.definition.weights.alpha == 60.0
    (row,) = again.rows()
    assert row["utility"] > 10


def made_up(video: Definition, utilities: dict[str, list[float]]) -> Comparison:
    """A comparison of controllers of which only cost differs, by window."""

    def played(name: str, cores: float) -> Played:
        sums = np.zeros((2, len(SUMS)))
        for column, value in (("arrived", 10), ("served", 10), ("core_s", 10 * cores), ("seconds", 10)):
            sums[:, SUMS.index(column)] = value
        zeros = np.zeros(2)
        return Played(
            name, sums, np.ones(BINS), zeros, np.zeros((2, 2, 3), np.int64), np.zeros((2, 2)), zeros, zeros,
            np.zeros(2, np.int64),
        )  # fmt: skip

    names = tuple(utilities)
    windows = range(len(utilities[names[0]]))
    description = RunDescription(
        "made up",
        "video",
        None,
        SimulatorKind.fluid,
        None,
        None,
        names,
        tuple(f"w{w}" for w in windows),
        1,
        "",
    )
    return Comparison(
        video, description, tuple((tuple(played(n, -utilities[n][w]) for n in names),) for w in windows)
    )


def test_controllers_that_cannot_be_told_apart_share_a_place(video: Definition) -> None:
    rng = np.random.default_rng(0)
    weather = rng.normal(0, 5, 60)
    comparison = made_up(
        video,
        {
            "worst": (weather - 3).tolist(),
            "best": weather.tolist(),
            "as good": (weather + rng.normal(0, 0.5, 60)).tolist(),
            "a little worse": (weather - 0.5 + rng.normal(0, 0.1, 60)).tolist(),
        },
    )
    places = {one.controller: one.place for one in comparison.ranking()}
    assert places["best"] == places["as good"] == 1
    assert places["a little worse"] == 3
    assert places["worst"] == 4


def test_one_unit_gives_no_ranking(video: Definition) -> None:
    assert made_up(video, {"one": [1.0], "other": [2.0]}).ranking() == []


def test_a_frame_has_one_row_a_controller_with_its_place(reference: Comparison) -> None:
    pytest.importorskip("pandas")
    frame = reference.frame()
    assert tuple(frame.controller) == reference.names
    assert frame.utility.tolist() == [row["utility"] for row in reference.rows()]
    assert (frame.utility_95_low <= frame.utility).all()
    places = {one.controller: one.place for one in reference.ranking()}
    assert dict(zip(frame.controller, frame.place, strict=True)) == places


def test_a_frame_of_intervals_adds_up_to_what_was_played(reference: Comparison) -> None:
    pytest.importorskip("pandas")
    frame, intervals = reference.interval_frame(), 12
    assert len(frame) == len(reference.trials) * len(reference.names) * intervals
    played = reference.played[1][0][2]
    rows = frame[(frame.scenario == "steady-low") & (frame.seed == 0) & (frame.controller == played.name)]
    assert rows.begins_s.tolist() == [10 * step for step in range(intervals)]
    assert rows.served.sum() == played.column("served").sum()
    assert rows.cores.mean() == pytest.approx(played.column("core_s").sum() / played.column("seconds").sum())
    runs = reference.definition.best_for(played.planned_rps[-1])
    assert played.name == "static"
    ran = rows.iloc[-1]
    assert [ran["crop: variant"], ran["crop: batch"], ran["crop: replicas"]] == [
        runs.stages[0].variant, runs.stages[0].batch, runs.stages[0].replicas
    ]  # fmt: skip


def test_the_verdict_holds_a_users_controller_against_the_best_program(tmp_path: Path) -> None:
    class Static:
        def decide(self, state: State) -> Configuration:
            return load_definition("video").best_for(20.0)

    setup = make_setup("video", fluid=True, controllers=[Static])
    known = replace(setup, only=("ppo", "Static", setup.controllers().program.name))
    comparison = compare(Experiment("short", known, TRIALS), tmp_path)
    text = verdict(comparison, known.controllers())
    assert text.count("Compared with") == 1
    assert "Static has" in text
