"""A graph of stages as arrays: what a task becomes, and who awaits it. For the compiled loops.

A *task* is what a stage does for a request: one in a chain, several where an edge carries several requests.
Tasks form a tree. A task's parent is the one that it came of; of a task that joins others it is the one that
these came of. So who gathers a task's answer is found on its way up.

*Nodes* are the stages, by position, and after them who gathers without serving: a gate for each edge of which
a stage awaits the first, and the end of the whole request.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.graph import SURE, Graph
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.objective import Problem

ONE, ALL, FIRST, GATE, END = 0, 1, 2, 3, 4
"""What a node awaits: the one task that it comes of; all tasks below another; the first of its gates to open.
A gate opens, and a request ends, when all tasks are done that could lead there."""

MOST = 32
"""Nodes that are told after one, of each kind, at most."""

NODE = np.dtype(
    [(name, np.int64) for name in ("kind", "parent", "order", "successor", "told")]
    + [("sink_sla_s", np.float64)]
    + [(name, np.int64, (MOST,)) for name in ("awaited_by", "opens", "wakes")],
    align=True,
)
"""A node; lists of nodes end with -1.

``parent``: of whose task its tasks come, -1 for none. ``order``: the node that is listed here where stages
are in the order of their ways, parents first. ``sink_sla_s``: infinite where a stage has none.
``successor``: the stage to which each task goes on as one, awaited by the same; -1 for none.
``awaited_by``: who awaits its tasks. ``opens``: who begins to await when one is done. ``wakes``: the stages
that may get tasks then. ``told``: room for the event loop, a stack of tasks that are over.
"""

EDGE = np.dtype(
    [(name, np.int64) for name in ("target", "into", "is_alternative")]
    + [("probability", np.float64), ("passes", np.int64, (MOST,))],
    align=True,
)
"""An edge out of a stage; ``target`` -1 for none. ``into``: the node that gathers at its end, -1 where each
request begins a task there. ``passes``: who has what it awaits where the edge carries no request."""


class TaskNetwork(NamedTuple):
    """``nodes``: NODE (nodes,); ``edges``: EDGE (stages, most).

    ``carried``: requests that an edge carries by variant, (stages, most, variants).
    """

    nodes: Records
    edges: Records
    carried: FloatArray

    @property
    def most_tasks(self) -> int:
        """Tasks that one becomes at once, at most, with those who gather."""
        gathering = int((self.nodes["opens"] >= 0).sum(axis=1).max())
        return int(np.ceil(self.carried.max(axis=2)).sum(axis=1).max()) + gathering


def network_of(problem: Problem) -> TaskNetwork:
    """The pipeline's. Raises InputError where more than MOST stages join what one forks."""
    graph, sinks = problem.pipeline.graph, dict(problem.sink_sla_s)
    found, stages = _Nodes(graph), range(len(graph.names))
    nodes = np.zeros(found.count, dtype=NODE)
    for node in range(found.count):
        nodes[node]["kind"], nodes[node]["parent"] = found.kinds[node], found.parents[node]
        nodes[node]["awaited_by"] = _ended(found.awaited_by(node))
        nodes[node]["opens"] = _ended(found.opened_by(node))
    for s in stages:
        nodes[s]["order"] = graph.order[s]
        nodes[s]["sink_sla_s"] = sinks.get(graph.names[s], math.inf)
        nodes[s]["successor"] = found.successor(s)
        nodes[s]["wakes"] = _ended(found.woken_by(s))
    most = max(*map(len, graph.leaving), 1)
    edges = np.zeros((len(stages), most), dtype=EDGE)
    edges["target"] = -1
    carried = np.zeros((len(stages), most, max(len(one.variants) for one in problem.pipeline.stages)))
    for s in stages:
        for place, k in enumerate(graph.leaving[s]):
            one, row = graph.edges[k], edges[s, place]
            row["target"], row["into"] = graph.ends[k][1], found.into(k)
            row["is_alternative"], row["probability"] = one.is_alternative, one.probability
            row["passes"] = _ended(found.passed(s, k))
            for v in range(len(problem.pipeline.stages[s].variants)):
                carried[s, place, v] = one.requests_of(v)
    return TaskNetwork(nodes, edges, carried)


def _ended(nodes: list[int]) -> IntArray:
    """A list with -1 at its end."""
    if len(nodes) >= MOST:
        fix = "let fewer stages join"
        raise InputError(f"{len(nodes)} stages or joins follow one", field="edges", fix=fix)
    return np.array([*nodes, *[-1] * (MOST - len(nodes))], dtype=np.int64)


class _Nodes:
    """Who gathers what, in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kinds = [self._kind(s) for s in range(len(graph.names))]
        parents = map(graph.parent, range(len(graph.names)))
        self.parents = [-1 if one is None else one for one in parents]
        self.gates: dict[int, int] = {}
        for s, kind in enumerate(list(self.kinds)):
            for k in graph.entering[s] if kind == FIRST else ():
                self.gates[k] = len(self.kinds)
                self.kinds.append(GATE)
                self.parents.append(self.parents[s])
        self.end = len(self.kinds)
        self.kinds.append(END)
        self.parents.append(-1)
        self.count = len(self.kinds)

    def _kind(self, s: int) -> int:
        if self.graph.level_at[s] is None:
            return ONE
        return FIRST if self.graph.joins.get(s) == "first" else ALL

    def into(self, k: int) -> int:
        """Who gathers at the end of an edge, -1 for nobody."""
        target = self.graph.ends[k][1]
        return self.gates.get(k, target if self.kinds[target] == ALL else -1)

    def _is_below(self, s: int, top: int) -> bool:
        """Whether a stage's tasks are below another's."""
        while s >= 0 and s != top:
            s = self.parents[s]
        return s >= 0

    def awaited_by(self, node: int) -> list[int]:
        """Who awaits a task of a node, without another in between."""
        if self.kinds[node] in (GATE, END):
            return [self.graph.ends[k][1] for k, gate in self.gates.items() if gate == node]
        found, seen, ahead = set[int](), {node}, [node]
        while ahead:
            s = ahead.pop()
            if self._may_end(s):
                found.add(self.end)
            for k in self.graph.leaving[s]:
                target, into = self.graph.ends[k][1], self.into(k)
                top = self.parents[target]
                if into >= 0 and node != top and self._is_below(node, top):
                    found.add(into)
                elif target not in seen:
                    seen.add(target)
                    ahead.append(target)
        return sorted(found)

    def _may_end(self, s: int) -> bool:
        edges = [self.graph.edges[k] for k in self.graph.leaving[s]]
        return all(one.is_alternative for one in edges) and sum(one.probability for one in edges) < SURE

    def opened_by(self, node: int) -> list[int]:
        """Who begins to await when a task is done; each after those who await it."""
        place = {s: k for k, s in enumerate(self.graph.order)}
        own = [one for one in range(self.end) if self.parents[one] == node and self.kinds[one] != ONE]
        joins = [one for one in own if self.kinds[one] != GATE]
        return sorted(joins, key=lambda s: -place[s]) + [one for one in own if self.kinds[one] == GATE]

    def passed(self, s: int, k: int) -> list[int]:
        """Who would surely be come to by an edge, of those that await what a stage's task becomes."""
        found, seen, ahead = set[int](), set[int](), [k]
        while ahead:
            edge = ahead.pop()
            target, into = self.graph.ends[edge][1], self.into(edge)
            if into >= 0 and self._is_below(s, self.parents[target]):
                found.add(into)
            elif target not in seen:
                seen.add(target)
                leaving = self.graph.leaving[target]
                ahead += [one for one in leaving if not self.graph.edges[one].is_alternative]
        return sorted(found)

    def woken_by(self, s: int) -> list[int]:
        """The stages that may get tasks when one of a stage is done."""
        joins = [
            j
            for j in self.graph.order
            if self.kinds[j] in (ALL, FIRST) and self._is_below(s, self.parents[j])
        ]
        begun = [self.graph.ends[k][1] for k in self.graph.leaving[s] if self.into(k) < 0]
        return begun + [j for j in joins if j != s]

    def successor(self, s: int) -> int:
        """The stage that each task of a stage goes on to, as one and awaited by the same; -1 for none."""
        edges = [self.graph.edges[k] for k in self.graph.leaving[s]]
        if len(edges) != 1 or not edges[0].is_plain or self.opened_by(s):
            return -1
        target = self.graph.ends[self.graph.leaving[s][0]][1]
        is_alike = self.kinds[target] == ONE and self.awaited_by(target) == self.awaited_by(s)
        return target if is_alike else -1
