"""Graphs of stages as blocks: stages one after the other, and arms beside each other that meet again or end.

Such graphs are called series-parallel. A block has all that a pipeline has, so that what holds of its parts
can be put together; where arms share stages without meeting in one there are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any, Literal

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.graph import SURE, Graph
from ipa_rl.jit import FloatArray


@dataclass(frozen=True, slots=True)
class Arm:
    """What follows on an edge, until its split's arms meet; ``edge`` is None where a share of requests is.

    ``probability``: of the arm among the alternatives of its split; 1 elsewhere.
    """

    edge: int | None
    probability: float
    block: Block


@dataclass(frozen=True, slots=True)
class Split:
    """Arms that a stage (``by``) sends requests to, and where they meet.

    ``kind``: all are awaited, or the first; or each request takes ``one``, or none of them.
    """

    by: int
    arms: tuple[Arm, ...]
    kind: Literal["all", "first", "one"]


@dataclass(frozen=True, slots=True)
class Block:
    """Stages (positions) and splits, one after the other."""

    parts: tuple[int | Split, ...]


class _EntangledError(Exception):
    """Arms share stages without meeting in one, or requests end on the way to where others go on."""


@lru_cache(maxsize=256)
def tree_of(graph: Graph) -> Block | None:
    """The graph as blocks; None where arms are entangled.

    Raises InputError where the first of entangled arms is awaited: then it is not known who that is.
    """
    try:
        found = _Parting(graph).block(graph.source, None)
        if _is_sound(found):
            return found
        raise _EntangledError
    except _EntangledError:
        for s, kind in graph.joins.items():
            if kind == "first":
                fix = "let the arms that it waits for share no stages"
                raise InputError("waits for the first", field=graph.names[s], fix=fix) from None
        return None


def raced(block: Block) -> Iterator[tuple[set[int], ...]]:
    """Where the first of some arms is awaited, the stages (positions) of each arm."""
    for part in block.parts:
        if isinstance(part, Split):
            if part.kind == "first":
                yield tuple(_stages_of(arm.block) for arm in part.arms)
            for arm in part.arms:
                yield from raced(arm.block)


def _stages_of(block: Block) -> set[int]:
    within = [arm.block for part in block.parts if isinstance(part, Split) for arm in part.arms]
    return {part for part in block.parts if isinstance(part, int)}.union(*map(_stages_of, within))


def needed_tree(graph: Graph, field: str) -> Block:
    """The graph as blocks, which ``field`` has to be. Raises InputError where arms are entangled."""
    tree = tree_of(graph)
    if tree is None:
        problem = "its arms share stages without meeting in one, or end where others go on"
        fix = "let arms meet before others begin; solve and the request-level simulator take any graph"
        raise InputError(problem, field=field, fix=fix)
    return tree


def scores_along(graph: Graph, stages: FloatArray, at_best: bool = False) -> FloatArray:
    """As `score_along`, of many: (many, stages) to (many,).

    ``at_best``: as if of arms of which the first is awaited it were the most accurate.
    """
    if graph.is_chain:
        return np.asarray(stages.prod(axis=1), dtype=np.float64)
    each: Sequence[Any] = list(np.moveaxis(stages, 1, 0))
    tree = tree_of(graph)
    found = score_along(graph, each) if tree is None else score_of(tree, each, at_best)
    return np.asarray(found, dtype=np.float64)


def score_along(graph: Graph, stages: Sequence[float]) -> float:
    """Of figures by stage the product along a route, in the mean of the routes.

    Of arms of which the first is awaited the least counts, as it is not known which that will be.
    """
    tree = tree_of(graph)
    if tree is not None:
        return score_of(tree, stages)
    return sum(one.probability * math.prod(stages[s] for s in one.stages) for one in graph.routes)


@dataclass(frozen=True)
class _Parting:
    """Takes a graph apart."""

    graph: Graph

    def block(self, start: int | None, stop: int | None) -> Block:
        """From a stage on, until another or the end (None)."""
        parts: list[int | Split] = []
        s = start
        while s is not None and s != stop:
            if s != start and len(self.graph.entering[s]) > 1:
                raise _EntangledError
            parts.append(s)
            leaving = self.graph.leaving[s]
            if len(leaving) != 1 or not self.graph.edges[leaving[0]].is_plain:
                parts += self._fork(s, leaving, stop).parts if leaving else ()
                break
            s = self.graph.ends[leaving[0]][1]
        return Block(tuple(parts))

    def _fork(self, s: int, edges: Sequence[int], stop: int | None) -> Block:
        """All that follows on some edges out of a stage."""
        meet = self._meet(edges, stop)
        groups = self._groups(edges, meet)
        if any(self.graph.edges[k].is_alternative for k in edges) and len(groups) == 1:
            arms = [self._arm(s, k, meet) for k in edges]
            rest, total = self.block(meet, stop), sum(arm.probability for arm in arms)
            if not rest.parts or total > SURE:
                return Block((Split(s, tuple(arms), "one"), *rest.parts))
            shares = tuple(replace(arm, probability=arm.probability / total) for arm in arms)
            those = Block((Split(s, shares, "one"), *rest.parts))
            return Block((Split(s, (Arm(None, total, those),), "one"),))
        arms = [
            Arm(None, 1.0, self._fork(s, group, meet))
            if len(group) > 1 or self.graph.edges[group[0]].is_alternative
            else self._arm(s, group[0], meet)
            for group in groups
        ]
        kind = self.graph.joins.get(meet, "all") if meet is not None and len(arms) > 1 else "all"
        return Block((Split(s, tuple(arms), kind), *self.block(meet, stop).parts))

    def _arm(self, s: int, k: int, meet: int | None) -> Arm:
        """What follows on an edge until a stage; where a stage before that gathers its requests, they end."""
        probability, target = self.graph.edges[k].probability, self.graph.ends[k][1]
        gathers = self._gathers(k, meet)
        if target not in (meet, gathers) and len(self.graph.entering[target]) > 1:
            raise _EntangledError
        block = self.block(None if target == gathers else target, gathers)
        if gathers == meet:
            return Arm(k, probability, block)
        own = Split(s, (Arm(k, 1.0, block),), "all")
        return Arm(None, probability, Block((own, *self.block(gathers, meet).parts)))

    def _gathers(self, k: int, stop: int | None) -> int | None:
        """The stage before ``stop`` that gathers what an edge sends, else ``stop``."""
        for one in (self.graph.ends[k][1], *self.graph.below[self.graph.ends[k][1]]):
            if one == stop or self.graph.edges[k].is_even:
                break
            if len(self.graph.entering[one]) == 1 and self.graph.level_at[one] == self.graph.ends[k][0]:
                return one
        return stop

    def _meet(self, edges: Sequence[int], stop: int | None) -> int | None:
        """The first stage before ``stop`` that all ways of some edges come to, else ``stop``."""
        if len(edges) == 1:
            return self._gathers(edges[0], stop)
        ways = [(self.graph.ends[k][1], *self.graph.below[self.graph.ends[k][1]]) for k in edges]
        for one in ways[0]:
            if one == stop:
                break
            if all(one in way for way in ways[1:]):
                return one
        return stop

    def _groups(self, edges: Sequence[int], meet: int | None) -> list[list[int]]:
        """Edges that are alternatives to each other, or lead to a common stage before all of them meet."""
        alternatives = [k for k in edges if self.graph.edges[k].is_alternative]
        groups: list[tuple[list[int], set[int]]] = []
        for ks in ([alternatives] if alternatives else []) + [[k] for k in edges if k not in alternatives]:
            own = set().union(*(self._reach(self.graph.ends[k][1], meet) for k in ks))
            together = [one for one in groups if one[1] & own]
            groups = [one for one in groups if one not in together]
            joined = [k for group, _ in together for k in group] + ks
            groups.append((joined, own.union(*(found for _, found in together))))
        for ks, _ in groups:
            is_mixed = len({self.graph.edges[k].is_alternative for k in ks}) > 1
            if is_mixed or (len(groups) == 1 and len(ks) > 1 and self._share(ks, meet)):
                raise _EntangledError
        return [ks for ks, _ in groups]

    def _share(self, edges: Sequence[int], meet: int | None) -> bool:
        """Whether ways of some edges share a stage before they meet."""
        each = [self._reach(self.graph.ends[k][1], meet) for k in edges]
        return sum(map(len, each)) > len(set().union(*each))

    def _reach(self, s: int, meet: int | None) -> set[int]:
        """All stages from one on, before the arms meet."""
        found: set[int] = set()
        ahead = [s]
        while ahead:
            one = ahead.pop()
            if one != meet and one not in found:
                found.add(one)
                ahead += [self.graph.ends[k][1] for k in self.graph.leaving[one]]
        return found


def _is_sound(block: Block) -> bool:
    """Whether what follows a split is for all requests, as none ended in it."""
    splits = [part for part in block.parts if isinstance(part, Split)]
    if not all(_is_sound(arm.block) for split in splits for arm in split.arms):
        return False
    return all(_goes_on(part) for part in block.parts[:-1])


def _goes_on(part: int | Split) -> bool:
    """Whether every request comes to what follows."""
    if isinstance(part, int):
        return True
    arms = [all(map(_goes_on, arm.block.parts)) for arm in part.arms]
    if part.kind == "one":
        return all(arms) and sum(arm.probability for arm in part.arms) > SURE
    return any(arms)


def score_of(block: Block, stages: Sequence[float], at_best: bool = False) -> float:
    """The product of a block's figures; ``at_best`` as in `scores_along`."""
    found = 1.0
    for part in block.parts:
        if isinstance(part, int):
            found *= stages[part]
            continue
        arms = [score_of(arm.block, stages, at_best) for arm in part.arms]
        if part.kind == "one":
            shares = [arm.probability for arm in part.arms]
            found *= sum(p * one for p, one in zip(shares, arms, strict=True)) + 1.0 - sum(shares)
        else:
            first = np.maximum if at_best else np.minimum
            found *= reduce(first, arms) if part.kind == "first" else math.prod(arms)
    return found
