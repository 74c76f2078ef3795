"""Graphs in the fluid simulator: what meets, what is conserved, and that it says what every request says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.blocks import tree_of
from ipa_rl.errors import InputError
from ipa_rl.graph import Join
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline
from ipa_rl.simulation import FluidSimulator, RequestSimulator, Timing
from ipa_rl.simulation.accounting import latency_quantile_s
from ipa_rl.simulation.flow import flow_of
from tests.graphs import block_pipelines
from tests.test_network import ARMS, TIMES, alike, edge, problem_of

WORLD = Timing(drop_limit_s=10.0, batch_timeout_s=1.0)


def fluid(
    problem: Problem, rows: list[list[int]], loads: list[float], world: Timing = WORLD
) -> FluidSimulator:
    simulator = FluidSimulator(problem, world)
    simulator.reset(0, np.array(rows))
    simulator.advance(np.array([loads]))
    return simulator


def quantiles(simulator: FluidSimulator | RequestSimulator) -> list[float]:
    return [latency_quantile_s(simulator.totals[0]["histogram"], q) for q in (0.5, 0.99)]


@pytest.mark.parametrize(("join", "expected_s"), [("all", 0.7), ("first", 0.4)])
def test_a_meeting_waits_for_the_last_or_the_first_of_its_arms(join: Join, expected_s: float) -> None:
    simulator = fluid(problem_of(*ARMS, joins={"j": join}, service_s=TIMES), [[0, 0, 9]] * 4, [5.0] * 100)
    assert quantiles(simulator)[0] == pytest.approx(expected_s, rel=0.04)
    assert simulator.totals[0]["served"] == pytest.approx(500.0)
    assert simulator.totals[0]["accuracy"] == pytest.approx(500.0 * 0.5 ** (4 if join == "all" else 3))


def test_a_stage_serves_as_many_as_its_parents_variant_sends() -> None:
    """3 crops a frame at 10 a second a replica: two replicas carry 20 of 30."""
    problem = problem_of(edge("dc", (3.0, 1.0)))
    simulator = fluid(problem, [[0, 0, 9], [0, 0, 2]], [10.0] * 3)
    assert simulator.waiting()[0].tolist() == pytest.approx([0.0, 30.0])
    simulator = fluid(problem, [[1, 0, 9], [0, 0, 2]], [10.0] * 3)
    assert simulator.waiting()[0].tolist() == pytest.approx([0.0, 0.0])


def test_alternatives_are_told_apart_behind_where_they_meet() -> None:
    """Three of ten take 0.5 s more, and are late."""
    edges = edge("re", probability=0.3), edge("ra", probability=0.7), edge("ea")
    problem = problem_of(*edges, service_s={"e": 0.5}, sla_s=0.5)
    simulator = fluid(problem, [[0, 0, 9]] * 3, [5.0] * 100)
    assert simulator.totals[0]["late"] / 500.0 == pytest.approx(0.3)
    assert simulator.totals[0]["accuracy"] / 500.0 == pytest.approx(0.25 * (0.3 * 0.5 + 0.7))


def test_what_takes_no_alternative_is_served_there() -> None:
    simulator = fluid(problem_of(edge("ab", probability=0.4)), [[0, 0, 2], [0, 0, 1]], [12.0] * 50)
    assert simulator.totals[0]["served"] == pytest.approx(600.0)


def test_a_sink_of_its_own_sla_makes_what_ends_there_late() -> None:
    problem = problem_of(edge("sa"), edge("sb"), service_s=TIMES)
    for own_s, late in ((0.25, 500.0), (0.5, 0.0)):
        strict = replace(problem, sink_sla_s=(("a", own_s),))
        simulator = fluid(strict, [[0, 0, 9]] * 3, [5.0] * 100)
        assert simulator.totals[0]["late"] == pytest.approx(late)
        assert quantiles(simulator)[0] == pytest.approx(0.6, rel=0.04)  # of b all the same


def test_what_one_arm_drops_is_dropped_once() -> None:
    """Both arms carry half of the load: half of the requests are dropped, not all."""
    problem = problem_of(edge("sa"), edge("sb"), edge("aj"), edge("bj"))
    world = Timing(drop_limit_s=2.0, batch_timeout_s=0.0)
    simulator = fluid(problem, [[0, 0, 9], [0, 0, 1], [0, 0, 1], [0, 0, 9]], [20.0] * 60 + [0.0] * 20, world)
    assert simulator.totals[0]["served"] == pytest.approx(620.0, rel=0.05)
    assert simulator.totals[0]["served"] + simulator.totals[0]["dropped"] == pytest.approx(1200.0)


def test_what_the_quicker_of_two_arms_drops_is_served_by_the_other() -> None:
    """In the first tick both come: a little by the quicker, which drops the rest later; all by the other."""
    edges = edge("sa"), edge("sb"), edge("aj"), edge("bj")
    service_s = {"s": 0.02, "a": 0.05, "b": 0.1, "j": 0.02}
    problem = problem_of(*edges, joins={"j": "first"}, service_s=service_s)
    rows, world = [[0, 0, 9], [0, 0, 1], [0, 0, 50], [0, 0, 9]], Timing(drop_limit_s=0.5, batch_timeout_s=0.0)
    simulator = fluid(problem, rows, [200.0] * 60 + [0.0] * 20, world)
    assert simulator.totals[0]["served"] == pytest.approx(12_000.0)
    assert simulator.totals[0]["dropped"] == pytest.approx(0.0)


def test_arms_that_are_entangled_are_told() -> None:
    problem = problem_of(edge("sa"), edge("sb"), edge("ac"), edge("ad"), edge("bd"), edge("ce"), edge("de"))
    with pytest.raises(InputError, match="share stages without meeting"):
        flow_of(problem)


def test_a_state_of_a_graph_is_gone_on_from() -> None:
    problem = problem_of(*ARMS, service_s=TIMES)
    one, other = (fluid(problem, [[0, 0, 3]] * 4, [8.0] * 20) for _ in range(2))
    other.reset(0, np.array([[0, 0, 1]] * 4))
    other.restore(one.state())
    for simulator in (one, other):
        simulator.clear_totals()
        simulator.advance(np.array([[25.0] * 30]))
    assert one.totals.tobytes() == other.totals.tobytes()
    bad = one.state()
    bad["arms"] = bad["arms"][:, :1]
    with pytest.raises(InputError, match="not of this pipeline"):
        other.restore(bad)


def drawn(pipeline: Pipeline, seed: int) -> tuple[Problem, list[list[int]], np.random.Generator]:
    """Replicas that carry some eight requests a second at each stage, or nearly."""
    problem, rng = Problem(alike(pipeline), Weights(1.0, 1.0, 0.0, 1.0), 2.0, 50), np.random.default_rng(seed)
    variants = [int(rng.integers(len(stage.variants))) for stage in pipeline.stages]
    visits, rows = pipeline.graph.visits(variants), []
    for s, v in enumerate(variants):
        rate_rps = problem.pipeline.stages[s].variants[v].throughput_rps[0]
        rows.append([v, 0, max(1, round(8.0 * visits[s] / rate_rps * rng.uniform(1.0, 2.5)))])
    return problem, rows, rng


@settings(max_examples=60, deadline=None)
@given(block_pipelines(most_stages=8), st.integers(0, 10**6), st.sampled_from([0.5, 3.0, 10.0]))
def test_every_request_is_served_or_dropped(pipeline: Pipeline, seed: int, drop_limit_s: float) -> None:
    problem, rows, rng = drawn(pipeline, seed)
    world = Timing(drop_limit_s=drop_limit_s, batch_timeout_s=0.1)
    loads = rng.poisson(8.0, 60) * rng.choice([0.5, 1.0, 3.0], 60)
    simulator = fluid(problem, rows, loads.tolist(), world)
    for _ in range(3):
        totals = simulator.totals[0]
        assert totals["served"] + totals["dropped"] <= totals["arrived"] + 1e-6
        simulator.apply(np.array([[[v, k, n + 5] for v, k, n in rows]]))
        simulator.advance(np.zeros((1, 30)))
    totals = simulator.totals[0]
    assert totals["served"] + totals["dropped"] == pytest.approx(loads.sum(), rel=1e-6)
    assert 0.0 <= totals["accuracy"] <= totals["served"] + 1e-9


@settings(max_examples=40, deadline=None)
@given(block_pipelines(most_stages=7), st.integers(0, 10**6))
def test_it_says_what_the_request_level_simulator_says(pipeline: Pipeline, seed: int) -> None:
    """Requests served, accuracy, cost and the median, where all is carried; waits at random it leaves out."""
    problem, rows, rng = drawn(pipeline, seed)
    rows = [[v, k, 2 * n + 3] for v, k, n in rows]
    counts = rng.poisson(8.0, 400)
    arrivals_s = np.sort(np.concatenate([second + rng.random(n) for second, n in enumerate(counts)]))
    requests = RequestSimulator(problem, WORLD, arrivals_s, rng, keeps_requests=False)
    requests.place(np.array(rows))
    requests.advance(400.0)
    flow = fluid(problem, rows, counts.tolist())
    assert tree_of(problem.pipeline.graph) is not None
    ours, theirs = flow.totals[0], requests.totals[0]
    assert ours["served"] == pytest.approx(theirs["served"], rel=0.03)
    assert ours["core_s"] == theirs["core_s"]
    if all(
        min(one.requests) >= 1.0 for one in pipeline.edges
    ):  # who becomes none is graded without that stage
        mean = theirs["accuracy"] / theirs["served"]
        assert ours["accuracy"] / ours["served"] == pytest.approx(mean, rel=0.08)
