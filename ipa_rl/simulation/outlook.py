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

from ipa_rl import queueing
from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled, plain
from ipa_rl.queueing import wait_s
from ipa_rl.simulation.accounting import TAIL_SHARE
from ipa_rl.simulation.queues import batch_fill_s
from ipa_rl.simulation.transitions import copy_stage, decide, next_ready_s, paid_cores, pass_time

BUSIEST = 0.85
"""Queues grow as if the load were so much of the capacity at most: loads above it do not last until theirs
have grown as long as the formula's. Of 0.8, 0.85 and 0.9 the best in the request-level simulator, on
windows of the validation part."""

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
    return queueing.service_scv(mean_s, p99_s)


STATION = np.dtype(
    [(name, np.int64) for name in ("servers", "batch", "cores")]
    + [(name, np.float64) for name in ("capacity", "score", "mean_s", "longer_s", "service_s", "service_scv")]
    + [(name, np.float64) for name in ("most_wait_s", "most_longer_s", "queue", "inflow", "there")],
    align=True,
)
"""What a stage is while its replicas stay as they are, and what is in it.

``servers``: ready replicas; ``cores`` are paid for. ``capacity``: requests that it serves in a tick.
``mean_s`` of service, and ``longer_s`` by which the tail's is longer; ``service_s``: of a batch, by the rate.
``most_wait_s``, ``most_longer_s``: `wait_s` where it is busiest. In a tick: ``queue`` waited before it,
``inflow`` came in it, ``there`` is both.
"""


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
    stations = np.zeros(len(fleet), dtype=STATION)
    stations["queue"] = queued
    playing = plain(fleet.copy()), plain(stations.copy())
    given = plain(fleet), plain(stations), plain(first), plain(ways), plain(outlook), plain(candidates)
    _roll_out(*given, *playing, begin, end, out)


@compiled
def _roll_out(
    fleet: Records,
    stations: Records,
    first: IntArray,
    ways: IntArray,
    outlook: Outlook,
    candidates: IntArray,
    playing: Records,
    stations_playing: Records,
    begin: int,
    end: int,
    out: FloatArray,
) -> None:
    """``playing``, ``stations_playing``: room for a fleet and stations."""
    for c in candidates:
        for p in range(begin, end):
            for s in range(len(fleet)):
                copy_stage(fleet[s], playing[s])
                stations_playing[s].queue = stations[s].queue
            out[c, p] = _utility(playing, stations_playing, first[c], outlook, ways[c], p)


@compiled
def _utility(fleet: Records, stations: Records, first: IntArray, outlook: Outlook, way: int, p: int) -> float:
    """Utility over one path where ``first`` (stages, 3) is decided now, and more at the end of each interval.

    From one change of the replicas to the next at once where no request waits or is late, else by tick.
    """
    curve, tail, tick_s, weights = outlook.curves[p], outlook.tails[way][p], outlook.tick_s, outlook.weights
    for s in range(len(fleet)):
        _decide(fleet[s], outlook.variants[s], first[s])
        _set_up(stations[s], fleet[s], outlook.variants[s], outlook.service_scv[s], tick_s)
    now, end, decided = outlook.past, len(curve) - 1, -1
    scored = violated = core_s = batch_s = score = 0.0
    while now < end:
        interval, tick = divmod(now - outlook.past, outlook.interval_ticks)
        if tick == 0 and interval > 0 and tail[interval - 1] != decided:
            decided = tail[interval - 1]
            for s in range(len(fleet)):
                if _differs(fleet[s], outlook.rows[decided][s]):
                    _decide(fleet[s], outlook.variants[s], outlook.rows[decided][s])
                    _set_up(stations[s], fleet[s], outlook.variants[s], outlook.service_scv[s], tick_s)
        ticks = _ticks_alike(fleet, outlook.interval_ticks - tick, tick_s)
        score, cores, batches = 1.0, 0, 0
        for s in range(len(stations)):
            score *= stations[s].score
            cores += stations[s].cores
            batches += stations[s].batch
        passed, late = _flow(stations, outlook, curve, now, ticks)
        scored += passed * score
        violated += late
        core_s += cores * ticks * tick_s
        batch_s += batches * ticks * tick_s
        for s in range(len(fleet)):
            if _is_changing(fleet[s]):
                pass_time(fleet[s], ticks * tick_s)
                _set_up(stations[s], fleet[s], outlook.variants[s], outlook.service_scv[s], tick_s)
        now += ticks
    seconds = (end - outlook.past) * tick_s
    # What still waits will be served as what left last, and late what is older than the SLA already.
    waiting = 0.0
    for s in range(len(stations)):
        waiting += stations[s].queue
    scored += waiting * score
    violated += _older(curve, end, outlook.limits.sla_s / tick_s, waiting)
    by_request = (weights.alpha * scored - weights.rho * violated) / outlook.usual_rps
    return float((by_request - weights.beta * core_s - weights.delta * batch_s) / seconds)


@compiled
def _decide(stage: Record, variants: Records, row: IntArray) -> None:
    """A decision (3,) arrives at a stage."""
    decide(stage, variants, row[0], row[1], row[2])


@compiled
def _differs(stage: Record, row: IntArray) -> bool:
    """Whether the decision is another one than the last."""
    return bool(row[0] != stage.target or row[1] != stage.target_batch or row[2] != stage.wanted)


@compiled
def _set_up(
    station: Record, stage: Record, variants: Records, service_scv: FloatArray, tick_s: float
) -> None:
    """The station is as its stage is now."""
    variant, k = variants[stage.active], stage.batch
    station.servers, station.batch = stage.ready, variant.batch[k]
    station.cores, station.score = paid_cores(stage, variants), variant.score
    station.capacity = stage.ready * variant.rate_rps[k] * tick_s
    station.mean_s, station.longer_s = variant.mean_s[k], variant.p99_s[k] - variant.mean_s[k]
    station.service_s = variant.batch[k] / variant.rate_rps[k]
    station.service_scv = service_scv[stage.active][k]
    station.most_wait_s, station.most_longer_s = _wait_s(station, 1.0)


@compiled
def _wait_s(station: Record, busy: float) -> tuple[float, float]:
    """As `wait_s`, BUSIEST at most; nobody is counted where nothing serves, as nobody leaves."""
    if station.servers == 0:
        return 0.0, 0.0
    arrival_scv = 1.0 / station.batch
    return wait_s(min(busy, BUSIEST), station.servers, station.service_s, arrival_scv, station.service_scv)


@compiled
def _is_changing(stage: Record) -> bool:
    """Whether replicas start, or another variant is to take over."""
    return bool(stage.cohorts > 0 or stage.target != stage.active)


@compiled
def _ticks_alike(fleet: Records, most: int, tick_s: float) -> int:
    """Ticks until replicas become ready or change, so many at most."""
    ticks = most
    for s in range(len(fleet)):
        if _is_changing(fleet[s]):
            left_s = next_ready_s(fleet[s])
            if left_s < ticks * tick_s:
                ticks = max(math.ceil((left_s - _LEAST) / tick_s), 1)
    return ticks


@compiled
def _flow(
    stations: Records, outlook: Outlook, curve: FloatArray, now: int, ticks: int
) -> tuple[float, float]:
    """How many requests leave in ticks that are alike, and how many are late or dropped."""
    least, most = math.inf, 0.0
    for t in range(now, now + ticks):
        least, most = min(least, curve[t + 1] - curve[t]), max(most, curve[t + 1] - curve[t])
    flows = True
    for s in range(len(stations)):
        station = stations[s]
        station.inflow, station.there = least, most
        flows = flows and station.queue == 0.0 and most <= station.capacity
    if flows and _late_share(stations, outlook, 0.0) == 0.0:
        return curve[now + ticks] - curve[now], 0.0
    passed = violated = 0.0
    for t in range(now, now + ticks):
        left, late = _tick(stations, outlook, curve, t)
        passed += left
        violated += late
    return passed, violated


@compiled
def _tick(stations: Records, outlook: Outlook, curve: FloatArray, now: int) -> tuple[float, float]:
    """One tick of all stages: how many requests leave, and how many are late or dropped."""
    flow, drop_ticks = curve[now + 1] - curve[now], outlook.limits.drop_limit_s / outlook.tick_s
    behind = dropped = queued_s = 0.0
    is_queued = False
    for s in range(len(stations)):
        station = stations[s]
        there = station.queue + flow
        station.inflow, station.there = flow, there
        passed = min(there, station.capacity)
        left = there - passed
        is_queued = is_queued or there > flow or left > _LEAST
        if left > _LEAST:
            gone = _older(curve, now + 1, drop_ticks, behind + left) - behind
            gone = min(max(gone, 0.0), left)
            dropped += gone
            left -= gone
        behind += left
        flow = passed
        station.queue = left
    if is_queued:  # those in the middle of what leaves came when so many had come
        came = _tick_of(curve, curve[now + 1] - behind - flow / 2.0, now)
        queued_s = max(now + 0.5 - came, 0.0) * outlook.tick_s
    return flow, flow * _late_share(stations, outlook, queued_s) + dropped


@compiled
def _late_share(stations: Records, outlook: Outlook, queued_s: float) -> float:
    """Of those that leave, after ``queued_s`` in queues, the share that took longer than the SLA.

    The time of waits is only computed where it decides. Of n requests of a tick each waits for the other
    n - 1 only: the counts of a path are random already, and to take them for the mean of random ones counts
    that twice where they are few.
    """
    sla_s, timeout_s, tick_s = outlook.limits.sla_s, outlook.limits.batch_timeout_s, outlook.tick_s
    typical_s = most_s = queued_s
    squares = 0.0  # what the tail takes longer, of service and of waiting, as if each were slow by itself
    for s in range(len(stations)):
        station = stations[s]
        fill_s = batch_fill_s(station.batch, station.inflow / tick_s, timeout_s) / 2.0
        typical_s += fill_s + station.mean_s
        most_s += fill_s + station.mean_s + station.most_wait_s
        squares += (fill_s + station.longer_s) ** 2 + station.most_longer_s**2
    if typical_s > sla_s:
        return 1.0
    if most_s <= sla_s and squares <= (sla_s - most_s) ** 2:
        return 0.0
    for s in range(len(stations)):
        station = stations[s]
        if station.there > 0.0 and station.capacity > 0.0:
            busy = min(station.there / station.capacity, BUSIEST)
            mean_s, longer_s = _wait_s(station, busy * max(1.0 - 1.0 / station.there, 0.0))
            most_s += mean_s - station.most_wait_s
            squares += longer_s**2 - station.most_longer_s**2
            if most_s <= sla_s and squares <= (sla_s - most_s) ** 2:
                return 0.0
    return TAIL_SHARE if most_s <= sla_s else 1.0


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
