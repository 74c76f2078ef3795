"""From samples of counters, as Prometheus scrapes them, to one load a second. Pure: no clock, no network.

A counter is turned into a piecewise linear count of requests, and a load is the difference of that count
from second to second. So every request that was counted between two samples is found between them, a gap
is bridged by its mean, and no smoothing window delays the newest load.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ipa_rl.compiled import FloatArray

_STILL_THERE = 1.5
"""A series whose newest sample is at most so many scrape intervals older than the newest of all is alive."""


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one counter, times ascending without repetition, values finite and not negative."""

    times_s: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Measured:
    """Loads (seconds,), NaN where not known, and the time of the newest measurement (NaN: there is none)."""

    loads_rps: FloatArray
    newest_s: float


def clean(samples: Iterable[tuple[float, float]]) -> Series:
    """Samples in order of time; of those of one time the last counts; NaN, infinite and negative ones go.

    >>> clean([(2.0, 9.0), (1.0, 4.0), (2.0, 8.0), (3.0, float("nan"))]).values.tolist()
    [4.0, 8.0]
    """
    kept = {t: v for t, v in samples if math.isfinite(t) and math.isfinite(v) and v >= 0}
    times = sorted(kept)
    return Series(np.array(times, dtype=np.float64), np.array([kept[t] for t in times], dtype=np.float64))


def gained(series: Series) -> FloatArray:
    """Requests between samples, (samples - 1,); never negative.

    A value below the one before it is a reset: what was counted between the last sample and the restart is
    lost, and the new value alone is a lower bound. The rate across it is taken between the rates before
    and after, so that neither a restart nor a value that falls by a little (a duplicate of another
    replica of Prometheus) makes a drop or a spike.

    >>> gained(clean([(0, 100.0), (5, 150.0), (10, 10.0), (15, 60.0)])).tolist()
    [50.0, 50.0, 50.0]
    """
    risen, passed_s = np.diff(series.values), np.diff(series.times_s)
    fell = risen < 0
    if not fell.any():
        return np.asarray(risen, dtype=np.float64)
    rates = np.where(fell, np.nan, risen / passed_s)
    before, after = filled(rates, ends=False), filled(rates[::-1], ends=False)[::-1]
    low, high = np.fmin(before, after) * passed_s, np.fmax(before, after) * passed_s
    bounded = np.fmin(np.fmax(series.values[1:], low), high)
    return np.asarray(np.where(fell, bounded, risen), dtype=np.float64)


def scrape_interval_s(found: Sequence[Series]) -> float:
    """Median time between samples, NaN where no series has two.

    >>> scrape_interval_s([clean([(0, 1.0), (5, 1.0), (10, 2.0), (30, 3.0)])])
    5.0
    """
    gaps = [np.diff(one.times_s) for one in found if len(one.times_s) > 1]
    return float(np.median(np.concatenate(gaps))) if gaps else math.nan


def measure(found: Sequence[Series], now_s: float, seconds: int) -> Measured:
    """The ``seconds`` loads up to ``now_s``, summed over series that may come and go.

    A series that is still there keeps its last rate until the newest sample of all, as scrapes of many
    targets are not simultaneous; one that is gone keeps it for half a scrape interval, the mean of what
    was not scraped any more. One that appears is counted from up to an interval before its first sample,
    at its own first rate and never for more than its value, so that the total of an old counter that
    is seen for the first time is no spike. A single sample is no rate.
    """
    known = [one for one in found if len(one.times_s) > 1]
    if not known:
        return Measured(np.full(seconds, np.nan), math.nan)
    interval_s = scrape_interval_s(known)
    newest_s = max(float(one.times_s[-1]) for one in known)
    later = max(math.floor(now_s - newest_s), 0)
    edges = newest_s + later - seconds + np.arange(seconds + 1, dtype=np.float64)
    loads, covered = np.zeros(seconds), np.zeros(seconds, dtype=np.bool_)
    for one in known:
        times_s, counts = _counts(one, interval_s, newest_s)
        loads += np.diff(np.interp(edges, times_s, counts))
        covered |= (edges[:-1] >= times_s[0]) & (edges[1:] <= times_s[-1])
    return Measured(np.where(covered, np.maximum(loads, 0.0), np.nan), newest_s)


def filled(loads_rps: FloatArray, ends: bool = True) -> FloatArray:
    """Loads with each NaN replaced by the last value before it; with ``ends`` the first ones by the first.

    >>> filled(np.array([np.nan, 1.0, np.nan, 2.0])).tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    known = ~np.isnan(loads_rps)
    if not known.any():
        return loads_rps
    last = np.maximum.accumulate(np.where(known, np.arange(len(loads_rps)), 0))
    values = loads_rps[last]
    return np.where(np.isnan(values), loads_rps[np.argmax(known)], values) if ends else values


def _counts(series: Series, interval_s: float, newest_s: float) -> tuple[FloatArray, FloatArray]:
    """Knots of the piecewise linear count of one series: times and requests since the first knot."""
    times_s, between = series.times_s, gained(series)
    passed_s = np.diff(times_s)
    first_rps, last_rps = between[0] / passed_s[0], between[-1] / passed_s[-1]
    lead_s = min(interval_s, series.values[0] / first_rps) if first_rps > 0 else 0.0
    behind_s = newest_s - times_s[-1]
    hold_s = behind_s if behind_s <= _STILL_THERE * interval_s else interval_s / 2
    gains = np.concatenate([[0.0, first_rps * lead_s], between, [last_rps * hold_s]])
    knots = np.concatenate([[times_s[0] - lead_s], times_s, [times_s[-1] + hold_s]])
    return knots, np.cumsum(gains)
