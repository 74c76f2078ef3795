"""A change must pay for what it costs, and never costs capacity."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ipa_rl.agents.trained import load_agents
from ipa_rl.objective import Problem, cost_cores, latency_budget, latency_s, objective
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.change_payoff import (
    ChangePayoff,
    PayoffCheckedAgent,
    default_horizon_s,
    serving_of,
    start_core_s,
)
from ipa_rl.sidecar.core_budget import rate_rps
from ipa_rl.simulation import FluidSimulator, Timing, encode
from ipa_rl.workload.quantiles import HISTORY_S
from tests.live import FREE, PROGRAM, VIDEO, Wants, World, two
from tests.pipelines import BATCHES, two_stages

NAMES = ("small", "medium", "large")
NOTHING = np.zeros(2)

stage_configs = st.builds(StageConfig, st.sampled_from(NAMES), st.sampled_from(BATCHES), st.integers(1, 30))
configurations = st.builds(lambda a, b: Configuration((a, b)), stage_configs, stage_configs)
loads = st.floats(0.1, 200.0)
horizons = st.floats(1.0, 1e5)
queues = st.lists(st.floats(0.0, 100.0), min_size=2, max_size=2).map(np.array)


def problem(cold_batch: bool) -> Problem:
    """Two stages whose batch sizes are cold, or not."""
    own = two_stages()
    stages = tuple(replace(stage, cold_batch=cold_batch) for stage in own.pipeline.stages)
    return replace(own, pipeline=replace(own.pipeline, stages=stages))


problems = st.booleans().map(problem)


def cost_core_s(problem: Problem, serving: Configuration, wanted: Configuration) -> float:
    each = zip(problem.pipeline.stages, serving.stages, wanted.stages, strict=True)
    return sum(start_core_s(*one) for one in each)


@given(problems, horizons, configurations, configurations, loads, queues)
def test_what_runs_on_carries_the_load_that_is_planned_for_and_what_waits_within_the_sla(
    problem: Problem,
    horizon_s: float,
    serving: Configuration,
    wanted: Configuration,
    load: float,
    queued: np.ndarray,
) -> None:
    found = ChangePayoff(problem, horizon_s).worthwhile(wanted, serving.stages, load, queued).configuration
    assume(found != wanted)
    for stage, one, then, waits in zip(
        problem.pipeline.stages, found.stages, wanted.stages, queued, strict=True
    ):
        capacity = one.replicas * rate_rps(stage, one)
        if one != then:
            assert capacity >= (load + waits / horizon_s) * (1 - 1e-9)
            assert capacity >= (then.replicas - 1) * rate_rps(stage, then) * (1 - 1e-9)
            assert one.replicas <= problem.max_replicas
    assert latency_s(latency_budget(problem.pipeline, found, load)) <= problem.sla_s


@given(problems, horizons, configurations, configurations, loads, queues)
def test_what_is_left_undone_would_not_have_paid(
    problem: Problem,
    horizon_s: float,
    serving: Configuration,
    wanted: Configuration,
    load: float,
    queued: np.ndarray,
) -> None:
    found = ChangePayoff(problem, horizon_s).worthwhile(wanted, serving.stages, load, queued).configuration
    gain = objective(problem, wanted) - objective(problem, found)
    saved = cost_core_s(problem, serving, wanted) - cost_core_s(problem, serving, found)
    assert gain * horizon_s <= problem.weights.beta * saved + 1e-6


@given(problems, configurations, configurations, loads)
def test_over_an_endless_horizon_nothing_is_left_undone_that_is_better(
    problem: Problem, serving: Configuration, wanted: Configuration, load: float
) -> None:
    found = ChangePayoff(problem, 1e12).worthwhile(wanted, serving.stages, load, NOTHING).configuration
    assert objective(problem, found) >= objective(problem, wanted) - 1e-6


@given(problems, horizons, configurations, st.tuples(st.integers(1, 30), st.integers(1, 30)), loads)
def test_replicas_alone_change_as_they_are_wanted(
    problem: Problem, horizon_s: float, serving: Configuration, replicas: tuple[int, int], load: float
) -> None:
    wanted = Configuration(
        tuple(replace(one, replicas=n) for one, n in zip(serving.stages, replicas, strict=True))
    )
    found = ChangePayoff(problem, horizon_s).worthwhile(wanted, serving.stages, load, NOTHING)
    assert found.configuration == wanted
    assert not found.edits


@given(problems, horizons, configurations, configurations, loads)
def test_it_says_so_in_words_exactly_where_it_leaves_something_undone(
    problem: Problem, horizon_s: float, serving: Configuration, wanted: Configuration, load: float
) -> None:
    found = ChangePayoff(problem, horizon_s).worthwhile(wanted, serving.stages, load, NOTHING)
    apart = sum(a != b for a, b in zip(found.configuration.stages, wanted.stages, strict=True))
    assert len(found.edits) == apart


@given(problems, configurations, configurations, loads)
def test_what_is_not_known_or_not_settled_changes_as_it_is_wanted(
    problem: Problem, serving: Configuration, wanted: Configuration, load: float
) -> None:
    payoff = ChangePayoff(problem, 1.0)
    assert payoff.worthwhile(wanted, (None, None), load, NOTHING).configuration == wanted
    assert payoff.worthwhile(wanted, serving.stages, math.nan, NOTHING).configuration == wanted


@given(problems, horizons, configurations, configurations, loads, st.integers(2, 60))
def test_running_on_never_costs_more_than_the_budget(
    problem: Problem,
    horizon_s: float,
    serving: Configuration,
    wanted: Configuration,
    load: float,
    budget: int,
) -> None:
    payoff = ChangePayoff(problem, horizon_s, core_budget=budget)
    found = payoff.worthwhile(wanted, serving.stages, load, NOTHING).configuration
    assert found == wanted or cost_cores(problem.pipeline, found) <= budget


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
    assert start_core_s(stage, SMALL, wanted) == starting * variant.cores * variant.start_up_s


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


def changes(world: World) -> int:
    """Steps of a world that changed something."""
    return sum(bool(entry["changes"]) for entry in world.told.entries)


@pytest.mark.parametrize("cold_batch", [True, False], ids=["cold batch sizes", "hot batch sizes"])
def test_a_steady_load_changes_little(cold_batch: bool) -> None:
    """21 minutes of 6 requests/s on average, by chance more or fewer: without the rule every fifth step."""
    rule = COLD if cold_batch else replace(COLD, problem=VIDEO.problem)
    draws = np.random.default_rng(0).poisson(6.0, HISTORY_S + 1260).astype(np.float64)
    found = {}
    for payoff in (None, rule):
        world = World(parts={"limits": replace(FREE, least_capacity=1.0), "payoff": payoff}, loads=draws)
        world.steps(126)
        found[payoff] = world
    assert changes(found[None]) >= 20
    assert changes(found[rule]) <= changes(found[None]) * (0.5 if cold_batch else 0.75)
    left = [c["knob"] for entry in found[rule].told.entries for c in entry["changes"]]
    assert left.count("variant") + (left.count("batch") if cold_batch else 0) <= 4
    edits = [line for entry in found[rule].told.entries for line in entry["guard"]]
    assert any("does not pay for its start within" in line for line in edits)


def test_a_load_that_rises_is_answered_at_once() -> None:
    rising = np.concatenate([np.full(HISTORY_S, 6.0), np.full(1260, 40.0)])
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
    plain = PayoffCheckedAgent(inner, COLD).decide(state)
    assert (
        plain.configuration
        == COLD.worthwhile(
            inner.configuration, serving_of(VIDEO.problem, state.fleet), 10.0, state.queued
        ).configuration
    )
    assert PayoffCheckedAgent(agents[0], COLD).name == agents[0].name
    assert PROGRAM.decide(state).planned_rps == PayoffCheckedAgent(PROGRAM, COLD).decide(state).planned_rps
