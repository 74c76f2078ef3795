"""What stages tell of how long they take to serve: queues as they are, against queues as the profile says."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents import State
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.planner import PlannerAgent, make_planner
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.service_scales import (
    MOST,
    ServiceMeter,
    came_within,
    ready_replicas,
)
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import IntArray
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Disturbance, Scenario, SimulatedCluster
from ipa_rl.simulation import FluidSimulator
from ipa_rl.simulation.tables import Timing
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.futures import TrueFuture
from ipa_rl.workload.workload import Window
from tests.graphs import Kind, graph_environment
from tests.pipelines import two_stages
from tests.scenarios import VIDEO, short

TOLD = replace(VIDEO, problem=two_stages(), timing=Timing(drop_limit_s=100.0))
INTERVAL_S = TOLD.timing.interval_s
ROWS = np.array([[0, 0, 3], [0, 0, 3]])
CAPACITY_RPS = 3 / 0.06


def slower(scales: tuple[float, float], told: Definition = TOLD) -> Definition:
    """The world as it is, where stages take other times than profiled."""
    return told.with_problem(pipeline=told.pipeline.serving(scales))


def measured(
    world: Definition, loads_rps: list[float], meter: ServiceMeter, rows: IntArray = ROWS
) -> ServiceMeter:
    """The meter after intervals of these loads, served by the fluid simulator."""
    simulator = FluidSimulator(world.problem, world.timing)
    simulator.reset(0, rows)
    history = np.zeros(INTERVAL_S)
    for i, load_rps in enumerate([0.0, *loads_rps]):
        seconds = np.full(INTERVAL_S, load_rps)
        simulator.advance(seconds[None])
        history = np.concatenate([history, seconds])
        queued = np.asarray(simulator.waiting()[0], dtype=np.float64)
        meter.saw(State(history, simulator.fleet[0].copy(), queued, clock_s=float(i * INTERVAL_S)))
    return meter


busy = st.lists(st.floats(0.98, 1.15), min_size=12, max_size=20)
"""Loads as shares of the true capacity, of which some grows a queue."""


@given(st.floats(1.15, 1.8), busy)
@settings(max_examples=30, deadline=None)
def test_a_stage_for_which_requests_wait_tells_its_scale(scale: float, shares: list[float]) -> None:
    loads_rps = [1.2 * CAPACITY_RPS / scale] * 3 + [share * CAPACITY_RPS / scale for share in shares]
    meter = measured(slower((scale, 0.5)), loads_rps, ServiceMeter(TOLD))
    assert meter.scales[0] == pytest.approx(scale, rel=0.09)


@given(st.floats(1.15, 1.8), busy)
@settings(max_examples=30, deadline=None)
def test_a_later_stage_is_measured_by_what_those_before_it_pass_on(scale: float, shares: list[float]) -> None:
    loads_rps = [1.2 * CAPACITY_RPS / scale] * 3 + [share * CAPACITY_RPS / scale for share in shares]
    meter = measured(slower((1.0, scale)), loads_rps, ServiceMeter(TOLD))
    assert meter.scales[0] == 1.0
    assert meter.scales[1] == pytest.approx(scale, rel=0.09)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_stage_of_a_graph_is_measured_by_what_comes_to_it(kind: Kind) -> None:
    """The second classifier takes half as long again; 0.8 crops of a frame come to it, 7 of 10, or each."""
    told = replace(graph_environment(kind), timing=Timing(drop_limit_s=100.0))
    names = [stage.name for stage in told.pipeline.stages]
    scales = [1.5 if name == "cars" else 1.0 for name in names]
    world = told.with_problem(pipeline=told.pipeline.serving(scales))
    rows, visits = [], told.pipeline.graph.visits([0] * len(names)).tolist()
    for stage, own in zip(told.pipeline.stages, visits, strict=True):
        needed = 100.0 * own / stage.variants[0].throughput_rps[0]
        rows.append([0, 0, round(needed * (1.1 if stage.name == "cars" else 3.0)) + 1])
    meter = measured(world, [100.0] * 8, ServiceMeter(told), np.array(rows))
    found = dict(zip(names, meter.scales.tolist(), strict=True))
    assert found["cars"] == pytest.approx(1.5, abs=0.12)
    assert all(scale == 1.0 for name, scale in found.items() if name != "cars")


@given(st.sampled_from([0.6, 0.8, 1.0]), st.lists(st.floats(0.0, 2.0), min_size=5, max_size=30))
@settings(max_examples=30, deadline=None)
def test_where_the_profile_is_true_or_too_careful_nothing_is_corrected(
    scale: float, shares: list[float]
) -> None:
    meter = measured(slower((scale, scale)), [share * CAPACITY_RPS for share in shares], ServiceMeter(TOLD))
    np.testing.assert_array_equal(meter.scales, 1.0)


def test_an_idle_stage_tells_nothing() -> None:
    meter = measured(slower((1.5, 1.5)), [0.3 * CAPACITY_RPS] * 30, ServiceMeter(TOLD))
    np.testing.assert_array_equal(meter.scales, 1.0)
    np.testing.assert_array_equal(meter.intervals, 0.0)


def test_it_takes_several_intervals() -> None:
    found = [
        measured(slower((1.5, 1.0)), [CAPACITY_RPS] * count, ServiceMeter(TOLD)).scales[0]
        for count in range(8)
    ]
    assert found[:4] == [1.0] * 4
    assert found[-1] == pytest.approx(1.5, rel=0.09)


def test_what_has_changed_is_learned_anew() -> None:
    meter = measured(slower((1.4, 1.0)), [CAPACITY_RPS] * 12, ServiceMeter(TOLD))
    assert meter.scales[0] > 1.3
    meter.lost_sight()
    measured(TOLD, [1.1 * CAPACITY_RPS] * 60, meter)
    assert meter.scales[0] == 1.0


times = st.tuples(st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.floats(0.0, 1e3))


@given(st.lists(times, max_size=30))
@settings(max_examples=30, deadline=None)
def test_whatever_is_seen_a_scale_stays_within_its_bounds(seen: list[tuple[float, float, float]]) -> None:
    """Queues and loads that have nothing to do with each other."""
    meter, simulator = ServiceMeter(TOLD), FluidSimulator(TOLD.problem, TOLD.timing)
    simulator.reset(0, ROWS)
    history = np.zeros(INTERVAL_S)
    for i, (first, second, load_rps) in enumerate(seen):
        history = np.concatenate([history, np.full(INTERVAL_S, load_rps)])
        meter.saw(
            State(history, simulator.fleet[0], np.array([first, second]), clock_s=float(i * INTERVAL_S))
        )
        assert ((meter.scales >= 1.0) & (meter.scales <= MOST)).all()


@pytest.mark.parametrize("passed_s", [0.0, 3.0 * INTERVAL_S])
def test_nothing_is_learned_where_no_interval_passed_or_more_than_one(passed_s: float) -> None:
    meter = ServiceMeter(TOLD)
    simulator = FluidSimulator(TOLD.problem, TOLD.timing)
    simulator.reset(0, ROWS)
    for i in range(20):
        queued = np.array([100.0 * i, 0.0])
        meter.saw(State(np.full(100, 1.0), simulator.fleet[0], queued, clock_s=i * passed_s))
    np.testing.assert_array_equal(meter.intervals, 0.0)


def test_replicas_that_fail_are_seen_and_say_nothing_of_those_that_serve() -> None:
    loads = np.full(120 + 600, 12, dtype=np.int64)
    scenario = Scenario(Window("outage", loads, 120), Disturbance(outage_at_s=105))
    agent = MeasuringAgent(make_planner(VIDEO), meters_of(VIDEO))
    play(VIDEO, agent, scenario)
    np.testing.assert_array_equal(agent.meters.service.scales, 1.0)
    np.testing.assert_array_equal(agent.meters.starts.scales, 1.0)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.5, 30.0))
def test_ready_replicas_are_those_of_the_simulator(before: int, after: int, start_up_s: float) -> None:
    timing = replace(TOLD.timing, start_up_scale=start_up_s / 9.0)
    told = replace(TOLD, timing=timing)
    simulator = FluidSimulator(told.problem, timing)
    simulator.reset(0, np.array([[0, 0, before], [0, 0, before]]))
    old = simulator.fleet[0].copy()
    simulator.apply(np.array([[[0, 0, after], [0, 0, after]]]))
    simulator.advance(np.zeros((1, INTERVAL_S)))
    found = ready_replicas(old[0], simulator.fleet[0][0], simulator.variants[0], np.ones(INTERVAL_S))
    assert found is not None
    assert found.sum() == pytest.approx(
        INTERVAL_S * min(before, after) + max(after - before, 0) * max(INTERVAL_S - start_up_s, 0.0)
    )


def test_what_became_ready_at_another_time_than_expected_says_nothing() -> None:
    simulator = FluidSimulator(TOLD.problem, TOLD.timing)
    simulator.reset(0, ROWS)
    old, new = simulator.fleet[0].copy(), simulator.fleet[0].copy()
    new["ready"] = 2
    assert ready_replicas(old[0], new[0], simulator.variants[0], np.ones(INTERVAL_S)) is None


def world_loads(seconds: int = 600) -> IntArray:
    """A load that steps up and down around the capacity of a few replicas."""
    steps = np.repeat([20, 45, 30, 60, 25, 50], seconds // 6)
    return np.concatenate([np.full(120, 20), steps]).astype(np.int64)


def test_a_planner_that_measures_makes_up_for_a_stage_that_is_slower_than_profiled() -> None:
    """One of two stages 30 % slower than its profile says."""
    told = replace(VIDEO, problem=two_stages())
    world, scenario = slower((1.3, 1.0), told), Scenario(Window("steps", world_loads(), 120))
    planner = PlannerAgent("planner", told, TrueFuture(scenario.window.arrivals, 1))
    agents = planner, MeasuringAgent(planner, meters_of(told))
    alone, measures = (figures(world, play(world, agent, scenario)) for agent in agents)
    assert measures["violations"] < 0.5 * alone["violations"]
    assert measures["utility"] > alone["utility"]


@pytest.mark.parametrize("window", ["bursty", "steady-low"])
def test_a_planner_that_measures_decides_the_same_where_the_profile_is_true(window: str) -> None:
    scenario = short(window, 400)
    agents = make_planner(VIDEO), MeasuringAgent(make_planner(VIDEO), meters_of(VIDEO))
    alone, measures = (play(VIDEO, agent, scenario) for agent in agents)
    np.testing.assert_array_equal(alone.sums, measures.sums)


def test_a_planner_and_a_program_plan_by_the_scales_of_the_state() -> None:
    state = SimulatedCluster(VIDEO, short("bursty")).observe()
    scales = np.array([1.5, 1.0])
    slow = VIDEO.with_problem(pipeline=VIDEO.pipeline.serving([1.5, 1.0]))
    for told, knows in (
        (make_planner(VIDEO), make_planner(slow)),
        (ProgramAgent("ip", VIDEO, WindowMaximum(30)), ProgramAgent("ip", slow, WindowMaximum(30))),
    ):
        sees = told.decide(replace(state, service_scales=scales))
        assert sees.configuration == knows.decide(state).configuration
        assert told.decide(replace(state, service_scales=np.ones(2))) == told.decide(state)


def test_what_came_within_some_seconds() -> None:
    assert came_within(np.array([1.0, 2.0, 4.0]), 0, [0])[0] == 0.0
    assert came_within(np.array([1.0, 2.0, 4.0]), 9, [0])[0] == 7.0
