"""What a controller learns of its own load while it runs: quantiles and a season, from hours to weeks of it.

Numpy only, in little memory. Candidates are what was given at the start, the same shifted to the load seen
(conformal), and a linear fit of its own; each without a clock, by the given one, or by a season of the load
seen. What errs least on the newest part is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.clock import (
    BINS,
    CLOCK_ENTRIES,
    NO_SEASON,
    REFERENCE_STEPS,
    SMOOTH_BINS,
    Season,
    smoothed_season,
)
from ipa_rl.workload.quantiles import QUANTILES, SHAPE_ENTRIES, load_shape
from ipa_rl.workload.rests import rest
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZONS_STEPS, least_rps, reference_load
from ipa_rl.workload.times import clocks_by_hour

DAY_S = 86_400
LEAST_HOURS = 6
"""Nothing is learned from less load than that, nor from less than LEAST_SPANS times what a forecast spans."""
LEAST_SPANS = 20
SPAN_STEPS = HISTORY_STEPS + HORIZONS_STEPS[-1]
LEAST_DAYS_OF_CLOCK, LEAST_PERIODS = 2, 3
"""A season is looked for in that many days, and in that many of its periods, at least."""
PERIODS_S = (3600, DAY_S, 7 * DAY_S)

NEWEST = 0.25
"""Share of the samples, the newest, on which candidates are compared."""
CLEARLY, ERRORS, STRETCHES = 0.02, 3.0, 12
"""What is clearly better errs less by that share, and by so many standard errors over so many stretches."""

LEAST_SAMPLES, _MOST_SAMPLES, _AT_ONCE = 100, 6000, 100
_RIDGE = 1e-3
_LEVEL, _RESERVED = 0.9, 1.1

Basis = Literal["given", "shifted", "own"]
ClockBasis = Literal["none", "given", "own"]


@dataclass(frozen=True, eq=False)
class Recent:
    """Loads by step, newest last: ``rps`` (steps,), NaN where not known; the first is step ``first``.

    Step k lasts from ``k * step_s`` on, seconds since 1970. ``clock_of``: what the clock says at a moment.
    """

    rps: NDArray[np.float32]
    first: int
    step_s: int
    clock_of: Callable[[float], float]

    @property
    def known_s(self) -> int:
        """Seconds of load that are known."""
        return int(np.isfinite(self.rps).sum()) * self.step_s

    def clocks_s(self, at: IntArray) -> IntArray:
        """What the clock says at positions, ascending."""
        return clocks_by_hour((self.first + at) * self.step_s, self.clock_of)


@dataclass(frozen=True, eq=False)
class Fits:
    """What forecasts know of a load: coefficients as of `QuantileTable`, and the season that they look at."""

    coefficients: FloatArray
    season: Season
    basis: Basis = "given"
    clock: ClockBasis = "given"

    @property
    def kind(self) -> tuple[Basis, ClockBasis, int]:
        """What they were made from."""
        return self.basis, self.clock, self.season.period_s


@dataclass(frozen=True, eq=False)
class Refit:
    """The best fits, made on ``known_s`` seconds of load.

    ``beats_maximum``: whether their 90 % quantile errs less, as a
    quantile, than the maximum of the last steps and a tenth.
    """

    fits: Fits
    known_s: int
    beats_maximum: bool


def least_s(step_s: int) -> int:
    """Seconds of load from which something is learned.

    >>> least_s(1) / 3600, least_s(60) / 3600
    (6.0, 60.0)
    """
    return max(LEAST_HOURS * 3600, LEAST_SPANS * SPAN_STEPS * step_s)


def refit(recent: Recent, given: Fits, used: Fits, horizon: int, pause_s: float = 0.0) -> Refit | None:
    """The best of all candidates for a horizon of steps; None where too little load is known.

    ``given``: what was there at the start, ``used``: what is in use. ``pause_s``: rests after every few
    samples, so that another thread of the process goes on.
    """
    if recent.known_s < least_s(recent.step_s):
        return None
    at = _samples(recent)
    if len(at) < LEAST_SAMPLES:
        return None
    # Candidates learn from the older samples, and are compared on the newest.
    shapes, reference_rps = _shapes(recent, at, pause_s)
    maxima = _maxima(recent, at) / reference_rps[:, None]
    clock_s = np.array([recent.clock_of((recent.first + one) * recent.step_s) for one in at.tolist()])
    split = int(len(at) * (1.0 - NEWEST))
    older = replace(recent, rps=recent.rps[: int(at[split])])
    tried: list[_Tried] = []
    for clock, learn in _clocks(recent, given):
        season = learn(older)
        shapes[:, -CLOCK_ENTRIES:] = season.table(recent.step_s)[season.position(clock_s)]
        for basis in ("given", "shifted", "own"):
            if basis == "given" and clock == "own":
                continue  # coefficients that were made for another clock
            made = _coefficients(basis, given, shapes[:split], maxima[:split])
            losses = _losses(made, shapes[split:], maxima[split:], horizon)
            tried.append(_Tried(Fits(made, season, basis, clock), learn, losses))
        rest(pause_s)
    best = _choice(sorted(tried, key=lambda one: one.mean), used)
    fits, learn = best.fits, best.learn
    # The best learns from all samples.
    season = learn(recent)
    shapes[:, -CLOCK_ENTRIES:] = season.table(recent.step_s)[season.position(clock_s)]
    made = _coefficients(fits.basis, given, shapes, maxima)
    beats = _beats_maximum(fits, shapes[split:], maxima[split:], horizon)
    return Refit(replace(fits, coefficients=made, season=season), recent.known_s, beats)


@dataclass(frozen=True, eq=False)
class _Tried:
    """A candidate, how its season is learned, and its loss on each of the newest samples."""

    fits: Fits
    learn: Callable[[Recent], Season]
    losses: FloatArray

    @property
    def mean(self) -> float:
        return float(self.losses.mean())


def _choice(ranked: list[_Tried], used: Fits) -> _Tried:
    """The best; who needs no clock, and before all what is in use, unless another is clearly better."""
    best = ranked[0]
    without_clock = [one for one in ranked if one.fits.clock == "none"]
    in_use = [one for one in ranked if one.fits.kind == used.kind]
    for preferred in (without_clock, in_use):
        if preferred and not clearly_better(best.losses, preferred[0].losses):
            best = preferred[0]
    return best


def clearly_better(losses: FloatArray, others: FloatArray) -> bool:
    """By CLEARLY of the loss at least, and so many standard errors over stretches of time."""
    apart = np.array([part.mean() for part in np.array_split(others - losses, STRETCHES)])
    error = float(apart.std(ddof=1)) / math.sqrt(STRETCHES)
    return bool(apart.mean() > max(CLEARLY * float(others.mean()), ERRORS * error))


def _samples(recent: Recent) -> IntArray:
    """Moments before and after which loads are known, evenly spread; positions in ``recent.rps``."""
    every = max((len(recent.rps) - SPAN_STEPS) // _MOST_SAMPLES, 1)
    candidates = np.arange(HISTORY_STEPS, len(recent.rps) - HORIZONS_STEPS[-1] + 1, every)
    spans = np.lib.stride_tricks.sliding_window_view(recent.rps, SPAN_STEPS)
    known = [np.isfinite(spans[one - HISTORY_STEPS]).all() for one in candidates.tolist()]
    return candidates[np.array(known, dtype=np.bool_)]


def _shapes(recent: Recent, at: IntArray, pause_s: float) -> tuple[FloatArray, FloatArray]:
    """Features (samples, 2 + SHAPE_ENTRIES) without a clock, and reference loads (samples,)."""
    least = least_rps(recent.step_s)
    features, reference_rps = np.zeros((len(at), 2 + SHAPE_ENTRIES)), np.zeros(len(at))
    no_clock = np.zeros(CLOCK_ENTRIES)
    for row, step in enumerate(at.tolist()):
        history = recent.rps[step - HISTORY_STEPS : step].astype(np.float64)
        reference_rps[row] = reference_load(history, REFERENCE_STEPS, least)
        load_shape(history, reference_rps[row], no_clock, features[row, 2:])
        if row % _AT_ONCE == 0:
            rest(pause_s)
    features[:, 0], features[:, 1] = 1.0, 1.0 / np.sqrt(reference_rps / least)
    return features, reference_rps


def _maxima(recent: Recent, at: IntArray) -> FloatArray:
    """The maximum to come, by horizon, (samples, horizons)."""
    ahead = np.maximum.accumulate(recent.rps[at[:, None] + np.arange(HORIZONS_STEPS[-1])], axis=1)
    return np.asarray(ahead[:, np.array(HORIZONS_STEPS) - 1], dtype=np.float64)


def _coefficients(basis: Basis, given: Fits, features: FloatArray, maxima: FloatArray) -> FloatArray:
    """Coefficients (horizons, quantiles, features); all but the given ones cover what they should here."""
    if basis == "given":
        return given.coefficients
    made = given.coefficients.copy()
    if basis == "own":
        gram = features.T @ features
        gram += _RIDGE * len(features) * np.eye(len(gram))
        made[:] = np.linalg.solve(gram, features.T @ maxima).T[:, None]
    for h in range(len(HORIZONS_STEPS)):
        short = maxima[:, h, None] - features @ made[h].T
        for q, level in enumerate(QUANTILES):
            made[h, q, 0] += np.quantile(short[:, q], level)
    return made


def _losses(coefficients: FloatArray, features: FloatArray, maxima: FloatArray, horizon: int) -> FloatArray:
    """Pinball loss of each sample, the mean over the quantiles of a horizon; (samples,)."""
    h = HORIZONS_STEPS.index(horizon)
    expected = np.maximum(features @ coefficients[h].T, 0.0)
    losses: FloatArray = _pinball(maxima[:, h, None] - expected, np.array(QUANTILES)).mean(axis=1)
    return losses


def _pinball(short: FloatArray, levels: FloatArray | float) -> FloatArray:
    """Of forecasts that are so much too low."""
    return np.asarray(np.maximum(levels * short, (levels - 1.0) * short), dtype=np.float64)


def _beats_maximum(fits: Fits, features: FloatArray, maxima: FloatArray, horizon: int) -> bool:
    """As `Refit.beats_maximum`; maxima are relative to that of the last steps."""
    h, q = HORIZONS_STEPS.index(horizon), QUANTILES.index(_LEVEL)
    expected = np.maximum(features @ fits.coefficients[h, q], 0.0)
    by_quantile, by_maximum = maxima[:, h] - expected, maxima[:, h] - _RESERVED
    return bool(_pinball(by_quantile, _LEVEL).mean() < _pinball(by_maximum, _LEVEL).mean())


def _clocks(recent: Recent, given: Fits) -> Iterator[tuple[ClockBasis, Callable[[Recent], Season]]]:
    """No clock, the given one where there is one, and the seasons that the load may have, to be learned."""
    yield "none", lambda _: NO_SEASON
    if given.season.period_s:
        yield "given", lambda _: given.season
    for period_s in PERIODS_S:
        if recent.known_s >= max(LEAST_DAYS_OF_CLOCK * DAY_S, LEAST_PERIODS * period_s):
            yield from (("own", partial(_season, period_s, bins)) for bins in SMOOTH_BINS)


def _season(period_s: int, smooth_bins: int, recent: Recent) -> Season:
    return smoothed_season(period_s, _means_by_bin(recent, period_s), smooth_bins)


def _means_by_bin(recent: Recent, period_s: int) -> FloatArray:
    """The mean load by time of a period, (BINS,), NaN where a bin was never seen; hour by hour."""
    sums, counts = np.zeros(BINS), np.zeros(BINS)
    steps_an_hour = max(3600 // recent.step_s, 1)  # offsets of time zones change on the hour
    for first in range(-(recent.first % steps_an_hour), len(recent.rps), steps_an_hour):
        steps = np.arange(max(first, 0), min(first + steps_an_hour, len(recent.rps)))
        clock_s = recent.clock_of((recent.first + int(steps[0])) * recent.step_s)
        at_s = clock_s + (steps - steps[0]) * recent.step_s
        bins = (np.mod(at_s, period_s) * BINS // period_s).astype(np.int64) % BINS
        known = np.isfinite(recent.rps[steps])
        sums += np.bincount(bins[known], recent.rps[steps][known], BINS)
        counts += np.bincount(bins[known], minlength=BINS)
    means = np.full(BINS, np.nan)
    means[counts > 0] = sums[counts > 0] / counts[counts > 0]
    return means
