"""Quantile forecasts: how high the load may go until a replica that is ordered now is ready and has served.

Linear in the loads of the last 2 minutes relative to their recent maximum and in what the clock tells
(`ipa_rl.workload.clock`), one row of coefficients a horizon and quantile, fitted by the pinball loss on the
train part (Koenker and Bassett, 1978, Econometrica 46) and shifted so that they cover what they should on the
validation part (conformalised, Romano et al., 2019, arXiv 1905.03222). Fitting needs torch
(`ipa_rl.workload.fit_quantiles`), forecasting does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.arrays import check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray, compiled
from ipa_rl.workload.clock import CLOCK_ENTRIES, REFERENCE_S, clock_row

HISTORY_S = 120
"""Seconds of past loads that a forecast needs."""

RECENT_S, SLOT_S = 10, 10
SLOTS = HISTORY_S // SLOT_S
SHAPE_ENTRIES = RECENT_S + 2 * SLOTS + CLOCK_ENTRIES
"""Entries of `load_shape`: the last seconds, means and maxima of slots, newest first, then the clock's."""

HORIZONS_S = (10, 15, 20, 25, 30, 35, 40, 60)
QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.99)


@compiled
def reference_load(history: FloatArray, window_s: int) -> float:
    """The load to which others are relative: the maximum of the last seconds, 1 at least."""
    reference_rps = 1.0
    for second in range(max(history.shape[0] - window_s, 0), history.shape[0]):
        reference_rps = max(reference_rps, history[second])
    return reference_rps


@compiled
def load_shape(history: FloatArray, reference_rps: float, clock: FloatArray, out: FloatArray) -> None:
    """Past loads relative to the reference load, and the clock's entries, into ``out`` (SHAPE_ENTRIES,)."""
    now = history.shape[0]
    for second in range(1, RECENT_S + 1):
        out[second - 1] = history[now - second] / reference_rps
    for slot in range(SLOTS):
        total = highest = 0.0
        for second in range(now - (slot + 1) * SLOT_S, now - slot * SLOT_S):
            total += history[second]
            highest = max(highest, history[second])
        out[RECENT_S + slot] = total / SLOT_S / reference_rps
        out[RECENT_S + SLOTS + slot] = highest / reference_rps
    out[RECENT_S + 2 * SLOTS :] = clock


@compiled
def relative_quantile(coefficients: FloatArray, shape: FloatArray, reference_rps: float) -> float:
    """One quantile relative to the reference load: constant, share of 1 / sqrt(reference), the shape's."""
    value = coefficients[0] + coefficients[1] / math.sqrt(reference_rps)
    for i in range(SHAPE_ENTRIES):
        value += coefficients[2 + i] * shape[i]
    return float(max(value, 0.0))


@dataclass(frozen=True)
class QuantileTable:
    """Coefficients (horizons, quantiles, 2 + SHAPE_ENTRIES)."""

    coefficients: FloatArray

    def rows(self, horizon_s: int, quantiles: tuple[float, ...]) -> FloatArray:
        """Coefficients (quantiles, 2 + SHAPE_ENTRIES) for a horizon; see `nearest_horizon`."""
        h = HORIZONS_S.index(horizon_s)
        picks = [QUANTILES.index(quantile) for quantile in quantiles]
        return np.ascontiguousarray(self.coefficients[h, picks])


@dataclass(frozen=True)
class QuantileForecaster:
    """The load that is exceeded in the next ``horizon_s`` seconds with probability 1 - ``quantile``."""

    coefficients: FloatArray
    quantile: float
    horizon_s: int

    def forecast(self, history_rps: NDArray[np.float64] | NDArray[np.int64], clock_s: float) -> float:
        """The quantile of the maximum to come. Raises InputError on less than HISTORY_S of loads."""
        history = np.asarray(history_rps[-HISTORY_S:], dtype=np.float64)
        if history.shape != (HISTORY_S,):
            fix = f"give {HISTORY_S} s, one load a second"
            raise InputError(f"has shape {list(history.shape)}", field="history_rps", fix=fix)
        reference_rps = reference_load(history, REFERENCE_S)
        shape = np.zeros(SHAPE_ENTRIES)
        load_shape(history, reference_rps, clock_row(clock_s), shape)
        return float(reference_rps * relative_quantile(self.coefficients, shape, reference_rps))


def nearest_horizon(seconds: float) -> int:
    """The shortest horizon there is that covers so many seconds; the longest where none does.

    >>> nearest_horizon(21.5)
    25
    """
    return next((h for h in HORIZONS_S if h >= seconds), HORIZONS_S[-1])


def table_path() -> Path:
    """Where the shipped coefficients are."""
    return resources.folder("profiles") / "trace" / "quantiles.npz"


@cache
def load_table(path: Path | None = None) -> QuantileTable:
    """The shipped coefficients. Raises InputError where they are missing or do not fit."""
    path = path or table_path()
    shape, fix = (len(HORIZONS_S), len(QUANTILES), 2 + SHAPE_ENTRIES), "fit them: ipa-rl forecast quantiles"
    check = partial(misfit, wanted={"coefficients": ("f8", shape)})
    arrays = read_arrays(path, check, "quantile forecaster", fix)
    check_finite(arrays, path, fix)
    return QuantileTable(arrays["coefficients"])


def make_quantile(quantile: float, horizon_s: int) -> QuantileForecaster:
    """The shipped forecaster of a quantile and a horizon, both among those that were fitted."""
    return QuantileForecaster(load_table().rows(horizon_s, (quantile,))[0], quantile, horizon_s)


def parse_quantile(name: str) -> QuantileForecaster:
    """The forecaster of a name, "quantile:90@25". Raises InputError where there is none."""
    level, _, horizon = name.removeprefix("quantile:").partition("@")
    levels, horizons = [f"{100 * q:g}" for q in QUANTILES], [str(h) for h in HORIZONS_S]
    if level not in levels or horizon not in horizons:
        fix = f"write quantile:90@30; there are {', '.join(levels)} % over {', '.join(horizons)} s"
        raise InputError(f"no forecaster {quoted(name)}", field="forecaster", fix=fix)
    return make_quantile(QUANTILES[levels.index(level)], int(horizon))


def save_table(coefficients: NDArray[np.float64], path: Path) -> None:
    """Write coefficients as plain arrays."""
    write_arrays({"coefficients": coefficients}, path)
