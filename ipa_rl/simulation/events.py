"""The event loop of the request-level simulator, compiled.

`advance` takes events in the order of their times. Those that coincide are taken in this one: a batch leaves
or frees its replica; starting replicas become ready; a request arrives; the oldest request reaches the drop
limit; the first request of a partial batch has waited the batch time-out. Every change of a stage ends in
`_serve`: idle replicas pull from its queue.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipa_rl.jit import FloatArray, IntArray, Records, compiled
from ipa_rl.simulation.accounting import finish_one
from ipa_rl.simulation.transitions import decide, lose, next_ready_s, paid_cores, pass_time

COMING, WAITING, IN_SERVICE, SERVED, DROPPED = 0, 1, 2, 3, 4
"""Status of a request."""

SERVING, DRAINING, LOST = 0, 1, 2
"""State of a replica that is taken: goes on, leaves after this batch, has failed with it."""

REQUEST = np.dtype(
    [(name, np.float64) for name in ("arrival_s", "finish_s", "score", "accuracy")]
    + [(name, np.int64) for name in ("status", "stage", "before", "after")],
    align=True,
)
"""One request.

``finish_s``: when it was served or dropped, NaN before. ``score``, ``accuracy``: products over the stages
passed. ``stage``: where it is or was last. ``before``, ``after``: neighbours in the queue or in the batch, -1
for none.
"""

VISIT = np.dtype(
    [(name, np.float64) for name in ("entered_s", "started_s", "left_s", "free_s")]
    + [(name, np.int64) for name in ("variant", "batch", "replica")],
    align=True,
)
"""One request at one stage; NaN for what has not happened, -1 for no variant.

``batch``: requests that were served with it, itself included. The batch as a whole is known by its oldest
request: ``free_s``: when its replica is free; ``replica``: SERVING, DRAINING or LOST.
"""

SERVER = np.dtype(
    [(name, np.int64) for name in ("head", "tail", "waiting", "busy", "draining_cores")]
    + [(name, np.float64) for name in ("settled_s", "fleet_s")],
    align=True,
)
"""Queue and taken replicas of one stage, beside its FLEET.

``head``, ``tail``: oldest and newest waiting request, -1 for none. ``busy``: ready replicas that serve.
``settled_s``, ``fleet_s``: up to when cost is accounted, and up to when start-up delays have passed.
"""

CLOCK = np.dtype([(name, np.int64) for name in ("next", "oldest", "taken", "batches")])
"""``next``: request that arrives next. ``oldest``: request that may reach the drop limit next. ``taken``:
entries of the heap. ``batches``: batches begun so far."""


class World(NamedTuple):
    """All that the event loop reads and writes.

    Its name and module stand in numba's cache on disk; renamed, it would make older caches unreadable.

    ``requests``: REQUEST (requests,); ``visits``: VISIT (requests, stages); ``servers``: SERVER and
    ``fleet``: FLEET, (stages,); ``variants``: VARIANT (stages, variants); ``mu``, ``sigma``, ``hold``, and
    ``variates`` (requests, stages): service times (`ipa_rl.simulation.request_level`); ``heap_s``,
    ``heap_batch``, ``heap_visit``: batches in service by the time of their next event, a binary heap;
    ``clock``: CLOCK (1,); ``limits``: LIMITS (1,); ``totals``: TOTALS (1,).
    """

    requests: Records
    visits: Records
    servers: Records
    fleet: Records
    variants: Records
    mu: FloatArray
    sigma: FloatArray
    hold: FloatArray
    variates: FloatArray
    heap_s: FloatArray
    heap_batch: IntArray
    heap_visit: IntArray
    clock: Records
    limits: Records
    totals: Records


@compiled
def advance(world: World, until_s: float) -> None:
    """Take all events before ``until_s``, and account for cost up to then."""
    clock, stages = world.clock[0], len(world.servers)
    while True:
        # When each kind of event comes next.
        batch_s = world.heap_s[0] if clock.taken > 0 else math.inf
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


@compiled
def _limit_at_s(world: World) -> float:
    """When the oldest request that still may be dropped reaches the limit."""
    clock = world.clock[0]
    while clock.oldest < clock.next and world.requests[clock.oldest].status >= SERVED:
        clock.oldest += 1
    if clock.oldest == clock.next:
        return math.inf
    return float(world.requests[clock.oldest].arrival_s + world.limits[0].drop_limit_s)


@compiled
def _due_at_s(world: World, s: int) -> float:
    """When the partial batch that waits for an idle replica of the stage is due."""
    server = world.servers[s]
    if server.waiting == 0 or server.busy >= world.fleet[s].ready:
        return math.inf
    return float(world.visits[server.head, s].entered_s + world.limits[0].batch_timeout_s)


# The events.


@compiled
def _next_of_batch(world: World, now: float) -> None:
    """The first entry of the heap: its requests leave, its replica becomes free, or both."""
    visit, batch = world.heap_visit[0], world.heap_batch[0]
    stages = len(world.servers)
    first, s = visit // stages, visit % stages
    _pop(world)
    slot, server = world.visits[first, s], world.servers[s]
    if slot.replica == LOST:
        return
    if math.isnan(slot.left_s):
        _go_on(world, first, s, now)
        if slot.free_s > now:
            _push(world, slot.free_s, batch, visit)
            return
    if slot.replica == DRAINING:
        settle(world, s, now)
        server.draining_cores -= world.variants[s, slot.variant].cores
    else:
        server.busy -= 1
        _serve(world, s, now)


@compiled
def pass_to(world: World, s: int, now: float) -> None:
    """Start-up delays of a stage pass up to now; what is ready by then joins."""
    server, stage = world.servers[s], world.fleet[s]
    settle(world, s, now)
    before = stage.active
    pass_time(stage, now - server.fleet_s)
    server.fleet_s = now
    _after_change(world, s, before, now)


@compiled
def _arrive(world: World, now: float) -> None:
    clock = world.clock[0]
    world.totals[0].arrived += 1.0
    clock.next += 1
    _enter(world, clock.next - 1, 0, now)
    _serve(world, 0, now)


@compiled
def _reach_limit(world: World, now: float) -> None:
    """The oldest request that still may be dropped leaves the queue where it waits."""
    clock = world.clock[0]
    request = world.requests[clock.oldest]
    if request.status == WAITING:
        server = world.servers[request.stage]
        if request.before >= 0:
            world.requests[request.before].after = request.after
        else:
            server.head = request.after
        if request.after >= 0:
            world.requests[request.after].before = request.before
        else:
            server.tail = request.before
        server.waiting -= 1
        _drop(world, clock.oldest, now)
    clock.oldest += 1


@compiled
def _serve(world: World, s: int, now: float) -> None:
    """Idle replicas pull: full batches, and partial ones whose first request has waited long enough."""
    server, stage = world.servers[s], world.fleet[s]
    size = world.variants[s, stage.active].batch[stage.batch]
    while server.waiting > 0 and server.busy < stage.ready:
        if server.waiting < size:
            due_s = world.visits[server.head, s].entered_s + world.limits[0].batch_timeout_s
            if now < due_s:
                return
        _begin(world, s, min(size, server.waiting), now)


# What is decided, and what fails.


@compiled
def apply(world: World, decision: IntArray, now: float) -> None:
    """A decision, (stages, 3) of variant, batch index, replicas, begins to take effect."""
    for s in range(decision.shape[0]):
        pass_to(world, s, now)
        stage = world.fleet[s]
        before = stage.active
        decide(stage, world.variants[s], decision[s, 0], decision[s, 1], decision[s, 2])
        _after_change(world, s, before, now)


@compiled
def fail(world: World, share: float, now: float) -> None:
    """That share of every stage's ready replicas, rounded up, fails.

    The batches that they served are dropped.
    """
    for s in range(len(world.servers)):
        pass_to(world, s, now)
        stage = world.fleet[s]
        _release(world, s, math.ceil(world.servers[s].busy * share), LOST, now)
        lose(stage, world.variants[s], share)


@compiled
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


@compiled
def _release(world: World, s: int, count: int, how: int, now: float) -> None:
    """``count`` of the stage's serving replicas leave: after their batch (DRAINING), or with it (LOST)."""
    stages, server = len(world.servers), world.servers[s]
    for entry in range(world.clock[0].taken):
        first = world.heap_visit[entry] // stages
        slot = world.visits[first, s]
        if count == 0 or world.heap_visit[entry] % stages != s or slot.replica != SERVING:
            continue
        count -= 1
        slot.replica = how
        server.busy -= 1
        if how == DRAINING:
            server.draining_cores += world.variants[s, slot.variant].cores
        elif math.isnan(slot.left_s):
            i = first
            while i >= 0:
                _drop(world, i, now)
                i = world.requests[i].after


@compiled
def settle(world: World, s: int, now: float) -> None:
    """Account for the cores and the batch size of a stage up to now; before every change of either."""
    server, stage, totals = world.servers[s], world.fleet[s], world.totals[0]
    passed_s = now - server.settled_s
    totals.core_s += (paid_cores(stage, world.variants[s]) + server.draining_cores) * passed_s
    totals.batch_s += world.variants[s, stage.active].batch[stage.batch] * passed_s
    server.settled_s = now


# A request's way: it enters a stage's queue, begins with a batch, goes on, or is dropped.


@compiled
def _enter(world: World, i: int, s: int, now: float) -> None:
    """A request joins the queue of a stage; one that is over the drop limit is dropped instead."""
    request, server = world.requests[i], world.servers[s]
    request.stage = s
    world.visits[i, s].entered_s = now
    if now - request.arrival_s >= world.limits[0].drop_limit_s:
        _drop(world, i, now)
        return
    request.status = WAITING
    request.before, request.after = server.tail, -1
    if server.tail >= 0:
        world.requests[server.tail].after = i
    else:
        server.head = i
    server.tail = i
    server.waiting += 1


@compiled
def _begin(world: World, s: int, size: int, now: float) -> None:
    """A batch of the ``size`` oldest waiting requests begins on an idle replica."""
    server, stage, clock = world.servers[s], world.fleet[s], world.clock[0]
    first = server.head
    v = stage.active
    i = first
    for _ in range(size):
        request, visit = world.requests[i], world.visits[i, s]
        request.status = IN_SERVICE
        visit.started_s, visit.variant, visit.batch = now, v, size
        last, i = i, request.after
    world.requests[last].after = -1
    server.head = i
    if i >= 0:
        world.requests[i].before = -1
    else:
        server.tail = -1
    server.waiting -= size
    server.busy += 1
    service_s = math.exp(world.mu[s, v, size] + world.sigma[s, v, size] * world.variates[first, s])
    world.visits[first, s].free_s = now + service_s * world.hold[s, v, size]
    world.visits[first, s].replica = SERVING
    clock.batches += 1
    _push(world, now + service_s, clock.batches, first * len(world.servers) + s)


@compiled
def _go_on(world: World, first: int, s: int, now: float) -> None:
    """The requests of a batch leave its stage, for the next one or for good."""
    variant = world.variants[s, world.visits[first, s].variant]
    last_stage = s == len(world.servers) - 1
    i = first
    while i >= 0:
        request = world.requests[i]
        following = request.after
        world.visits[i, s].left_s = now
        request.score *= variant.score
        request.accuracy *= variant.accuracy
        if last_stage:
            request.status, request.finish_s = SERVED, now
            latency_s = now - request.arrival_s
            limits, totals = world.limits[0], world.totals[0]
            finish_one(totals, latency_s, request.score, request.accuracy, limits.sla_s)
        else:
            _enter(world, i, s + 1, now)
        i = following
    if not last_stage:
        _serve(world, s + 1, now)


@compiled
def _drop(world: World, i: int, now: float) -> None:
    request = world.requests[i]
    request.status, request.finish_s = DROPPED, now
    world.totals[0].dropped += 1.0


# The heap of batches in service, by the time of their next event.


@compiled
def _push(world: World, time_s: float, batch: int, visit: int) -> None:
    """A batch, the ``batch``-th begun, has its next event at ``time_s``; ``visit``: request and stage."""
    clock = world.clock[0]
    i = clock.taken
    clock.taken = i + 1
    world.heap_s[i], world.heap_batch[i], world.heap_visit[i] = time_s, batch, visit
    while i > 0 and _is_before(world, i, (i - 1) // 2):
        _swap(world, i, (i - 1) // 2)
        i = (i - 1) // 2


@compiled
def _pop(world: World) -> None:
    """Remove the first entry of the heap."""
    clock = world.clock[0]
    last = clock.taken - 1
    _swap(world, 0, last)
    clock.taken = last
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            return
        if child + 1 < last and _is_before(world, child + 1, child):
            child += 1
        if not _is_before(world, child, i):
            return
        _swap(world, i, child)
        i = child


@compiled
def _is_before(world: World, a: int, b: int) -> bool:
    if world.heap_s[a] != world.heap_s[b]:
        return bool(world.heap_s[a] < world.heap_s[b])
    return bool(world.heap_batch[a] < world.heap_batch[b])


@compiled
def _swap(world: World, a: int, b: int) -> None:
    heap_s, heap_batch, heap_visit = world.heap_s, world.heap_batch, world.heap_visit
    heap_s[a], heap_s[b] = heap_s[b], heap_s[a]
    heap_batch[a], heap_batch[b] = heap_batch[b], heap_batch[a]
    heap_visit[a], heap_visit[b] = heap_visit[b], heap_visit[a]
