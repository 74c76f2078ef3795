"""Finding a workload's season in its train part: an hour, a day, a week, or none.

Candidates learn their profiles from the first two thirds of the train part. On the rest, which they have not
seen, each expects how much the load will grow; the one that explains most of it is the season. None is,
where none explains something, or where it does so by chance only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.clock import BINS, NO_SEASON, SMOOTH_BINS, Season, smoothed_season
from ipa_rl.workload.workload import Workload

PERIODS_S = {"hour": 3600, "day": 86_400, "week": 604_800}

_LEAST_PERIODS = 3
"""A profile is learned from so many periods at least."""
_LEAST_SLOTS = 4
"""A period has so many slots of the recording at least."""
_RECORDED = 0.9
"""Where few periods miss nothing, those count of which so much was recorded."""
_REACHES_STEPS = ((10, 20, 60), (300, 1200, 3600))
"""Growth from the mean of so many steps to that of the next as many: as far as forecasts look; where no
season is found there, further, as a day's wave hardly shows within a minute."""
_STRETCHES = 12
"""The held-out part is compared stretch by stretch, so many of them."""
_LEAST_EXPLAINED, _LEAST_ERRORS = 0.005, 3.0
"""A season explains so much of the growth's variance, and so many of its own standard errors."""


@dataclass(frozen=True)
class SeasonCandidate:
    """A season that was tried: the share of the growth's variance that it ``explained``.

    On what it was not learned from; below 0 it is worse than expecting no growth. ``errors``: the same in
    standard errors over stretches of time. ``smooth_bins``: how its profile was smoothed.
    """

    name: str
    smooth_bins: int
    season: Season
    explained: float
    errors: float

    @property
    def is_found(self) -> bool:
        """Whether it tells something, and not by chance."""
        return self.explained >= _LEAST_EXPLAINED and self.errors >= _LEAST_ERRORS


def find_season(workload: Workload, step_s: int) -> tuple[Season, list[SeasonCandidate]]:
    """The season of a workload, learned from its whole train part; and what was tried, best first."""
    begin, end = workload.parts["train"]
    learned_end = begin + (end - begin) * 2 // 3
    learned = [
        (name, bins, season)
        for name, period_s in PERIODS_S.items()
        for bins in SMOOTH_BINS
        if (season := learn_season(workload, period_s, begin, learned_end, bins))
    ]
    tried: list[SeasonCandidate] = []
    for reach_steps in _REACHES_STEPS if learned else ():
        if growths := _growths(workload, [steps * step_s for steps in reach_steps], learned_end, end):
            tried = sorted((_judged(*one, growths) for one in learned), key=lambda one: -one.explained)
        if best := next((one for one in tried if one.is_found), None):
            season = learn_season(workload, best.season.period_s, begin, end, best.smooth_bins)
            return season or NO_SEASON, _best_by_name(tried)
    return NO_SEASON, _best_by_name(tried)


def _best_by_name(tried: list[SeasonCandidate]) -> list[SeasonCandidate]:
    """One candidate a period, best first."""
    best = {one.name: one for one in reversed(tried)}
    return sorted(best.values(), key=lambda one: -one.explained)


def learn_season(workload: Workload, period_s: int, begin: int, end: int, smooth_bins: int) -> Season | None:
    """The mean profile of the whole periods of a stretch; None where there are too few."""
    if period_s < _LEAST_SLOTS * workload.description.resolution_s:
        return None
    periods = _periods(workload, period_s, begin, end)
    missing = np.array([workload.missing(at, at + period_s).mean() for at in periods])
    used = [at for at, share in zip(periods, missing, strict=True) if share == 0.0]
    if len(used) < _LEAST_PERIODS:
        used = [at for at, share in zip(periods, missing, strict=True) if share <= 1.0 - _RECORDED]
    if len(used) < _LEAST_PERIODS:
        return None
    totals, seen = np.zeros(BINS), np.zeros(BINS)
    for at in used:
        recorded = ~workload.missing(at, at + period_s)
        loads = workload.loads[at : at + period_s] * recorded
        level = loads.sum() / recorded.sum()
        if level > 0:
            totals += (loads / level).reshape(BINS, -1).mean(axis=1)
            seen += recorded.reshape(BINS, -1).mean(axis=1)
    means = np.divide(totals, seen, out=np.full(BINS, np.nan), where=seen >= 1.0)
    return smoothed_season(period_s, means, smooth_bins) if np.isfinite(means).any() else None


def _periods(workload: Workload, period_s: int, begin: int, end: int) -> list[int]:
    """Seconds at which whole periods begin; one in which the clock is put forward or back is none."""
    found, at = [], begin
    while at + period_s <= end:
        until_next_s = -workload.clock_s(at) % period_s
        if until_next_s == 0 and workload.clock_s(at + period_s) % period_s == 0:
            found.append(at)
        at += until_next_s or period_s
    return found


@dataclass(frozen=True)
class _Growth:
    """How the mean load of ``length_s`` before each of many moments grew to that of as many after it.

    ``clocks_s``, ``true``: (moments,); ``true`` in logarithms.
    """

    length_s: int
    clocks_s: IntArray
    true: FloatArray


def _growths(workload: Workload, lengths_s: list[int], begin: int, end: int) -> list[_Growth]:
    """Growths on a stretch of time; those are left out for which it is too short."""
    sums = np.concatenate([[0.0], np.cumsum(workload.loads[begin:end], dtype=np.float64)])
    found = []
    slot_s = math.ceil(workload.description.resolution_s)
    for length_s in sorted({max(length_s, slot_s) for length_s in lengths_s}):
        at = np.arange(begin + length_s, end - length_s, max(length_s // 4, 1))
        at = at[workload.is_whole(at - length_s, at + length_s)] if len(at) else at
        if len(at) >= 8 * _STRETCHES:
            now = at - begin
            ahead, past = sums[now + length_s] - sums[now], sums[now] - sums[now - length_s]
            found.append(_Growth(length_s, workload.clocks_s(at), np.log((ahead + 0.5) / (past + 0.5))))
    return found


def _judged(name: str, smooth_bins: int, season: Season, growths: list[_Growth]) -> SeasonCandidate:
    """How well a season expects what it has not seen: shares of the squared growth, stretch by stretch."""
    gained, total = np.zeros(_STRETCHES), np.zeros(_STRETCHES)
    for growth in growths:
        squares, left = growth.true**2, (growth.true - _expected(season, growth)) ** 2
        weight = 1.0 / max(float(squares.sum()), 1e-12) / len(growths)
        gained += [weight * one.sum() for one in np.array_split(squares - left, _STRETCHES)]
        total += [weight * one.sum() for one in np.array_split(squares, _STRETCHES)]
    explained = float(gained.sum() / max(float(total.sum()), 1e-12))
    # The standard error of a ratio of sums over stretches.
    error = math.sqrt(_STRETCHES / (_STRETCHES - 1) * float(((gained - explained * total) ** 2).sum()))
    return SeasonCandidate(name, smooth_bins, season, explained, explained / max(error, 1e-12))


def _expected(season: Season, growth: _Growth) -> FloatArray:
    """The growth by a season's profile, in logarithms."""
    bin_s = season.period_s / BINS
    sums = np.concatenate([[0.0], np.cumsum(np.tile(season.profile, 3))])
    now = growth.clocks_s % season.period_s / bin_s + BINS
    reach = min(growth.length_s / bin_s, BINS)
    before, at, after = (np.interp(now + shift, np.arange(len(sums)), sums) for shift in (-reach, 0.0, reach))
    return np.asarray(np.log((after - at) / (at - before)), dtype=np.float64)
