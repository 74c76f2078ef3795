"""Loads by step: what controllers see of the past, in a unit of time that fits the pipeline and its load.

A step is as many seconds as an environment says (`ipa_rl.environment.definition.Definition.step_s`): one,
where start-ups take seconds and requests come by the dozen; minutes, where a model loads for half an hour or
a request comes now and then. All that looks back or ahead counts in steps, so that it knows no scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray, compiled

HISTORY_STEPS = 120
"""Steps of past loads that are looked at."""

HORIZON_STEPS = 20
"""Steps that a forecast covers where nothing else is said: 20 s on Twitter's trace, as in the paper."""

HORIZONS_STEPS = (10, 15, 20, 25, 30, 35, 40, 60)
"""Steps ahead for which quantiles are fitted."""

STEPS_S = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Lengths that a step may have."""

SAMPLES_A_STEP = 4
"""What is fitted sees at most so many histories that begin within a step, as these are nearly the same."""

REQUESTS_A_STEP = 3
"""A step is so long that so many requests come in it, on average."""

Loads = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.int32]
"""Requests in each second."""


def by_step(loads: Loads, step_s: int) -> FloatArray:
    """Mean loads (..., steps) of consecutive steps, aligned with the end, of loads (..., seconds).

    >>> by_step(np.array([9, 1, 3, 2, 2]), 2).tolist()
    [2.0, 2.0]
    """
    loads = np.asarray(loads, dtype=np.float64)
    if step_s == 1:
        return loads
    whole = loads.shape[-1] // step_s
    shape = (*loads.shape[:-1], whole, step_s)
    return np.asarray(loads[..., loads.shape[-1] - whole * step_s :].reshape(shape).mean(axis=-1))


@compiled
def history_by_step(loads: FloatArray, now: int, step_s: int, out: FloatArray) -> None:
    """The HISTORY_STEPS steps before second ``now`` of loads (seconds,), into ``out``."""
    for step in range(HISTORY_STEPS):
        begin, total = now - (HISTORY_STEPS - step) * step_s, 0.0
        for second in range(begin, begin + step_s):
            total += loads[second]
        out[step] = total / step_s


@compiled
def reference_load(history: FloatArray, window_steps: int, least_rps: float) -> float:
    """The load to which others are relative: the maximum of the last steps, ``least_rps`` at least."""
    reference_rps = least_rps
    for step in range(max(history.shape[0] - window_steps, 0), history.shape[0]):
        reference_rps = max(reference_rps, history[step])
    return reference_rps


def least_rps(step_s: int) -> float:
    """What a load counts as at least: one request a step."""
    return 1.0 / step_s


def step_for(reach_s: float, mean_rps: float, part_s: int) -> int:
    """Seconds of a step: so long that a reach lies within what forecasts cover, and that some requests come.

    But so short that histories fit the shortest part, of ``part_s``.

    >>> step_for(190.0, 10.0, 86_400), step_for(20.0, 0.1, 86_400), step_for(20.0, 0.1, 5000)
    (5, 30, 10)
    """
    wanted_s = max(reach_s / HORIZONS_STEPS[-1], REQUESTS_A_STEP / max(mean_rps, 1e-9))
    possible = [s for s in STEPS_S if s == 1 or 4 * HISTORY_STEPS * s <= part_s]
    return next((s for s in possible if s >= wanted_s), possible[-1])


def nearest_horizon(steps: float) -> int:
    """The shortest of HORIZONS_STEPS that covers so many; the longest where none does.

    >>> nearest_horizon(21.5)
    25
    """
    return next((h for h in HORIZONS_STEPS if h >= steps), HORIZONS_STEPS[-1])


def maxima_ahead(loads: Loads, at: NDArray[np.int64], horizon: int, step_s: int) -> FloatArray:
    """The maximum of the ``horizon`` steps from each second of ``at`` on."""
    if step_s > 1:  # running means of a step, of which every step_s-th counts
        sums = np.concatenate([[0.0], np.cumsum(loads, dtype=np.float64)])
        loads = (sums[step_s:] - sums[:-step_s]) / step_s
    ahead = at[:, None] + step_s * np.arange(horizon)
    return np.asarray(loads[ahead].max(axis=1), dtype=np.float64)
