"""Samples of one counter, as Prometheus scrapes them, and what was counted between them.

Pure: no clock, no network. What many counters come to is in `ipa_rl.live.counter_total`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one counter, times ascending without repetition, values finite and not negative.

    ``labels``: what tells it apart from others, its name (``__name__``) among them.
    """

    times_s: FloatArray
    values: FloatArray
    labels: Mapping[str, str] = field(default_factory=dict)


def clean(samples: Iterable[tuple[float, float]], labels: Mapping[str, str] | None = None) -> Series:
    """Samples in order of time; of those of one time the last counts; NaN, infinite and negative ones go.

    >>> clean([(2.0, 9.0), (1.0, 4.0), (2.0, 8.0), (3.0, float("nan"))]).values.tolist()
    [4.0, 8.0]
    """
    kept = {t: v for t, v in samples if math.isfinite(t) and math.isfinite(v) and v >= 0}
    times = sorted(kept)
    values = np.array([kept[t] for t in times], dtype=np.float64)
    return Series(np.array(times, dtype=np.float64), values, labels or {})


def gained(series: Series, left_out: NDArray[np.bool_] | None = None) -> FloatArray:
    """Requests between samples, (samples - 1,); never negative.

    A value below the one before it is a reset: what was counted between the last sample and the restart is
    lost, and the new value alone is a lower bound. The rate across it is taken between the rates before
    and after, so that neither a restart nor a value that falls by a little (a duplicate of another
    replica of Prometheus) makes a drop or a spike. ``left_out``: gains that are not believed, (samples - 1,);
    there the rate before goes on, or the first one after.

    >>> gained(clean([(0, 100.0), (5, 150.0), (10, 10.0), (15, 60.0)])).tolist()
    [50.0, 50.0, 50.0]
    """
    risen, passed_s = np.diff(series.values), np.diff(series.times_s)
    fell = risen < 0
    doubted = fell if left_out is None else fell | left_out
    if not doubted.any():
        return np.asarray(risen, dtype=np.float64)
    rates = np.where(doubted, np.nan, risen / passed_s)
    before, after = filled(rates, ends=False), filled(rates[::-1], ends=False)[::-1]
    low, high = np.fmin(before, after) * passed_s, np.fmax(before, after) * passed_s
    bounded = np.fmin(np.fmax(series.values[1:], low), high)
    gains = np.where(fell, bounded, risen)
    if left_out is not None:
        went_on = np.nan_to_num(np.where(np.isnan(before), after, before)) * passed_s
        gains = np.where(left_out, went_on, gains)
    return np.asarray(gains, dtype=np.float64)


def scrape_interval_s(found: Sequence[Series]) -> float:
    """Median time between samples, NaN where no series has two.

    >>> scrape_interval_s([clean([(0, 1.0), (5, 1.0), (10, 2.0), (30, 3.0)])])
    5.0
    """
    gaps = [np.diff(one.times_s) for one in found if len(one.times_s) > 1]
    return float(np.median(np.concatenate(gaps))) if gaps else math.nan


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
