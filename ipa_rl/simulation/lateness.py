"""Who is late in a rollout: the times of a route through the stations, waits for a replica included.

Times are of a tick in which all queue as long. A wait is only computed where it decides.
"""

from __future__ import annotations

import math

from ipa_rl.jit import Record, Records, compiled_in_place
from ipa_rl.queueing import randomness, share_of_wait, wait_s
from ipa_rl.simulation.accounting import TAIL_SHARE
from ipa_rl.simulation.queues import batch_fill_s
from ipa_rl.simulation.stations import ALL, FIRST, ONE, STAGE, Layout

BUSIEST = 0.85
"""Queues grow as if the load were so much of the capacity at most: loads above it do not last until theirs
have grown as long as the formula's. Of 0.8, 0.85 and 0.9 the best in the request-level simulator, on
windows of the validation part."""


@compiled_in_place
def nobody_is_late(stations: Records, layout: Layout, limits: Record, tick_s: float) -> bool:
    """Whether nobody is late where nobody queues."""
    late = 0.0
    for r in range(len(layout.shares)):
        late += late_share(stations, layout, limits, tick_s, 0.0, r)
    return late == 0.0


@compiled_in_place
def late_share(
    stations: Records, layout: Layout, limits: Record, tick_s: float, queued_s: float, r: int
) -> float:
    """Of those that leave by a route, after ``queued_s`` in queues, the share that took longer than the SLA.

    The time of waits is only computed where it decides.
    """
    sla_s, branches = limits.sla_s, not layout.is_chain
    typical_s, most_s, squares = _times(stations, layout, limits, tick_s, queued_s, r, 0)
    if typical_s > sla_s:
        return 1.0
    if most_s <= sla_s and squares <= (sla_s - most_s) ** 2:
        return 0.0
    for k in range(len(stations)):
        station = stations[k]
        _find_wait(stations, k)
        if station.stage >= 0 and station.there > 0.0 and station.capacity > 0.0:
            if branches:
                _, most_s, squares = _times(stations, layout, limits, tick_s, queued_s, r, k + 1)
            else:
                most_s += station.wait_s - station.most_wait_s
                squares += station.wait_longer_s**2 - station.most_longer_s**2
            if most_s <= sla_s and squares <= (sla_s - most_s) ** 2:
                return 0.0
    return TAIL_SHARE if most_s <= sla_s else 1.0


@compiled_in_place
def _times(
    stations: Records, layout: Layout, limits: Record, tick_s: float, queued_s: float, r: int, known: int
) -> tuple[float, float, float]:
    """Seconds until the end of a route, without waits and with them, and what the tail takes longer, squared.

    As if each part were slow by itself, these squares add up. ``known``: of so many stations waits are known;
    of the others they are the longest that they can be.
    """
    timeout_s, branches = limits.batch_timeout_s, not layout.is_chain
    typical_s = most_s = queued_s
    squares = 0.0
    for k in range(len(stations)):
        station = stations[k]
        if branches and station.before >= 0:
            before = stations[station.before]
            typical_s, most_s, squares = before.typical_s, before.most_s, before.squares
        if station.stage < 0:
            _find_slowest(stations, k, typical_s, most_s, squares, layout.routes[r][k])
            typical_s, most_s, squares = station.typical_s, station.most_s, station.squares
            continue
        own_rps = station.inflow * station.visits / tick_s
        fill_s = batch_fill_s(station.batch, own_rps, timeout_s) / 2.0
        typical_s += fill_s + station.mean_s + station.earlier_s
        wait_s, longer_s = station.most_wait_s, station.most_longer_s
        if k < known:
            wait_s, longer_s = station.wait_s, station.wait_longer_s
        most_s += fill_s + station.mean_s + wait_s + station.earlier_s
        squares += (fill_s + station.longer_s) ** 2 + longer_s**2
        if branches:
            station.typical_s, station.most_s, station.squares = typical_s, most_s, squares
    return typical_s, most_s, squares


@compiled_in_place
def _find_slowest(
    stations: Records, k: int, typical_s: float, most_s: float, squares: float, choice: int
) -> None:
    """Where arms meet the times of the one that is awaited: the slowest, the first, or which is taken."""
    station = stations[k]
    station.typical_s, station.most_s, station.squares = typical_s, most_s, squares
    found_s = math.inf if station.kind == FIRST else -math.inf
    for a in range(station.arms):
        end_typical_s, end_most_s, end_squares = typical_s, most_s, squares
        if station.arm[a] >= 0:
            end = stations[station.arm[a]]
            end_typical_s, end_most_s, end_squares = end.typical_s, end.most_s, end.squares
        at_s = end_most_s + math.sqrt(end_squares)
        is_taken = at_s > found_s
        if station.kind == ONE:
            is_taken = choice == a
        elif station.kind == FIRST:
            is_taken = at_s < found_s
        if is_taken:
            found_s = at_s
            station.typical_s, station.most_s, station.squares = end_typical_s, end_most_s, end_squares


@compiled_in_place
def _find_wait(stations: Records, k: int) -> None:
    """The wait at a stage in a tick, behind those before it (`randomness`).

    Where all arms are awaited what leaves is spaced as by the slowest; after alternatives, or where the first
    of some is awaited, as if no stage had been before. Of n requests of a tick each waits for the other n - 1
    only: the counts of a path are random already, and to take them for the mean of random ones counts that
    twice where they are few.
    """
    station, share = stations[k], 1.0
    station.longest_s = station.highest_scv = 0.0
    if station.before >= 0 and station.kind in (STAGE, ALL):
        before = stations[station.before]
        station.longest_s, station.highest_scv = before.longest_s, before.highest_scv
        if station.stage >= 0 and before.stage >= 0:
            share = station.visits / before.visits
    if station.kind == ALL:
        for a in range(station.arms):
            if station.arm[a] >= 0:
                end = stations[station.arm[a]]
                station.longest_s = max(station.longest_s, end.longest_s)
                station.highest_scv = max(station.highest_scv, end.highest_scv)
    if station.stage >= 0 and station.there > 0.0 and station.capacity > 0.0:
        busy = min(station.there / station.capacity, BUSIEST)
        others = max(1.0 - 1.0 / (station.there * station.visits), 0.0)
        alone_s, longer_s = station_wait_s(station, busy * others)
        is_random = randomness(alone_s, station.longest_s, station.highest_scv, share)
        part = share_of_wait(is_random, 1.0 / station.batch, station.service_scv)
        station.wait_s, station.wait_longer_s = part * alone_s, part * longer_s
        station.longest_s = max(station.longest_s, alone_s)
        station.highest_scv = max(station.highest_scv, station.service_scv)


@compiled_in_place
def station_wait_s(station: Record, busy: float) -> tuple[float, float]:
    """As `wait_s`, BUSIEST at most; nobody is counted where nothing serves, as nobody leaves."""
    if station.servers == 0:
        return 0.0, 0.0
    arrival_scv = 1.0 / station.batch
    return wait_s(min(busy, BUSIEST), station.servers, station.service_s, arrival_scv, station.service_scv)
