"""Hypothesis strategies for graphs of stages: those of blocks beside each other, and any."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hypothesis import assume, reject
from hypothesis import strategies as st

from ipa_rl.blocks import tree_of
from ipa_rl.environment.definition import BaselinesModel, Definition, default_rho
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.graph import Edge, Join
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Pipeline, Stage
from tests.strategies import problems, stages

Kind = Literal["crops", "gather", "first", "branch"]


def graph_environment(kind: Kind) -> Definition:
    """Video's detector before two classifiers, or two that answer for each other, or one of two."""
    video = load_definition("video")
    detect, classify = video.pipeline.stages
    finds, more = (1.3, 1.6, 2.0, 2.3, 2.6), (0.8, 1.0, 1.2, 1.3, 1.5)
    people, cars = replace(classify, name="people"), replace(classify, name="cars")
    stages: tuple[Stage, ...] = (detect, people, cars)
    edges: tuple[Edge, ...] = (Edge("crop", "people", finds), Edge("crop", "cars", more))
    if kind == "branch":
        edges = Edge("crop", "people", probability=0.3), Edge("crop", "cars", probability=0.7)
    elif kind in ("gather", "first"):
        join: Join = "all" if kind == "gather" else "first"
        stages = (*stages, replace(classify, name="report", join=join))
        edges = (
            *(replace(one, requests=(1.0,)) for one in edges),
            *(Edge(name, "report") for name in ("people", "cars")),
        )
    weights = replace(video.weights, alpha=20.0)
    found = video.with_problem(pipeline=Pipeline(kind, stages, edges), weights=weights)
    found = replace(found, name=kind, baselines=BaselinesModel())
    return found.with_problem(weights=replace(weights, rho=default_rho(found)))


COUNTS = (0.25, 0.5, 1.0, 2.0, 3.5)


class _Growing:
    """Stages and edges of a pipeline that grows."""

    def __init__(self, draw: st.DrawFn, most: int, most_variants: int) -> None:
        self.draw, self.most, self.most_variants = draw, most, most_variants
        self.stages: list[Stage] = []
        self.edges: list[Edge] = []

    @property
    def room(self) -> int:
        return self.most - len(self.stages)

    def stage(self) -> int:
        self.stages.append(self.draw(stages(f"s{len(self.stages)}", self.most_variants)))
        return len(self.stages) - 1

    def edge(self, source: int, target: int, probability: float = 1.0, plain: bool = False) -> None:
        counts = len(self.stages[source].variants)
        kinds = st.sampled_from(["one", "one", "same", "each"])
        kind = "one" if plain else self.draw(kinds)
        drawn = {"one": 0, "same": 1, "each": counts}[kind]
        requests = tuple(self.draw(st.sampled_from(COUNTS)) for _ in range(drawn)) or (1.0,)
        self.edges.append(Edge(f"s{source}", f"s{target}", requests, probability))

    def join(self, stage: int, kind: Join) -> None:
        self.stages[stage] = replace(self.stages[stage], join=kind)

    def block(self, depth: int) -> tuple[int, int | None]:
        """Its first stage and its last; None where it ends in several."""
        first = last = self.stage()
        while self.room > 0 and self.draw(st.integers(0, 3)) > 0:
            kind = self.draw(st.sampled_from(["chain", "chain", "fork", "alternatives", "gather"]))
            if kind in ("fork", "alternatives") and self.room >= 3 and depth:
                meet = self._fork(last, kind == "alternatives", depth)
                if meet is None:
                    return first, None
                last = meet
            elif kind == "gather" and self.room >= 2:
                middle, after = self.stage(), self.stage()
                self.edges.append(Edge(f"s{last}", f"s{middle}", (self.draw(st.sampled_from(COUNTS[3:])),)))
                self.edge(middle, after, plain=True)
                self.join(after, "all")
                last = after
            else:
                following = self.stage()
                self.edge(last, following)
                last = following
        return first, last

    def pipeline(self, name: str) -> Pipeline:
        try:
            return Pipeline(name, tuple(self.stages), tuple(self.edges))
        except InputError as error:
            if "or none" not in str(error):  # a join that some of several requests may come to, or none
                raise
            reject()

    def _fork(self, source: int, alternatives: bool, depth: int) -> int | None:
        count = self.draw(st.integers(2, 3))
        shares = [0.5, 0.3, 0.2] if self.draw(st.booleans()) else [0.4, 0.3, 0.1]
        ends: list[int | None] = []
        for k in range(count):
            if self.room < 2 and ends:
                break
            first, last = self.block(depth - 1)
            self.edge(source, first, shares[k] if alternatives else 1.0)
            ends.append(last)
        leaving = [edge for edge in self.edges if edge.source == f"s{source}"]
        if not all(end is not None for end in ends) or self.room == 0 or self.draw(st.booleans()):
            return None
        meet = self.stage()
        for end in ends:
            assert end is not None
            self.edge(end, meet, plain=True)
        if alternatives and self.draw(st.booleans()):
            probability = 1.0 - sum(edge.probability for edge in leaving)
            if probability > 0.05:
                self.edge(source, meet, probability / 2, plain=True)
        if not alternatives and len(ends) > 1:
            kind: Join | None = self.draw(st.sampled_from([None, "all", "first"]))
            if kind is not None:
                self.join(meet, kind)
        return meet


@st.composite
def block_pipelines(draw: st.DrawFn, most_stages: int = 6, most_variants: int = 3) -> Pipeline:
    """Blocks one after the other and beside each other, with requests, alternatives and joins."""
    growing = _Growing(draw, most_stages, most_variants)
    growing.block(depth=2)
    pipeline = growing.pipeline("blocks")
    # Arms in which some requests end, while others go on to what arms around them meet in, are no blocks.
    assume(tree_of(pipeline.graph) is not None)
    return pipeline


@st.composite
def any_pipelines(draw: st.DrawFn, most_stages: int = 5, most_variants: int = 3) -> Pipeline:
    """Any acyclic graph from one source; mostly with entangled arms."""
    growing = _Growing(draw, most_stages, most_variants)
    count = draw(st.integers(2, most_stages))
    for s in range(count):
        growing.stage()
        if s:
            parents = draw(st.sets(st.integers(0, s - 1), min_size=1, max_size=2))
            for parent in sorted(parents):
                taken = sum(one.source == f"s{parent}" and one.is_alternative for one in growing.edges)
                growing.edge(parent, s, draw(st.sampled_from([1.0, 1.0, 0.3])) if taken < 3 else 1.0)
    return growing.pipeline("any")


@st.composite
def graph_problems(draw: st.DrawFn, pipelines: st.SearchStrategy[Pipeline]) -> Problem:
    """A graph with weights, SLA and limit."""
    problem, pipeline = draw(problems(1, 1)), draw(pipelines)
    fixed = problem.fixed_replicas and problem.fixed_replicas * len(pipeline.stages)
    shares = draw(st.dictionaries(st.sampled_from(pipeline.graph.sinks), st.sampled_from([0.3, 0.8, 1.5])))
    sinks = tuple((name, share * problem.sla_s) for name, share in shares.items())
    return replace(problem, pipeline=pipeline, fixed_replicas=fixed, sink_sla_s=sinks)
