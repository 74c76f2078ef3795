"""Graphs in the request-level simulator: what a request becomes, who waits for whom, what is conserved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.graph import Edge, Join
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.simulation import Timing
from ipa_rl.simulation.events import DONE, DROPPED, GONE, IN_SERVICE, SERVED, UNDER_WAY, WAITING
from ipa_rl.simulation.network import MOST, network_of
from ipa_rl.simulation.request_level import RequestSimulator, Service, latencies_s
from tests.graphs import any_pipelines, block_pipelines
from tests.pipelines import variant
from tests.test_request_level import FOREVER, poisson


def edge(ends: str, requests: float | tuple[float, ...] = 1.0, probability: float = 1.0) -> Edge:
    """From and to a stage of one letter."""
    many = requests if isinstance(requests, tuple) else (requests,)
    return Edge(ends[0], ends[1], many, probability)


def problem_of(
    *edges: Edge,
    joins: dict[str, Join] | None = None,
    service_s: dict[str, float] | None = None,
    sla_s: float = 5.0,
) -> Problem:
    """Stages of one letter with a fast and a slow variant; service_s of the fast one, 0.1 by default."""
    names = list(dict.fromkeys(name for one in edges for name in (one.source, one.target)))
    stages = []
    for name in names:
        own_s = (service_s or {}).get(name, 0.1)
        both = variant("fast", 0.5, service_s=own_s), variant("slow", 0.8, service_s=2 * own_s)
        stages.append(Stage(name, both, join=(joins or {}).get(name)))
    pipeline = Pipeline("graph", tuple(stages), edges)
    return Problem(pipeline, Weights(2.0, 1.0, 0.0, 20.0), sla_s=sla_s, max_replicas=50)


def simulate(
    problem: Problem,
    arrivals_s: NDArray[Any],
    replicas: int | list[int] = 30,
    world: Timing = FOREVER,
    service: Service = "fixed",
    variants: list[int] | None = None,
    seconds: float | None = None,
) -> RequestSimulator:
    """Served until all are through, one request a batch."""
    simulator = RequestSimulator(problem, world, arrivals_s, np.random.default_rng(1), service)
    count = len(problem.pipeline.stages)
    each = replicas if isinstance(replicas, list) else [replicas] * count
    simulator.place(np.array([[v, 0, n] for v, n in zip(variants or [0] * count, each, strict=True)]))
    simulator.advance(seconds if seconds is not None else arrivals_s[-1] + 1000.0)
    return simulator


APART = np.arange(200) * 10.0
"""Requests that do not meet each other."""

ARMS = edge("sa"), edge("sb"), edge("aj"), edge("bj")
TIMES = {"s": 0.1, "a": 0.2, "b": 0.5, "j": 0.1}


@pytest.mark.parametrize(("join", "expected_s"), [("all", 0.7), ("first", 0.4)])
def test_a_join_begins_with_the_last_or_the_first_of_its_arms(join: Join, expected_s: float) -> None:
    simulator = simulate(problem_of(*ARMS, joins={"j": join}, service_s=TIMES), APART)
    assert latencies_s(simulator.requests) == pytest.approx(np.full(200, expected_s))
    assert len(simulator.visits(1)) == len(simulator.visits(2)) == 200  # the slower arm goes on


def test_answers_that_nobody_joins_are_all_awaited() -> None:
    simulator = simulate(problem_of(edge("sa"), edge("sb"), service_s=TIMES), APART)
    assert latencies_s(simulator.requests) == pytest.approx(np.full(200, 0.6))


def test_a_fraction_of_requests_becomes_whole_ones_of_that_mean() -> None:
    problem = problem_of(edge("dc", (2.6, 18.9)))
    for v, mean in enumerate((2.6, 18.9)):
        simulator = simulate(problem, np.arange(2000) * 10.0, variants=[v, 0])
        crops = np.bincount(simulator.visits(1)["request"])
        assert set(crops.tolist()) == {int(mean), int(mean) + 1}
        assert crops.mean() == pytest.approx(mean, abs=0.05)


def test_a_join_waits_for_all_that_a_stage_sent_on() -> None:
    """One replica classifies three crops one after the other; what joins them runs once a frame."""
    problem = problem_of(edge("dc", 3.0), edge("cj"), joins={"j": "all"})
    simulator = simulate(problem, APART, replicas=[1, 1, 1])
    assert latencies_s(simulator.requests) == pytest.approx(np.full(200, 0.1 + 0.3 + 0.1))
    assert [len(simulator.visits(s)) for s in range(3)] == [200, 600, 200]


def test_where_an_edge_carries_nothing_the_join_runs_all_the_same() -> None:
    problem = problem_of(edge("dc", 0.25), edge("cj"), joins={"j": "all"})
    simulator = simulate(problem, APART)
    carried = len(simulator.visits(1))
    assert 20 < carried < 80
    assert len(simulator.visits(2)) == 200
    assert sorted(set(latencies_s(simulator.requests).round(6))) == [0.2, 0.3]
    assert (latencies_s(simulator.requests) > 0.25).sum() == carried


def test_a_request_takes_one_alternative_or_none() -> None:
    problem = problem_of(edge("ra", probability=0.3), edge("rb", probability=0.5))
    simulator = simulate(problem, np.arange(3000) * 10.0)
    shares = [len(simulator.visits(s)) / 3000 for s in range(3)]
    assert shares == pytest.approx([1.0, 0.3, 0.5], abs=0.03)
    assert not set(simulator.visits(1)["request"]) & set(simulator.visits(2)["request"])
    assert (simulator.requests["status"] == SERVED).all()


def test_what_is_decided_changes_nothing_of_what_a_request_becomes() -> None:
    problem = problem_of(edge("rd", probability=0.5), edge("dc", (2.5, 2.5)))
    few, many = (simulate(problem, APART, replicas=n) for n in (1, 20))
    assert few.visits(2)["request"].tolist() == many.visits(2)["request"].tolist()


# The answer.


def test_the_accuracy_of_an_answer_is_the_product_of_its_stages_means() -> None:
    """The variant changes between two crops of a frame: 0.5 x (0.5 + 0.8) / 2."""
    problem = problem_of(edge("dc", 2.0))
    simulator = RequestSimulator(
        problem, replace(FOREVER, start_up_scale=0.0), np.zeros(1), np.random.default_rng(0), "fixed"
    )
    simulator.place(np.array([[0, 0, 1], [0, 0, 1]]))
    simulator.advance(0.15)
    simulator.apply(np.array([[0, 0, 1], [1, 0, 1]]))
    simulator.advance(10.0)
    assert simulator.requests["accuracy"][0] == pytest.approx(0.5 * 0.65)
    assert simulator.totals["accuracy"][0] == pytest.approx(0.5 * 0.65)


def test_an_arm_that_comes_second_is_no_part_of_the_answer() -> None:
    problem = problem_of(*ARMS, joins={"j": "first"}, service_s=TIMES)
    simulator = simulate(problem, np.zeros(1), variants=[0, 0, 1, 0])
    assert simulator.requests["accuracy"][0] == pytest.approx(0.5**3)


def test_a_sink_of_its_own_sla_makes_a_request_late() -> None:
    problem = replace(problem_of(edge("sa"), edge("sb"), service_s=TIMES), sink_sla_s=(("a", 0.25),))
    assert simulate(problem, APART).totals["late"] == 200
    problem = replace(problem, sink_sla_s=(("a", 0.35),))
    assert simulate(problem, APART).totals["late"] == 0


# Drops and failures.


def test_where_an_awaited_task_is_dropped_its_request_is_and_the_rest_of_it_leaves_the_queues() -> None:
    problem = problem_of(*ARMS, service_s={"s": 0.0001, "a": 0.3, "b": 0.3})
    world = Timing(drop_limit_s=1.0, batch_timeout_s=0.0)
    simulator = simulate(problem, np.zeros(10), [10, 1, 1, 10], world)
    assert simulator.totals["served"] + simulator.totals["dropped"] == 10
    assert 2 <= simulator.totals["served"] <= 3
    assert set(simulator.tasks["status"].tolist()) <= {DONE, GONE}
    assert simulator.waiting().tolist() == [0, 0, 0, 0]


def test_a_request_survives_an_arm_that_fails_where_the_first_is_awaited() -> None:
    joins: list[tuple[Join, int]] = [("first", 0), ("all", 1)]
    for join, lost in joins:
        problem = problem_of(*ARMS, joins={"j": join}, service_s=TIMES)
        simulator = simulate(problem, np.zeros(1), [1, 1, 1, 1], seconds=0.25)
        simulator.fleet["ready"][2] = 0  # so that the failure meets a alone
        simulator.servers["busy"][2] = 0
        simulator.fail(1.0)
        simulator.fleet["ready"][2] = simulator.servers["busy"][2] = 1
        simulator.advance(100.0)
        assert simulator.totals["dropped"] == lost
        assert simulator.totals["served"] == 1 - lost


def test_a_join_of_more_stages_than_are_followed_is_told() -> None:
    names = [chr(ord("A") + k) for k in range(MOST + 1)]
    problem = problem_of(
        *(edge(f"s{name}") for name in names), *(edge(f"{name}j") for name in names), joins={"j": "first"}
    )
    with pytest.raises(InputError, match=r"^edges: "):
        network_of(problem)


# Theory.


def exponential(problem: Problem, rate_rps: float, count: int, replicas: list[int]) -> RequestSimulator:
    return simulate(problem, poisson(rate_rps, count), replicas, service="exponential")


@pytest.mark.slow
def test_a_feed_forward_network_of_exponential_servers_waits_as_if_each_were_alone() -> None:
    """Jackson, "Networks of waiting lines" (1957): what comes to a stage is Poisson, so each is M/M/1."""
    edges = edge("ra", probability=0.4), edge("rb", probability=0.6), edge("aj"), edge("bj")
    simulator = exponential(problem_of(*edges, service_s={"a": 0.2}), 7.0, 600_000, [1, 1, 1, 1])
    for s, (busy, service_s) in enumerate([(0.7, 0.1), (0.56, 0.2), (0.42, 0.1), (0.7, 0.1)]):
        visits = simulator.visits(s)
        waited_s = (visits["started_s"] - visits["entered_s"]).mean()
        assert waited_s == pytest.approx(busy / (1 - busy) * service_s, rel=0.04), s


@pytest.mark.slow
@pytest.mark.parametrize(("busy", "count"), [(0.5, 250_000), (0.8, 1_000_000)])
def test_two_exponential_servers_that_join_take_as_long_as_the_exact_formula(busy: float, count: int) -> None:
    """Nelson and Tantawi, "Approximate analysis of fork/join synchronization" (1988), equation 6."""
    problem = problem_of(edge("sa"), edge("sb"), service_s={"s": 1e-7})
    simulator = exponential(problem, 10 * busy, count, [1, 1, 1])
    expected_s = (12 - busy) / 8 * 0.1 / (1 - busy)
    assert latencies_s(simulator.requests).mean() == pytest.approx(expected_s, rel=0.03)


# What holds for every graph, load and plan.

graphs = st.one_of(block_pipelines(most_stages=7), any_pipelines(most_stages=6))
worlds = st.builds(
    Timing,
    drop_limit_s=st.sampled_from([0.3, 2.0, 8.0]),
    batch_timeout_s=st.sampled_from([0.0, 0.5]),
    start_up_scale=st.sampled_from([0.0, 0.1]),
)
services = st.sampled_from(["lognormal", "fixed", "exponential"])


def alike(pipeline: Pipeline) -> Pipeline:
    """The graph with variants that the simulators take: of the same batch sizes."""

    def served(one: Variant, k: int) -> Variant:
        return variant(one.name, 0.5 + 0.1 * k, 1 + k, 0.05 * (1 + k), start_up_s=10.0 * k)

    stages = []
    for stage in pipeline.stages:
        stages.append(replace(stage, variants=tuple(served(one, k) for k, one in enumerate(stage.variants))))
    return replace(pipeline, stages=tuple(stages))


def simulators(
    pipeline: Pipeline, world: Timing, service: Service, count: int = 1, keeps: tuple[bool, ...] = (True,)
) -> list[RequestSimulator]:
    problem = Problem(alike(pipeline), Weights(1.0, 1.0, 0.0, 1.0), 1.0, 20)
    arrivals_s = poisson(8.0, 120)
    made = [
        RequestSimulator(problem, world, arrivals_s, np.random.default_rng(0), service, keep)
        for keep in keeps
        for _ in range(count)
    ]
    for one in made:
        one.place(np.array([[0, 1, 2]] * len(pipeline.stages)))
    return made


def step(simulator: RequestSimulator, drawn: int, seconds: float) -> None:
    """Something is decided that follows from a number, or fails, and time passes."""
    stages = simulator.variants.shape[0]
    offered = (simulator.variants["cores"] > 0).sum(axis=1)
    rng = np.random.default_rng(drawn)
    if drawn % 5 == 0:
        simulator.fail(0.5)
    else:
        rows = [[rng.integers(offered[s]), rng.integers(4), rng.integers(1, 8)] for s in range(stages)]
        simulator.apply(np.array(rows, dtype=np.int64))
    simulator.advance(seconds)


plans = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.0, 6.0)), max_size=6)


def check(simulator: RequestSimulator) -> None:
    requests, tasks, totals = simulator.requests, simulator.tasks, simulator.totals[0]
    under_way = requests["status"] == UNDER_WAY
    assert totals["arrived"] == totals["served"] + totals["dropped"] + under_way.sum()
    assert totals["served"] == (requests["status"] == SERVED).sum()
    assert totals["dropped"] == (requests["status"] == DROPPED).sum()
    assert ((simulator.servers["busy"] >= 0) & (simulator.servers["busy"] <= simulator.fleet["ready"])).all()
    waiting = [(simulator.visits(s)["status"] == WAITING).sum() for s in range(len(simulator.servers))]
    assert waiting == simulator.waiting().tolist()
    own = under_way[tasks["request"]]
    assert not np.isin(tasks["status"][~own], [WAITING]).any()  # of what has ended nothing waits
    alive = np.isin(tasks["status"], (WAITING, IN_SERVICE))
    assert set(np.flatnonzero(under_way)) == set(
        tasks["request"][alive & own]
    )  # and of the rest something does
    for i in np.flatnonzero(requests["status"] == SERVED):
        done_s = tasks["left_s"][(tasks["request"] == i) & (tasks["counts"] == 1) & (tasks["status"] == DONE)]
        assert requests["finish_s"][i] >= np.nanmax(done_s) - 1e-12  # once all that is awaited is there
    assert 0.0 <= totals["accuracy"] <= totals["served"] + 1e-9


@settings(max_examples=60, deadline=None)
@given(graphs, worlds, services, plans)
def test_every_request_ends_once_and_leaves_nothing_behind(
    pipeline: Pipeline, world: Timing, service: Service, plan: list[tuple[int, float]]
) -> None:
    (simulator,) = simulators(pipeline, world, service)
    for drawn, seconds in plan:
        step(simulator, drawn, seconds)
        check(simulator)
    simulator.apply(np.array([[0, 0, 20]] * len(pipeline.stages)))
    simulator.advance(500.0)
    check(simulator)
    assert simulator.totals[0]["served"] + simulator.totals[0]["dropped"] == 120
    assert not np.isin(simulator.tasks["status"], (WAITING, IN_SERVICE)).any()


@settings(max_examples=40, deadline=None)
@given(graphs, worlds, services, plans)
def test_the_same_seed_gives_the_same_and_forgetting_changes_nothing(
    pipeline: Pipeline, world: Timing, service: Service, plan: list[tuple[int, float]]
) -> None:
    one, two, forgets = (
        *simulators(pipeline, world, service, count=2),
        *simulators(pipeline, world, service, keeps=(False,)),
    )
    for drawn, seconds in plan:
        for simulator in (one, two, forgets):
            step(simulator, drawn, seconds)
        assert one.requests.tobytes() == two.requests.tobytes()
        assert one.totals.tobytes() == two.totals.tobytes() == forgets.totals.tobytes()
        assert one.waiting().tolist() == forgets.waiting().tolist()


@settings(max_examples=40, deadline=None)
@given(graphs)
def test_stages_are_visited_as_often_as_the_graph_says(pipeline: Pipeline) -> None:
    """In the mean of many requests, with all variants and nothing dropped."""
    problem = Problem(alike(pipeline), Weights(1.0, 1.0, 0.0, 1.0), 1.0, 50)
    variants = [k % len(stage.variants) for k, stage in enumerate(pipeline.stages)]
    simulator = simulate(problem, np.arange(1500) * 2.0, 50, variants=variants)
    assert simulator.totals["served"] == 1500
    found = [len(simulator.visits(s)) / 1500 for s in range(len(pipeline.stages))]
    assert found == pytest.approx(pipeline.graph.visits(variants).tolist(), rel=0.2, abs=0.06)


def test_tasks_grow_where_a_request_becomes_many() -> None:
    simulator = simulate(problem_of(edge("dc", 400.0)), np.zeros(30), replicas=50)
    assert len(simulator.visits(1)) == 12_000
    assert (simulator.requests["status"] == SERVED).all()
