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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.live.counters import Series, clean, gained, scrape_interval_s
from ipa_rl.live.outliers import Mask, suspects, unsupported

_GONE = 2.5
"""A series whose newest sample is more scrape intervals older than the newest of all is gone: one lost
scrape does not make it so."""

_LATE = 0.1
"""A sample may come so late, as a share of the scrape interval."""

_YOUNG = 2.0
"""For this many scrape intervals after a series has appeared, others may have handed their load to it."""

_RECENT = 3
"""The rate at which one may have gone on is the highest of this many scrape intervals."""

_LONGEST_S = 900
"""So much of what was sampled before the loads that are asked for is looked at."""

_EXPORTED = "exported_"
"""What Prometheus puts before a label of the target that its own of that name hides."""

OF_THE_SCRAPE = frozenset(
    {
        "job", "endpoint", "service", "scrape_job", "metrics_path", "monitor", "receive", "tenant_id",
        "prometheus", "prometheus_replica", "replica", "__replica__",
    }
)  # fmt: skip
"""Labels of who scraped, and by which configuration; not of what was scraped."""


@dataclass(frozen=True, slots=True)
class MeasuredLoads:
    """Loads (seconds,), NaN where not known, and the time of the newest measurement (NaN: there is none).

    ``interval_s``: the time between scrapes that the samples show, NaN where there are none. ``doubt``: what
    was left out of the loads, and why, in words.
    """

    loads_rps: FloatArray
    newest_s: float
    interval_s: float = math.nan
    doubt: str = ""


def measure(
    found: Sequence[Series],
    now_s: float,
    seconds: int,
    end_s: float | None = None,
    suspected: Callable[[Series], Mask] = suspects,
) -> MeasuredLoads:
    """The ``seconds`` loads up to ``now_s``, summed over series that may come and go.

    The last of them ends at ``end_s``; by default so many whole seconds after the newest sample.

    One target that is scraped more than once counts once. A series that appears is counted from up to a
    scrape interval before its first sample, at its own first rate and never for more than its value, so
    that the total of an old counter that is seen for the first time is no spike. A single sample is no rate.
    Gains that cannot be are left out: of those that are ``suspected`` what no other series supports.
    """
    series = [life for one in distinct([one for one in found if len(one.times_s)]) for life in _lives(one)]
    known = [one for one in series if len(one.times_s) > 1]
    single = [one for one in series if len(one.times_s) == 1]
    if not known:
        return MeasuredLoads(np.full(seconds, np.nan), math.nan)
    newest_s = max(float(one.times_s[-1]) for one in known)
    oldest_s = min(float(one.times_s[0]) for one in known)
    if end_s is None:
        end_s = newest_s + max(math.floor(now_s - newest_s), 0)
    length = min(max(seconds, math.ceil(end_s - oldest_s)), seconds + _LONGEST_S)
    edges = end_s - length + np.arange(length + 1, dtype=np.float64)
    handovers = _handovers(known, single)

    def total(masks: Sequence[Mask]) -> FloatArray:
        """Loads without the gains of these masks."""
        believed = [(one, mask) for one, mask in zip(known, masks, strict=True) if not mask.all()]
        usual_s = scrape_interval_s([one for one, _ in believed])
        handed_over = any(begin_s > newest_s - _YOUNG * own_s for begin_s, own_s in handovers)
        courses = [
            _course(one, mask, _own_interval_s(one, usual_s), now_s, newest_s, handed_over)
            for one, mask in believed
        ]
        return _evened(_total(courses, single, edges, newest_s), edges, handovers)

    masks = [suspected(one) for one in known]
    loads, doubt = total(masks), ""
    if any(mask.any() for mask in masks):
        masks, doubt = unsupported(known, masks, edges[:-1], loads)
        loads = total(masks)
    return MeasuredLoads(loads[length - seconds :], newest_s, scrape_interval_s(known), doubt)


# One target that is scraped more than once: by two jobs, by a pair of Prometheus, by a federation. Its
# requests appear under several sets of labels, and must be counted once. Labels that say how something
# was scraped do not tell targets apart; the address does. Values alone do not prove it: two pods behind an
# even balancer count alike.


def distinct(found: Sequence[Series]) -> list[Series]:
    """The series with those of one target made one, which has the samples of all its copies."""
    if len({_scrape(one.labels) for one in found}) < 2:
        return list(found)
    by_address: dict[str | None, list[Series]] = {}
    for one in found:
        beside = by_address.setdefault(_of_the_target(one.labels).get("instance"), [])
        twin = next((k for k, other in enumerate(beside) if _same(one, other)), None)
        if twin is None:
            beside.append(one)
        else:
            beside[twin] = _joined(beside[twin], one)
    return [one for beside in by_address.values() for one in beside]


def _scrape(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, value) for name, value in labels.items() if name in OF_THE_SCRAPE or name.startswith(_EXPORTED)
    )


def _of_the_target(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as the target's own scrape would have them, without those of the scrape."""
    own = {name: value for name, value in labels.items() if not name.startswith(_EXPORTED)}
    exported = {name.removeprefix(_EXPORTED): labels[name] for name in labels.keys() - own.keys()}
    return {name: value for name, value in (own | exported).items() if name not in OF_THE_SCRAPE}


def _same(one: Series, other: Series) -> bool:
    """Whether both, of one address or of none, are the same counter of the same target."""
    if one.labels == other.labels or _scrape(one.labels) == _scrape(other.labels):
        return False
    first, second = _of_the_target(one.labels), _of_the_target(other.labels)
    if any(first[name] != second[name] for name in first.keys() & second.keys()):
        return False
    if "instance" not in first and first.keys() != second.keys():
        return False
    # The values must be those of one counter that was read at different times.
    inside = (one.times_s >= other.times_s[0]) & (one.times_s <= other.times_s[-1])
    if not inside.any():
        return True  # one goes on where the other ends: nothing speaks against it
    apart = np.abs(one.values[inside] - np.interp(one.times_s[inside], other.times_s, other.values))
    usual = max(float(np.diff(series.values).max(initial=0.0)) for series in (one, other))
    return bool(np.median(apart) <= usual)


def _joined(one: Series, other: Series) -> Series:
    """The one with the newer samples, and the other's samples of before and after."""
    first, second = (one, other) if one.times_s[-1] >= other.times_s[-1] else (other, one)
    more = (second.times_s < first.times_s[0]) | (second.times_s > first.times_s[-1])
    pairs = zip(second.times_s[more].tolist(), second.values[more].tolist(), strict=True)
    return clean([*pairs, *zip(first.times_s.tolist(), first.values.tolist(), strict=True)], first.labels)


# When each series served


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
    begins = []
    for series in known:
        moved = np.flatnonzero(np.diff(series.values))  # one that is warmed up first stands still
        begin_s = float(series.times_s[moved[0] if len(moved) else 0])
        begins.append((begin_s, _own_interval_s(series, usual_s)))
    first_s = min(begin_s for begin_s, _ in begins)
    begins += [(float(series.times_s[0]), usual_s) for series in single]
    return [(begin_s, own_s) for begin_s, own_s in begins if begin_s > first_s + own_s]


def _own_interval_s(series: Series, usual_s: float) -> float:
    """Of targets with other scrape intervals each goes by its own; two samples do not show it."""
    return float(np.median(np.diff(series.times_s))) if len(series.times_s) > 2 else usual_s


# What each series counted


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


def _course(
    series: Series, mask: Mask, interval_s: float, now_s: float, newest_s: float, handed_over: bool
) -> _Course:
    times_s, gains = _stepped(series.times_s, gained(series, mask))
    last_s = from_s = float(times_s[-1])
    gone = newest_s - last_s > _GONE * interval_s
    sure = now_s <= last_s + (1.0 + _LATE) * interval_s and not handed_over
    first_rps = _rate_rps(gains, np.diff(times_s), interval_s / 2)
    if sure:
        held_rps = _rate_rps(gains[::-1], np.diff(times_s)[::-1], interval_s / 2)
    else:
        passed_s = np.diff(times_s)
        far = passed_s >= interval_s / 2  # two samples may lie close together by chance
        rates = gains[far] / passed_s[far] if far.any() else [gains.sum() / passed_s.sum()]
        held_rps = float(np.max(rates[-_RECENT:]))
        times_s, gains, from_s = _stopped(times_s, gains)
    lead_s = min(interval_s, float(series.values[0]) / first_rps) if first_rps > 0 else 0.0
    return _Course(
        times_s=np.concatenate([[times_s[0] - lead_s], times_s]),
        counts=np.cumsum(np.concatenate([[0.0, first_rps * lead_s], gains])),
        interval_s=interval_s,
        from_s=from_s,
        held_s=min(last_s + interval_s, newest_s) if gone else newest_s,
        held_rps=held_rps,
        sure=sure,
    )


def _rate_rps(gains: FloatArray, passed_s: FloatArray, over_s: float) -> float:
    """The rate of the first of these, over some time: two samples may lie close together by chance."""
    enough = min(int(np.searchsorted(np.cumsum(passed_s), over_s)) + 1, len(gains))
    return float(gains[:enough].sum() / passed_s[:enough].sum())


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


# What all of them counted


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
