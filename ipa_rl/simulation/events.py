"""The event loop of the request-level simulator, compiled.

`advance` takes events in the order of their times. Those that coincide are taken in this one: a batch leaves
or frees its replica; starting replicas become ready; a request arrives; the oldest request reaches the drop
limit; the first task of a partial batch has waited the batch time-out. Every change of a stage ends in
`_serve`: idle replicas pull from its queue. What tasks are and how they hang together:
`ipa_rl.simulation.network`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipa_rl.jit import FloatArray, IntArray, Records, compiled_in_place
from ipa_rl.simulation.accounting import finish_one
from ipa_rl.simulation.heap import pop, push
from ipa_rl.simulation.luck import CHILD, CHOICE, COUNT, SERVICE, drawn, share_of
from ipa_rl.simulation.network import ALL, END, FIRST, GATE, MOST
from ipa_rl.simulation.together import Together
from ipa_rl.simulation.transitions import decide, lose, next_ready_s, paid_cores, pass_time

COMING, UNDER_WAY, SERVED, DROPPED = 0, 1, 2, 3
"""Status of a request."""

AWAITING, WAITING, IN_SERVICE, DONE, GONE = 0, 1, 2, 3, 4
"""Status of a task: has others that it joins to await; waits for a replica; is served; was served; was
dropped, or is not wanted any more."""

SERVING, DRAINING, LOST = 0, 1, 2
"""State of a replica that is taken: goes on, leaves after this batch, has failed with it."""

LOGNORMAL, FIXED, EXPONENTIAL = 0, 1, 2
"""What service times are drawn from (`ipa_rl.simulation.request_level`)."""

REQUEST = np.dtype(
    [(name, np.float64) for name in ("arrival_s", "finish_s", "score", "accuracy")]
    + [(name, np.int64) for name in ("luck", "status", "first", "last", "held", "is_late")],
    align=True,
)
"""One request.

``finish_s``: when it was served or dropped, NaN before. ``score``, ``accuracy``: of the answer, NaN before
there is one. ``first``, ``last``: of its tasks, the end that awaits them all before the others; -1 for none.
``held``: tasks that are not over, and replicas that are taken in the name of one of its tasks. ``is_late``:
whether a stage that has an SLA of its own answered later.
"""

TASK = np.dtype(
    [(name, np.float64) for name in ("entered_s", "started_s", "left_s", "free_s", "score", "accuracy")]
    + [("luck", np.int64)]
    + [(name, np.int32) for name in ("request", "node", "parent", "status", "elder", "sibling")]
    + [(name, np.int32) for name in ("before", "after", "variant", "batch", "replica")]
    + [(name, np.int32) for name in ("opened", "following", "awaited", "has_come", "has_failed", "counts")],
    align=True,
)
"""What a node does for a request; NaN for what has not happened, -1 for nobody and nothing.

``elder``, ``sibling``: the one before and the next of its request's. ``score``, ``accuracy``: of what it did,
with that of tasks that handed on to it. ``before``, ``after``: neighbours in the queue or in the batch.
``batch``: tasks that were served with it, itself included. The batch as a whole is known by its oldest task:
``free_s``: when its replica is free; ``replica``: SERVING, DRAINING or LOST. ``luck``: what is drawn for it
follows from it.

``opened``, ``following``: the first that its end made await, and the next of these. ``awaited``: tasks that
one awaits still. ``has_come``: whether one of them came to it, at a gate first of all; ``has_failed``:
whether one was dropped. ``counts``: whether what it did is part of the answer.
"""

SERVER = np.dtype(
    [(name, np.int64) for name in ("head", "tail", "waiting", "busy")]
    + [("draining_cores", np.float64)]
    + [(name, np.float64) for name in ("settled_s", "fleet_s")],
    align=True,
)
"""Queue and taken replicas of one stage, beside its FLEET.

``head``, ``tail``: oldest and newest waiting task, -1 for none. ``busy``: ready replicas that serve.
``settled_s``, ``fleet_s``: up to when cost is accounted, and up to when start-up delays have passed.
"""

CLOCK = np.dtype(
    [(name, np.int64) for name in ("next", "oldest", "taken", "batches", "tasks", "fresh", "free")]
)
"""``next``: request that arrives next. ``oldest``: request that may reach the drop limit next. ``taken``:
entries of the heap. ``batches``: batches begun so far. ``tasks``: records of tasks in use; ``fresh``: the
first that never was, ``free``: one that is not any more, -1 for none; these are linked by ``after``."""


class World(NamedTuple):
    """All that the event loop reads and writes.

    It has few arrays, as each costs time in every call.

    ``nodes``, ``edges``, ``carried``: `ipa_rl.simulation.network.TaskNetwork`. ``requests``: REQUEST
    (requests,). ``tasks``: TASK (most,), of which one event takes ``room`` at most; ``keeps``: whether those
    that are over stay. ``servers``: SERVER and ``fleet``: FLEET, (stages,); ``variants``: VARIANT (stages,
    variants); ``services``, mu, sigma and hold (3, stages, variants, batch sizes), and ``variates``
    (requests, stages): service times (`ipa_rl.simulation.request_level`); without variates they are drawn as
    ``service`` says. ``heap``: HEAP (most,), a binary heap by time; ``clock``: CLOCK (1,); ``limits``:
    LIMITS (1,); ``totals``: TOTALS (1,). ``together``: stages that were measured together.
    """

    nodes: Records
    edges: Records
    carried: FloatArray
    requests: Records
    tasks: Records
    servers: Records
    fleet: Records
    variants: Records
    services: FloatArray
    variates: FloatArray
    heap: Records
    clock: Records
    limits: Records
    totals: Records
    together: Together
    service: int
    room: int
    keeps: bool


@compiled_in_place
def advance(world: World, until_s: float) -> bool:
    """Take all events before ``until_s``, and account for cost up to then; False where tasks lack room.

    Then it goes on when it is called again with more.
    """
    clock, stages = world.clock[0], len(world.servers)
    while True:
        # When each kind of event comes next.
        batch_s = world.heap[0].time_s if clock.taken > 0 else math.inf
        arrival_s = world.requests[clock.next].arrival_s if clock.next < len(world.requests) else math.inf
        limit_s = _limit_at_s(world)
        ready_s, ready_stage, due_s, due_stage = math.inf, 0, math.inf, 0
        for s in range(stages):
            one_s = float(world.servers[s].fleet_s + next_ready_s(world.fleet[s]))
            if one_s < ready_s:
                ready_s, ready_stage = one_s, s
            one_s = _due_at_s(world, s)
            if one_s < due_s:
                due_s, due_stage = one_s, s
        # The first of them; of those that coincide, in this order.
        now = min(batch_s, ready_s, arrival_s, limit_s, due_s)
        if now >= until_s:
            break
        if len(world.tasks) - clock.tasks < world.room:
            return False
        if batch_s == now:
            _next_of_batch(world, now)
        elif ready_s == now:
            pass_to(world, ready_stage, now)
        elif arrival_s == now:
            _arrive(world, now)
        elif limit_s == now:
            _reach_limit(world, now)
        else:
            _serve(world, due_stage, now)
    for s in range(stages):
        pass_to(world, s, until_s)
    return True


@compiled_in_place
def _limit_at_s(world: World) -> float:
    """When the oldest request that still may be dropped reaches the limit."""
    clock = world.clock[0]
    while clock.oldest < clock.next and world.requests[clock.oldest].status >= SERVED:
        clock.oldest += 1
    if clock.oldest == clock.next:
        return math.inf
    return float(world.requests[clock.oldest].arrival_s + world.limits[0].drop_limit_s)


@compiled_in_place
def _due_at_s(world: World, s: int) -> float:
    """When the partial batch that waits for an idle replica of the stage is due."""
    server = world.servers[s]
    if server.waiting == 0 or server.busy >= world.fleet[s].ready:
        return math.inf
    return float(world.tasks[server.head].entered_s + world.limits[0].batch_timeout_s)


# The events.


@compiled_in_place
def _next_of_batch(world: World, now: float) -> None:
    """The first entry of the heap: its tasks leave, its replica becomes free, or both."""
    first, batch = world.heap[0].task, world.heap[0].batch
    pop(world.heap, world.clock[0])
    slot = world.tasks[first]
    s, server = slot.node, world.servers[slot.node]
    if slot.replica != LOST and math.isnan(slot.left_s):
        _go_on(world, first, now)
        if slot.free_s > now:
            push(world.heap, world.clock[0], slot.free_s, batch, first)
            return
    if slot.replica == DRAINING:
        settle(world, s, now)
        server.draining_cores -= world.variants[s, slot.variant].cores
    elif slot.replica == SERVING:
        server.busy -= 1
        _serve(world, s, now)
    _let_go(world, slot.request)


@compiled_in_place
def pass_to(world: World, s: int, now: float) -> None:
    """Start-up delays of a stage pass up to now; what is ready by then joins."""
    server, stage = world.servers[s], world.fleet[s]
    settle(world, s, now)
    before = stage.active
    pass_time(stage, now - server.fleet_s)
    server.fleet_s = now
    _after_change(world, s, before, now)


@compiled_in_place
def _arrive(world: World, now: float) -> None:
    clock, source = world.clock[0], world.nodes[0].order
    i = clock.next
    request = world.requests[i]
    world.totals[0].arrived += 1.0
    clock.next += 1
    request.status = UNDER_WAY
    _new(world, i, len(world.nodes) - 1, -1, 0)
    t = _new_awaited(world, i, source, -1, request.luck)
    _begin_waiting(world, t, now)
    _serve(world, source, now)


@compiled_in_place
def _reach_limit(world: World, now: float) -> None:
    """The oldest request that still may be dropped leaves the queues where it waits."""
    clock = world.clock[0]
    request = world.requests[clock.oldest]
    request.held += 1
    t = request.first
    while t >= 0:
        if world.tasks[t].status == WAITING:
            _leave_queue(world, t)
            _drop(world, t, now)
        t = world.tasks[t].sibling
    _let_go(world, clock.oldest)
    clock.oldest += 1


@compiled_in_place
def _serve(world: World, s: int, now: float) -> None:
    """Idle replicas pull: full batches, and partial ones whose first task has waited long enough."""
    server, stage = world.servers[s], world.fleet[s]
    size = world.variants[s, stage.active].batch[stage.batch]
    while server.waiting > 0 and server.busy < stage.ready:
        if server.waiting < size:
            due_s = world.tasks[server.head].entered_s + world.limits[0].batch_timeout_s
            if now < due_s:
                return
        _begin(world, s, min(size, server.waiting), now)


# What is decided, and what fails.


@compiled_in_place
def apply(world: World, decision: IntArray, now: float) -> None:
    """A decision, (stages, 3) of variant, batch index, replicas, begins to take effect."""
    for s in range(decision.shape[0]):
        pass_to(world, s, now)
        stage = world.fleet[s]
        before = stage.active
        decide(stage, world.variants[s], decision[s, 0], decision[s, 1], decision[s, 2])
        _after_change(world, s, before, now)


@compiled_in_place
def fail(world: World, share: float, now: float) -> None:
    """That share of every stage's ready replicas, rounded up, fails.

    The batches that they served are dropped.
    """
    for s in range(len(world.servers)):
        pass_to(world, s, now)
        stage = world.fleet[s]
        _release(world, s, math.ceil(world.servers[s].busy * share), LOST, now)
        lose(stage, world.variants[s], share)


@compiled_in_place
def _after_change(world: World, s: int, before: int, now: float) -> None:
    """Replicas changed; ``before``: the variant that was active. Surplus ones drain, idle ones pull.

    A replica that changes in place finishes its batch as the old variant.
    """
    server, stage = world.servers[s], world.fleet[s]
    same = stage.active == before or world.variants[s, stage.active].reload_s < math.inf
    stay = stage.ready if same else 0
    if server.busy > stay:
        _release(world, s, server.busy - stay, DRAINING, now)
    _serve(world, s, now)


@compiled_in_place
def _release(world: World, s: int, count: int, how: int, now: float) -> None:
    """``count`` of the stage's serving replicas leave: after their batch (DRAINING), or with it (LOST)."""
    server = world.servers[s]
    for entry in range(world.clock[0].taken):
        slot = world.tasks[world.heap[entry].task]
        if count == 0 or slot.node != s or slot.replica != SERVING:
            continue
        count -= 1
        slot.replica = how
        server.busy -= 1
        if how == DRAINING:
            server.draining_cores += world.variants[s, slot.variant].cores
        elif math.isnan(slot.left_s):
            t = world.heap[entry].task
            while t >= 0:
                following = world.tasks[t].after
                _drop(world, t, now)
                t = following


@compiled_in_place
def settle(world: World, s: int, now: float) -> None:
    """Account for the cores and the batch size of a stage up to now; before every change of either."""
    server, stage, totals = world.servers[s], world.fleet[s], world.totals[0]
    passed_s = now - server.settled_s
    totals.core_s += (paid_cores(stage, world.variants[s]) + server.draining_cores) * passed_s
    totals.batch_s += world.variants[s, stage.active].batch[stage.batch] * passed_s
    server.settled_s = now


# A task's way: it enters a stage's queue, begins with a batch, and goes on or is dropped.


@compiled_in_place
def _new(world: World, i: int, node: int, parent: int, luck: int) -> int:
    """A task of a request; its position."""
    clock, request = world.clock[0], world.requests[i]
    if clock.free >= 0:
        t = clock.free
        clock.free = world.tasks[t].after
    else:
        t = clock.fresh
        clock.fresh += 1
    clock.tasks += 1
    task = world.tasks[t]
    task.entered_s = task.started_s = task.left_s = task.free_s = math.nan
    task.luck, task.request, task.node, task.parent, task.status = luck, i, node, parent, AWAITING
    task.score = task.accuracy = 1.0
    task.elder = request.last
    task.sibling = task.before = task.after = task.variant = task.opened = task.following = -1
    task.batch = task.replica = task.awaited = task.has_come = task.has_failed = task.counts = 0
    if request.last >= 0:
        world.tasks[request.last].sibling = t
    else:
        request.first = t
    request.last = t
    return int(t)


@compiled_in_place
def _new_awaited(world: World, i: int, node: int, parent: int, luck: int) -> int:
    """A task of a request, which those who await it now await; its position."""
    t, place = _new(world, i, node, parent, luck), world.nodes[node]
    for k in range(MOST):
        if place.awaited_by[k] < 0:
            break
        world.tasks[_who_awaits(world, t, place.awaited_by[k])].awaited += 1
    return t


@compiled_in_place
def _who_awaits(world: World, t: int, node: int) -> int:
    """The task of a node that gathers, above a task, which awaits it."""
    if world.nodes[node].kind == END:
        return int(world.requests[world.tasks[t].request].first)
    while world.tasks[t].node != world.nodes[node].parent:
        t = world.tasks[t].parent
    t = world.tasks[t].opened
    while world.tasks[t].node != node:
        t = world.tasks[t].following
    return int(t)


@compiled_in_place
def _begin_waiting(world: World, t: int, now: float) -> None:
    """A task joins its stage's queue; where its request is over the drop limit it is dropped instead."""
    if not _enter(world, t, now):
        _settle(world, t, True, now)


@compiled_in_place
def _enter(world: World, t: int, now: float) -> bool:
    """A task joins its stage's queue, unless its request is over the drop limit or has ended."""
    task = world.tasks[t]
    request, server = world.requests[task.request], world.servers[task.node]
    task.entered_s = now
    if request.status >= SERVED or now - request.arrival_s >= world.limits[0].drop_limit_s:
        task.status = GONE
        return False
    request.held += 1
    task.status = WAITING
    task.before, task.after = server.tail, -1
    if server.tail >= 0:
        world.tasks[server.tail].after = t
    else:
        server.head = t
    server.tail = t
    server.waiting += 1
    return True


@compiled_in_place
def _leave_queue(world: World, t: int) -> None:
    task = world.tasks[t]
    server = world.servers[task.node]
    if task.before >= 0:
        world.tasks[task.before].after = task.after
    else:
        server.head = task.after
    if task.after >= 0:
        world.tasks[task.after].before = task.before
    else:
        server.tail = task.before
    server.waiting -= 1


@compiled_in_place
def _begin(world: World, s: int, size: int, now: float) -> None:
    """A batch of the ``size`` oldest waiting tasks begins on an idle replica."""
    server, stage, clock = world.servers[s], world.fleet[s], world.clock[0]
    first = server.head
    v = stage.active
    t = last = first
    for _ in range(size):
        task = world.tasks[t]
        task.status = IN_SERVICE
        task.started_s, task.variant, task.batch = now, v, size
        last, t = t, task.after
    world.tasks[last].after = -1
    server.head = t
    if t >= 0:
        world.tasks[t].before = -1
    else:
        server.tail = -1
    server.waiting -= size
    server.busy += 1
    mu, sigma = world.services[0, s, v, size], world.services[1, s, v, size]
    service_s = math.exp(mu + sigma * _variate(world, first))
    oldest = world.tasks[first]
    oldest.free_s = now + service_s * world.services[2, s, v, size]
    oldest.replica = SERVING
    world.requests[oldest.request].held += 1
    clock.batches += 1
    push(world.heap, clock, now + service_s, clock.batches, first)


@compiled_in_place
def _factors_of(world: World, i: int, s: int, variant: int) -> int:
    """Where the factors of a stage's variant stand, beside what served a request in the stages before.

    Where none did yet, in a parallel arm, what serves there now counts.
    """
    link = world.together.links[s]
    at = link.begins + variant
    for k in range(link.count):
        other, t = link.others[k], world.requests[i].last
        served = world.fleet[other].active
        while t >= 0:
            task = world.tasks[t]
            if task.node == other and task.status == DONE:
                served, t = task.variant, -1
            else:
                t = task.elder
        at += link.steps[k] * served
    return int(at)


@compiled_in_place
def _go_on(world: World, first: int, now: float) -> None:
    """The tasks of a batch leave its stage; what each becomes follows, unless its request has ended."""
    s, t = world.tasks[first].node, first
    v = world.tasks[first].variant
    variant = world.variants[s, v]
    while t >= 0:
        task = world.tasks[t]
        following, i = task.after, task.request
        task.left_s, task.status = now, DONE
        task.score *= variant.score
        task.accuracy *= variant.accuracy
        if world.together.links[s].count > 0:
            at = _factors_of(world, i, s, v)
            task.score *= world.together.factors[at, 0]
            task.accuracy *= world.together.factors[at, 1]
        if world.requests[i].status == UNDER_WAY:
            if now - world.requests[i].arrival_s > world.nodes[s].sink_sla_s:
                world.requests[i].is_late = 1
            if world.nodes[s].successor >= 0:
                _hand_on(world, t, world.nodes[s].successor, now)
            else:
                _become(world, t, now)
                _settle(world, t, False, now)
        _let_go(world, i)
        t = following
    node = world.nodes[s]
    for k in range(MOST):
        if node.wakes[k] < 0:
            break
        _serve(world, node.wakes[k], now)


@compiled_in_place
def _hand_on(world: World, t: int, s: int, now: float) -> None:
    """A task goes on as one, awaited by the same."""
    task = world.tasks[t]
    one = _new(world, task.request, s, t, task.luck)
    world.tasks[one].score, world.tasks[one].accuracy = task.score, task.accuracy
    task.score = task.accuracy = 1.0
    _begin_waiting(world, one, now)


@compiled_in_place
def _become(world: World, t: int, now: float) -> None:
    """A task is done: those who gather what it becomes begin to await, and its edges are taken."""
    task = world.tasks[t]
    _open(world, t)
    choice, passed = -1.0, 0.0
    for place in range(world.edges.shape[1]):
        edge = world.edges[task.node, place]
        if edge.target < 0:
            break
        if edge.is_alternative:
            if choice < 0.0:
                choice = share_of(drawn(task.luck, CHOICE + task.node))
            passed += edge.probability
            if not passed - edge.probability <= choice < passed:
                continue
        if edge.into >= 0:
            world.tasks[_who_awaits(world, t, edge.into)].has_come = 1
        else:
            _carry(world, t, place, now)


@compiled_in_place
def _open(world: World, t: int) -> None:
    """Those who gather what a task becomes begin to await."""
    task, newest = world.tasks[t], -1
    node = world.nodes[task.node]
    for k in range(MOST):
        if node.opens[k] < 0:
            break
        one = _new_awaited(world, task.request, node.opens[k], t, drawn(task.luck, node.opens[k]))
        world.tasks[one].awaited += 1  # the task itself, until all that it becomes is there
        if newest < 0:
            task.opened = one
        else:
            world.tasks[newest].following = one
        newest = one


@compiled_in_place
def _carry(world: World, t: int, place: int, now: float) -> None:
    """An edge carries what a task becomes: as many tasks, by luck, as are its mean."""
    task = world.tasks[t]
    edge, mean = world.edges[task.node, place], world.carried[task.node, place, task.variant]
    count = math.floor(mean)
    if mean > count:
        count += share_of(drawn(task.luck, COUNT + task.node + place * len(world.servers))) < mean - count
    for k in range(count):
        luck = drawn(task.luck, CHILD + place + k * world.edges.shape[1])
        _begin_waiting(world, _new_awaited(world, task.request, edge.target, t, luck), now)
    if count == 0:
        for k in range(MOST):
            if edge.passes[k] < 0:
                break
            world.tasks[_who_awaits(world, t, edge.passes[k])].has_come = 1


# Who awaits: a task that is over is told to those who await it, and these may begin, end or fail by that.


@compiled_in_place
def _settle(world: World, t: int, has_failed: bool, now: float) -> None:
    """A task is over. Who awaits it has one less to await; who awaits all fails where it has failed."""
    world.nodes[0].told, top = (
        -t - 1 if has_failed else t + 1,
        1,
    )  # position + 1; negative where it has failed
    while top > 0:
        top -= 1
        failed, t = world.nodes[top].told < 0, abs(world.nodes[top].told) - 1
        one = world.tasks[t].opened
        while one >= 0:
            top = _await_less(world, one, failed, top, now)
            one = world.tasks[one].following
        node = world.nodes[world.tasks[t].node]
        for k in range(MOST):
            if node.awaited_by[k] < 0:
                break
            top = _await_less(world, _who_awaits(world, t, node.awaited_by[k]), failed, top, now)


@compiled_in_place
def _await_less(world: World, t: int, failed: bool, top: int, now: float) -> int:
    """One that awaits has one less to await; what is over by that goes onto the stack; its height."""
    task = world.tasks[t]
    kind = world.nodes[task.node].kind
    if task.status != AWAITING:
        return top
    task.awaited -= 1
    if failed:
        task.has_failed = 1
    if task.has_failed and (kind != FIRST or task.awaited == 0):
        return _end(world, t, True, top, now)
    if task.awaited > 0:
        return top
    if not task.has_come:
        return _end(world, t, False, top, now)
    begins = _who_begins(world, t, kind)
    if begins < 0 or _enter(world, begins, now):
        return top
    return _tell(world, begins, True, top)


@compiled_in_place
def _who_begins(world: World, t: int, kind: int) -> int:
    """Who has what it awaits now: the task itself, or whose first gate it is; -1 for nobody."""
    if kind == ALL:
        return t
    world.tasks[t].status = DONE
    one = _who_awaits(world, t, world.nodes[world.tasks[t].node].awaited_by[0])
    if world.tasks[one].status != AWAITING:
        return -1
    world.tasks[t].counts = 1
    return one


@compiled_in_place
def _end(world: World, t: int, has_failed: bool, top: int, now: float) -> int:
    """One that awaits is over without having begun, or the request is; the height of the stack."""
    task = world.tasks[t]
    task.status = GONE
    if world.nodes[task.node].kind == END:
        _finish(world, task.request, DROPPED if has_failed else SERVED, now)
        return top
    return _tell(world, t, has_failed, top)


@compiled_in_place
def _tell(world: World, t: int, has_failed: bool, top: int) -> int:
    """A task that is over goes onto the stack; its height."""
    world.nodes[top].told = -t - 1 if has_failed else t + 1  # position + 1; negative where it has failed
    return top + 1


@compiled_in_place
def _drop(world: World, t: int, now: float) -> None:
    """A task that waits no more, or was lost in service, and those that await it with it."""
    i = world.tasks[t].request
    world.tasks[t].status = GONE
    if world.requests[i].status == UNDER_WAY:
        _settle(world, t, True, now)
    _let_go(world, i)


@compiled_in_place
def _finish(world: World, i: int, status: int, now: float) -> None:
    """A request ends; what of it still waits is not wanted any more."""
    request, totals = world.requests[i], world.totals[0]
    request.status, request.finish_s = status, now
    if status == SERVED:
        _grade(world, i)
        latency_s = now - request.arrival_s
        is_late = latency_s > world.limits[0].sla_s or request.is_late == 1
        finish_one(totals, latency_s, request.score, request.accuracy, is_late)
    else:
        totals.dropped += 1.0
    t = request.first
    while t >= 0:
        task = world.tasks[t]
        if task.status == WAITING:
            _leave_queue(world, t)
            task.status = GONE
            request.held -= 1
        t = task.sibling


@compiled_in_place
def _grade(world: World, i: int) -> None:
    """Score and accuracy of an answer: of each task the product with what it became, the mean where that is
    many.

    What was done for one that then began with another's answer is no part of it.
    """
    request = world.requests[i]
    t = request.first
    world.tasks[t].counts = 1
    t = world.tasks[t].sibling
    while t >= 0:  # who awaits before those awaited
        task = world.tasks[t]
        node, counts = world.nodes[task.node], 0
        for k in range(MOST):
            if node.awaited_by[k] < 0:
                break
            counts = max(counts, world.tasks[_who_awaits(world, t, node.awaited_by[k])].counts)
        task.counts = min(task.counts, counts) if node.kind == GATE else counts
        t = task.sibling
    t, many, score, accuracy = request.last, 0, 0.0, 0.0
    while t >= 0:  # what a task became before it
        task = world.tasks[t]
        if task.counts and task.status == DONE and world.nodes[task.node].kind < GATE:
            many += 1
            score += task.score
            accuracy += task.accuracy
        elder = world.tasks[max(task.elder, 0)]
        if many > 0 and (elder.parent != task.parent or elder.node != task.node):
            if task.parent < 0:
                request.score, request.accuracy = score / many, accuracy / many
            else:
                world.tasks[task.parent].score *= score / many
                world.tasks[task.parent].accuracy *= accuracy / many
            many, score, accuracy = 0, 0.0, 0.0
        t = task.elder


@compiled_in_place
def _let_go(world: World, i: int) -> None:
    """One hold less on a request; without any, its tasks make room for others, unless they are kept."""
    request, clock = world.requests[i], world.clock[0]
    request.held -= 1
    if request.held > 0 or request.status < SERVED or world.keeps:
        return
    t = request.first
    request.first = request.last = -1
    while t >= 0:
        task = world.tasks[t]
        task.after, clock.free = clock.free, t
        clock.tasks -= 1
        t = task.sibling


@compiled_in_place
def _variate(world: World, t: int) -> float:
    """z of a batch's service time, that of its oldest task."""
    task = world.tasks[t]
    if len(world.variates) > 0:
        return float(world.variates[task.request, task.node])
    if world.service == FIXED:
        return 0.0
    one = share_of(drawn(task.luck, SERVICE + 2 * task.node))
    if world.service == EXPONENTIAL:
        return math.log(-math.log(one))
    other = share_of(drawn(task.luck, SERVICE + 2 * task.node + 1))  # Box and Muller, 1958
    return math.sqrt(-2.0 * math.log(one)) * math.cos(2.0 * math.pi * other)
