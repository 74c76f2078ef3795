"""Candidates over possible loads, from what runs now: what each is worth, in one compiled call.

Transitions, latencies, drop rule and utility are those of the simulators. The flow is coarser than the fluid
simulator's: a tick is a part of an interval, and a queue is one amount. How old its requests are is read off
the curve of all that came: of those that a stage has not passed on, the oldest came when the curve was as
high as what it has. So queues keep their ages, those that are there at the beginning included.

In a graph all is in requests of the pipeline, as in `ipa_rl.simulation.flow`: a stage to which a request
comes three times, or one of three, has a third of the capacity, or three times as much. Where arms meet, what
came by all of them goes on, or by the first; what a share of the requests takes is played as if all did, and
counts by that share.

What the fluid simulator leaves out is added: requests wait although there is capacity for all, as they come
and are served at random (`wait_s`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipa_rl import queueing
from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled_in_place, plain
from ipa_rl.simulation.lateness import late_share, nobody_is_late, station_wait_s
from ipa_rl.simulation.stations import ALL, FIRST, ONE, STAGE, Layout
from ipa_rl.simulation.together import factors_at
from ipa_rl.simulation.transitions import copy_stage, decide, next_ready_s, paid_cores, pass_time

_LEAST = 1e-9


class Outlook(NamedTuple):
    """What rollouts share.

    ``variants``: VARIANT (stages, variants), ``service_scv``: squared coefficient of variation of a batch's
    service time, (stages, variants, batches); ``limits``: LIMITS record; ``weights``: WEIGHTS record.
    ``curves``: (paths, past + ticks + 1) requests that have come by the begin of each tick, of which
    ``past`` have gone by. ``usual_rps``: a usual load, by which the requests of a busy time weigh more.
    ``tails``: (ways, paths, intervals - 1) positions in ``rows`` (configurations, stages, 3): what is decided
    at the end of each interval. ``tick_s``: seconds of a tick; an interval has ``interval_ticks``.
    ``layout``: what follows from the graph.
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
    layout: Layout


def service_scv(variants: Records) -> FloatArray:
    """Squared coefficient of variation of the service times of VARIANT records, one more axis by batch."""
    offered = variants["batch"] > 0
    mean_s, p99_s = (np.where(offered, variants[name], 1.0) for name in ("mean_s", "p99_s"))
    return queueing.service_scv(mean_s, p99_s)


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
    stations = outlook.layout.stations.copy()
    of_stages = stations["stage"] >= 0
    stations["queue"][of_stages] = queued[stations["stage"][of_stages]]
    playing = plain(fleet.copy()), plain(stations.copy())
    given = plain(fleet), plain(stations), plain(first), plain(ways), plain(outlook), plain(candidates)
    _roll_out(*given, *playing, begin, end, out)


@compiled_in_place
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
    for k in range(len(stations)):
        _set_up(stations, k, fleet, outlook)
        stations[k].queue /= stations[k].visits  # in requests of the pipeline from here on
    for c in candidates:
        for p in range(begin, end):
            for s in range(len(fleet)):
                copy_stage(fleet[s], playing[s])
            for k in range(len(stations)):
                stations_playing[k].queue = stations[k].queue
            out[c, p] = _utility(playing, stations_playing, first[c], outlook, ways[c], p)


@compiled_in_place
def _utility(fleet: Records, stations: Records, first: IntArray, outlook: Outlook, way: int, p: int) -> float:
    """Utility over one path where ``first`` (stages, 3) is decided now, and more at the end of each interval.

    From one change of the replicas to the next at once where no request waits or is late, else by tick.
    """
    curve, tail, tick_s, weights = outlook.curves[p], outlook.tails[way][p], outlook.tick_s, outlook.weights
    for s in range(len(fleet)):
        _decide(fleet[s], outlook.variants[s], first[s])
    for k in range(len(stations)):
        _set_up(stations, k, fleet, outlook)
    now, end, decided = outlook.past, len(curve) - 1, -1
    scored = violated = core_s = batch_s = score = 0.0
    while now < end:
        interval, tick = divmod(now - outlook.past, outlook.interval_ticks)
        if tick == 0 and interval > 0 and tail[interval - 1] != decided:
            decided = tail[interval - 1]
            for k in range(len(stations)):
                s = stations[k].stage
                if s >= 0 and _differs(fleet[s], outlook.rows[decided][s]):
                    _decide(fleet[s], outlook.variants[s], outlook.rows[decided][s])
                    _set_up(stations, k, fleet, outlook)
            _set_levels(stations, fleet, outlook)
        ticks = _ticks_alike(fleet, outlook.interval_ticks - tick, tick_s)
        score, cores, batches = _score(stations), 0.0, 0
        for k in range(len(stations)):
            cores += stations[k].cores
            batches += stations[k].batch
        passed, late = _flow(stations, outlook, curve, now, ticks)
        scored += passed * score
        violated += late
        core_s += cores * ticks * tick_s
        batch_s += batches * ticks * tick_s
        for k in range(len(stations)):
            s = stations[k].stage
            if s >= 0 and _is_changing(fleet[s]):
                pass_time(fleet[s], ticks * tick_s)
                _set_up(stations, k, fleet, outlook)
        _set_levels(stations, fleet, outlook)
        now += ticks
    seconds = (end - outlook.past) * tick_s
    _find_behind(stations)
    waiting = stations[len(stations) - 1].behind
    scored += waiting * score  # as what left last
    violated += _late_after(stations, outlook, curve, waiting)
    by_request = (weights.alpha * scored - weights.rho * violated) / outlook.usual_rps
    return float((by_request - weights.beta * core_s - weights.delta * batch_s) / seconds)


@compiled_in_place
def _decide(stage: Record, variants: Records, row: IntArray) -> None:
    """A decision (3,) arrives at a stage."""
    decide(stage, variants, row[0], row[1], row[2])


@compiled_in_place
def _differs(stage: Record, row: IntArray) -> bool:
    """Whether the decision is another one than the last."""
    return bool(row[0] != stage.target or row[1] != stage.target_batch or row[2] != stage.wanted)


@compiled_in_place
def _set_up(stations: Records, k: int, fleet: Records, outlook: Outlook) -> None:
    """The station is as its stage is now."""
    station = stations[k]
    if station.stage < 0:
        return
    stage, variants = fleet[station.stage], outlook.variants[station.stage]
    variant, b = variants[stage.active], stage.batch
    if not outlook.layout.is_even and station.parent >= 0:
        parent = stations[station.parent]
        carried = outlook.layout.carried[station.stage][fleet[parent.stage].active]
        station.level = parent.level * carried
        station.visits = station.level * station.reached
    station.servers, station.batch = stage.ready, variant.batch[b]
    station.cores, station.score = paid_cores(stage, variants), variant.score
    link = outlook.layout.together.links[station.stage]
    if link.count > 0:
        at = factors_at(link, fleet) + stage.active
        station.score *= outlook.layout.together.factors[at][0]
    station.capacity = stage.ready * variant.rate_rps[b] * outlook.tick_s / station.visits
    station.mean_s, station.longer_s = variant.mean_s[b], variant.p99_s[b] - variant.mean_s[b]
    station.service_s = variant.batch[b] / variant.rate_rps[b]
    station.service_scv = outlook.service_scv[station.stage][stage.active][b]
    station.most_wait_s, station.most_longer_s = station_wait_s(station, 1.0)


@compiled_in_place
def _set_levels(stations: Records, fleet: Records, outlook: Outlook) -> None:
    """Stages whose requests or accuracies hang on another's variant, which has changed, are set up anew."""
    if not outlook.layout.is_even or len(outlook.layout.together.factors) > 0:
        for k in range(len(stations)):
            _set_up(stations, k, fleet, outlook)


@compiled_in_place
def _score(stations: Records) -> float:
    """What alpha weighs of a request that is served now, in the mean of the routes."""
    product = 1.0
    for k in range(len(stations)):
        station = stations[k]
        if station.begins or station.before < k - 1:
            product = 1.0 if station.begins else stations[station.before].product
        if station.kind == STAGE:
            product *= station.score
            station.product = product
            continue
        mean, least, all_of = 0.0, math.inf, 1.0
        for a in range(station.arms):
            own = stations[station.arm[a]].product if station.arm[a] >= 0 else 1.0
            mean += station.share[a] * own
            least = min(least, own)
            all_of *= own
        if station.kind != ALL:
            all_of = mean if station.kind == ONE else least
        product *= all_of
        station.product = product
    return product


@compiled_in_place
def _is_changing(stage: Record) -> bool:
    """Whether replicas start, or another variant is to take over."""
    return bool(stage.cohorts > 0 or stage.target != stage.active)


@compiled_in_place
def _ticks_alike(fleet: Records, most: int, tick_s: float) -> int:
    """Ticks until replicas become ready or change, so many at most."""
    ticks = most
    for s in range(len(fleet)):
        if _is_changing(fleet[s]):
            left_s = next_ready_s(fleet[s])
            if left_s < ticks * tick_s:
                ticks = max(math.ceil((left_s - _LEAST) / tick_s), 1)
    return ticks


@compiled_in_place
def _flow(
    stations: Records, outlook: Outlook, curve: FloatArray, now: int, ticks: int
) -> tuple[float, float]:
    """How many requests leave in ticks that are alike, and how many are late or dropped."""
    least, most = math.inf, 0.0
    for t in range(now, now + ticks):
        least, most = min(least, curve[t + 1] - curve[t]), max(most, curve[t + 1] - curve[t])
    flows = True
    for k in range(len(stations)):
        station = stations[k]
        station.inflow, station.there = least, most
        flows = flows and (station.stage < 0 or (station.queue == 0.0 and most <= station.capacity))
    if flows and nobody_is_late(stations, outlook.layout, outlook.limits, outlook.tick_s):
        return curve[now + ticks] - curve[now], 0.0
    passed = violated = 0.0
    for t in range(now, now + ticks):
        left, late = _tick(stations, outlook, curve, t)
        passed += left
        violated += late
    return passed, violated


@compiled_in_place
def _tick(stations: Records, outlook: Outlook, curve: FloatArray, now: int) -> tuple[float, float]:
    """One tick of all stages: how many requests leave, and how many are late or dropped."""
    load, drop_ticks = curve[now + 1] - curve[now], outlook.limits.drop_limit_s / outlook.tick_s
    is_queued, branches = False, not outlook.layout.is_chain
    flow, behind, was_behind, dropped = load, 0.0, 0.0, 0.0
    for k in range(len(stations)):
        station = stations[k]
        if station.stage < 0:
            _meet(stations, k, load)
            continue
        if branches and station.before >= 0:
            before = stations[station.before]
            flow, behind = before.flow, before.behind
            was_behind, dropped = before.was_behind, before.dropped
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
        flow = passed
        behind += left
        if branches:
            station.was_behind = was_behind + station.queue
            station.flow, station.behind, station.dropped = flow, behind, dropped
        station.queue = left
    if branches:
        last = stations[len(stations) - 1]
        flow, behind, dropped = last.flow, last.behind, last.dropped
    late, layout, limits, tick_s = 0.0, outlook.layout, outlook.limits, outlook.tick_s
    for r in range(len(layout.shares)):
        queued_s = 0.0
        if is_queued:
            own_behind = _behind_on_route(stations, outlook, r) if branches else behind
            queued_s = _queued_s(outlook, curve, now, own_behind, flow)
        late += layout.shares[r] * late_share(stations, layout, limits, tick_s, queued_s, r)
    return flow, flow * late + dropped


@compiled_in_place
def _meet(stations: Records, k: int, load: float) -> None:
    """What came to where arms meet in a tick goes on: as much as by all of them, or by the first."""
    station = stations[k]
    if station.kind == ONE:
        station.flow = station.behind = station.was_behind = station.dropped = 0.0
    else:
        worst = math.inf if station.kind == FIRST else 0.0
        station.behind = station.was_behind = station.dropped = worst
    for a in range(station.arms):
        end = stations[station.arm[a] if station.arm[a] >= 0 else station.before]
        if station.kind == ONE:
            share = station.share[a]
            station.flow += share * end.flow
            station.behind += share * end.behind
            station.was_behind += share * end.was_behind
            station.dropped += share * end.dropped
        elif station.kind == ALL:
            station.behind = max(station.behind, end.behind)
            station.was_behind = max(station.was_behind, end.was_behind)
            station.dropped = max(station.dropped, end.dropped)
        else:
            station.behind = min(station.behind, end.behind)
            station.was_behind = min(station.was_behind, end.was_behind)
            station.dropped = min(station.dropped, end.dropped)
    if station.kind != ONE:
        station.flow = max(load - (station.behind - station.was_behind) - station.dropped, 0.0)


@compiled_in_place
def _find_behind(stations: Records) -> None:
    """How many requests have not come as far as each station, by what waits in the queues."""
    for k in range(len(stations)):
        station = stations[k]
        before = stations[station.before].behind if station.before >= 0 else 0.0
        if station.stage >= 0:
            station.behind = before + station.queue
            station.flow = station.was_behind = station.dropped = 0.0
        else:
            _meet(stations, k, 0.0)


@compiled_in_place
def _queued_s(outlook: Outlook, curve: FloatArray, now: int, behind: float, flow: float) -> float:
    """Seconds in queues of those in the middle of what leaves, ``behind`` so many: since as many had come."""
    came = _tick_of(curve, curve[now + 1] - behind - flow / 2.0, now)
    return max(now + 0.5 - came, 0.0) * outlook.tick_s


@compiled_in_place
def _behind_on_route(stations: Records, outlook: Outlook, r: int) -> float:
    """How many have not come to the end by what waits on a route; ``most_s`` is room for it."""
    for k in range(len(stations)):
        station = stations[k]
        before = stations[station.before].most_s if station.before >= 0 else 0.0
        if station.stage >= 0:
            station.most_s = before + station.queue
            continue
        station.most_s = math.inf if station.kind == FIRST else 0.0
        for a in range(station.arms):
            own = stations[station.arm[a]].most_s if station.arm[a] >= 0 else before
            if station.kind == ONE:
                station.most_s = own if outlook.layout.routes[r][k] == a else station.most_s
            elif station.kind == ALL:
                station.most_s = max(station.most_s, own)
            else:
                station.most_s = min(station.most_s, own)
    return float(stations[len(stations) - 1].most_s)


@compiled_in_place
def _older(curve: FloatArray, now: int, ticks: float, waiting: float) -> float:
    """Of the requests that wait at a tick's begin, the newest that came, how many came so many ticks ago."""
    at = now - ticks
    if waiting <= _LEAST or at <= 0.0:
        return 0.0
    i = int(at)
    came = curve[i] + (at - i) * (curve[i + 1] - curve[i])
    return float(min(max(came - (curve[now] - waiting), 0.0), waiting))


@compiled_in_place
def _late_after(stations: Records, outlook: Outlook, curve: FloatArray, waiting: float) -> float:
    """How many requests are late after the end for what waits there, by what serves then.

    Of those that wait who is older than the SLA, or has more before it than can be served within one. Who
    comes is late until no more than that waits, which takes the longer the less there is to spare; counted
    for as long again as the rollout took, at most. Else who does not look as far as that finds that a queue
    costs nothing, and that to work it off only costs.
    """
    end, sla_ticks = len(curve) - 1, outlook.limits.sla_s / outlook.tick_s
    late = _older(curve, end, sla_ticks, waiting)
    if waiting <= _LEAST:
        return late
    capacity = math.inf
    for k in range(len(stations)):
        if stations[k].stage >= 0:
            capacity = min(capacity, stations[k].capacity)
    excess = waiting - capacity * sla_ticks
    if excess <= 0.0:
        return late
    came = (curve[end] - curve[end - outlook.interval_ticks]) / outlook.interval_ticks
    ticks = float(end - outlook.past)
    if capacity > came:
        ticks = min(excess / (capacity - came), ticks)
    return float(max(late, excess) + came * ticks)


@compiled_in_place
def _tick_of(curve: FloatArray, came: float, near: int) -> float:
    """When so many had come, in ticks, the part of one included; looked for from ``near`` back."""
    at = near
    while at > 0 and curve[at] > came:
        at -= 1
    amount = curve[at + 1] - curve[at]
    return at + (min(max((came - curve[at]) / amount, 0.0), 1.0) if amount > _LEAST else 0.0)
