"""The bound that no controller exceeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ipa_rl.agents.opponents import Opponent, build
from ipa_rl.agents.planner import make_planner
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.bound import _program, utility_bound
from ipa_rl.judge.evaluation import regret
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.objective import scores
from ipa_rl.pipeline import Pipeline
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window
from tests.extreme_pipelines import write_quick, write_slow
from tests.graphs import Kind, graph_environment
from tests.scenarios import VIDEO, steady


@pytest.mark.slow
@pytest.mark.parametrize("name", ["video", "sum-qa"])
def test_no_controller_exceeds_the_bound(name: str, bursty: Window) -> None:
    definition = load_definition(name)
    bound = utility_bound(definition, bursty)
    for opponent in (
        Opponent("ip", "perfect:25", -0.2, {}),
        Opponent("look-ahead", "perfect:25", -0.2, {}, {"pays_within_s": 100.0}),
        Opponent("ip", "window-max:60", 0.0, {}),
    ):
        agent = build(definition, opponent, bursty.arrivals)
        assert figures(definition, play(definition, agent, Scenario(bursty)))["utility"] < bound


@pytest.mark.slow
@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_controller_exceeds_the_bound_of_a_graph(kind: Kind, bursty: Window) -> None:
    definition = graph_environment(kind)
    bound = utility_bound(definition, bursty)
    planner = make_planner(definition, arrivals=bursty.arrivals)
    for agent in (build(definition, Opponent("ip", "perfect:25", -0.1, {}), bursty.arrivals), planner):
        utility = figures(definition, play(definition, agent, Scenario(bursty)))["utility"]
        assert bound - 4.0 < utility < bound, agent.name  # by four cores, of some twelve


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_quick, write_slow])
def test_the_bound_holds_at_both_ends_of_the_scale(write: Callable[[Path], Path], tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path))
    window = definition.windows("validation")[0]
    agent = build(definition, Opponent("ip", "perfect:25", 0.2, {}), window.arrivals)
    utility = figures(definition, play(definition, agent, Scenario(window)))["utility"]
    assert 0.5 * utility_bound(definition, window) < utility < utility_bound(definition, window)


def test_the_bound_of_a_steady_light_load_is_that_of_one_replica_a_stage() -> None:
    """At 1 request/s the cheapest replicas suffice, whatever alpha gains by more than that."""

    def bound(definition: Definition) -> float:
        return utility_bound(definition, steady(1.0, 600).window)

    cheap = VIDEO.preferring(1e-6, 1.0)
    assert bound(cheap) == pytest.approx(-2.0, abs=1e-4)
    assert bound(VIDEO) > -2.0


@pytest.mark.parametrize("name", ["video", "sum-qa", "nlp"])
def test_the_bound_is_the_optimum_over_all_combinations_of_variants(name: str, bursty: Window) -> None:
    definition = load_definition(name)
    window = replace(bursty, arrivals=bursty.arrivals[: HISTORY_STEPS + 300])
    each = [scores(stage, definition.weights) for stage in definition.pipeline.stages]
    every = product(*(range(len(one)) for one in each))
    gains = {
        one: definition.weights.alpha * float(np.prod([each[s][v] for s, v in enumerate(one)]))
        for one in every
    }
    ones = np.ones((len(gains), len(definition.pipeline.stages)))
    value, _, _ = _program(definition, window, ones[0]).solve(gains, ones)
    assert utility_bound(definition, window) == pytest.approx(value, abs=1e-5)


def test_twelve_stages_of_twenty_variants_have_a_bound() -> None:
    stage = VIDEO.pipeline.stages[0]
    variants = tuple(
        replace(one, name=f"{one.name}-{k}", accuracy=min(one.accuracy + 0.01 * k, 1.0))
        for k in range(4)
        for one in stage.variants
    )
    stages = tuple(replace(stage, name=f"s{s}", variants=variants) for s in range(12))
    weights = replace(VIDEO.weights, alpha=100.0)
    long = VIDEO.with_problem(pipeline=Pipeline("long", stages), weights=weights)
    cheapest = 12.0 * min(one.cost_cores for one in variants)
    best = 100.0 * max(one.accuracy for one in variants) ** 12
    assert -cheapest < utility_bound(long, steady(5.0, 100).window) < best - cheapest + 1e-6


def test_regret_is_the_share_of_the_gap_that_is_closed() -> None:
    program, bound = np.array([0.0, 0.0, 1.0]), np.array([4.0, 2.0, 3.0])
    none, all_, half = (regret(one, program, bound) for one in (program, bound, (program + bound) / 2))
    assert none
    assert all_
    assert half
    assert (none.closed, all_.closed) == (0.0, 1.0)
    assert half.closed == pytest.approx(0.5)
    assert half.closed_95 == pytest.approx((0.5, 0.5))
    assert replace(half, agent=0.0).bound == 3.0
    assert regret(program, bound, bound) is None
