"""Load paths as a forecast of distributions: scored on a part of a workload, beside the quantile tables.

By the continuous ranked probability score (CRPS; Gneiting and Raftery, 2007, J. Am. Stat. Assoc. 102), in the
unit of the load: of a forecast that is certain it is the absolute error. And by coverage: how often the truth
is lower than a quantile. Loads are whole requests, so that truths are often as high as a quantile; of these
half count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.futures import LoadPaths, crps
from ipa_rl.workload.quantiles import QUANTILES, QuantileForecaster, quantiles_of
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZONS_STEPS, by_step
from ipa_rl.workload.workload import Part, Workload

MOMENTS = 1000
"""Forecasts are made at so many moments of the part at most, evenly spread."""
STEPS = HORIZONS_STEPS[-1]


@dataclass(frozen=True)
class Moments:
    """Where paths are scored: (moments,) seconds of the workload and what its clock says.

    ``histories_rps``: (moments, seconds); ``true_rps``: (moments, STEPS) what came, by step.
    """

    seconds: tuple[int, ...]
    clocks_s: tuple[float, ...]
    histories_rps: FloatArray
    true_rps: FloatArray


@dataclass(frozen=True)
class PathScore:
    """Means over the moments, of forecasts over ``horizon`` steps; CRPS in percent of the mean load.

    ``maximum``, ``total``: CRPS of the highest step and of the sum. ``quantiles``, ``table``: twice the mean
    pinball loss of QUANTILES of the highest step, of the paths' and of the quantile table's.
    ``covered``, ``table_covered``: percent of the truths that are lower, and half of those that are as high.
    """

    horizon: int
    maximum: float
    total: float
    quantiles: float
    table: float
    covered: FloatArray
    table_covered: FloatArray


def moments_of(workload: Workload, step_s: int, part: Part, most: int = MOMENTS) -> Moments:
    """Moments of a part with whole histories and futures. Raises InputError where there are none."""
    starts = workload.starts(part, STEPS * step_s, HISTORY_STEPS * step_s)
    if not len(starts):
        problem = f"its {part} part is too short or has too many gaps for steps of {step_s} s"
        raise InputError(problem, file=workload.name, field=part, fix="give shorter steps")
    seconds = tuple(starts[:: -(-len(starts) // most)].tolist())
    loads = workload.scale * workload.loads.astype(np.float64)
    return Moments(
        seconds,
        tuple(float(workload.clock_s(one)) for one in seconds),
        np.stack([loads[one - HISTORY_STEPS * step_s : one] for one in seconds]),
        by_step(np.stack([loads[one : one + STEPS * step_s] for one in seconds]), step_s),
    )


def path_scores(
    workload: Workload,
    step_s: int,
    moments: Moments,
    futures: LoadPaths,
    count: int,
    horizons: tuple[int, ...],
) -> list[PathScore]:
    """One score a horizon, of so many paths at each moment and of the workload's quantile table."""
    known = zip(moments.histories_rps, moments.clocks_s, strict=True)
    paths = np.stack([futures.ahead(history, clock_s, count, STEPS).paths_rps for history, clock_s in known])
    return [_score(workload, step_s, moments, paths, horizon) for horizon in horizons]


def _score(workload: Workload, step_s: int, moments: Moments, paths: FloatArray, horizon: int) -> PathScore:
    """``paths``: (moments, paths, STEPS)."""
    percent = 100.0 / float(moments.true_rps.mean())
    true_rps = moments.true_rps[:, :horizon]
    highest, came = true_rps.max(axis=1), true_rps.mean(axis=1)
    maxima, means = paths[:, :, :horizon].max(axis=2), paths[:, :, :horizon].mean(axis=2)
    expected = np.quantile(maxima, QUANTILES, axis=1).T
    by_table = _by_table(workload, step_s, moments, horizon)
    return PathScore(
        horizon,
        percent * float(crps(maxima, highest).mean()),
        percent * float(crps(means, came).mean()),
        percent * pinball(expected, highest),
        percent * pinball(by_table, highest),
        coverage_pct(expected, highest),
        coverage_pct(by_table, highest),
    )


def _by_table(workload: Workload, step_s: int, moments: Moments, horizon: int) -> FloatArray:
    """The quantile table's forecasts, (moments, QUANTILES)."""
    table, season = quantiles_of(workload, step_s), season_of(workload)
    forecasters = [QuantileForecaster(row, season, step_s) for row in table.rows(horizon, QUANTILES)]
    known = list(zip(moments.histories_rps, moments.clocks_s, strict=True))
    return np.array([[one.forecast(*each) for one in forecasters] for each in known])


def pinball(expected: FloatArray, truth: FloatArray) -> float:
    """Twice the mean pinball loss of QUANTILES, (moments, QUANTILES): near the CRPS, of the upper half.

    >>> round(pinball(np.full((1, 5), 2.0), np.array([3.0])), 3)
    1.656
    """
    over = truth[:, None] - expected
    return float(2.0 * np.maximum(over * QUANTILES, over * (np.array(QUANTILES) - 1.0)).mean())


def coverage_pct(expected: FloatArray, truth: FloatArray) -> FloatArray:
    """Percent of the truths (moments,) below each quantile (moments, quantiles), and half of those at it.

    >>> coverage_pct(np.array([[2.0], [2.0], [2.0]]), np.array([1.0, 2.0, 3.0])).tolist()
    [50.0]
    """
    below = (truth[:, None] < expected).mean(axis=0)
    at = (truth[:, None] == expected).mean(axis=0)
    return np.asarray(100.0 * (below + at / 2.0), dtype=np.float64)
