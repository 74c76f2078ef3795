"""What the clock tells of the load to come: how much higher it is, as a rule, a little later in the season.

People and scheduled jobs follow the clock. On the train part of Twitter's trace 85 % of the seconds before
the load doubles within 25 s lie in four minutes of the hour (`python scripts/clock.py`); a controller that
knows the time can have replicas ready by then. Which season a workload has, an hour, a day or a week, is
found from its train part (`ipa_rl.workload.fit_clock`); many have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike

from ipa_rl.arrays import check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.workload import Workload

AHEAD_STEPS = (10, 20, 30, 60, 120, 300)
"""How far the clock looks ahead."""

WAVES = (1, 2)
"""Sine and cosine of so many waves a season tell where in the season it is."""

CLOCK_ENTRIES = len(AHEAD_STEPS) + 2 * len(WAVES)

REFERENCE_STEPS = 30
"""The recent load is the maximum of that many steps."""

BINS = 3600
"""A season is known in so many bins: by second for an hour, by 24 s for a day."""


def clock_names() -> list[str]:
    """Name of every entry of a row of `Season.table`."""
    waves = [f"clock, {wave} of {count} a season" for count in WAVES for wave in ("sine", "cosine")]
    return [f"clock, growth in {steps} steps" for steps in AHEAD_STEPS] + waves


@dataclass(frozen=True, eq=False)
class Season:
    """What comes again every ``period_s``; ``profile``: mean load by bin relative to the period's, (bins,).

    A period of 0 is no season: nothing is known of the clock.
    """

    period_s: int
    profile: FloatArray

    def position(self, clock_s: ArrayLike) -> IntArray:
        """The bins that a clock's seconds are in."""
        bins = len(self.profile)
        within_s = np.mod(np.asarray(clock_s), self.period_s or 1)
        return np.asarray(within_s * bins // (self.period_s or 1), dtype=np.int64) % bins

    @lru_cache(maxsize=64)  # noqa: B019 - seasons are few, and kept as long as their workloads
    def growth(self, ahead_s: int, reference_s: int) -> FloatArray:
        """The profile's maximum in the next ``ahead_s`` over that of the last ``reference_s``, by bin."""
        bins = len(self.profile)
        bin_s = (self.period_s or 1) / bins
        thrice = np.concatenate([self.profile] * 3)
        now = np.arange(bins, 2 * bins)
        views = np.lib.stride_tricks.sliding_window_view
        next_bins, last_bins = (min(max(round(s / bin_s), 1), bins) for s in (ahead_s, reference_s))
        ahead = views(thrice, next_bins).max(axis=1)[now]
        past = views(thrice, last_bins).max(axis=1)[now - last_bins]
        return np.asarray(ahead / past, dtype=np.float64)

    @lru_cache(maxsize=16)  # noqa: B019 - as above
    def table(self, step_s: int) -> FloatArray:
        """What the clock tells in each bin, (bins, CLOCK_ENTRIES); all 0 where there is no season.

        Growths over AHEAD_STEPS less 1, then the waves.
        """
        bins = len(self.profile)
        if not self.period_s:
            return np.zeros((bins, CLOCK_ENTRIES))
        phase = 2.0 * np.pi * np.arange(bins) / bins
        waves = [wave(count * phase) for count in WAVES for wave in (np.sin, np.cos)]
        reference_s = REFERENCE_STEPS * step_s
        growths = (self.growth(steps * step_s, reference_s) - 1.0 for steps in AHEAD_STEPS)
        return np.stack([*growths, *waves], axis=1)


NO_SEASON = Season(0, np.ones(BINS))

SMOOTH_BINS = (10, 60, 240)
"""Widths of the running mean over a profile's bins that are tried where a season is looked for."""
_LEAST_PROFILE = 0.05
"""No bin of a profile is lower: the growth from nothing is no figure."""


def smoothed_season(period_s: int, means: FloatArray, smooth_bins: int) -> Season:
    """The season of mean loads by bin (BINS,), NaN where a bin was never seen: filled in, and smoothed."""
    known = np.flatnonzero(np.isfinite(means))
    whole = np.interp(np.arange(BINS), known, means[known], period=BINS)
    around = np.concatenate([whole[-smooth_bins:], whole, whole[:smooth_bins]])
    smooth = np.convolve(around, np.full(smooth_bins, 1.0 / smooth_bins), mode="same")
    profile = smooth[smooth_bins:-smooth_bins] / max(float(whole.mean()), 1e-12)
    return Season(period_s, np.maximum(profile, _LEAST_PROFILE))


@lru_cache(maxsize=16)
def season_of(workload: Workload) -> Season:
    """The season that was found in a workload. Raises InputError where its file is broken."""
    path = workload.fitted("clock.npz")
    if path is None or not is_file(path):
        return NO_SEASON
    fix = "fit it: ipa-rl workload fit FOLDER"
    check = partial(misfit, wanted={"period_s": ("i8", ()), "profile": ("f8", (BINS,))})
    arrays = read_arrays(path, check, "season of a workload", fix)
    check_finite(arrays, path, fix)
    if not 0 <= int(arrays["period_s"]) <= 366 * 86_400 or not (arrays["profile"] > 0).all():
        raise InputError("its period or profile is not positive", file=path, fix=fix)
    return Season(int(arrays["period_s"]), arrays["profile"])


def save_season(season: Season, workload: Workload) -> None:
    """Keep it in the workload's folder; quantiles that were fitted with another one go."""
    path = workload.fitted("clock.npz")
    assert path is not None
    kept = season_of(workload)
    if season.period_s != kept.period_s or not np.array_equal(season.profile, kept.profile):
        for stale in path.parent.glob("quantiles-*.npz"):
            stale.unlink()
    write_arrays({"period_s": np.int64(season.period_s), "profile": season.profile}, path)
    season_of.cache_clear()
