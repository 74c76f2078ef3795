"""What many counters come to: one load a second. Pure: no clock, no network.

A counter is turned into a piecewise linear count of requests, and a load is the difference of that count
from second to second. So every request that was counted between two samples is found between them, a gap
is bridged by its mean, and no smoothing window delays the newest load.

Counters come and go, as pods do. What was sampled of one is sure. What it may have counted since is in doubt
where it may be gone, and then only fills the total up to what it was before: where others have taken over,
nothing counts twice, and where nobody has, the total does not fall before it is known to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.live.counter_outliers import Mask, left_out
from ipa_rl.live.counter_twins import distinct
from ipa_rl.live.counters import Series, gained, scrape_interval_s

_GONE = 2.5
"""A series whose newest sample is more scrape intervals older than the newest of all is gone: one lost
scrape does not make it so."""

_LATE = 0.1
"""A sample may come so late, as a share of the scrape interval."""

_YOUNG = 2.0
"""For so many scrape intervals after a series has appeared others may have handed their load to it."""

_RECENT = 3
"""The rate at which one may have gone on is the highest of so many scrape intervals."""

_LONGEST_S = 900
"""So much of what was sampled before the loads that are asked for is looked at."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Loads (seconds,), NaN where not known, and the time of the newest measurement (NaN: there is none).

    ``interval_s``: the time between scrapes that the samples show, NaN where there are none. ``doubt``: what
    was left out of the loads, and why, in words.
    """

    loads_rps: FloatArray
    newest_s: float
    interval_s: float = math.nan
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Course:
    """One series as a piecewise linear count: knots, requests since the first of them, and what it held.

    ``interval_s``: between its scrapes. From ``from_s`` to ``held_s`` it may have gone on at ``held_rps``;
    ``sure``: it is known to be alive, so that this counts like what was sampled.
    """

    times_s: FloatArray
    counts: FloatArray
    interval_s: float
    from_s: float
    held_s: float
    held_rps: float
    sure: bool


def measure(found: Sequence[Series], now_s: float, seconds: int) -> Measured:
    """The ``seconds`` loads up to ``now_s``, summed over series that may come and go.

    One target that is scraped more than once counts once. A series that appears is counted from up to a
    scrape interval before its first sample, at its own first rate and never for more than its value, so
    that the total of an old counter that is seen for the first time is no spike. A single sample is no rate.
    Gains that cannot be are left out (`ipa_rl.live.counter_outliers`).
    """
    series = [life for one in distinct([one for one in found if len(one.times_s)]) for life in _lives(one)]
    known = [one for one in series if len(one.times_s) > 1]
    if not known:
        return Measured(np.full(seconds, np.nan), math.nan)
    newest_s = max(float(one.times_s[-1]) for one in known)
    oldest_s = min(float(one.times_s[0]) for one in known)
    end_s = newest_s + max(math.floor(now_s - newest_s), 0)
    length = min(max(seconds, math.ceil(end_s - oldest_s)), seconds + _LONGEST_S)
    edges = end_s - length + np.arange(length + 1, dtype=np.float64)
    single = [one for one in series if len(one.times_s) == 1]
    handovers = _handovers(known, single)

    def total(masks: Sequence[Mask]) -> tuple[FloatArray, FloatArray]:
        believed = [(one, mask) for one, mask in zip(known, masks, strict=True) if not mask.all()]
        courses = _courses(believed, handovers, now_s, newest_s)
        loads = _total(courses, single, edges, newest_s)
        return edges[:-1], _evened(loads, edges, handovers)

    masks, doubt = left_out(known, total)
    loads = total(masks)[1][-seconds:] if seconds else np.zeros(0)
    return Measured(loads, newest_s, scrape_interval_s(known), doubt)


def _lives(series: Series) -> list[Series]:
    """A series that was gone and came back from zero, as two: others may have served meanwhile."""
    passed_s = np.diff(series.times_s)
    if not len(passed_s):
        return [series]
    gone = (np.diff(series.values) < 0) & (passed_s > _GONE * np.median(passed_s))
    cuts = np.flatnonzero(gone) + 1
    times, values = np.split(series.times_s, cuts), np.split(series.values, cuts)
    return [Series(*pair, series.labels) for pair in zip(times, values, strict=True)]


def _handovers(known: Sequence[Series], single: Sequence[Series]) -> list[tuple[float, float]]:
    """When a series began to serve beside others that did before, and its scrape interval."""
    usual_s = scrape_interval_s(known)
    begins = [(_begin_s(series), _own_interval_s(series, usual_s)) for series in known]
    first_s = min(begin_s for begin_s, _ in begins)
    begins += [(float(series.times_s[0]), usual_s) for series in single]
    return [(begin_s, own_s) for begin_s, own_s in begins if begin_s > first_s + own_s]


def _courses(
    known: Sequence[tuple[Series, Mask]],
    handovers: Sequence[tuple[float, float]],
    now_s: float,
    newest_s: float,
) -> list[_Course]:
    usual_s = scrape_interval_s([series for series, _ in known])
    handed_over = any(begin_s > newest_s - _YOUNG * own_s for begin_s, own_s in handovers)
    return [
        _course(series, mask, _own_interval_s(series, usual_s), now_s, newest_s, handed_over)
        for series, mask in known
    ]


def _own_interval_s(series: Series, usual_s: float) -> float:
    """Of targets with other scrape intervals each goes by its own; two samples do not show it."""
    return float(np.median(np.diff(series.times_s))) if len(series.times_s) > 2 else usual_s


def _begin_s(series: Series) -> float:
    """When it began to serve: one that is warmed up first stands still."""
    moved = np.flatnonzero(np.diff(series.values))
    return float(series.times_s[moved[0] if len(moved) else 0])


def _course(
    series: Series, mask: Mask, interval_s: float, now_s: float, newest_s: float, handed_over: bool
) -> _Course:
    times_s, gains = _stepped(series.times_s, gained(series, mask))
    last_s = float(times_s[-1])
    overdue = now_s > last_s + (1.0 + _LATE) * interval_s
    gone = newest_s - last_s > _GONE * interval_s
    first_rps = _rate_rps(gains, np.diff(times_s), interval_s / 2)
    held_rps = _rate_rps(gains[::-1], np.diff(times_s)[::-1], interval_s / 2)
    from_s = last_s
    if overdue or handed_over:
        held_rps = _rates(times_s, gains, interval_s)[-_RECENT:].max()
        times_s, gains, from_s = _stopped(times_s, gains)
    lead_s = min(interval_s, float(series.values[0]) / first_rps) if first_rps > 0 else 0.0
    return _Course(
        times_s=np.concatenate([[times_s[0] - lead_s], times_s]),
        counts=np.cumsum(np.concatenate([[0.0, first_rps * lead_s], gains])),
        interval_s=interval_s,
        from_s=from_s,
        held_s=min(last_s + interval_s, newest_s) if gone else newest_s,
        held_rps=float(held_rps),
        sure=not (overdue or handed_over),
    )


def _rate_rps(gains: FloatArray, passed_s: FloatArray, over_s: float) -> float:
    """The rate of the first of these, over some time: two samples may lie close together by chance."""
    enough = min(int(np.searchsorted(np.cumsum(passed_s), over_s)) + 1, len(gains))
    return float(gains[:enough].sum() / passed_s[:enough].sum())


def _rates(times_s: FloatArray, gains: FloatArray, interval_s: float) -> FloatArray:
    """Rates between samples, where these do not lie close together by chance."""
    passed_s = np.diff(times_s)
    far = passed_s >= interval_s / 2
    return gains[far] / passed_s[far] if far.any() else np.array([gains.sum() / passed_s.sum()])


def _stepped(times_s: FloatArray, gains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The course of a series that stood first or stands now, with the moments at which it began and stopped.

    The rate beside says when. A mean over the whole time between two samples would count requests in
    seconds in which others served.
    """
    moved = np.flatnonzero(gains > 0)
    if len(moved) < 2:
        return times_s, gains
    first, last = int(moved[0]), int(moved[-1])
    passed_s = np.diff(times_s)
    if last + 1 < len(gains):
        stop_s = times_s[last] + gains[last] * passed_s[last - 1] / max(gains[last - 1], 1e-9)
        times_s, gains = _split(times_s, gains, last, stop_s, (gains[last], 0.0))
    if first > 0:
        begin_s = times_s[first + 1] - gains[first] * passed_s[first + 1] / max(gains[first + 1], 1e-9)
        times_s, gains = _split(times_s, gains, first, begin_s, (0.0, gains[first]))
    return times_s, gains


def _stopped(times_s: FloatArray, gains: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """The course of a series that may have handed over since the sample before its newest, and when."""
    last = len(gains) - 1
    if last < 1 or gains[last - 1] <= 0:
        return times_s, gains, float(times_s[-1])
    passed_s = np.diff(times_s)
    stop_s = float(times_s[last] + gains[last] * passed_s[last - 1] / gains[last - 1])
    times_s, gains = _split(times_s, gains, last, stop_s, (gains[last], 0.0))
    return times_s, gains, min(stop_s, float(times_s[-1]))


def _split(
    times_s: FloatArray, gains: FloatArray, k: int, at_s: float, pair: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """A knot within the k-th step where it lies there; ``pair``: what was gained before and after it."""
    if not times_s[k] < at_s < times_s[k + 1]:
        return times_s, gains
    return np.insert(times_s, k + 1, at_s), np.concatenate([gains[:k], pair, gains[k + 1 :]])


def _total(
    courses: Sequence[_Course], single: Sequence[Series], edges: FloatArray, newest_s: float
) -> FloatArray:
    """Loads by second, NaN where no series is known to have been there."""
    sure, doubted = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    covered = np.zeros(len(edges) - 1, dtype=np.bool_)
    for one in courses:
        sure += np.diff(np.interp(edges, one.times_s, one.counts))
        held = one.held_rps * np.diff(np.clip(edges, one.from_s, one.held_s))
        sure, doubted = (sure + held, doubted) if one.sure else (sure, doubted + held)
        covered |= (edges[:-1] >= one.times_s[0]) & (edges[1:] <= one.held_s)
    alive = [one.held_rps for one in courses if newest_s - one.times_s[-1] <= _GONE * one.interval_s]
    usual_s = max((one.interval_s for one in courses), default=0.0)
    for series in single:  # its rate is not known yet: that of another at most, as the load is balanced
        begin_s = min(float(series.times_s[0]) - usual_s, newest_s)
        doubted += max(alive, default=0.0) * np.diff(np.clip(edges, begin_s, newest_s))
    return np.where(covered, _filled_up(np.maximum(sure, 0.0), doubted, max(round(usual_s), 1)), np.nan)


def _filled_up(sure: FloatArray, doubted: FloatArray, usual: int) -> FloatArray:
    """What is sure, and of what is in doubt as much as keeps the total where it was before the doubt.

    ``usual``: seconds over which the load before is the mean, those of a scrape interval.
    """
    loads, before = sure.copy(), math.nan
    for k in np.flatnonzero(doubted > 0.0).tolist():
        if k and doubted[k - 1] <= 0.0:
            before = float(loads[max(k - usual, 0) : k].mean())
        elif not k:
            before = float(sure[0]) or float(doubted[0])
        loads[k] = max(sure[k], min(sure[k] + doubted[k], before))
    return loads


def _evened(loads: FloatArray, edges: FloatArray, handovers: Sequence[tuple[float, float]]) -> FloatArray:
    """Loads that are means over a scrape interval while one series hands over to another.

    Their samples are taken at different times, so that for moments the sum counts requests too early or
    too late.
    """
    evened = loads.copy()
    known = ~np.isnan(loads)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, loads, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    for begin_s, own_s in handovers:
        half = max(int(own_s / 2), 0)
        near = np.flatnonzero(known & (np.abs(edges[:-1] + 0.5 - begin_s) <= own_s + 1.0))
        low, high = np.maximum(near - half, 0), np.minimum(near + half + 1, len(loads))
        evened[near] = (sums[high] - sums[low]) / (counts[high] - counts[low])
    return evened
