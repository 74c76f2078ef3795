"""Graphs of stages: where requests go, what a pipeline of them takes, and what is no graph."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.blocks import score_along, scores_along, tree_of
from ipa_rl.errors import InputError
from ipa_rl.graph import Edge, Graph, Join
from ipa_rl.pipeline import Pipeline
from tests.graphs import any_pipelines, block_pipelines


def graph(*edges: Edge, joins: dict[str, Join] | None = None, variants: int = 1) -> Graph:
    """Stages of one-letter names in the order in which edges name them."""
    names = list(dict.fromkeys(name for edge in edges for name in (edge.source, edge.target)))
    return Graph(names, [[f"{name}{v}" for v in range(variants)] for name in names], edges, joins or {})


def edge(ends: str, requests: float | tuple[float, ...] = 1.0, probability: float = 1.0) -> Edge:
    """From and to a stage of one letter."""
    many = requests if isinstance(requests, tuple) else (requests,)
    return Edge(ends[0], ends[1], many, probability)


def test_a_chain_is_stages_one_after_the_other() -> None:
    chain = graph(edge("ab"), edge("bc"))
    assert chain.levels([0, 0, 0]).tolist() == [1.0, 1.0, 1.0]
    assert chain.latency_s([1.0, 2.0, 4.0]) == 7.0
    assert score_along(chain, [0.5, 0.5, 0.5]) == 0.125
    assert chain.longest == 3


def test_a_detector_sends_as_many_crops_as_its_variant_finds_to_both_classifiers() -> None:
    """18.9 objects a frame with the large one, 2.6 with the small one."""
    found = graph(edge("dc", (2.6, 18.9)), edge("dp", (2.6, 18.9)), variants=2)
    assert found.visits([0, 0, 0]).tolist() == [1.0, 2.6, 2.6]
    assert found.visits([1, 0, 0]).tolist() == [1.0, 18.9, 18.9]
    assert [found.governors(s) for s in range(3)] == [(), (0,), (0,)]
    assert found.latency_s([1.0, 2.0, 4.0]) == 5.0  # the slower one
    assert score_along(found, [0.5, 0.9, 0.8]) == pytest.approx(0.36)


def test_a_router_sends_a_share_of_the_requests_round_by_the_retriever() -> None:
    found = graph(edge("re", probability=0.3), edge("ra", probability=0.7), edge("ea"))
    assert found.visits([0, 0, 0]).tolist() == pytest.approx([1.0, 0.3, 1.0])
    assert found.latency_s([1.0, 2.0, 4.0]) == 7.0  # of the slowest route
    assert score_along(found, [0.9, 0.5, 0.8]) == pytest.approx(0.9 * 0.8 * (0.3 * 0.5 + 0.7))
    assert sorted(one.probability for one in found.routes) == pytest.approx([0.3, 0.7])


def test_what_takes_no_alternative_ends_there() -> None:
    found = graph(edge("ab", probability=0.4), edge("bc"))
    assert found.visits([0, 0, 0]).tolist() == pytest.approx([1.0, 0.4, 0.4])
    assert score_along(found, [0.5, 0.5, 0.5]) == pytest.approx(0.5 * (0.4 * 0.25 + 0.6))


@pytest.mark.parametrize(("join", "latency_s", "score"), [("all", 7.0, 0.2), ("first", 6.0, 0.4)])
def test_two_encoders_meet_where_all_or_the_first_is_awaited(
    join: Join, latency_s: float, score: float
) -> None:
    """Of the first it is not known who it is, so the least accurate counts."""
    found = graph(edge("st"), edge("si"), edge("tf"), edge("if"), joins={"f": join})
    assert found.visits([0] * 4).tolist() == [1.0, 1.0, 1.0, 1.0]
    assert found.latency_s([1.0, 1.0, 2.0, 4.0]) == latency_s
    assert score_along(found, [1.0, 0.4, 0.5, 1.0]) == pytest.approx(score)


def test_a_join_gathers_what_one_request_became() -> None:
    """Nested as parentheses are: 3 crops a frame, 2 letters a crop, one line a crop, one answer a frame."""
    found = graph(edge("fc", 3.0), edge("cl", 2.0), edge("lw"), edge("wa"), joins={"w": "all", "a": "all"})
    assert found.visits([0] * 5).tolist() == [1.0, 3.0, 6.0, 3.0, 1.0]
    without = graph(edge("fc", 3.0), edge("cl", 2.0), edge("lw"), edge("wa"))
    assert without.visits([0] * 5).tolist() == [1.0, 3.0, 6.0, 6.0, 6.0]
    in_an_arm = graph(
        edge("sf"), edge("so"), edge("fc", 3.0), edge("cw"), edge("wj"), edge("oj"), joins={"w": "all"}
    )
    assert in_an_arm.visits([0] * 6).tolist() == [1.0, 1.0, 1.0, 3.0, 1.0, 1.0]
    assert tree_of(in_an_arm) is not None


def test_arms_that_share_stages_are_no_blocks() -> None:
    """Two encoders, of which a third stage takes one and a fourth both."""
    found = graph(edge("sa"), edge("sb"), edge("ac"), edge("ad"), edge("bd"))
    assert tree_of(found) is None
    assert found.names == ("s", "a", "b", "c", "d")
    assert found.latency_s([1.0, 2.0, 4.0, 8.0, 16.0]) == 1.0 + 4.0 + 16.0
    assert score_along(found, [0.5] * 5) == pytest.approx(0.5**5)


@pytest.mark.parametrize(
    ("edges", "joins", "told"),
    [
        ([edge("ab"), edge("bc"), edge("cb")], {}, "edges: go round: b to c to b"),
        ([edge("ac"), edge("bc")], {}, "edges: no edge leads to a and b"),
        ([edge("ab"), edge("ab")], {}, "edges.a to b: is listed twice"),
        ([edge("ab")], {"b": "all"}, "b.join: joins what was never forked"),
        ([edge("ab", 2.0)], {"b": "first"}, "b.join: waits for the first, and one stage at most leads to it"),
        ([edge("ab", probability=0.7), edge("ac", probability=0.5)], {}, "edges: the probabilities out of a"),
        ([edge("ab", (1.0, 2.0, 3.0))], {}, "edges.a to b.requests: has 3 figures for 1 variants of a"),
    ],
)
def test_what_is_no_graph_is_told_in_a_line(edges: list[Edge], joins: dict[str, Join], told: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(told)}") as fault:
        graph(*edges, joins=joins)
    assert "; fix: " in str(fault.value)


def test_an_edge_to_no_stage_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"^edges\.a to z: no stage 'z'; fix: name one of the stages: a, b"):
        Graph(["a", "b"], [["v"], ["v"]], [edge("ab"), edge("az")], {})


@pytest.mark.parametrize(
    "bad",
    [{"requests": (0.0,)}, {"requests": (math.nan,)}, {"probability": 1.5}, {"probability": 0.0}],
)
def test_an_edge_carries_figures_that_are_in_range(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^edges\.a to b"):
        Edge("a", "b", **bad)  # type: ignore[arg-type]


def test_the_first_of_entangled_arms_cannot_be_told() -> None:
    found = graph(edge("sa"), edge("sb"), edge("ac"), edge("ad"), edge("bd"), joins={"d": "first"})
    with pytest.raises(InputError, match=r"^d: waits for the first"):
        _ = tree_of(found)


def test_where_some_requests_end_on_the_way_to_a_meeting_others_go_on() -> None:
    """A third of what comes to c goes no further; so there is no block between a and d that all pass."""
    ends = edge("ab", probability=0.5), edge("ac", probability=0.5), edge("bd"), edge("cd", probability=2 / 3)
    found = graph(*ends)
    assert tree_of(found) is None
    assert found.visits([0] * 4).tolist() == pytest.approx([1.0, 0.5, 0.5, 0.5 + 1 / 3])
    assert score_along(found, [1.0, 1.0, 1.0, 0.4]) == pytest.approx(1.0 - 0.6 * (0.5 + 1 / 3))


figures = st.lists(st.floats(0.05, 1.0), min_size=12, max_size=12)


@settings(max_examples=300, deadline=None)
@given(block_pipelines(most_stages=9), figures)
def test_blocks_come_to_what_their_routes_come_to(pipeline: Pipeline, scores: list[float]) -> None:
    found = pipeline.graph
    assert tree_of(found) is not None or any(one.is_alternative for one in found.edges)
    assert sum(route.probability for route in found.routes) == pytest.approx(1.0)
    if "first" not in found.joins.values():
        routes = [one.probability * math.prod(scores[s] for s in one.stages) for one in found.routes]
        assert score_along(found, scores) == pytest.approx(sum(routes))
    assert score_along(found, [1.0] * 12) == pytest.approx(1.0)
    assert found.latency_s([1.0] * 12) <= found.longest


@settings(max_examples=200, deadline=None)
@given(any_pipelines(most_stages=7), figures, st.floats(1.0, 5.0))
def test_no_stage_makes_a_graph_faster_or_more_accurate_by_being_worse(
    pipeline: Pipeline, values: list[float], factor: float
) -> None:
    found = pipeline.graph
    for s in range(len(pipeline.stages)):
        worse = [one * factor if k == s else one for k, one in enumerate(values)]
        less = [one / factor if k == s else one for k, one in enumerate(values)]
        assert found.latency_s(worse) >= found.latency_s(values) - 1e-12
        assert score_along(found, less) <= score_along(found, values) + 1e-12


@settings(max_examples=200, deadline=None)
@given(st.one_of(block_pipelines(most_stages=9), any_pipelines(most_stages=7)))
def test_only_governors_say_how_many_requests_come_to_a_stage(pipeline: Pipeline) -> None:
    found = pipeline.graph
    rng = np.random.default_rng(0)
    for _ in range(3):
        variants = [int(rng.integers(len(stage.variants))) for stage in pipeline.stages]
        visits = found.visits(variants)
        for s in range(len(pipeline.stages)):
            groups = {
                one: next(k for k, group in enumerate(found.classes(one)) if variants[one] in group)
                for one in found.governors(s)
            }
            (own,) = [one for one in found.classes_of(s) if one.groups == groups]
            assert visits[s] == pytest.approx(own.visits)


def test_the_slowest_route_names_its_stages() -> None:
    found = graph(edge("st"), edge("si"), edge("tf"), edge("if"), edge("fa", probability=0.2))
    assert found.slowest([1.0, 2.0, 4.0, 1.0, 1.0]) == ["s", "i", "f", "a"]
    first = graph(edge("st"), edge("si"), edge("tf"), edge("if"), joins={"f": "first"})
    assert first.slowest([1.0, 2.0, 4.0, 1.0]) == ["s", "t", "f"]


@settings(max_examples=150, deadline=None)
@given(st.one_of(block_pipelines(most_stages=8), any_pipelines(most_stages=6)), st.integers(0, 10**6))
def test_of_many_at_once_it_says_what_it_says_of_each(pipeline: Pipeline, seed: int) -> None:
    found, rng = pipeline.graph, np.random.default_rng(seed)
    counts = [len(stage.variants) for stage in pipeline.stages]
    variants = rng.integers(counts, size=(5, len(counts)))
    figures = rng.uniform(0.1, 1.0, (5, len(counts)))
    assert found.each_visits(variants) == pytest.approx(
        np.array([found.visits(row) for row in variants.tolist()])
    )
    one_by_one = [found.latency_s(row) for row in figures.tolist()]
    assert found.latencies_s(figures) == pytest.approx(np.array(one_by_one))
    assert scores_along(found, figures) == pytest.approx(
        [score_along(found, row) for row in figures.tolist()]
    )
    assert (scores_along(found, figures, at_best=True) >= scores_along(found, figures) - 1e-12).all()
    assert found.parent(found.source) is None


def test_what_was_joined_cannot_be_gathered_again() -> None:
    """j has one answer of three by x, and k wants one for each x."""
    edges = edge("dx", 3.0), edge("xj"), edge("xk"), edge("jk")
    with pytest.raises(InputError, match=r"^k\.join: gathers requests of x that j has joined"):
        graph(*edges, joins={"j": "all"})


def test_a_join_of_several_that_may_come_or_not_wants_an_edge_that_is_sure() -> None:
    edges = edge("dx", 3.0), edge("xa", probability=0.3), edge("aj")
    with pytest.raises(InputError, match=r"^j\.join: some of several requests of d may come to it, or none"):
        graph(*edges, joins={"j": "all"})
    assert graph(*edges, edge("dj"), joins={"j": "all"}).visits([0] * 4).tolist() == [
        1.0,
        3.0,
        pytest.approx(0.9),
        1.0,
    ]
