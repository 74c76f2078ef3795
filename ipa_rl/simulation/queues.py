"""FIFO queues of chunks: the arrivals of each tick travel through the stages as one amount of requests.

Two latencies travel with a chunk: the typical one, from the mean service latency, for 98 % of its
requests, and that of the tail for the other 2 %, whose median the 99th percentile is. What the tail takes
longer adds up over stages as the square root of a sum of squares, as stages are slow independently.
"""

from __future__ import annotations

import math

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, Record, Records, compiled_in_place
from ipa_rl.limits import LONGEST_DELAY_S

RING = 64
"""Most chunks in a queue; the arrivals of how many ticks make one is what `ticks_a_chunk` says."""

MOST_ROUTES_APART = 8
"""Of more routes through a graph, some share a chunk where a queue is long."""

LONGEST_DROP_LIMIT_S = LONGEST_DELAY_S

TICKS_OF_SLA = 4
"""The SLA, or the drop limit where that is shorter, lasts about so many ticks."""

MOST_TICKS = 1000
"""A second has at most so many ticks."""


def ticks_a_second(sla_s: float, drop_limit_s: float) -> int:
    """Steps in which a second advances: one, and more where the SLA or the drop limit is short.

    >>> [ticks_a_second(sla_s, 5.0) for sla_s in (40.0, 3.9, 2.0, 0.08, 1e-320)]
    [1, 1, 2, 50, 1000]
    """
    return max(round(min(TICKS_OF_SLA / min(sla_s, drop_limit_s), MOST_TICKS)), 1)


def ticks_a_chunk(drop_limit_s: float, ticks: int, routes: int = 1) -> int:
    """Ticks whose arrivals travel as one chunk a route: 1, and more where so many would not fit a queue.

    >>> [ticks_a_chunk(limit_s, 1) for limit_s in (10.0, 60.0, 61.0, 3600.0)], ticks_a_chunk(10.0, 50)
    ([1, 1, 2, 60], 9)
    """
    return max(1, math.ceil(drop_limit_s * ticks * min(routes, MOST_ROUTES_APART) / (RING - 4)))


QUEUE = np.dtype(
    [(name, np.int64) for name in ("head", "length", "factors")]
    + [(name, np.float64) for name in ("inflow_rps", "came", "level")]
    + [
        (name, np.float64, (RING,))
        for name in ("amount", "origin", "route", "entered", "typical_s", "excess_s", "score", "accuracy")
    ],
    align=True,
)
"""The queue of one stage, a ring of chunks.

``factors``: where those of its variants stand, beside what serves this tick in stages that it was measured
together with. ``level``: requests of the stage for each one of the pipeline, in which the others are.
``inflow_rps``: what of the stage's came of late, for how long batches take to fill; ``came``: in this tick.
``amount``: requests.
``origin``: number of the chunk in which they arrived at the pipeline. ``route``: which alternatives they
took. ``entered``: time of arrival at the stage. ``typical_s``: latency gathered before it; ``excess_s``:
what the tail took longer. ``score``, ``accuracy``: products over the stages passed. """


def check_queues(queues: Records) -> None:
    """Raises InputError where QUEUE records point beyond the ring or hold what is not a number."""
    fits = (queues["head"] >= 0) & (queues["head"] < RING)
    fits &= (queues["length"] >= 0) & (queues["length"] <= RING)
    numbers = [queues[name] for name in QUEUE.names or () if name not in ("head", "length", "factors")]
    if not fits.all() or not all(np.isfinite(one).all() for one in numbers):
        raise InputError("is out of range", field="queues", fix="give queues of a simulator")


@compiled_in_place
def batch_fill_s(batch: int, load_rps: float, timeout_s: float) -> float:
    """Longest wait for a batch to fill, q(b) = min((b - 1) / lambda, time-out): a batch then starts unfilled.

    What the simulators, the agent's guard and all accounts wait; only the paper's program knows no time-out
    (`ipa_rl.objective.fill_s`).

    >>> float(batch_fill_s(5, 8.0, 1.0)), float(batch_fill_s(8, 0.0, 1.0)), float(batch_fill_s(1, 0.0, 1.0))
    (0.5, 1.0, 0.0)
    """
    return min((batch - 1) / max(load_rps, 1e-9), timeout_s)


@compiled_in_place
def push(
    queue: Record,
    amount: float,
    origin: float,
    route: float,
    entered: float,
    typical_s: float,
    excess_s: float,
    score: float,
    accuracy: float,
) -> None:
    """Queue a chunk; one of the same origin and route as the last in the queue melts into it."""
    if queue.length > 0:
        last = (queue.head + queue.length - 1) % RING
        is_same = queue.origin[last] == origin and queue.route[last] == route
        if is_same or queue.length == RING:
            share = amount / (queue.amount[last] + amount)
            queue.amount[last] += amount
            queue.entered[last] += share * (entered - queue.entered[last])
            queue.typical_s[last] += share * (typical_s - queue.typical_s[last])
            queue.excess_s[last] += share * (excess_s - queue.excess_s[last])
            queue.score[last] += share * (score - queue.score[last])
            queue.accuracy[last] += share * (accuracy - queue.accuracy[last])
            return
    slot = (queue.head + queue.length) % RING
    queue.length += 1
    queue.amount[slot] = amount
    queue.origin[slot] = origin
    queue.route[slot] = route
    queue.entered[slot] = entered
    queue.typical_s[slot] = typical_s
    queue.excess_s[slot] = excess_s
    queue.score[slot] = score
    queue.accuracy[slot] = accuracy


@compiled_in_place
def pop(queue: Record) -> None:
    """Remove the oldest chunk."""
    queue.length -= 1
    queue.head = (queue.head + 1) % RING if queue.length > 0 else 0  # begins anew in memory that is at hand


@compiled_in_place
def waiting(queues: Records, out: FloatArray) -> None:
    """Requests of its own that wait in each of QUEUE records (environments, stages), into ``out``."""
    for e in range(queues.shape[0]):
        for s in range(queues.shape[1]):
            queue, out[e, s] = queues[e, s], 0.0
            for offset in range(queue.length):
                out[e, s] += queue.amount[(queue.head + offset) % RING] * queue.level
