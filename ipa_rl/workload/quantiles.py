"""Quantile forecasts: how high the load may go until a replica that is ordered now is ready and has served.

Linear in the loads of the last 120 steps relative to their recent maximum and in what the clock tells
(`ipa_rl.workload.clock`), one row of coefficients a horizon and quantile, fitted by the pinball loss on the
train part (Koenker and Bassett, 1978, Econometrica 46) and shifted so that they cover what they should on the
validation part (conformalised, Romano et al., 2019, arXiv 1905.03222). Fitting needs torch
(`ipa_rl.workload.fit_quantiles`), forecasting does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ipa_rl.arrays import check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import is_file
from ipa_rl.jit import FloatArray, compiled
from ipa_rl.workload.clock import CLOCK_ENTRIES, REFERENCE_STEPS, Season, season_of
from ipa_rl.workload.steps import (
    HISTORY_STEPS,
    HORIZONS_STEPS,
    Loads,
    by_step,
    least_rps,
    reference_load,
)
from ipa_rl.workload.workload import Workload, load_workload

RECENT, SLOT = 10, 10
"""Single steps, the last ones, and steps of a slot, of which a forecast looks at all."""
SLOTS = HISTORY_STEPS // SLOT
SHAPE_ENTRIES = RECENT + 2 * SLOTS + CLOCK_ENTRIES
"""Entries of `load_shape`: the last steps, means and maxima of slots, newest first, then the clock's."""

QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.99)

GENERAL = "twitter"
"""The workload whose quantiles serve where nothing was fitted: they know no scale, but its shapes."""


@compiled
def load_shape(history: FloatArray, reference_rps: float, clock: FloatArray, out: FloatArray) -> None:
    """Loads by step relative to the reference load, and the clock's entries, into ``out``."""
    now = history.shape[0]
    for step in range(1, RECENT + 1):
        out[step - 1] = history[now - step] / reference_rps
    for slot in range(SLOTS):
        total = highest = 0.0
        for step in range(now - (slot + 1) * SLOT, now - slot * SLOT):
            total += history[step]
            highest = max(highest, history[step])
        out[RECENT + slot] = total / SLOT / reference_rps
        out[RECENT + SLOTS + slot] = highest / reference_rps
    out[RECENT + 2 * SLOTS :] = clock


@compiled
def relative_quantile(
    coefficients: FloatArray, shape: FloatArray, reference_rps: float, least_rps: float
) -> float:
    """One quantile relative to the reference load.

    A constant, a share of 1 / sqrt(requests in a step of the reference load), and shares of the shape.
    """
    value = coefficients[0] + coefficients[1] / math.sqrt(reference_rps / least_rps)
    for i in range(SHAPE_ENTRIES):
        value += coefficients[2 + i] * shape[i]
    return float(max(value, 0.0))


@dataclass(frozen=True)
class QuantileTable:
    """Coefficients (horizons, quantiles, 2 + SHAPE_ENTRIES); ``is_own``: fitted to the workload itself."""

    coefficients: FloatArray
    is_own: bool = True

    def rows(self, horizon: int, quantiles: tuple[float, ...]) -> FloatArray:
        """Coefficients (quantiles, 2 + SHAPE_ENTRIES) for one of HORIZONS_STEPS."""
        h = HORIZONS_STEPS.index(horizon)
        picks = [QUANTILES.index(quantile) for quantile in quantiles]
        return np.ascontiguousarray(self.coefficients[h, picks])


@dataclass(frozen=True)
class QuantileForecaster:
    """The load that is exceeded until a horizon with probability 1 - a quantile; in steps of ``step_s``."""

    coefficients: FloatArray
    season: Season
    step_s: int

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The quantile of the maximum to come. Raises InputError on less than HISTORY_STEPS of loads."""
        history = by_step(history_rps, self.step_s)[-HISTORY_STEPS:]
        if history.shape != (HISTORY_STEPS,):
            fix = f"give {HISTORY_STEPS * self.step_s} s, one load a second"
            raise InputError(f"has shape {list(np.shape(history_rps))}", field="history_rps", fix=fix)
        least = least_rps(self.step_s)
        reference_rps = reference_load(history, REFERENCE_STEPS, least)
        shape = np.zeros(SHAPE_ENTRIES)
        clock = self.season.table(self.step_s)[self.season.position(clock_s)]
        load_shape(history, reference_rps, clock, shape)
        return float(reference_rps * relative_quantile(self.coefficients, shape, reference_rps, least))


@lru_cache(maxsize=32)
def quantiles_of(workload: Workload, step_s: int) -> QuantileTable:
    """What was fitted to a workload at a step, else to GENERAL. Raises InputError where it does not fit."""
    path = workload.fitted(f"quantiles-{step_s}s.npz")
    if path is not None and is_file(path):
        return read_table(path)
    return replace(read_table(load_workload(GENERAL).fitted("quantiles-1s.npz")), is_own=False)


def read_table(path: Path | None) -> QuantileTable:
    """Coefficients that were kept. Raises InputError where they are missing or do not fit."""
    assert path is not None
    shape = (len(HORIZONS_STEPS), len(QUANTILES), 2 + SHAPE_ENTRIES)
    check = partial(misfit, wanted={"coefficients": ("f8", shape)})
    arrays = read_arrays(path, check, "quantile forecaster", FIX)
    check_finite(arrays, path, FIX)
    return QuantileTable(arrays["coefficients"])


FIX = "fit it: ipa-rl workload fit FOLDER"


def parse_quantile(name: str, workload: Workload, step_s: int) -> QuantileForecaster:
    """The forecaster of a name, "quantile:90@25", for a workload. Raises InputError where there is none."""
    return quantile_forecaster(name, quantiles_of(workload, step_s), season_of(workload), step_s)


def quantile_forecaster(name: str, table: QuantileTable, season: Season, step_s: int) -> QuantileForecaster:
    """The forecaster of a name by what was fitted. Raises InputError where there is none."""
    level, _, horizon = name.removeprefix("quantile:").partition("@")
    levels, horizons = [f"{100 * q:g}" for q in QUANTILES], [str(h) for h in HORIZONS_STEPS]
    if level not in levels or horizon not in horizons:
        fix = f"write quantile:90@30; there are {', '.join(levels)} % over {', '.join(horizons)} steps"
        raise InputError(f"no forecaster {quoted(name)}", field="forecaster", fix=fix)
    quantile = (QUANTILES[levels.index(level)],)
    return QuantileForecaster(table.rows(int(horizon), quantile)[0], season, step_s)


def save_table(coefficients: FloatArray, workload: Workload, step_s: int) -> None:
    """Keep coefficients in the workload's folder, as plain arrays."""
    path = workload.fitted(f"quantiles-{step_s}s.npz")
    assert path is not None
    write_arrays({"coefficients": coefficients}, path)
    quantiles_of.cache_clear()
