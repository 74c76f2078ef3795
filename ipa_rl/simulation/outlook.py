"""Candidates over possible loads, from what runs now: what each is worth, in one compiled call.

Transitions, latencies, drop rule and utility are those of the simulators. The flow is coarser than the fluid
simulator's: a tick is a part of an interval, and a queue is one amount. How old its requests are is read off
the curve of all that came: of those that a stage has not passed on, the oldest came when the curve was as
high as what it has. So queues keep their ages, those that are there at the beginning included.

What the fluid simulator leaves out is added: requests wait although there is capacity for all, as they come
and are served at random (`wait_s`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled
from ipa_rl.simulation.accounting import TAIL_SHARE
from ipa_rl.simulation.queues import batch_fill_s
from ipa_rl.simulation.request_level import lognormal
from ipa_rl.simulation.transitions import decide, paid_cores, pass_time

BUSIEST = 0.85
"""Queues grow as if the load were so much of the capacity at most: loads above it do not last until theirs
have grown as long as the formula's. Fitted against the request-level simulator (`scripts/planner.py`)."""

_LEAST = 1e-9


class Outlook(NamedTuple):
    """What rollouts share.

    ``variants``: VARIANT (stages, variants), ``service_scv``: squared coefficient of variation of a batch's
    service time, (stages, variants, batches); ``limits``: LIMITS record; ``weights``: WEIGHTS record.
    ``curves``: (paths, past + ticks + 1) requests that have come by the begin of each tick, of which
    ``past`` have gone by. ``usual_rps``: a usual load, by which the requests of a busy time weigh more.
    ``tails``: (ways, paths, intervals - 1) positions in ``rows`` (configurations, stages, 3): what is decided
    at the end of each interval. ``tick_s``: seconds of a tick; an interval has ``interval_ticks``.
    """

    variants: Records
    service_scv: FloatArray
    limits: Record
    weights: Record
    curves: FloatArray
    past: int
    usual_rps: float
    tails: IntArray
    rows: IntArray
    tick_s: float
    interval_ticks: int


def service_scv(variants: Records) -> FloatArray:
    """Squared coefficient of variation of the service times of VARIANT records, one more axis by batch."""
    offered = variants["batch"] > 0
    mean_s, p99_s = (np.where(offered, variants[name], 1.0) for name in ("mean_s", "p99_s"))
    return np.asarray(np.expm1(lognormal(mean_s, p99_s)[1] ** 2), dtype=np.float64)


@compiled
def roll_out(
    fleet: Records,
    queued: FloatArray,
    first: IntArray,
    ways: IntArray,
    outlook: Outlook,
    candidates: IntArray,
    begin: int,
    end: int,
    out: FloatArray,
) -> None:
    """Utilities of ``candidates`` over the paths from ``begin`` to ``end``, into ``out`` (candidates, paths).

    ``fleet`` FLEET and ``queued`` (stages,): what runs and waits now. ``first``: what each of all candidates
    decides now, (all candidates, stages, 3); ``ways``: by which of the tails it goes on, (all candidates,).
    """
    scratch, queue = fleet.copy(), queued.copy()
    for c in candidates:
        for p in range(begin, end):
            for s in range(fleet.shape[0]):
                scratch[s] = fleet[s]
                queue[s] = queued[s]
            _decide(scratch, outlook.variants, first[c])
            out[c, p] = _utility(scratch, queue, outlook, ways[c], p)


@compiled
def _decide(fleet: Records, variants: Records, rows: IntArray) -> None:
    """A decision (stages, 3) arrives."""
    for s in range(fleet.shape[0]):
        decide(fleet[s], variants[s], rows[s, 0], rows[s, 1], rows[s, 2])


@compiled
def _utility(fleet: Records, queue: FloatArray, outlook: Outlook, way: int, p: int) -> float:
    """Utility over one path of what is decided already, and decided at the end of each interval."""
    curve, tick_s, weights = outlook.curves[p], outlook.tick_s, outlook.weights
    sla_s, ticks = outlook.limits.sla_s, curve.shape[0] - 1 - outlook.past
    scored = violated = core_s = batch_s = score = 0.0
    for t in range(ticks):
        if t > 0 and t % outlook.interval_ticks == 0:
            chosen = outlook.tails[way, p, t // outlook.interval_ticks - 1]
            _decide(fleet, outlook.variants, outlook.rows[chosen])
        now = outlook.past + t
        typical_s, excess_s, score, passed, dropped, cores, batches = _tick(fleet, queue, outlook, curve, now)
        late = (1.0 - TAIL_SHARE) * (typical_s > sla_s) + TAIL_SHARE * (typical_s + excess_s > sla_s)
        scored += passed * score
        violated += passed * late + dropped
        core_s += cores * tick_s
        batch_s += batches * tick_s
    seconds = ticks * tick_s
    # What still waits will be served as what left last, and late what is older than the SLA already.
    scored += queue.sum() * score
    violated += _older(curve, outlook.past + ticks, sla_s / tick_s, queue.sum())
    by_request = (weights.alpha * scored - weights.rho * violated) / outlook.usual_rps
    return float((by_request - weights.beta * core_s - weights.delta * batch_s) / seconds)


@compiled
def _tick(
    fleet: Records, queue: FloatArray, outlook: Outlook, curve: FloatArray, now: int
) -> tuple[float, float, float, float, float, int, int]:
    """A tick of all stages; how long those that leave were there, their score, how many leave and drop.

    Latency typically (seconds), and what the tail's is longer; then the cores that are paid for and the sum
    of batch sizes.
    """
    tick_s, flow = outlook.tick_s, curve[now + 1] - curve[now]
    behind = typical_s = squares = dropped = 0.0
    score, cores, batches, is_queued = 1.0, 0, 0, False
    for s in range(fleet.shape[0]):
        stage = fleet[s]
        variant, k = outlook.variants[s, stage.active], stage.batch
        there, rate_rps = queue[s] + flow, stage.ready * variant.rate_rps[k]
        passed = min(there, rate_rps * tick_s)
        left = there - passed
        is_queued = is_queued or there > flow or left > _LEAST
        if left > _LEAST:
            gone = _older(curve, now + 1, outlook.limits.drop_limit_s / tick_s, behind + left) - behind
            gone = min(max(gone, 0.0), left)
            dropped += gone
            left -= gone
        fill_s = batch_fill_s(variant.batch[k], flow / tick_s, outlook.limits.batch_timeout_s)
        typical_s += fill_s / 2.0 + variant.mean_s[k]
        longer_s = fill_s / 2.0 + variant.p99_s[k] - variant.mean_s[k]
        if stage.ready > 0:
            busy, scv = there / (rate_rps * tick_s), outlook.service_scv[s, stage.active, k]
            service_s = variant.batch[k] / variant.rate_rps[k]
            mean_s, longer_s = wait_s(busy, stage.ready, service_s, 1.0 / variant.batch[k], scv)
            typical_s += mean_s
            squares += longer_s * longer_s
        squares += longer_s * longer_s
        score *= variant.score
        cores += paid_cores(stage, outlook.variants[s])
        batches += variant.batch[k]
        behind, flow, queue[s] = behind + left, passed, left
        if stage.cohorts > 0 or stage.target != stage.active:
            pass_time(stage, tick_s)
    if is_queued:  # those in the middle of what leaves came when so many had come
        came = _tick_of(curve, curve[now + 1] - behind - flow / 2.0, now)
        typical_s += max(now + 0.5 - came, 0.0) * tick_s
    return typical_s, math.sqrt(squares), score, flow, dropped, cores, batches


@compiled
def _older(curve: FloatArray, now: int, ticks: float, waiting: float) -> float:
    """Of the requests that wait at a tick's begin, the newest that came, how many came so many ticks ago."""
    at = now - ticks
    if waiting <= _LEAST or at <= 0.0:
        return 0.0
    i = int(at)
    came = curve[i] + (at - i) * (curve[i + 1] - curve[i])
    return float(min(max(came - (curve[now] - waiting), 0.0), waiting))


@compiled
def _tick_of(curve: FloatArray, came: float, near: int) -> float:
    """When so many had come, in ticks, the part of one included; looked for from ``near`` back."""
    at = near
    while at > 0 and curve[at] > came:
        at -= 1
    amount = curve[at + 1] - curve[at]
    return at + (min(max((came - curve[at]) / amount, 0.0), 1.0) if amount > _LEAST else 0.0)


@compiled
def wait_s(
    busy: float, servers: int, service_s: float, arrival_scv: float, service_scv: float
) -> tuple[float, float]:
    """How long one waits where servers are busy for that share of the time: mean, and what 1 in 100 exceeds.

    Allen and Cunneen's approximation (1990, Probability, Statistics, and Queueing Theory, 5.4.2) for several
    servers, with Sakasegawa's of Erlang's formula (1977, Ann. Inst. Statist. Math. 29); whoever waits at all
    waits for an exponential time. ``arrival_scv``, ``service_scv``: squared coefficients of variation.

    >>> [round(one, 3) for one in wait_s(0.8, 1, 1.0, 1.0, 1.0)]  # M/M/1: mean 4, 1 in 100 above ln(80) / 0.2
    [4.0, 21.91]
    """
    busy = min(busy, BUSIEST)
    waits = busy ** (math.sqrt(2.0 * (servers + 1)) - 1.0)
    waits_s = service_s * (arrival_scv + service_scv) / 2.0 / (servers * (1.0 - busy))
    tail_s = waits_s * math.log(100.0 * waits) if waits > 0.01 else 0.0
    return waits * waits_s, max(tail_s - waits * waits_s, 0.0)
