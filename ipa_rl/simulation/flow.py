"""Where the flow of requests goes in a graph, as arrays: for the fluid simulator.

Flows are in requests of the pipeline, whatever these become: a stage serves so many times as many of its own
as its level says (`ipa_rl.graph`). What forks goes into each arm whole, and meets again: by moment of
arrival, as much as has come by all arms, or by the first. Alternatives each get their share, and what follows
gets what each passes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ipa_rl.blocks import Block, Split, needed_tree
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, Record, Records, compiled_in_place
from ipa_rl.objective import Problem
from ipa_rl.simulation.accounting import finish
from ipa_rl.simulation.queues import RING, push
from ipa_rl.simulation.together import Together, factors_at, together_of

LEAST = 1e-9
"""Of a request: less is nothing."""

MOST_WAYS = 32
"""Ways on from one stage or meeting, at most."""

WAY = np.dtype(
    [(name, np.int64) for name in ("queue", "arm", "route")]
    + [(name, np.float64) for name in ("share", "afresh", "earlier_s")],
    align=True,
)
"""Where a share of what a node passes on goes: to a stage's ``queue``, into an ``arm``, or neither: served.

``route``: from 1 on, of alternatives, which it is; 0 elsewhere. ``afresh``: 1 where it enters an arm, whose
score begins anew. ``earlier_s``: what ends there must do so earlier than the pipeline's SLA.
"""

NODE = np.dtype(
    [(name, np.int64) for name in ("order", "parent", "arm", "ways", "opens")]
    + [("reached", np.float64), ("way", WAY, (MOST_WAYS,)), ("opened", np.int64, (MOST_WAYS,))],
    align=True,
)
"""A stage, or after these a meeting.

``order``: the node that is listed here where each comes after what comes to it, stages s and meetings -1 - m.
``parent``: of a stage, whose requests its are or come of, -1 for none; ``reached``: the share of the
pipeline's that comes there. ``arm``: that it is in, -1 for none. So many ``ways`` on; so many meetings that
it ``opens``, the outermost first.
"""

MEETING = np.dtype(
    [(name, np.int64) for name in ("first_arm", "arms", "is_first", "touched")]
    + [("touches", np.int64, (RING,))]
    + [(name, np.float64, (RING,)) for name in ("origin", "passed", "score", "accuracy")],
    align=True,
)
"""Where ``arms`` from ``first_arm`` on meet: all are awaited, or the first (``is_first``).

By chunk, in a ring by ``origin``: what has ``passed``, and the ``score`` and ``accuracy`` that it came with.
``touches``: so many (``touched``) slots of the ring got something of late.
"""

_MEANS = ("entered", "typical_s", "excess_s", "earlier_s", "score", "accuracy")

ARM = np.dtype(
    [(name, np.float64, (RING,)) for name in ("amount", "open", "dropped", *_MEANS)]
    + [("meeting", np.int64)],
    align=True,
)
"""What has come to the end of an arm, by chunk: its ``amount``, and what was ``dropped`` on the way; of what
had not passed when the last of it came (``open``) the means, as in `ipa_rl.simulation.queues.QUEUE`."""


class Stream(NamedTuple):
    """One environment: FLEET and QUEUE (stages,), and the rest as in `Flow`."""

    fleet: Records
    queues: Records
    nodes: Records
    carried: FloatArray
    meetings: Records
    arms: Records
    together: Together


class Flow(NamedTuple):
    """``nodes``: NODE (stages and meetings,).

    ``carried``: requests that a stage gets for each of its parent's, (stages, variants of the parent);
    (stages, 0) where that is one everywhere. ``meetings``: MEETING (meetings,) and ``arms``: ARM (arms,),
    before anything came. ``together``: stages that were measured together.
    """

    nodes: Records
    carried: FloatArray
    meetings: Records
    arms: Records
    together: Together


def flow_of(problem: Problem) -> Flow:
    """The pipeline's. Raises InputError where arms share stages without meeting in one."""
    laid = _Laid(problem, needed_tree(problem.pipeline.graph, f"{problem.pipeline.name}: edges"))
    meetings = np.zeros(len(laid.meetings), dtype=MEETING)
    arms = np.zeros(laid.arms, dtype=ARM)
    for m, (split, own) in enumerate(laid.meetings):
        row = meetings[m]
        row["first_arm"], row["arms"], row["is_first"] = own[0], len(own), split.kind == "first"
        row["origin"] = -1.0
        arms["meeting"][own] = m
    return Flow(laid.nodes(), _carried(problem), meetings, arms, together_of(problem))


def _carried(problem: Problem) -> FloatArray:
    graph, stages = problem.pipeline.graph, problem.pipeline.stages
    if graph.is_even:
        return np.ones((len(stages), 0))
    found = np.ones((len(stages), max(len(one.variants) for one in stages)))
    for s in range(len(stages)):
        carried = graph.carried(s)
        found[s, : len(carried) if len(carried) > 1 else None] = carried
    return found


class Way(NamedTuple):
    """As WAY has it."""

    queue: int = -1
    arm: int = -1
    route: int = 0
    share: float = 1.0
    afresh: float = 0.0
    earlier_s: float = 0.0

    def shared(self, share: float) -> Way:
        """For such a share of what takes it."""
        return self._replace(share=self.share * share)


class _Laid:
    """Blocks laid out as nodes and the ways between them."""

    def __init__(self, problem: Problem, tree: Block) -> None:
        self.problem = problem
        self.order: list[int] = []
        self.ways: dict[int, list[Way]] = {}
        self.opens: dict[int, list[int]] = {}
        self.arm: dict[int, int] = {}
        self.meetings: list[tuple[Split, list[int]]] = []
        self.arms = 0
        self._number(tree)
        self._block(tree, [Way()], -1)

    def _number(self, block: Block) -> None:
        """The order of stages and meetings."""
        for part in block.parts:
            if isinstance(part, int):
                self.order.append(part)
                continue
            for arm in part.arms:
                self._number(arm.block)
            if part.kind != "one":
                self.order.append(-1 - len(self.meetings))
                self.meetings.append((part, [self.arms + k for k in range(len(part.arms))]))
                self.arms += len(part.arms)

    def _block(self, block: Block, after: list[Way], arm: int) -> list[Way]:
        """Lay out a block that is in an arm, with ways ``after`` it; the ways into it."""
        for part in reversed(block.parts):
            if isinstance(part, int):
                self._stage(part, after, arm)
                after = [Way(queue=part)]
            else:
                after = self._split(part, after, arm)
        return after

    def _stage(self, s: int, after: list[Way], arm: int) -> None:
        stage = self.problem.pipeline.stages[s]
        is_sink = not self.problem.pipeline.graph.leaving[s]
        earlier_s = self.problem.earlier_s(stage) if is_sink else 0.0
        self.ways[s] = [way._replace(earlier_s=max(way.earlier_s, earlier_s)) for way in after]
        self.opens.setdefault(s, [])
        self.arm[s] = arm

    def _split(self, split: Split, after: list[Way], arm: int) -> list[Way]:
        """Ways into a split whose arms lead to ways ``after`` it."""
        if split.kind == "one":
            found, missed = [], 1.0 - sum(one.probability for one in split.arms)
            for one in split.arms:
                found += [way.shared(one.probability) for way in self._block(one.block, after, arm)]
            found += [way.shared(missed) for way in after if missed > LEAST]
            return [way._replace(route=k + 1) for k, way in enumerate(found)]
        m, arms = next((m, own) for m, (one, own) in enumerate(self.meetings) if one is split)
        self.opens.setdefault(split.by, []).append(m)
        self.ways[-1 - m], self.arm[-1 - m] = after, arm
        found = []
        for own, one in zip(arms, split.arms, strict=True):
            ways = self._block(one.block, [Way(arm=own)], own)
            found += [way._replace(afresh=1.0) for way in ways]
        return found

    def nodes(self) -> Records:
        """NODE of the stages and the meetings."""
        graph = self.problem.pipeline.graph
        stages = len(graph.names)
        found = np.zeros(stages + len(self.meetings), dtype=NODE)
        found["order"] = self.order
        found["reached"][:stages] = graph.reached
        parents = map(graph.parent, range(stages))
        found["parent"][:stages] = [-1 if one is None else one for one in parents]
        for node, ways in self.ways.items():
            row, opened = found[node if node >= 0 else stages - 1 - node], self.opens.get(node, [])
            if len(ways) > MOST_WAYS or len(opened) > MOST_WAYS:
                fix = "let fewer edges leave it"
                raise InputError(f"more than {MOST_WAYS} ways lead on from one stage", field="edges", fix=fix)
            row["ways"], row["opens"], row["arm"] = len(ways), len(opened), self.arm[node]
            row["opened"][: len(opened)] = opened
            for k, way in enumerate(ways):
                row["way"][k] = way
        return found


@compiled_in_place
def send(
    node: Record,
    queues: Records,
    meetings: Records,
    arms: Records,
    totals: Record,
    sla_s: float,
    tail_sla_s: float,
    amount: float,
    origin: float,
    route: float,
    entered: float,
    typical_s: float,
    excess_s: float,
    score: float,
    accuracy: float,
) -> None:
    """What a node passes on, of one chunk, goes on all its ways.

    ``sla_s``, ``tail_sla_s``: within which it must end, and the tail of it.
    """
    for k in range(node.opens):
        meeting = meetings[node.opened[k]]
        slot = _slot(meeting, arms, origin)
        meeting.score[slot], meeting.accuracy[slot] = (score, accuracy) if k == 0 else (1.0, 1.0)
    for k in range(node.ways):
        way = node.way[k]
        part = amount * way.share
        own_score, own_accuracy = (1.0, 1.0) if way.afresh else (score, accuracy)
        if way.queue >= 0:
            queue = queues[way.queue]
            own_route = route if way.route == 0 else route * MOST_WAYS + way.route
            push(queue, part, origin, own_route, entered, typical_s, excess_s, own_score, own_accuracy)
        elif way.arm >= 0:
            arm = arms[way.arm]
            _come(meetings[arm.meeting], arms, arm, part, origin)
            slot = int(origin) % RING
            share = part / arm.open[slot]
            arm.entered[slot] += share * (entered - arm.entered[slot])
            arm.typical_s[slot] += share * (typical_s - arm.typical_s[slot])
            arm.excess_s[slot] += share * (excess_s - arm.excess_s[slot])
            arm.earlier_s[slot] += share * (way.earlier_s - arm.earlier_s[slot])
            arm.score[slot] += share * (own_score - arm.score[slot])
            arm.accuracy[slot] += share * (own_accuracy - arm.accuracy[slot])
        else:
            slas_s = sla_s - way.earlier_s, tail_sla_s - way.earlier_s
            finish(totals, part, typical_s, typical_s + excess_s, score, accuracy, *slas_s)


@compiled_in_place
def announce(node: Record, queues: Records, amount: float) -> None:
    """So much is passed on: what comes to the stages on all its ways."""
    for k in range(node.ways):
        if node.way[k].queue >= 0:
            queues[node.way[k].queue].came += amount * node.way[k].share


@compiled_in_place
def _slot(meeting: Record, arms: Records, origin: float) -> int:
    """The place of a chunk at a meeting, which begins anew where another was there."""
    slot = int(origin) % RING
    if meeting.origin[slot] != origin:
        meeting.origin[slot], meeting.passed[slot] = origin, 0.0
        for a in range(meeting.first_arm, meeting.first_arm + meeting.arms):
            arms[a].amount[slot] = arms[a].open[slot] = arms[a].dropped[slot] = 0.0
    return slot


@compiled_in_place
def _come(meeting: Record, arms: Records, arm: Record, amount: float, origin: float) -> None:
    """More of a chunk has come by an arm."""
    slot = _slot(meeting, arms, origin)
    arm.open[slot] = max(arm.amount[slot] - meeting.passed[slot], 0.0) + amount
    arm.amount[slot] += amount
    for k in range(meeting.touched):
        if meeting.touches[k] == slot:
            return
    meeting.touches[meeting.touched] = slot
    meeting.touched += 1


@compiled_in_place
def meet(stream: Stream, stages: int, m: int, totals: Record, sla_s: float) -> None:
    """What has come by all arms of a meeting, or by the first, is passed on."""
    meeting, node = stream.meetings[m], stream.nodes[stages + m]
    turns = meeting.arms if meeting.is_first else 1  # of arms that come in the same tick, one after the other
    for turn in range(meeting.touched * turns):
        slot = meeting.touches[turn // turns]
        passes = 0.0 if meeting.is_first else math.inf
        entered, quickest_s = -math.inf, math.inf
        for a in range(meeting.first_arm, meeting.first_arm + meeting.arms):
            arm = stream.arms[a]
            open_s = arm.typical_s[slot] - arm.entered[slot]
            if not meeting.is_first:
                passes = min(passes, arm.amount[slot] - meeting.passed[slot])
                entered = max(entered, arm.entered[slot])
            elif arm.amount[slot] - meeting.passed[slot] > LEAST and open_s < quickest_s:
                passes, quickest_s = arm.amount[slot] - meeting.passed[slot], open_s
                entered = arm.entered[slot]
        if passes <= LEAST:
            continue
        typical_s = most_s = typical_due_s = most_due_s = 0.0
        score, accuracy = meeting.score[slot], meeting.accuracy[slot]
        for a in range(meeting.first_arm, meeting.first_arm + meeting.arms):
            arm = stream.arms[a]
            if meeting.is_first and arm.typical_s[slot] - arm.entered[slot] != quickest_s:
                continue
            since_s = arm.typical_s[slot] + entered - arm.entered[slot]
            typical_s = max(typical_s, since_s)
            most_s = max(most_s, since_s + arm.excess_s[slot])
            typical_due_s = max(typical_due_s, since_s + arm.earlier_s[slot])
            most_due_s = max(most_due_s, since_s + arm.excess_s[slot] + arm.earlier_s[slot])
            score *= arm.score[slot]
            accuracy *= arm.accuracy[slot]
            if meeting.is_first:
                break
        meeting.passed[slot] += passes
        announce(node, stream.queues, passes)
        slas_s = sla_s - typical_due_s + typical_s, sla_s - most_due_s + most_s
        given = passes, meeting.origin[slot], 0.0, entered, typical_s, most_s - typical_s, score, accuracy
        send(node, stream.queues, stream.meetings, stream.arms, totals, *slas_s, *given)
    meeting.touched = 0


@compiled_in_place
def lost(stream: Stream, a: int, origin: float, amount: float) -> float:
    """So much of a chunk is dropped in an arm; how many of the pipeline's requests are so by that alone.

    Who awaits all arms misses a request with the first that drops it; who awaits the first, with the last.
    """
    while a >= 0 and amount > 0.0:
        m = stream.arms[a].meeting
        meeting = stream.meetings[m]
        slot = _slot(meeting, stream.arms, origin)
        before = _dropped(meeting, stream.arms, slot)
        stream.arms[a].dropped[slot] += amount
        amount = _dropped(meeting, stream.arms, slot) - before
        a = stream.nodes[len(stream.fleet) + m].arm
    return amount


@compiled_in_place
def _dropped(meeting: Record, arms: Records, slot: int) -> float:
    found = math.inf if meeting.is_first else 0.0
    for a in range(meeting.first_arm, meeting.first_arm + meeting.arms):
        own = arms[a].dropped[slot]
        found = min(found, own) if meeting.is_first else max(found, own)
    return found


@compiled_in_place
def set_levels(stream: Stream) -> None:
    """How many requests each stage has for one of the pipeline, by the variants that serve now.

    And where the factors stand of what was measured together with these.
    """
    if len(stream.together.factors) > 0:
        for s in range(len(stream.queues)):
            if stream.together.links[s].count > 0:
                stream.queues[s].factors = factors_at(stream.together.links[s], stream.fleet)
    if stream.carried.shape[1] == 0:
        return
    for k in range(len(stream.nodes)):
        s = stream.nodes[k].order
        parent = stream.nodes[s].parent if s >= 0 else -1
        if parent >= 0:
            level = stream.queues[parent].level * stream.carried[s, stream.fleet[parent].active]
            stream.queues[s].level = level


def restored(state: Mapping[str, NDArray[Any]], like: tuple[Records, Records]) -> tuple[Records, Records]:
    """Meetings and arms of a simulator's state. Raises InputError where they are of another pipeline."""
    found = []
    for name, one in zip(("meetings", "arms"), like, strict=True):
        given = np.ascontiguousarray(state[name]).view(one.dtype)[..., 0]
        fields = one.dtype.names or ()
        plan = [field for field in ("first_arm", "arms", "is_first", "meeting") if field in fields]
        fits = given.shape[1:] == one.shape and all((given[field] == one[field]).all() for field in plan)
        fits = fits and all(np.isfinite(given[field]).all() for field in fields)
        if not fits or ("touched" in fields and given["touched"].any()):
            raise InputError("is not of this pipeline", field=name, fix="give those of a simulator of it")
        found.append(given)
    return found[0], found[1]
