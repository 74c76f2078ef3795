"""The judge: the same for all, wherever it runs; what is done is not done twice; ties are said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from ipa_rl.agents import Decision, State
from ipa_rl.agents.loop import Step, control
from ipa_rl.agents.program import static_agent
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import Comparison, compare, read_comparison
from ipa_rl.judge.experiment import Experiment, Setup, Trial, trials
from ipa_rl.judge.play import Played, figures, play
from ipa_rl.judge.pools import Here, Pool, Processes, Ray
from ipa_rl.judge.runs import RunDescription, RunFolder, describe, run_folder
from ipa_rl.judge.scenario import Disturbance, Scenario, paper_scenario
from ipa_rl.judge.simulated_cluster import SimulatedCluster, SimulatorKind
from ipa_rl.judge.stress import BEGINS_S, LENGTH_S, SUITE, capacity_rps, stress_trials
from ipa_rl.pipeline import Configuration
from ipa_rl.progress import Silent
from ipa_rl.simulation.accounting import BINS, SUMS
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.times import read_times, times_within
from ipa_rl.workload.trace import Window, paper_window
from tests.processes import children_of, is_running
from tests.prometheus_server import wait_until

A = TypeVar("A")
R = TypeVar("R")

SETUP = Setup("video", None, SimulatorKind.request_level, ("ppo", "fa2-low", "static"))


@pytest.fixture(scope="module")
def video() -> Definition:
    return load_definition("video")


def short(name: str, seconds: int = 120) -> Scenario:
    """The first seconds of one of the paper's windows."""
    window = paper_window(name, HISTORY_S)
    return Scenario(replace(window, arrivals=window.arrivals[: HISTORY_S + seconds]))


TRIALS = trials([short("bursty"), short("steady-low")], seeds=2)


def run(folder: Path, pool: Pool) -> Comparison:
    return compare(Experiment("two short windows", SETUP, TRIALS), folder, pool, Silent())


def same_but_for_time(one: Comparison, other: Comparison) -> bool:
    """Whether all figures agree to the bit; how long decisions took may differ."""
    pairs = zip(all_played(one), all_played(other), strict=True)
    names = [field.name for field in fields(Played) if field.name not in ("name", "decide_s")]
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for a, b in pairs for name in names
    )


def all_played(comparison: Comparison) -> list[Played]:
    return [one for scenario in comparison.played for seed in scenario for one in seed]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return run(tmp_path_factory.mktemp("here"), Here())


@pytest.mark.slow
def test_processes_give_the_very_same_numbers(reference: Comparison, tmp_path: Path) -> None:
    assert same_but_for_time(reference, run(tmp_path, Processes(2)))


@pytest.mark.slow
def test_a_local_ray_gives_the_very_same_numbers(reference: Comparison, tmp_path: Path) -> None:
    assert same_but_for_time(reference, run(tmp_path, Ray("local")))


@pytest.mark.slow
def test_a_ray_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers at"):
        run(tmp_path, Ray("127.0.0.1:1"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes by Linux's /proc")
def test_workers_end_when_the_command_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ipa_rl", "compare", "video", "--part", "validation", "--workers", "2"]
    command = subprocess.Popen([*words, "--out", str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_until(lambda: any((tmp_path / "jobs").glob("*.npz")), "a job is done", 60.0)
    workers = children_of(command.pid)
    assert len(workers) >= 2
    command.kill()
    command.wait()
    wait_until(lambda: not any(is_running(worker) for worker in workers), "the workers have ended", 60.0)


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
    assert rest.done == [TRIALS[3]]
    assert same_but_for_time(reference, resumed)


def test_a_run_of_something_else_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Dying(3))
    other = Dying(after=99)
    compare(Experiment("others", SETUP, TRIALS[:2]), tmp_path, other, Silent())
    assert other.done == TRIALS[:2]


def test_a_folder_without_a_run_and_a_broken_result_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        read_comparison(tmp_path)
    run(tmp_path, Here())
    (tmp_path / "jobs" / "1.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"1\.npz: is no readable result"):
        read_comparison(tmp_path)


# Whose folder it is.


def experiment(*, seeds: int = 1, subject: str = "a short window") -> Experiment:
    """One static controller on one short window."""
    setup = Setup("video", None, SimulatorKind.fluid, only=("static",))
    return Experiment(subject, setup, trials([short("steady-low")], seeds))


def run_it(folder: Path, wanted: Experiment) -> None:
    """Run it, and lay a report of it beside it."""
    folder.mkdir(exist_ok=True)
    compare(wanted, folder, Here(), Silent())
    (folder / "report.html").write_text("yesterday's")


def begin_it(folder: Path, wanted: Experiment) -> None:
    """Begin it, as where it was cut off."""
    folder.mkdir(exist_ok=True)
    RunFolder(folder).begin(describe(wanted))


@pytest.mark.parametrize("before", [run_it, begin_it])
@pytest.mark.parametrize("within", ["", "stress"])
def test_a_folder_that_holds_another_run_is_refused_and_left_as_it_is(
    before: Callable[[Path, Experiment], None], within: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    before(tmp_path / "mine" / within, experiment())
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"mine: holds another run: .*; fix: give another --out"):
        run_folder(tmp_path / "mine", tmp_path / "other", {within: experiment(seeds=2)}, print)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_by_default_another_run_has_the_next_name_and_the_same_one_its_own(tmp_path: Path) -> None:
    default = tmp_path / "run"
    one, other, third = ({"": experiment(seeds=k)} for k in (1, 2, 3))
    run_it(run_folder(None, default, one, print), one[""])
    begin_it(tmp_path / "run-2", other[""])
    assert run_folder(None, default, one, print) == default
    assert run_folder(None, default, other, print) == tmp_path / "run-2"
    assert run_folder(None, default, third, print) == tmp_path / "run-3"
    assert (default / "report.html").exists()


def test_a_run_that_runs_again_leaves_no_report_of_before(tmp_path: Path) -> None:
    run_it(tmp_path, experiment())
    said: list[str] = []
    assert run_folder(tmp_path, tmp_path, {"": experiment()}, said.append) == tmp_path
    assert "running it again" in said[0]
    RunFolder(tmp_path).begin(describe(experiment()))
    assert not (tmp_path / "report.html").exists()


# Common random numbers.


def test_all_controllers_meet_the_same_arrivals_and_service_times(video: Definition) -> None:
    one, other = (SimulatedCluster(video, short("bursty"), seed=3).simulator for _ in range(2))
    third = SimulatedCluster(video, short("bursty"), seed=4).simulator
    rows = video.rows_for(20.0)
    finished = []
    for simulator in (one, other, third):
        simulator.apply(rows)
        simulator.advance(60)
        finished.append(simulator.requests["finish_s"].tobytes())  # type: ignore[attr-defined]
    assert finished[0] == finished[1] != finished[2]


def test_times_lie_in_their_seconds_and_ascend() -> None:
    counts = np.array([3, 0, 5, 1])
    times_s = times_within(counts, np.random.default_rng(0))
    assert (np.diff(times_s) >= 0).all()
    assert np.bincount(times_s.astype(int), minlength=4).tolist() == counts.tolist()


def test_a_run_is_read_under_the_preference_that_it_ran_under(tmp_path: Path) -> None:
    setup = Setup("video", None, SimulatorKind.fluid, preference=(60.0, 1.0))
    known = replace(setup, only=("fa2-low",))
    compare(
        Experiment("steady low", known, trials([paper_scenario("steady-low")], 1)), tmp_path, Here(), Silent()
    )
    again = read_comparison(tmp_path)
    assert again.definition.weights.alpha == 60.0
    (row,) = again.rows()
    assert row["utility"] > 10


# Ranking.


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


# What goes wrong.


class Counting:
    """Decides for the last load that it was shown."""

    name = "counting"

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.seen: list[float] = []

    def decide(self, state: State) -> Decision:
        self.seen.append(float(state.history_rps[-1]))
        return Decision(self.definition.best_for(self.seen[-1]), self.seen[-1])


def test_while_loads_are_missing_the_last_decision_holds(video: Definition) -> None:
    arrivals = np.concatenate([np.full(HISTORY_S + 20, 8), np.full(60, 30)])
    scenario = Scenario(Window("gap", arrivals, HISTORY_S), Disturbance(gap_s=(20, 50)))
    agent = Counting(video)
    cluster = SimulatedCluster(video, scenario)
    steps: list[Step] = []

    def wait() -> bool:
        cluster.wait()
        return not cluster.ended()

    control(agent, cluster, video.problem, wait, steps.append)
    assert agent.seen == [8.0] * 3 + [30.0] * 2
    assert [np.isnan(step.decide_s) for step in steps] == [False] * 3 + [True] * 3 + [False] * 2
    assert steps[4].applied == steps[2].applied


def test_missing_loads_are_shown_as_the_last_known_one(video: Definition) -> None:
    arrivals = np.arange(HISTORY_S + 60)
    scenario = Scenario(Window("gap", arrivals, HISTORY_S), Disturbance(gap_s=(10, 30)))
    cluster = SimulatedCluster(video, scenario)
    for _ in range(4):
        cluster.wait()
    shown = cluster.observe().history_rps[HISTORY_S:]
    assert shown[:10].tolist() == list(range(HISTORY_S, HISTORY_S + 10))
    assert (shown[10:30] == HISTORY_S + 9).all()
    assert shown[30] == HISTORY_S + 30


def test_an_outage_drops_requests_and_the_cluster_recovers(video: Definition) -> None:
    window = Window("steady", np.full(HISTORY_S + 120, 30), HISTORY_S)
    agent = static_agent(video, 30.0)
    whole = figures(video, play(video, agent, Scenario(window)))
    broken = play(video, agent, Scenario(window, Disturbance(outage_at_s=40)))
    assert figures(video, broken)["violations"] > whole["violations"]
    assert broken.column("dropped").sum() > 0
    assert broken.configured[-1].tolist() == video.rows_for(30.0).tolist()


def test_slower_service_and_slower_starts_reach_the_world_and_not_the_controller(video: Definition) -> None:
    scenario = Scenario(short("bursty").window, Disturbance(start_up_scale=5.0, service_scale=1.3))
    world = scenario.world(video)
    assert world.timing.start_up_scale == 5.0 * video.timing.start_up_scale
    assert world.timing.service_scale == 1.3
    assert world.best_for(20.0) == video.best_for(20.0)


def test_the_fluid_simulator_refuses_what_it_cannot_play(video: Definition) -> None:
    scenario = Scenario(short("bursty").window, Disturbance(outage_at_s=5))
    with pytest.raises(InputError, match="knows neither outages"):
        SimulatedCluster(video, scenario, SimulatorKind.fluid)


def suite(video: Definition, name: str) -> Scenario:
    return next(trial.scenario for trial in stress_trials(video, 1) if trial.scenario.name == name)


def test_the_suite_holds_what_its_names_say(video: Definition) -> None:
    loads = {
        trial.scenario.name: trial.scenario.window.arrivals[HISTORY_S:] for trial in stress_trials(video, 1)
    }
    assert set(loads) == {stress.name for stress in SUITE}
    assert all(len(one) == LENGTH_S for one in loads.values())
    flash = loads["flash crowd"]
    before, after = flash[:BEGINS_S].mean(), flash[BEGINS_S + 5 : BEGINS_S + 100].mean()
    assert after == pytest.approx(10 * before, rel=0.15)
    assert (loads["zero load"][BEGINS_S : BEGINS_S + 300] == 0).all()
    peak = loads["overload"][BEGINS_S : BEGINS_S + 60].mean()
    assert peak == pytest.approx(2 * capacity_rps(video), rel=0.05)
    assert suite(video, "trace gap").disturbance.gap_s == (BEGINS_S - 10, BEGINS_S + 50)
    assert suite(video, "slow starts").disturbance.start_up_scale == 5.0
    assert suite(video, "profile error").disturbance.service_scale == 1.3


def test_stress_trials_of_one_seed_are_the_same_every_time(video: Definition) -> None:
    def key(trial: Trial) -> bytes:
        return trial.scenario.window.arrivals.tobytes()

    one, other = stress_trials(video, 2), stress_trials(video, 2)
    assert [key(trial) for trial in one] == [key(trial) for trial in other]
    assert key(one[0]) != key(one[1])


# Exact times of arrival.


def test_exact_times_are_served_as_they_are(video: Definition, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    times = np.arange(0.0, 200.0, 0.25)
    path.write_text("\n".join(f"{one:.2f}" for one in times), encoding="utf-8")
    window = read_times(path, HISTORY_S, 10)
    played = play(video, static_agent(video, 8.0), Scenario(window))
    assert window.times_s is not None
    assert window.times_s[:2].tolist() == [0.0, 0.25]
    assert played.column("arrived").tolist() == [40.0] * 8


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e6, 1e9])
def test_times_since_1970_begin_at_the_second_of_the_first(unit: float, tmp_path: Path) -> None:
    """As logs have them: in seconds, milliseconds, microseconds or nanoseconds."""
    path = tmp_path / "log.txt"
    times = 0.25 + np.arange(0.0, 200.0, 0.5)
    path.write_text("\n".join(f"{(1_714_650_000 + one) * unit:.6f}" for one in times), encoding="utf-8")
    window = read_times(path, HISTORY_S, 10)
    assert window.arrivals.tolist() == [2] * 200
    assert window.times_s == pytest.approx(times[times >= HISTORY_S] - HISTORY_S, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1.0\nsoon\n", r":2: is no time: 'soon'"),
        ("1.0\nnan\n", r":2: is no time: 'nan'"),
        ("3.0\n2.5\n", r":2: 2\.5 comes after 3"),
        ("-1\n", r":1: -1 comes after 0"),
        ("1.0\n2.0\n", r"ends at 2 s; fix: give at least 130 s"),
        ("", r"ends at 0 s"),
        ("1.0\n2026-05-02T11:40:00Z\n", r":2: is no time: '2026-05-02T11:40:00Z'; fix: .*date -f"),
        ("[02/May/2026:11:40:00 +0000]\n", r"date -f FILE"),
        ("0\n9000000\n", r"ends at 9e\+06 s; fix: give at most 2678400 s"),
        ("0\n1e300\n", r"ends at 1e\+300 s"),
        ("1714650000\n1714650000000\n", r"ends at 1\.7\d+e\+12 s"),
    ],
)
def test_faults_of_a_file_of_times_are_named(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_times(path, HISTORY_S, 10)


def test_a_static_agent_needs_no_configuration_of_the_past(video: Definition) -> None:
    """A cluster begins where it is told to."""
    start: Configuration = video.best_for(30.0)
    cluster = SimulatedCluster(video, short("steady-low"), start=start)
    assert cluster.observe().fleet["ready"].tolist() == [s.replicas for s in start.stages]
