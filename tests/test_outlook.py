"""Rollouts: the model of the simulators in few ticks, and the waiting that the fluid leaves out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipa_rl.environment.reward import weight_records
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.simulation import FluidSimulator, Timing
from ipa_rl.simulation.accounting import TAIL_SHARE
from ipa_rl.simulation.outlook import Outlook, roll_out, service_scv
from ipa_rl.simulation.queues import RING
from ipa_rl.simulation.request_level import RequestSimulator, latencies_s
from ipa_rl.simulation.stations import layout_of
from ipa_rl.simulation.tables import build_limits, build_variants
from tests.pipelines import one_stage, two_stages

INTERVAL_S = 10


def rolled(
    problem: Problem,
    timing: Timing,
    simulator: FluidSimulator,
    decisions: IntArray,
    loads: FloatArray,
    past: FloatArray,
) -> float:
    """Utility of the decisions (intervals, stages, 3), one an interval, over one path."""
    variants = build_variants(problem, timing)
    curve = np.concatenate([[0.0], np.cumsum(np.concatenate([past, loads]))])
    outlook = Outlook(
        variants=variants,
        service_scv=np.zeros_like(service_scv(variants)),
        limits=build_limits(problem, timing)[0],
        weights=weight_records([problem.weights])[0],
        curves=curve[None],
        past=len(past),
        usual_rps=float(loads.mean()),
        tails=np.arange(1, len(decisions))[None, None],
        rows=decisions,
        tick_s=1.0,
        interval_ticks=INTERVAL_S,
        layout=layout_of(problem),
    )
    out = np.zeros((1, 1))
    one = np.zeros(1, dtype=np.int64)
    roll_out(simulator.fleet[0], simulator.waiting()[0], decisions[:1], one, outlook, one, 0, 1, out)
    return float(out[0, 0])


def played(simulator: FluidSimulator, problem: Problem, decisions: IntArray, loads: FloatArray) -> float:
    """The same in the fluid simulator; what waits at the end will be served, and is late if it is already."""
    simulator.clear_totals()
    for i, rows in enumerate(decisions):
        simulator.apply(rows[None])
        simulator.advance(loads[None, i * INTERVAL_S : (i + 1) * INTERVAL_S])
    totals, weights, usual = simulator.totals[0], problem.weights, float(loads.sum())
    violated = totals["late"] + totals["dropped"] + late_after(simulator, problem.sla_s, loads)
    fleet, stages = simulator.fleet[0], range(len(simulator.fleet[0]))
    score = math.prod(simulator.variants[s, fleet[s]["active"]]["score"] for s in stages)
    scored = totals["score"] + simulator.waiting()[0].sum() * score
    by_request = weights.alpha * scored - weights.rho * violated
    by_second = weights.beta * totals["core_s"] + weights.delta * totals["batch_s"]
    return float(by_request / usual - by_second / totals["seconds"])


def late_after(simulator: FluidSimulator, sla_s: float, loads: FloatArray) -> float:
    """Requests that still wait and are older than the SLA, or behind more than is served within one.

    And those that come until no more than that waits.
    """
    fleet, stages = simulator.fleet[0], range(len(simulator.fleet[0]))
    served_rps = min(
        one["ready"] * simulator.variants[s, one["active"]]["rate_rps"][one["batch"]]
        for s, one in zip(stages, fleet, strict=True)
    )
    excess, came_rps = simulator.waiting()[0].sum() - served_rps * sla_s, loads[-INTERVAL_S:].mean()
    seconds = min(excess / max(served_rps - came_rps, 1e-9), len(loads))
    late = late_already(simulator, sla_s)
    return float(max(late, excess) + came_rps * seconds) if excess > 0.0 else late


def late_already(simulator: FluidSimulator, sla_s: float) -> float:
    """Requests that still wait and are older than the SLA."""
    late = 0.0
    for queue in simulator.queues[0]:
        for i in range(int(queue["length"])):
            at = (int(queue["head"]) + i) % RING
            age_s = queue["typical_s"][at] + simulator.clock[0] - queue["entered"][at]
            late += float(queue["amount"][at]) if age_s > sla_s else 0.0
    return late


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 8)), min_size=8, max_size=8),
    st.lists(st.integers(2, 40), min_size=4, max_size=4),
    st.integers(0, 60),
)
@example([(0, 0, 1), (2, 0, 1)] * 2 + [(0, 0, 2), (2, 1, 1), (0, 0, 2), (0, 3, 6)], [2, 2, 24, 21], 0).xfail(
    reason="where queues of both stages grow ages may be 1.8 ticks off; found at random, not mended yet"
)
@settings(max_examples=60, deadline=None)
def test_a_rollout_is_worth_what_the_fluid_simulator_says(
    choices: list[tuple[int, int, int]], levels: list[int], before: int
) -> None:
    """From any state, whatever is decided: transitions, queues with their ages, drops and accounts.

    Ages are known to a tick and a half, as a rollout takes one for all that leave in a tick.
    """
    problem, timing = two_stages(), Timing(drop_limit_s=10.0)
    decisions = np.array(choices).reshape(4, 2, 3)
    loads = np.repeat(np.array(levels, dtype=np.float64), INTERVAL_S)
    past = np.full(20, before / 2.0)

    def begun(sla_s: float) -> tuple[FluidSimulator, Problem]:
        meant = replace(problem, sla_s=sla_s)
        simulator = FluidSimulator(meant, timing)
        simulator.reset(0, np.array([[0, 0, 2], [0, 0, 2]]))
        simulator.advance(past[None])
        return simulator, meant

    mine = rolled(problem, timing, begun(problem.sla_s)[0], decisions, loads, past)
    strict, lenient = (played(*begun(problem.sla_s + longer_s), decisions, loads) for longer_s in (-1.5, 1.5))
    slack = 0.005 * problem.weights.rho  # half a percent of violations
    assert strict - slack <= mine <= lenient + slack


def test_without_a_queue_a_rollout_is_worth_exactly_what_the_fluid_simulator_says() -> None:
    problem, timing = two_stages(), Timing()
    decisions = np.array([[[0, 0, 4], [1, 0, 3]], [[2, 0, 3], [1, 0, 4]], [[2, 0, 5], [1, 0, 2]]])
    loads, past = np.full(30, 12.0), np.full(20, 12.0)
    simulator = FluidSimulator(problem, timing)
    simulator.reset(0, np.array([[0, 0, 4], [0, 0, 4]]))
    mine = rolled(problem, timing, simulator, decisions, loads, past)
    assert mine == pytest.approx(played(simulator, problem, decisions, loads), rel=1e-9)


def test_requests_that_wait_at_the_end_and_are_late_already_count() -> None:
    """Else the best is to let them wait beyond the horizon."""
    problem, timing = one_stage(), Timing(drop_limit_s=100.0)
    simulator = FluidSimulator(problem, timing)
    simulator.reset(0, np.array([[0, 0, 1]]))
    decisions = np.array([[[0, 0, 1]]])
    past, none = np.zeros(20), np.concatenate([np.full(5, 100.0), np.zeros(5)])
    worth = rolled(problem, timing, simulator, decisions, none, past)
    # Of 500 requests 100 are served, of which about half are late; 400 wait, almost all older than the SLA.
    assert worth < problem.weights.alpha - problem.weights.beta - 0.7 * problem.weights.rho


@pytest.mark.parametrize(("requests", "late"), [(1.0, False), (2.0, True)])
def test_a_request_that_comes_alone_waits_for_nobody(requests: float, late: bool) -> None:
    """The counts of a path are random already: who is alone in a tick finds a replica that is free."""
    problem, timing = replace(one_stage(), sla_s=0.4), Timing(batch_timeout_s=0.0)
    simulator = FluidSimulator(problem, timing)
    simulator.reset(0, np.array([[1, 0, 1]]))  # 0.2 s, 0.3 s at the most: another one before it is too much
    loads = np.full(10, requests)
    worth = rolled(problem, timing, simulator, np.array([[[1, 0, 1]]]), loads, np.full(20, requests))
    all_in_time = 0.7 * problem.weights.alpha - problem.weights.beta
    assert (worth < all_in_time - 0.005 * problem.weights.rho) == late


def test_a_queue_that_is_worked_off_after_the_end_is_better_than_one_that_is_not() -> None:
    """Until then all are late either way, and more replicas only cost."""
    problem, timing = replace(one_stage(), sla_s=10.0), Timing(drop_limit_s=20.0)
    simulator = FluidSimulator(problem, timing)
    simulator.reset(0, np.array([[0, 0, 1]]))
    simulator.advance(np.full((1, 400), 11.0))  # of which ten are served: what waits is dropped at its age
    past, loads = np.full(60, 11.0), np.full(20, 11.0)
    stays, grows = (
        rolled(problem, timing, simulator, np.array([[[0, 0, count]]] * 2), loads, past) for count in (1, 2)
    )
    assert grows > stays


def test_stages_in_a_row_do_not_wait_for_the_same_luck_each() -> None:
    """Ten stages with one replica each, 70 % busy: as if each stood alone they would wait for ten times."""
    variant = Variant("one", 1.0, 1, 0.0, (1,), (0.05,), (0.051,), (20.0,))
    stages = tuple(Stage(f"stage-{k}", (variant,)) for k in range(10))
    problem = Problem(Pipeline("long", stages), Weights(1.0, 0.0, 0.0, rho=1.0), 0.95, 10)
    timing, rows = Timing(batch_timeout_s=0.0), np.array([[0, 0, 1]] * 10)
    arrivals_s = np.cumsum(np.random.default_rng(0).exponential(1.0 / 14.0, 20_000))
    judge = RequestSimulator(problem, timing, arrivals_s, np.random.default_rng(0))
    judge.place(rows)
    judge.advance(float(arrivals_s[-1]))
    took_s = latencies_s(judge.requests)
    assert (took_s[np.isfinite(took_s)] > problem.sla_s).mean() < TAIL_SHARE
    simulator = FluidSimulator(problem, timing)
    simulator.reset(0, rows)
    worth = rolled(problem, timing, simulator, rows[None], np.full(10, 14.0), np.full(20, 14.0))
    assert worth == pytest.approx(problem.weights.alpha)
