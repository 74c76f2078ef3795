"""How the stages of a pipeline hang together: where requests go, how many, and where answers meet.

A chain needs no words: each stage sends each request on to the next. Elsewhere edges say how many requests go
from one stage to another for each request there, by variant where that matters, and how likely they go at
all. A stage with several parents waits for all of those that a request went to, or for the first.

Terms: *alternatives* are the edges out of a stage of which a request takes one at most. A *route* is one way
through all of them. The *level* of a stage: requests there for each one of the pipeline that comes there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Literal, TypeVar

import numpy as np

from ipa_rl.border import positive
from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray, IntArray

Join = Literal["all", "first"]

Seconds = TypeVar("Seconds", float, FloatArray)

MOST_REQUESTS = 10_000.0
"""Requests for each request of the parent beyond which they are taken for a mistake."""
MOST_ROUTES = 256
"""Ways through all alternatives of a pipeline."""
SURE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Edge:
    """From one stage to another.

    ``requests``: how many go there for each request of the parent; one figure, or one for each of the
    parent's variants in their order. ``probability``: that a request of the parent takes the edge. Those
    below 1 out of a stage are alternatives, of which it takes one at most.
    """

    source: str
    target: str
    requests: tuple[float, ...] = (1.0,)
    probability: float = 1.0

    def __post_init__(self) -> None:
        for one in self.requests:
            positive(one, f"{self}.requests", MOST_REQUESTS)
        positive(self.probability, f"{self}.probability", 1.0)

    def __str__(self) -> str:
        return f"edges.{self.source} to {self.target}"

    @property
    def told(self) -> str:
        """How many go there, in words.

        >>> Edge("detect", "cars", (1.5, 9.0)).told, Edge("router", "chat", probability=0.3).told
        ('1.5 to 9 for each of detect', '30 % of router')
        """
        low, high = min(self.requests), max(self.requests)
        many = "" if self.is_even else f"{low:g} for each" if low == high else f"{low:g} to {high:g} for each"
        share = f"{100 * self.probability:g} %" if self.is_alternative else ""
        return f"{many or share or 'all'} of {share + ' of ' if many and share else ''}{self.source}"

    @property
    def is_alternative(self) -> bool:
        """Whether a request may not take it."""
        return self.probability < SURE

    @property
    def is_even(self) -> bool:
        """Whether one request goes there for each of the parent."""
        return set(self.requests) == {1.0}

    @property
    def is_plain(self) -> bool:
        """Whether each request goes on as one."""
        return self.is_even and not self.is_alternative

    def requests_of(self, variant: int) -> float:
        """For each request that a variant of the parent served."""
        return self.requests[variant if len(self.requests) > 1 else 0]


def chain_of(names: Sequence[str]) -> tuple[Edge, ...]:
    """From each stage to the next."""
    return tuple(Edge(a, b) for a, b in pairwise(names))


@dataclass(frozen=True, slots=True)
class StageClass:
    """Requests at a stage for each one of the pipeline, where other stages run variants of these groups.

    ``groups``: by stage, the position in `Graph.classes`.
    """

    groups: Mapping[int, int]
    visits: float


@dataclass(frozen=True, slots=True)
class Route:
    """One way through all alternatives: how likely, what stages and edges it takes, by position."""

    probability: float
    stages: frozenset[int]
    edges: tuple[int, ...]


class Graph:
    """A checked graph of stages; positions are those of the stages as they are listed.

    ``names``: of the stages; ``variants``: of each, by name. ``joins``: of the stages that say how they wait.
    ``above``, ``below``: the stages that every way to a stage or from it passes, the nearest first;
    ``level_at``: the stage whose requests a stage gathers, None where there is none to gather. Raises
    InputError naming the edge or stage that does not fit.
    """

    def __init__(
        self,
        names: Sequence[str],
        variants: Sequence[Sequence[str]],
        edges: Sequence[Edge],
        joins: Mapping[str, Join],
    ) -> None:
        self.names = tuple(names)
        self.edges = tuple(edges)
        self.joins = {self.names.index(name): kind for name, kind in joins.items()}
        places = {name: s for s, name in enumerate(self.names)}
        for k, edge in enumerate(self.edges):
            for name in (edge.source, edge.target):
                if name not in places:
                    fix = f"name one of the stages: {', '.join(self.names)}"
                    raise InputError(f"no stage {quoted(name)}", field=str(edge), fix=fix)
            if edge.source == edge.target:
                raise InputError("leads to itself", field=str(edge), fix="remove it")
            if any((edge.source, edge.target) == (one.source, one.target) for one in self.edges[:k]):
                raise InputError("is listed twice", field=str(edge), fix="list each edge once")
            known = variants[places[edge.source]]
            if len(edge.requests) not in (1, len(known)):
                problem = f"has {len(edge.requests)} figures for {len(known)} variants of {edge.source}"
                raise InputError(problem, field=f"{edge}.requests", fix="give one figure, or one a variant")
        self.ends = tuple((places[edge.source], places[edge.target]) for edge in self.edges)
        count = len(self.names)
        self.leaving = tuple(tuple(k for k, (a, _) in enumerate(self.ends) if a == s) for s in range(count))
        self.entering = tuple(tuple(k for k, (_, b) in enumerate(self.ends) if b == s) for s in range(count))
        self.order = self._sorted()
        for s, leaving in enumerate(self.leaving):
            total = sum(self.edges[k].probability for k in leaving if self.edges[k].is_alternative)
            if total > 1.0 + 1e-9:
                problem = f"the probabilities out of {self.names[s]} are {total:g} together"
                raise InputError(problem, field="edges", fix="give alternatives 1 at most together")
        self.above = self._dominators(self.order, self.entering, 0)
        self.below = self._dominators(self.order[::-1], self.leaving, 1)
        self.level_at = {s: self._level_of(s) for s in self.order}
        for s in self.order:
            self._check_join(s)

    @cached_property
    def is_chain(self) -> bool:
        """Whether each stage sends every request to the next."""
        return self.edges == chain_of(self.names)

    @property
    def source(self) -> int:
        """The stage that requests come to first."""
        return self.order[0]

    @property
    def sinks(self) -> list[str]:
        """The stages from which no edge leads."""
        return [name for name, leaving in zip(self.names, self.leaving, strict=True) if not leaving]

    def _sorted(self) -> tuple[int, ...]:
        """Positions, parents before children."""
        sources = [s for s, entering in enumerate(self.entering) if not entering]
        order: list[int] = []
        ready = sources[:1]
        waiting = [len(entering) for entering in self.entering]
        while ready:
            order.append(ready.pop(0))
            for k in self.leaving[order[-1]]:
                child = self.ends[k][1]
                waiting[child] -= 1
                if waiting[child] == 0:
                    ready.append(child)
        if len(sources) > 1:
            told = " and ".join(self.names[s] for s in sources[:2])
            problem = f"no edge leads to {told}, and requests come to one stage first"
            raise InputError(problem, field="edges", fix="add an edge to all of them but one")
        if len(order) < len(self.names):
            loop = self._loop(set(range(len(self.names))) - set(order))
            told = " to ".join(self.names[s] for s in (*loop, loop[0]))
            raise InputError(f"go round: {told}", field="edges", fix="remove one of these edges")
        return tuple(order)

    def _loop(self, left: set[int]) -> list[int]:
        """Stages that lead to each other in a circle, of those that a sort leaves over."""
        way = [min(left)]
        while True:
            parent = next(a for a, b in self.ends if b == way[-1] and a in left)
            if parent in way:
                loop = way[way.index(parent) :][::-1]
                first = loop.index(min(loop))
                return loop[first:] + loop[:first]
            way.append(parent)

    def _dominators(
        self, order: Sequence[int], before: Sequence[tuple[int, ...]], end: int
    ) -> dict[int, list[int]]:
        """The stages that every way to a stage passes (or from it, where ``end`` is 1), the nearest first."""
        passed: dict[int, set[int]] = {}
        for s in order:
            others = [passed[self.ends[k][end]] | {self.ends[k][end]} for k in before[s]]
            passed[s] = set.intersection(*others) if others else set()
        place = {s: k for k, s in enumerate(order)}
        return {s: sorted(found, key=lambda one: -place[one]) for s, found in passed.items()}

    def _level_of(self, s: int) -> int | None:
        """The stage whose requests a join gathers; None where there is none to gather."""
        if len(self.entering[s]) > 1:
            return self.above[s][0]
        if s not in self.joins:
            return None
        if self.joins[s] == "first":
            problem = "waits for the first, and one stage at most leads to it"
            raise InputError(problem, field=f"{self.names[s]}.join", fix="write all, or leave join out")
        depth = 0
        for one in (s, *self.above[s]):
            if len(self.entering[one]) == 1:
                (k,) = self.entering[one]
                depth += one != s and one in self.joins
                if not self.edges[k].is_even:
                    if depth == 0:
                        return self.ends[k][0]
                    depth -= 1
        fix = "give it several parents, or leave join out"
        raise InputError("joins what was never forked", field=f"{self.names[s]}.join", fix=fix)

    def parent(self, s: int) -> int | None:
        """The stage whose requests become those of a stage, or are gathered there; None of the source."""
        if self.level_at[s] is not None or not self.entering[s]:
            return self.level_at[s]
        return self.ends[self.entering[s][0]][0]

    def _check_join(self, s: int) -> None:
        """Raises InputError where what a join gathers was joined before, or may not come at all."""
        gathered = self.level_at[s]
        if gathered is None:
            return
        uneven = False
        for k in self.entering[s]:
            one = self.ends[k][0]
            while one != gathered:
                parent = self.parent(one)
                assert parent is not None
                if gathered not in (parent, *self.above[parent]):
                    problem = f"gathers requests of {self.names[gathered]} that {self.names[one]} has joined"
                    fix = f"lead {self.names[one]} and {self.names[s]} together further on"
                    raise InputError(problem, field=f"{self.names[s]}.join", fix=fix)
                is_own = self.level_at[one] is None
                uneven = uneven or (is_own and not self.edges[self.entering[one][0]].is_even)
                one = parent
        if uneven and self.reached[s] < SURE * self.reached[gathered]:
            problem = f"some of several requests of {self.names[gathered]} may come to it, or none"
            fix = f"add an edge from {self.names[gathered]}, so that it runs for each"
            raise InputError(problem, field=f"{self.names[s]}.join", fix=fix)

    def levels(self, variants: Sequence[int]) -> FloatArray:
        """Requests at each stage for each one of the pipeline that comes there, (stages,).

        ``variants``: the position of each stage's variant.
        """
        found = np.ones(len(self.names))
        for s in self.order[1:]:
            parent, carried = self.parent(s), self.carried(s)
            assert parent is not None
            found[s] = found[parent] * carried[variants[parent] if len(carried) > 1 else 0]
        return found

    def carried(self, s: int) -> tuple[float, ...]:
        """Requests that come to a stage for each one of its `parent`: one figure, or one for each variant."""
        if self.level_at[s] is not None or not self.entering[s]:
            return (1.0,)
        return self.edges[self.entering[s][0]].requests

    def each_visits(self, variants: IntArray) -> FloatArray:
        """As `visits`, of many: both (..., stages)."""
        found = np.ones(variants.shape)
        if self.is_even:
            return found * self.reached
        for s in self.order[1:]:
            parent = self.parent(s)
            assert parent is not None
            carried = np.array(self.carried(s))
            each = carried[variants[..., parent]] if len(carried) > 1 else carried[0]
            found[..., s] = found[..., parent] * each
        return found * self.reached

    @cached_property
    def is_even(self) -> bool:
        """Whether each stage has one request for each of the pipeline that comes there, whatever runs."""
        return all(one.is_even for one in self.edges)

    def visits(self, variants: Sequence[int]) -> FloatArray:
        """Requests at each stage for each one of the pipeline, (stages,)."""
        return self.levels(variants) * self.reached

    @cached_property
    def depths(self) -> list[int]:
        """Stages that a request passes at most before each."""
        passed = [0] * len(self.names)
        for s in self.order:
            passed[s] = max((1 + passed[self.ends[k][0]] for k in self.entering[s]), default=0)
        return passed

    @property
    def longest(self) -> int:
        """The most stages that a request passes one after the other."""
        return 1 + max(self.depths)

    def told(self, s: int) -> list[str]:
        """What comes to a stage from where, in words; nothing in a chain, nor of the first stage."""
        if self.is_chain:
            return []
        found = [self.edges[k].told for k in self.entering[s]]
        waits = {"all": "awaits all", "first": "awaits the first"}
        kind = self.joins.get(s, "all" if len(found) > 1 else None)
        return [*found, waits[kind]] if kind else found

    @cached_property
    def reached(self) -> FloatArray:
        """The share of the pipeline's requests that comes to each stage, (stages,)."""
        found = np.zeros(len(self.names))
        for route in self.routes:
            found[list(route.stages)] += route.probability
        return found

    def governors(self, s: int) -> tuple[int, ...]:
        """The stages whose variants say how many requests come to a stage."""
        found: set[int] = set()
        while s != self.source:
            gathered = self.level_at[s]
            if gathered is not None:
                s = gathered
                continue
            (k,) = self.entering[s]
            s = self.ends[k][0]
            if len(set(self.edges[k].requests)) > 1:
                found.add(s)
        return tuple(sorted(found))

    def classes_of(self, s: int) -> list[StageClass]:
        """All ways in which the variants of other stages say how many requests come to a stage."""
        governors = self.governors(s)
        found = []
        for groups in product(*(range(len(self.classes(one))) for one in governors)):
            variants = [0] * len(self.names)
            for governor, group in zip(governors, groups, strict=True):
                variants[governor] = self.classes(governor)[group][0]
            found.append(
                StageClass(dict(zip(governors, groups, strict=True)), float(self.visits(variants)[s]))
            )
        return found

    def classes(self, s: int) -> tuple[tuple[int, ...], ...]:
        """Variants of a stage, in groups of those that send as many requests on all edges."""
        return self._classes[s]

    @cached_property
    def _classes(self) -> list[tuple[tuple[int, ...], ...]]:
        return [self._classes_of(s) for s in range(len(self.names))]

    def _classes_of(self, s: int) -> tuple[tuple[int, ...], ...]:
        counts = max((len(self.edges[k].requests) for k in self.leaving[s]), default=1)
        groups: dict[tuple[float, ...], list[int]] = {}
        for v in range(counts):
            groups.setdefault(tuple(self.edges[k].requests_of(v) for k in self.leaving[s]), []).append(v)
        return tuple(map(tuple, groups.values()))

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """All ways through the alternatives. Raises InputError where there are more than MOST_ROUTES."""
        found = [(1.0, {self.source}, set[int]())]
        for s in self.order:
            sure = [k for k in self.leaving[s] if not self.edges[k].is_alternative]
            others = [k for k in self.leaving[s] if self.edges[k].is_alternative]
            rest = 1.0 - sum(self.edges[k].probability for k in others)
            choices = [(self.edges[k].probability, [k]) for k in others]
            choices += [(rest, [])] if rest > 1e-9 or not others else []
            following = []
            for probability, stages, edges in found:
                for share, taken in choices if s in stages else [(1.0, [])]:
                    more = {*sure, *taken} if s in stages else set()
                    reached = {self.ends[k][1] for k in more}
                    if share > 0.0:
                        following.append((probability * share, stages | reached, edges | more))
            found = following
            if len(found) > MOST_ROUTES:
                problem = f"there are more than {MOST_ROUTES} ways through all alternatives"
                raise InputError(problem, field="edges", fix="leave some alternatives out")
        return tuple(Route(p, frozenset(stages), tuple(sorted(edges))) for p, stages, edges in found)

    def latency_s(self, stages_s: Sequence[float]) -> float:
        """Seconds from a request to its last awaited answer, on the slowest route; ``stages_s`` by stage."""
        return max(self._route_s(route, stages_s) for route in self.routes)

    def latencies_s(self, stages_s: FloatArray) -> FloatArray:
        """As `latency_s`, of many: (many, stages) to (many,)."""
        if self.is_chain:
            return np.asarray(stages_s.sum(axis=1), dtype=np.float64)
        each = list(np.moveaxis(stages_s, 1, 0))
        return np.asarray(np.max([self._route_s(route, each) for route in self.routes], axis=0))

    def done_s(self, stages_s: Sequence[float]) -> list[float]:
        """Seconds until each stage is done, on the slowest route."""
        routes = [self._done_s(route, stages_s) for route in self.routes]
        return [max(one.get(s, 0.0) for one in routes) for s in range(len(self.names))]

    def slowest(self, stages_s: Sequence[float]) -> list[str]:
        """The stages that a request waits for one after the other, on the slowest route."""
        route = max(self.routes, key=lambda one: self._route_s(one, stages_s))
        done_s = self._done_s(route, stages_s)
        way = [max(done_s, key=lambda s: (self._is_last(route, s), done_s[s]))]
        while came := [self.ends[k][0] for k in self.entering[way[-1]] if k in route.edges]:
            pick = min if self.joins.get(way[-1]) == "first" else max
            way.append(pick(came, key=lambda s: done_s[s]))
        return [self.names[s] for s in reversed(way)]

    def _route_s(self, route: Route, stages_s: Sequence[Seconds]) -> Seconds:
        done_s = self._done_s(route, stages_s)
        return _latest([done for s, done in done_s.items() if self._is_last(route, s)])

    def _is_last(self, route: Route, s: int) -> bool:
        return not any(k in route.edges for k in self.leaving[s])

    def _done_s(self, route: Route, stages_s: Sequence[Seconds]) -> dict[int, Seconds]:
        """Seconds until each stage of a route is done."""
        done_s: dict[int, Seconds] = {}
        for s in (one for one in self.order if one in route.stages):
            came_s = [done_s[self.ends[k][0]] for k in self.entering[s] if k in route.edges]
            wait = _first if self.joins.get(s) == "first" else _latest
            done_s[s] = stages_s[s] + wait(came_s) if came_s else stages_s[s]
        return done_s


def _latest(times_s: list[Seconds]) -> Seconds:
    found = times_s[0]
    for one in times_s[1:]:
        found = max(found, one) if isinstance(one, float | int) else np.maximum(found, one)
    return found


def _first(times_s: list[Seconds]) -> Seconds:
    found = times_s[0]
    for one in times_s[1:]:
        found = min(found, one) if isinstance(one, float | int) else np.minimum(found, one)
    return found
