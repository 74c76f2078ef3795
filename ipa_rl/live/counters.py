"""Samples of one counter, as Prometheus scrapes them: whether it counts requests at all, and how many.

Pure: no clock, no network. What many counters come to is in `ipa_rl.live.counter_load`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray

_SUFFIX = re.compile(r"_(total|count|sum|bucket|created|gcount|gsum|info)$")
_RATE = re.compile(r"^(i?rate|increase|i?delta|deriv|avg|rps|qps)(\d+[a-z]+)?$")

_FALLS, _SHARE, _MOST = 3, 0.15, 0.4
"""A metric that falls so often, and in that share of the times that it moves, is not a counter. One that is
said to be a counter and falls as after restarts is refused only from the larger share on."""

_AS_QUERY = "if its value is requests a second, give it as query, not as counter"


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


# Whether a metric counts requests at all: by what its server says of it, by its name, and by what it does.
# Read as a counter, a histogram's buckets would count each request several times, and a gauge would fall as
# if its process had restarted.


def refusal(series: Sequence[Series], kinds: Callable[[str], set[str]]) -> str:
    """Why these do not count requests, and the fix; empty where nothing speaks against them.

    ``kinds``: what a server says that a metric is, empty where it does not know.
    """
    by_name: dict[str, list[Series]] = {}
    for one in series:
        by_name.setdefault(one.labels.get("__name__", ""), []).append(one)
    for name, some in by_name.items():
        family = _SUFFIX.sub("", name)
        own = kinds(name) if name else set()
        known = own or (kinds(family) if name else set())
        if found := _by_name(name, family, some, own, known) if name else "":
            return found
        if found := _by_its_falls(name or "the counter", some, "counter" in known):
            return found
    return ""


def _by_name(name: str, family: str, series: Sequence[Series], own: set[str], known: set[str]) -> str:
    """What name, labels and the server's own word say against a metric.

    ``own``: what the server says of it; ``known``: of it, or of the family that it is a part of.
    """
    suffix, counts = name.removeprefix(family), "counter" in own
    bounds = {one.labels["le"] for one in series if "le" in one.labels}
    kind = next((one for one in ("gauge", "info", "stateset", "gaugehistogram") if one in known), "")
    whole = next((one for one in ("histogram", "summary") if one in own), "")
    count = f"use {family}_count"
    against = [
        (bool(bounds - {"+Inf"}), "counts each request once a bucket", count),
        (any("quantile" in one.labels for one in series), "holds quantiles of a summary", count),
        (suffix in ("_sum", "_gsum") and not counts, "adds up what was measured, not requests", count),
        (suffix == "_created" and not counts, "is the time at which a counter began", f"use {family}_total"),
        (bool(kind) and not counts, f"is a {kind}, not a counter", _AS_QUERY),
        (bool(whole) and not counts, f"is a {whole}, not a counter", count),
        (not known and _is_rate(name), "is already a rate, not a counter", _AS_QUERY),
    ]
    return next((f"{name} {why}; fix: {fix}" for holds, why, fix in against if holds), "")


def _is_rate(name: str) -> bool:
    """Whether a name says so: of a recording rule (level:metric:operations), or of what a server reckons.

    >>> [_is_rate(one) for one in ("job:requests:rate5m", "requests_per_second", "rate_limited_total")]
    [True, True, False]
    """
    words = name.rsplit(":", 1)[-1].split("_") if ":" in name else name.split("_")[-1:]
    return name.endswith("_per_second") or any(_RATE.match(word) for word in words)


def _by_its_falls(name: str, series: Sequence[Series], said_to_count: bool) -> str:
    """What a metric does that no counter does: it falls again and again.

    One that is said to be a counter may have a process that restarts again and again: then it falls to what
    was counted since.
    """
    for one in series:
        steps = np.diff(one.values)
        falls = steps < 0
        moves = int((steps != 0).sum())
        if falls.sum() < _FALLS or falls.sum() < _SHARE * moves:
            continue
        usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0.0
        restarts = falls.sum() < _MOST * moves and (one.values[1:][falls] <= 2.0 * usual).mean() > 0.5
        if not (said_to_count and restarts):
            what = f"{name} falls in {int(falls.sum())} of {len(steps)} scrapes"
            fix = "count at one address a process, or give a metric that is not a counter as query"
            return f"{what}: it is not a counter, or several processes answer under one address; fix: {fix}"
    return ""
