"""One simulator against the other, and the command that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.agents.opponents import best_program
from ipa_rl.agents.program import ProgramAgent, forecaster_of
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.fidelity import CORES_AIM, PAS_AIM, SYSTEMS, load_replays, measured_steps, play_replay
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.workload.synthetic import poisson_arrivals
from ipa_rl.workload.workload import Window
from tests.command_line import fits, ipa_rl
from tests.extreme_pipelines import write_quick, write_slow
from tests.pipelines import in_place

pytestmark = pytest.mark.slow


PIPELINES = ("video", "audio-qa", "audio-sent", "sum-qa", "nlp")


@pytest.mark.parametrize(
    ("name", "reload_s"), [*((name, inf) for name in PIPELINES), ("video", 0.0), ("nlp", 2.5)]
)
def test_fluid_and_request_level_agree_over_some_windows(name: str, reload_s: float) -> None:
    """Single windows differ by the luck of a burst; what is reported are means."""
    definition = load_definition(name)
    definition = replace(definition, problem=in_place(definition.problem, reload_s))
    opponents = controllers(definition, None)
    known = opponents.only((best_program(opponents.opponents).name, "fa2-low"))
    seen: dict[SimulatorKind, list[dict[str, float]]] = {kind: [] for kind in SimulatorKind}
    for window in definition.windows("validation")[::30]:
        for agent in known.agents(window.arrivals):
            for kind in SimulatorKind:
                seen[kind].append(figures(definition, play(definition, agent, Scenario(window), kind)))
    fluid, single = (
        {name: np.mean([one[name] for one in seen[kind]]) for name in ("cores", "pas_x100", "violations")}
        for kind in (SimulatorKind.fluid, SimulatorKind.request_level)
    )
    assert fluid["cores"] == pytest.approx(single["cores"], rel=0.005)
    assert fluid["pas_x100"] == pytest.approx(single["pas_x100"], abs=0.1)
    assert fluid["violations"] == pytest.approx(single["violations"], abs=0.003)


@pytest.mark.parametrize("write", [write_quick, write_slow])
def test_fluid_and_request_level_agree_at_both_ends_of_the_scale(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Recorded windows, and a step of the load that start-ups lag behind; the integer program decides.

    Its margin keeps utilisation at two thirds: what queues at more the fluid simulator does not know.
    """
    definition = load_definition(write(tmp_path))
    agent = ProgramAgent("program", definition, forecaster_of(definition, "window-max:30"), 0.5)
    history_s, window_s = definition.history_s, definition.window_s
    rates = np.full(history_s + window_s, 0.5 * definition.workload.mean_rps)
    rates[history_s + window_s // 3 :] *= 4.0
    arrivals = poisson_arrivals(rates, np.random.default_rng(0))
    scenarios = [Scenario(one) for one in definition.windows("validation")[:3]]
    scenarios.append(Scenario(Window("step", arrivals, history_s)))
    for scenario in scenarios:
        fluid, single = (figures(definition, play(definition, agent, scenario, k)) for k in SimulatorKind)
        assert fluid["cores"] == pytest.approx(single["cores"], rel=0.01)
        assert fluid["pas_x100"] == pytest.approx(single["pas_x100"], abs=0.2)
        assert fluid["violations"] == pytest.approx(single["violations"], abs=0.005)


def test_the_command_writes_tables_and_pictures(tmp_path: Path) -> None:
    done = ipa_rl("fidelity", "--pipeline", "video", "--windows", "1", "--workers", "1", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    content = json.loads((tmp_path / "fidelity.json").read_text(encoding="utf-8"))
    assert all(row["is_close"] for row in content["cluster"])
    assert "| video | ipa |" in (tmp_path / "fidelity.md").read_text(encoding="utf-8")
    for picture in ("replays.png", "simulators.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_four_systems_of_a_pipeline_are_there(pipeline: str) -> None:
    assert tuple(replay.system for replay in load_replays(pipeline)) == SYSTEMS


@pytest.mark.parametrize("pipeline", ["video", "audio-qa", "sum-qa"])
def test_the_printed_steps_have_the_printed_means(pipeline: str) -> None:
    for replay in load_replays(pipeline):
        cores, scores = measured_steps(pipeline, replay.system)
        assert cores.mean() == pytest.approx(replay.measured.cores, abs=1e-3)
        assert scores.mean() == pytest.approx(replay.measured.pas_x100, abs=1e-3)


def test_video_replays_cost_and_score_what_was_measured() -> None:
    for replay in load_replays("video"):
        outcome = play_replay(replay).outcome
        assert outcome.cores == pytest.approx(replay.measured.cores, rel=CORES_AIM)
        assert outcome.pas_x100 == pytest.approx(replay.measured.pas_x100, abs=PAS_AIM)


def test_a_replay_follows_the_cluster_step_by_step() -> None:
    """Cores of the video pipeline's own controller, in most steps the very same."""
    replay = load_replays("video")[0]
    cores, _ = measured_steps("video", "ipa")
    assert np.mean(play_replay(replay).step_cores == cores) > 0.85


def test_a_replay_begins_where_the_authors_began_and_decides_from_the_second_step_on() -> None:
    replay = load_replays("video")[3]
    replayed = play_replay(replay)
    assert replayed.step_cores[0] == 6.0
    assert replayed.step_pas_x100[0] == pytest.approx(31.88, abs=0.01)
    assert replayed.step_pas_x100[1] > 40.0
