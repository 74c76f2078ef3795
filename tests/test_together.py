"""Stages that were measured together: what was measured counts, in files, simulators, rollouts and bounds."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ipa_rl.agents.universal import make_universal
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.judge.bound import utility_bound
from ipa_rl.judge.frontier import frontier
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.objective import Problem, objective, pas
from ipa_rl.pipeline import Configuration, JointAccuracy, Pipeline, StageConfig
from ipa_rl.profiles import load_pipeline
from ipa_rl.simulation import FluidSimulator, Timing
from ipa_rl.simulation.events import DONE
from ipa_rl.simulation.request_level import RequestSimulator
from ipa_rl.solvers import FrontSolver, Optimum
from tests.pipelines import two_stages
from tests.test_network import ARMS, problem_of, simulate
from tests.test_outlook import played, rolled

NAMES = ("small", "medium", "large")
MEASURED = dict(
    zip(itertools.product(NAMES, NAMES), np.linspace(0.2, 0.9, 9)[[3, 1, 0, 4, 6, 2, 5, 7, 8]], strict=True)
)


def together(problem: Problem, stages: tuple[str, ...] = ("first", "second")) -> Problem:
    """The same, with its stages of small, medium and large variants measured together."""
    joint = JointAccuracy(stages, tuple((names, float(one)) for names, one in MEASURED.items()))
    return replace(problem, pipeline=replace(problem.pipeline, accuracies=(joint,)))


TWO = together(two_stages())


def rows_of(first: int, second: int, replicas: int = 9) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([[first, 0, replicas], [second, 0, replicas]])


@pytest.mark.parametrize(("first", "second"), list(itertools.product(range(3), range(3))))
def test_requests_are_as_right_as_was_measured_in_both_simulators(first: int, second: int) -> None:
    expected = MEASURED[NAMES[first], NAMES[second]]
    chosen = Configuration((StageConfig(NAMES[first], 1, 9), StageConfig(NAMES[second], 1, 9)))
    assert pas(TWO.pipeline, chosen) == pytest.approx(expected)
    fluid = FluidSimulator(TWO, Timing())
    fluid.reset(0, rows_of(first, second))
    fluid.advance(np.full((1, 100), 5.0))
    assert fluid.totals[0]["accuracy"] / fluid.totals[0]["served"] == pytest.approx(expected)
    events = simulate(TWO, np.arange(200) * 0.2, 9, variants=[first, second])
    assert events.requests["accuracy"] == pytest.approx(np.full(200, expected))


def test_while_variants_change_a_request_is_as_right_as_those_that_served_it() -> None:
    simulator = RequestSimulator(TWO, Timing(), np.arange(900) / 10.0, np.random.default_rng(0), "fixed")
    simulator.place(rows_of(0, 0))
    for second, (a, b) in enumerate([(1, 0), (1, 2), (0, 2), (2, 1)]):
        simulator.advance(13.0 * (second + 1))
        simulator.apply(rows_of(a, b))
    simulator.advance(1000.0)
    seen = set()
    for i, request in enumerate(simulator.requests):
        own = {
            int(one["node"]): int(one["variant"])
            for one in simulator.tasks
            if one["request"] == i and one["status"] == DONE
        }
        pair = NAMES[own[0]], NAMES[own[1]]
        assert request["accuracy"] == pytest.approx(MEASURED[pair])
        seen.add(pair)
    assert len(seen) > 3


def test_arms_that_meet_may_have_been_measured_together() -> None:
    """Two encoders of a request, whose answers are joined."""
    problem = problem_of(*ARMS)
    names = {stage.name: [one.name for one in stage.variants] for stage in problem.pipeline.stages}
    measured = tuple((pair, 0.3) for pair in itertools.product(names["a"], names["b"]))
    pipeline = replace(problem.pipeline, accuracies=(JointAccuracy(("b", "a"), measured),))
    simulator = simulate(replace(problem, pipeline=pipeline), np.arange(50) * 10.0)
    rest = [problem.pipeline.stages[names_of].variants[0].accuracy for names_of in (0, 3)]
    assert simulator.requests["accuracy"] == pytest.approx(np.full(50, 0.3 * rest[0] * rest[1]))


def test_a_rollout_is_worth_what_the_fluid_simulator_says() -> None:
    decisions = np.array([[[0, 0, 4], [1, 0, 3]], [[2, 0, 3], [1, 0, 4]], [[2, 0, 5], [0, 0, 2]]])
    loads, past, timing = np.full(30, 12.0), np.full(20, 12.0), Timing(start_up_scale=1 / 3)
    simulator = FluidSimulator(TWO, timing)
    simulator.reset(0, rows_of(0, 0, 4))
    mine = rolled(TWO, timing, simulator, decisions, loads, past)
    assert mine == pytest.approx(played(simulator, TWO, decisions, loads), rel=1e-9)


def test_nothing_is_above_the_line_or_the_bound() -> None:
    video = load_definition("video")
    names = [[one.name for one in stage.variants] for stage in video.pipeline.stages]
    rng = np.random.default_rng(5)
    measured = tuple((pair, float(rng.uniform(0.2, 0.9))) for pair in itertools.product(*names))
    joint = JointAccuracy(tuple(stage.name for stage in video.pipeline.stages), measured)
    pipeline = replace(video.pipeline, accuracies=(joint,))
    definition = video.with_problem(pipeline=pipeline, weights=replace(video.weights, alpha=60.0))
    window = definition.windows("validation")[2]
    found = figures(definition, play(definition, make_universal(definition), Scenario(window)))
    assert 0.5 * utility_bound(definition, window) < found["utility"] < utility_bound(definition, window)
    answer = FrontSolver(definition.problem).solve(20.0)
    assert isinstance(answer, Optimum)
    assert answer.objective == pytest.approx(objective(definition.problem, answer.configuration))
    line = frontier(pipeline, [20.0], 100.0)
    assert line[-1, 1] == pytest.approx(100.0 * max(accuracy for _, accuracy in measured))


def written(folder: Path, change: dict[str, Any] | None = None, drop: int = 0) -> Pipeline:
    """The shipped pipeline of two stages with all combinations measured, but for the first ones."""
    shipped = Path(__file__).parent.parent / "profiles" / "video"
    for file in shipped.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = yaml.safe_load((folder / "pipeline.yaml").read_text(encoding="utf-8"))
    names = {stage["name"]: [one["name"] for one in stage["variants"]] for stage in content["stages"]}
    pairs = itertools.product(names["crop"], names["classification"])
    rows = [{"crop": a, "classification": b, "accuracy": 0.5} for a, b in pairs][drop:]
    content["accuracies"] = [{"stages": ["crop", "classification"], "measured": rows} | (change or {})]
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_pipeline(folder)


def test_a_file_tells_all_combinations(tmp_path: Path) -> None:
    pipeline = written(tmp_path)
    chosen = Configuration((StageConfig("yolov5x", 1, 1), StageConfig("resnet18", 1, 1)))
    assert pas(pipeline, chosen) == pytest.approx(0.5)


ROW = {"crop": "yolov5n", "classification": "resnet18", "accuracy": 0.5}


@pytest.mark.parametrize(
    ("change", "drop", "told"),
    [
        (None, 1, "says nothing of yolov5n with resnet18; fix: give every combination"),
        ({"stages": ["crop"]}, 0, "stages"),
        ({"stages": ["crop", "plates"]}, 0, "a row has crop, plates and accuracy"),
        ({"measured": [ROW, ROW]}, 0, "yolov5n with resnet18 is there twice"),
        ({"measured": [{**ROW, "accuracy": 31}]}, 0, "less than or equal to 1"),
        ({"measured": [{**ROW, "crop": "yolov9"}]}, 0, "no variant 'yolov9'; fix: name the variants of crop"),
    ],
)
def test_what_is_wrong_with_it_is_told_in_a_line(
    tmp_path: Path, change: dict[str, Any] | None, drop: int, told: str
) -> None:
    with pytest.raises(InputError) as fault:
        written(tmp_path, change, drop)
    assert told in str(fault.value)
    assert "pipeline.yaml" in str(fault.value)


def test_stages_that_not_all_requests_visit_together_are_refused() -> None:
    from tests.test_network import edge

    problem = problem_of(edge("sa", probability=0.4), edge("sb", probability=0.6), edge("aj"), edge("bj"))
    names = {stage.name: [one.name for one in stage.variants] for stage in problem.pipeline.stages}
    measured = tuple((pair, 0.3) for pair in itertools.product(names["a"], names["j"]))
    with pytest.raises(InputError, match="requests come to j that were not at all of a, j"):
        replace(problem.pipeline, accuracies=(JointAccuracy(("a", "j"), measured),))


@pytest.mark.parametrize(
    ("stages", "told"), [("ab", "of a, b some are in arms"), ("aj", "of a, j some are in arms"), ("sj", "")]
)
def test_stages_of_arms_that_race_are_refused(stages: str, told: str) -> None:
    """Which of them answers is not known, so neither is what was measured."""
    from tests.test_network import edge

    problem = problem_of(edge("sa"), edge("sb"), edge("aj"), edge("bj"), joins={"j": "first"})
    names = [
        [one.name for one in stage.variants] for stage in problem.pipeline.stages if stage.name in stages
    ]
    joint = JointAccuracy(tuple(stages), tuple((pair, 0.3) for pair in itertools.product(*names)))
    with pytest.raises(InputError, match=told) if told else nullcontext():
        replace(problem.pipeline, accuracies=(joint,))
