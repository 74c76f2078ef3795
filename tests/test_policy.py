"""The agent: where training did not cover what it sees, or it keeps too little, the program answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents import State
from ipa_rl.agents.policy import (
    _SHRINKAGE,
    Coverage,
    Policy,
    PolicyAgent,
    fit_coverage,
    load_policy,
    save_policy,
)
from ipa_rl.agents.program import ProgramAgent, margined
from ipa_rl.environment.action import HEADROOM, action_sizes, choice_names
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.model_estimate import rate_rps
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window

VIDEO = load_definition("video")
ENTRIES = len(observation_names(VIDEO.problem))
CHOICES = choice_names(VIDEO.problem)
PROGRAM = ProgramAgent("ip", VIDEO, WindowMaximum(30), margin=0.1)
ANYTHING = Coverage(
    np.zeros(ENTRIES, dtype=np.float32),
    np.eye(ENTRIES, dtype=np.float32),
    limit=1e9,
    least_capacity=0.0,
    heavy_rps=0.0,
    reserve=0.0,
)


def always(action: list[int], coverage: Coverage | None) -> PolicyAgent:
    """An agent whose network answers one action whatever it sees."""
    sizes = action_sizes(VIDEO.problem)
    bias = np.concatenate([np.eye(size)[one] for size, one in zip(sizes, action, strict=True)])
    layers = ((np.zeros((len(bias), ENTRIES), dtype=np.float32), bias.astype(np.float32)),)
    return PolicyAgent("ppo", VIDEO, Policy(layers, tuple(sizes), CHOICES, coverage), PROGRAM)


def state(load: float) -> State:
    window = Window("steady", np.full(HISTORY_STEPS, int(load)), HISTORY_STEPS)
    return SimulatedCluster(VIDEO, Scenario(window)).observe()


EVEN = HEADROOM.index(1.0)


def test_what_training_did_not_cover_is_unfamiliar_and_the_program_answers() -> None:
    decision = always([0, 0, EVEN, 0, 0, EVEN], replace(ANYTHING, limit=0.0)).decide(state(10))
    assert decision.fallback == "unfamiliar"
    assert decision.configuration == VIDEO.best_for(np.ceil(margined(10, PROGRAM.margin)))


def test_the_program_that_answers_may_count_waits() -> None:
    waits = VIDEO.with_problem(waits=True)
    agent = always([0, 0, EVEN, 0, 0, EVEN], replace(ANYTHING, limit=0.0))
    decision = replace(agent, program=replace(PROGRAM, definition=waits)).decide(state(20))
    assert decision.planned_rps == 22.0
    assert decision.configuration == waits.best_for(22.0) != VIDEO.best_for(22.0)


@given(st.integers(0, len(HEADROOM) - 1), st.integers(1, 60), st.floats(0.5, 1.0), st.floats(1.0, 60.0))
@settings(max_examples=40, deadline=None)
def test_under_a_heavy_load_a_decision_with_less_than_the_reserve_is_too_lean(
    headroom: int, load: int, reserve: float, heavy_rps: float
) -> None:
    coverage = replace(ANYTHING, heavy_rps=heavy_rps, reserve=reserve)
    decision = always([0, 0, headroom, 0, 0, headroom], coverage).decide(state(load))
    reserve_rps = reserve * margined(load, PROGRAM.margin)
    own = always([0, 0, headroom, 0, 0, headroom], None).decide(state(load)).configuration
    too_lean = load > heavy_rps and capacity_rps(own) < reserve_rps
    assert (decision.fallback == "too lean") == too_lean
    assert load <= heavy_rps or capacity_rps(decision.configuration) >= reserve_rps


def capacity_rps(configuration: Configuration) -> float:
    """What the stage that can serve the least serves."""
    each = zip(VIDEO.pipeline.stages, configuration.stages, strict=True)
    return min(one.replicas * rate_rps(stage, one) for stage, one in each)


def test_fallbacks_are_counted() -> None:
    window = Window("steady", np.full(HISTORY_STEPS + 100, 10), HISTORY_STEPS)
    agent = always([0, 0, EVEN, 0, 0, EVEN], replace(ANYTHING, limit=0.0))
    assert play(VIDEO, agent, Scenario(window)).fallbacks.tolist() == [1] * 10
    agent = always([0, 0, EVEN, 0, 0, EVEN], ANYTHING)
    assert play(VIDEO, agent, Scenario(window)).fallbacks.tolist() == [0] * 10


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_coverage_tells_what_training_saw_from_what_is_far_off(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(12, 12))
    seen = (rng.normal(size=(4000, 12)) @ mixing).astype(np.float32)
    coverage = fit_coverage(seen, rng.uniform(0.5, 2.0, 4000), rng.uniform(0.0, 40.0, 4000), reserve=0.5)
    inside = [coverage.score(one) <= coverage.limit for one in seen]
    assert np.mean(inside) >= 0.999
    covariance = np.cov(seen.astype(np.float64).T, bias=True)
    shrunk = covariance + _SHRINKAGE * np.eye(12)  # entries that hardly move score less than 1
    expected = np.trace(np.linalg.solve(shrunk, covariance)) / 12
    assert np.mean([coverage.score(one) for one in seen]) == pytest.approx(expected, rel=0.01)
    far = seen.mean(axis=0) + 30 * seen.std(axis=0)
    assert coverage.score(far.astype(np.float32)) > coverage.limit
    assert 0.5 <= coverage.least_capacity < 0.51
    assert 28.0 < coverage.heavy_rps < 32.0


def test_a_policy_keeps_its_coverage_on_disk(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "policy.npz"
    policy = always(
        [0] * 6, replace(ANYTHING, limit=2.5, least_capacity=0.4, heavy_rps=9.0, reserve=0.9)
    ).policy
    save_policy(policy, path)
    found = load_policy(path, VIDEO).coverage
    assert found is not None
    assert (found.limit, found.least_capacity, found.heavy_rps, found.reserve) == (2.5, 0.4, 9.0, 0.9)
    np.testing.assert_array_equal(found.whitening, np.eye(ENTRIES, dtype=np.float32))
