"""What there is to see in a workload: load, daily and weekly shape, bursts, dispersion, growth, gaps.

All of it is of what was measured: of counts in longer slots, nothing is said about what happens within them
but how dispersed their made-up seconds are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ipa_rl.files import is_file
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.eventful import apart, rises
from ipa_rl.workload.workload import PARTS, Part, Workload

SCALES_S = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400)
"""Lengths of slots in which the dispersion is measured."""
PEAK_S = 60
"""The peak is that of so many seconds, or of a slot."""
GROWTHS_S = (20, 60)
RARE = 0.999
"""A growth is that which so large a share of the moments do not exceed."""
PERIODS_S = {"hour": 3600, "day": 86_400, "week": 604_800}
_BINS = {"hour": 60, "day": 96, "week": 168}
_LEAST_PERIODS = 2
_LEAST_SLOTS = 8
"""A dispersion is measured in so many slots at least."""
_BURSTS = 4
_BURSTS_S = (1200, 7200)
"""Lengths in which bursts are looked for; of a short recording a twelfth of it at most."""
_LEAST_RISE = 1.1
_BURST_POINTS = (18, 120)
"""A burst is seen in so many points, at least and at most."""


@dataclass(frozen=True, eq=False)
class LoadSeries:
    """Measured requests a second, one value each ``every_s``, (slots,); NaN in gaps."""

    every_s: float
    rps: FloatArray

    def by(self, slots: int) -> LoadSeries:
        """The means of so many slots in a row; NaN where one of them was not recorded."""
        whole = len(self.rps) // slots * slots
        return LoadSeries(self.every_s * slots, self.rps[:whole].reshape(-1, slots).mean(axis=1))

    def slots_in(self, seconds: float) -> int:
        """How many slots last so long; one at least."""
        return max(1, round(seconds / self.every_s))


@dataclass(frozen=True)
class Dispersion:
    """Variance over mean of the requests in slots of ``scale_s``; 1 is Poisson.

    The variance is half of the mean squared difference between neighbouring slots, so that slow waves, which
    are no dispersion, do not count. ``is_made_up``: what is assumed, where slots are longer than that.
    """

    scale_s: float
    value: float
    is_made_up: bool = False


@dataclass(frozen=True)
class LoadFigures:
    """What workloads are compared by; NaN where it is not known.

    ``growth``: by GROWTHS_S, the mean load of so many seconds over that of as many before, as it is at one of
    1,000 moments; less than a request counts as one.
    """

    name: str
    lasts_s: int
    every_s: float
    mean_rps: float
    peak_over_mean: float
    dispersion: tuple[Dispersion, ...]
    growth: tuple[float, ...]

    def dispersion_at(self, scale_s: float) -> Dispersion:
        """That of a scale; NaN where it is not known."""
        found = (one for one in self.dispersion if one.scale_s == scale_s)
        return next(found, Dispersion(scale_s, float("nan")))


@dataclass(frozen=True, eq=False)
class Profile:
    """The mean load of each bin of an hour, a day or a week, and what it is in a low and a high one.

    ``by_period``: (periods, bins), NaN where nothing was recorded. ``low``, ``high``: 10th and 90th
    percentile over the periods.
    """

    name: str
    period_s: int
    by_period: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Burst:
    """A stretch whose load rises in the middle third, by ``factor``; overlapping none that rises more."""

    begin_s: int
    end_s: int
    factor: float
    part: Part | None


@dataclass(frozen=True, eq=False)
class Portrait:
    """All that is to be seen of a workload; ``season_s``: None where nobody looked for one, 0 for none."""

    workload: Workload
    series: LoadSeries
    figures: LoadFigures
    profiles: tuple[Profile, ...]
    bursts: tuple[Burst, ...]
    season_s: int | None
    peak_at_s: int

    @property
    def missing_s(self) -> int:
        """Seconds that were not recorded."""
        return sum(end - begin for begin, end in self.workload.description.gaps)


def portrait(workload: Workload) -> Portrait:
    """Look at a workload. Raises InputError where it cannot be read."""
    series = measured(workload)
    fitted = workload.fitted("clock.npz")
    season_s = season_of(workload).period_s if fitted is not None and is_file(fitted) else None
    minutes = series.by(series.slots_in(PEAK_S))
    at = int(np.nanargmax(minutes.rps)) if np.isfinite(minutes.rps).any() else 0
    return Portrait(
        workload, series, figures(workload), profiles(workload, series, season_s),
        tuple(bursts(workload, series)), season_s, round(at * minutes.every_s),
    )  # fmt: skip


def measured(workload: Workload) -> LoadSeries:
    """Its slots as they were recorded, or its seconds where times or shorter slots were."""
    described = workload.description
    every_s = described.resolution_s if workload.are_seconds_made_up else 1.0
    if workload.are_seconds_made_up:
        assert workload.recorded.counts is not None
        rps = (workload.recorded.counts.astype(np.int64) // described.divide_by) / every_s
    else:
        rps = workload.loads.astype(np.float64)
    for begin, end in described.gaps:
        rps[int(begin / every_s) : int(np.ceil(end / every_s))] = np.nan
    return LoadSeries(every_s, rps)


@lru_cache(maxsize=16)
def figures(workload: Workload) -> LoadFigures:
    """What it is compared with others by."""
    series = measured(workload)
    mean_rps = _mean(series.rps)
    minutes = series.by(series.slots_in(PEAK_S)).rps
    peak_rps = np.nanmax(minutes) if np.isfinite(minutes).any() else np.nan
    return LoadFigures(
        workload.name, workload.seconds, series.every_s, mean_rps,
        float(peak_rps / mean_rps) if mean_rps > 0 else float("nan"),
        tuple(_dispersions(workload, series)),
        tuple(growth(series, within_s) for within_s in GROWTHS_S),
    )  # fmt: skip


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _dispersions(workload: Workload, series: LoadSeries) -> list[Dispersion]:
    """By scale: assumed ones below the slots, and measured ones as long as there are enough slots."""
    found = []
    for scale_s in sorted({*SCALES_S, series.every_s}):
        if scale_s < series.every_s:
            found.append(Dispersion(scale_s, _assumed(workload), is_made_up=True))
        elif float(scale_s / series.every_s).is_integer():
            value = dispersion(series.by(series.slots_in(scale_s)))
            found += [] if np.isnan(value) else [Dispersion(scale_s, value)]
    return found


def _assumed(workload: Workload) -> float:
    by_slot = workload.recorded.dispersion
    return (workload.description.dispersion or 1.0) if by_slot is None else float(by_slot.mean())


def dispersion(series: LoadSeries) -> float:
    """Variance over mean of its counts, by the differences of neighbours; NaN of too few.

    >>> requests = np.random.default_rng(0).poisson(5.0, 100_000)
    >>> round(dispersion(LoadSeries(1.0, requests.astype(float))), 1)
    1.0
    """
    counts = series.rps * series.every_s
    both = np.isfinite(counts[1:]) & np.isfinite(counts[:-1])
    mean = _mean(counts)
    if np.count_nonzero(both) < _LEAST_SLOTS or not mean > 0:
        return float("nan")
    return float(np.square(np.diff(counts)[both]).mean() / 2.0 / mean)


def growth(series: LoadSeries, within_s: int) -> float:
    """What the load grows by within so many seconds, at one of 1,000 moments; NaN where slots are longer."""
    slots = within_s / series.every_s
    if not float(slots).is_integer() or len(series.rps) < 2 * slots:
        return float("nan")
    width = int(slots)
    counts = np.convolve(series.rps * series.every_s, np.ones(width), mode="valid")
    factors = counts[width:] / np.maximum(counts[:-width], 1.0)
    known = factors[np.isfinite(factors)]
    return float(np.quantile(known, RARE)) if len(known) else float("nan")


def profiles(workload: Workload, series: LoadSeries, season_s: int | None) -> tuple[Profile, ...]:
    """Those of day and week, and of the season that was found; each where there are two of them."""
    found = []
    cells = series.by(series.slots_in(60))
    clocks_s = workload.clocks_s(((np.arange(len(cells.rps)) + 0.5) * cells.every_s).astype(np.int64))
    for name, period_s in PERIODS_S.items():
        is_shown = name != "hour" or season_s == period_s
        if is_shown and workload.seconds >= _LEAST_PERIODS * period_s and cells.every_s * 4 <= period_s:
            bins = min(_BINS[name], int(period_s // cells.every_s))
            found.append(_profile(name, period_s, clocks_s, cells.rps, bins))
    return tuple(found)


def _profile(name: str, period_s: int, clocks_s: IntArray, rps: FloatArray, bins: int) -> Profile:
    within = clocks_s % period_s
    period = np.concatenate([[0], np.cumsum(np.diff(within) < -period_s / 2)])
    cell, count = period * bins + within * bins // period_s, (int(period[-1]) + 1) * bins
    known = np.isfinite(rps)
    sums = np.bincount(cell[known], rps[known], count)
    cells = np.bincount(cell[known], minlength=count)
    by_period = np.divide(sums, cells, out=np.full(count, np.nan), where=cells > 0).reshape(-1, bins)
    with warnings.catch_warnings():  # a bin that was never recorded has none of these
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(by_period, axis=0)
        low, high = np.nanpercentile(by_period, [10, 90], axis=0)
    return Profile(name, period_s, by_period, mean, low, high)


def bursts(workload: Workload, series: LoadSeries) -> list[Burst]:
    """The most eventful stretches, those that rise most first; they do not overlap."""
    longest_s, least_s = workload.seconds / 12, _BURST_POINTS[0] * series.every_s
    lengths_s = {max(min(length_s, longest_s), least_s) for length_s in _BURSTS_S}
    found = [one for length_s in lengths_s for one in _bursts_of(workload, series, length_s)]
    chosen: list[Burst] = []
    for one in sorted(found, key=lambda one: (-one.factor, one.begin_s)):
        if all(one.end_s <= other.begin_s or one.begin_s >= other.end_s for other in chosen):
            chosen.append(one)
    return chosen[:_BURSTS]


def _bursts_of(workload: Workload, series: LoadSeries, length_s: float) -> list[Burst]:
    cells = series.by(max(1, series.slots_in(length_s / _BURST_POINTS[1])))
    length, mean_rps = round(length_s / cells.every_s), _mean(series.rps)
    if len(cells.rps) < length or not mean_rps > 0:
        return []
    unknown = np.concatenate([[0], np.cumsum(np.isnan(cells.rps))])
    starts = np.flatnonzero(unknown[length:] == unknown[:-length])
    least_rps = max(0.1 * mean_rps, 9.0 / length_s)  # three requests in a third
    factors = rises(cells.rps, starts, length, least_rps)
    order = np.argsort(-factors, kind="stable")
    factor_at = dict(zip(starts.tolist(), factors.tolist(), strict=True))
    chosen = [at for at in apart(starts[order], length, _BURSTS) if factor_at[at] >= _LEAST_RISE]
    return [_burst(workload, at, length, cells.every_s, factor_at[at]) for at in chosen]


def _burst(workload: Workload, at: int, length: int, every_s: float, factor: float) -> Burst:
    begin_s, end_s = round(at * every_s), round((at + length) * every_s)
    inside = (part for part in PARTS if workload.parts[part][0] <= begin_s < workload.parts[part][1])
    return Burst(begin_s, end_s, factor, next(inside, None))


def gaps_joined(workload: Workload, most: int) -> list[tuple[int, int]]:
    """Its gaps in order; where there are more than so many, with the smallest spaces between them closed."""
    gaps: list[tuple[int, int]] = sorted(workload.description.gaps)
    if len(gaps) <= most:
        return gaps
    spaces = np.array([after - end for (_, end), (after, _) in pairwise(gaps)])
    kept: NDArray[np.int64] = np.sort(np.argsort(-spaces, kind="stable")[: most - 1])
    edges = [0, *(kept + 1).tolist(), len(gaps)]
    return [(gaps[first][0], gaps[after - 1][1]) for first, after in pairwise(edges)]
