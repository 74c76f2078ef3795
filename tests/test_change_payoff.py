"""A change must pay for what it costs, and never costs capacity."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ipa_rl.agents.trained import load_agents
from ipa_rl.objective import Problem, cost_cores, latency_budget, latency_s, objective
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.change_payoff import (
    ChangePayoff,
    CheckedAgent,
    default_horizon_s,
    serving_of,
    start_core_s,
)
from ipa_rl.sidecar.guard import Guarded
from ipa_rl.sidecar.model_estimate import rate_rps
from ipa_rl.simulation import FluidSimulator, Timing, encode
from ipa_rl.workload.steps import HISTORY_STEPS
from tests.live import FREE, PROGRAM, VIDEO, Wants, World, two
from tests.pipelines import BATCHES, two_stages

NAMES = ("small", "medium", "large")
NOTHING = np.zeros(2)

stage_configs = st.builds(StageConfig, st.sampled_from(NAMES), st.sampled_from(BATCHES), st.integers(1, 30))
configurations = st.builds(lambda a, b: Configuration((a, b)), stage_configs, stage_configs)
horizons = st.floats(1.0, 1e5)
queues = st.lists(st.floats(0.0, 100.0), min_size=2, max_size=2).map(np.array)


@dataclass(frozen=True)
class Change:
    """What serves, what is wanted instead, and the load that this was planned for."""

    problem: Problem
    serving: Configuration
    wanted: Configuration
    load_rps: float

    def worthwhile(
        self, horizon_s: float, queued: np.ndarray = NOTHING, core_budget: int | None = None
    ) -> Guarded:
        """What of it pays for itself."""
        payoff = ChangePayoff(self.problem, horizon_s, core_budget=core_budget)
        return payoff.worthwhile(self.wanted, self.serving.stages, self.load_rps, queued)

    def cost_core_s(self, wanted: Configuration) -> float:
        """What starting costs on the way to a configuration."""
        each = zip(self.problem.pipeline.stages, self.serving.stages, wanted.stages, strict=True)
        return sum(start_core_s(*one) for one in each)


def problem(cold_batch: bool) -> Problem:
    """Two stages whose batch sizes are cold, or not."""
    own = two_stages()
    stages = tuple(replace(stage, cold_batch=cold_batch) for stage in own.pipeline.stages)
    return replace(own, pipeline=replace(own.pipeline, stages=stages))


changes = st.builds(
    Change, st.booleans().map(problem), configurations, configurations, load_rps=st.floats(0.1, 200.0)
)


@given(changes, horizons, queues)
def test_what_runs_on_carries_the_load_that_is_planned_for_and_what_waits_within_the_sla(
    change: Change, horizon_s: float, queued: np.ndarray
) -> None:
    problem, wanted, load = change.problem, change.wanted, change.load_rps
    found = change.worthwhile(horizon_s, queued).configuration
    assume(found != wanted)
    for stage, one, then, waits in zip(
        problem.pipeline.stages, found.stages, wanted.stages, queued, strict=True
    ):
        capacity = one.replicas * rate_rps(stage, one)
        if one != then:
            assert capacity >= (load + waits / horizon_s) * (1 - 1e-9)
            assert capacity >= (then.replicas - 1) * rate_rps(stage, then) * (1 - 1e-9)
            assert one.replicas <= problem.max_replicas
    assert latency_s(problem.pipeline, latency_budget(problem, found, load)) <= problem.sla_s


@given(changes, horizons, queues)
def test_what_is_left_undone_would_not_have_paid(
    change: Change, horizon_s: float, queued: np.ndarray
) -> None:
    found = change.worthwhile(horizon_s, queued).configuration
    gain = objective(change.problem, change.wanted) - objective(change.problem, found)
    saved = change.cost_core_s(change.wanted) - change.cost_core_s(found)
    assert gain * horizon_s <= change.problem.weights.beta * saved + 1e-6


@given(changes)
def test_over_an_endless_horizon_nothing_is_left_undone_that_is_better(change: Change) -> None:
    found = change.worthwhile(1e12).configuration
    assert objective(change.problem, found) >= objective(change.problem, change.wanted) - 1e-6


@given(changes, horizons, st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_replicas_alone_change_as_they_are_wanted(
    change: Change, horizon_s: float, replicas: tuple[int, int]
) -> None:
    each = zip(change.serving.stages, replicas, strict=True)
    wanted = Configuration(tuple(replace(one, replicas=n) for one, n in each))
    found = replace(change, wanted=wanted).worthwhile(horizon_s)
    assert found.configuration == wanted
    assert not found.edits


@given(changes, horizons)
def test_it_says_so_in_words_exactly_where_it_leaves_something_undone(
    change: Change, horizon_s: float
) -> None:
    found = change.worthwhile(horizon_s)
    apart = sum(a != b for a, b in zip(found.configuration.stages, change.wanted.stages, strict=True))
    assert len(found.edits) == apart


@given(changes)
def test_what_is_not_known_or_not_settled_changes_as_it_is_wanted(change: Change) -> None:
    payoff = ChangePayoff(change.problem, 1.0)
    wanted = change.wanted
    assert payoff.worthwhile(wanted, (None, None), change.load_rps, NOTHING).configuration == wanted
    assert payoff.worthwhile(wanted, change.serving.stages, math.nan, NOTHING).configuration == wanted


@given(changes, horizons, st.integers(2, 60))
def test_running_on_never_costs_more_than_the_budget(change: Change, horizon_s: float, budget: int) -> None:
    found = change.worthwhile(horizon_s, core_budget=budget).configuration
    assert found == change.wanted or cost_cores(change.problem.pipeline, found) <= budget


SMALL = StageConfig("small", 1, 3)


@pytest.mark.parametrize(
    ("cold_batch", "reload_s", "wanted", "starting"),
    [
        (False, math.inf, replace(SMALL, replicas=5), 2),
        (False, math.inf, replace(SMALL, replicas=1), 0),
        (False, math.inf, replace(SMALL, batch=4), 0),
        (True, math.inf, replace(SMALL, batch=4), 3),
        (False, math.inf, StageConfig("medium", 1, 2), 2),
        (False, 0.0, StageConfig("medium", 1, 2), 0),
        (False, 0.0, StageConfig("medium", 1, 4), 1),
        (True, 0.0, StageConfig("medium", 4, 2), 2),
    ],
)
def test_what_starts_anew_is_paid_while_it_starts(
    cold_batch: bool, reload_s: float, wanted: StageConfig, starting: int
) -> None:
    own = two_stages().pipeline.stages[0]
    stage = replace(own.with_delays({}, dict.fromkeys(NAMES, reload_s)), cold_batch=cold_batch)
    variant = stage.variant(wanted.variant)
    assert start_core_s(stage, SMALL, wanted) == starting * variant.cost_cores * variant.start_up_s


def test_a_stage_whose_new_replicas_have_not_come_yet_is_not_settled() -> None:
    own = two_stages()
    simulator = FluidSimulator(own, Timing())
    first = Configuration((SMALL, SMALL))
    simulator.reset(0, encode(own, first))
    assert serving_of(own, simulator.fleet[0]) == first.stages
    then = Configuration((replace(SMALL, replicas=5), StageConfig("medium", 1, 2)))
    simulator.apply(encode(own, then)[None])
    assert serving_of(own, simulator.fleet[0]) == (then.stages[0], None)


def test_the_horizon_follows_the_start_up_delays() -> None:
    slow = tuple(
        stage.with_delays({v.name: 600.0 for v in stage.variants}, {}) for stage in VIDEO.pipeline.stages
    )
    slower = VIDEO.with_problem(pipeline=replace(VIDEO.pipeline, stages=slow))
    assert default_horizon_s(slower, 10.0) == 4 * (600.0 * VIDEO.timing.start_up_scale + 10.0)
    assert default_horizon_s(VIDEO, 60.0) - default_horizon_s(VIDEO, 10.0) == pytest.approx(200.0)


def cold(stage: Stage) -> Stage:
    return replace(stage, cold_batch=True)


COLD = ChangePayoff(
    replace(
        VIDEO.problem,
        pipeline=replace(VIDEO.pipeline, stages=tuple(map(cold, VIDEO.pipeline.stages))),
    ),
    default_horizon_s(VIDEO, 10.0),
    VIDEO.timing.start_up_scale,
)


def steps_with_a_change(world: World) -> int:
    """Steps of a world that changed something."""
    return sum(bool(entry["changes"]) for entry in world.told.entries)


@pytest.mark.parametrize("cold_batch", [True, False], ids=["cold batch sizes", "hot batch sizes"])
def test_a_steady_load_changes_little(cold_batch: bool) -> None:
    """21 minutes of 6 requests/s on average, by chance more or fewer: without the rule every fifth step."""
    rule = COLD if cold_batch else replace(COLD, problem=VIDEO.problem)
    draws = np.random.default_rng(0).poisson(6.0, HISTORY_STEPS + 1260).astype(np.float64)
    found = {}
    for payoff in (None, rule):
        world = World(parts={"limits": replace(FREE, least_capacity=1.0), "payoff": payoff}, loads=draws)
        world.steps(126)
        found[payoff] = world
    assert steps_with_a_change(found[None]) >= 20
    assert steps_with_a_change(found[rule]) <= steps_with_a_change(found[None]) * (
        0.5 if cold_batch else 0.75
    )
    left = [c["knob"] for entry in found[rule].told.entries for c in entry["changes"]]
    assert left.count("variant") + (left.count("batch") if cold_batch else 0) <= 4
    edits = [line for entry in found[rule].told.entries for line in entry["guard"]]
    assert any("does not pay for its start within" in line for line in edits)


def test_a_load_that_rises_is_answered_at_once() -> None:
    rising = np.concatenate([np.full(HISTORY_STEPS, 6.0), np.full(1260, 40.0)])
    plain = World(loads=rising)
    paying = World(loads=rising, parts={"payoff": COLD})
    for world in (plain, paying):
        world.steps(6)
    capacities = [
        [entry["worth"]["capacity_rps"] for entry in world.told.entries] for world in (plain, paying)
    ]
    assert all(b >= min(a, 44.0) - 1e-6 for a, b in zip(*capacities, strict=True))


def test_an_agents_own_choices_pass_through_it_too() -> None:
    agent = Wants(two(3))
    world = World(agents=(agent,), parts={"payoff": COLD})
    world.steps(3)
    agent.configuration = two(3, batch=2)
    world.steps(1)
    entry = world.told.entries[-1]
    assert entry["decision"] != entry["configuration"]
    assert len(entry["guard"]) == 2
    assert not [change for change in entry["changes"] if change["knob"] != "replicas"]


def test_as_an_agent_it_leaves_another_agents_decisions_as_the_guard_does() -> None:
    agents, _ = load_agents(VIDEO, "video")
    inner = Wants(two(3, batch=2))
    state = World().cluster.look().state
    plain = CheckedAgent(inner, COLD.checked).decide(state)
    assert (
        plain.configuration
        == COLD.worthwhile(
            inner.configuration, serving_of(VIDEO.problem, state.fleet), 10.0, state.queued
        ).configuration
    )
    assert CheckedAgent(agents[0], COLD.checked).name == agents[0].name
    assert PROGRAM.decide(state).planned_rps == CheckedAgent(PROGRAM, COLD.checked).decide(state).planned_rps
