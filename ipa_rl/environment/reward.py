"""Reward: what one interval adds to the utility, less what the optimum for the load seen there would add.

The load does not depend on the actions, so neither does the subtracted term: over the same arrivals every
policy's return moves by the same amount, and the order of any two policies stays (design, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from ipa_rl.environment.definition import LOADS_OF_TABLE
from ipa_rl.jit import FloatArray, IntArray, Records, compiled_in_place
from ipa_rl.objective import Problem, Weights, objective, score, utility
from ipa_rl.solvers import FrontSolver

SHAPING_LEAST = 0.1
"""An episode's mean load counts as so many units (`Definition.load_unit_rps`) at least."""


@lru_cache(maxsize=64)
def optimum_by_load(problem: Problem, unit_rps: float) -> FloatArray:
    """Gain and penalty of the optimum at loads of 0, 1, ..., LOADS_OF_TABLE units: (2, loads).

    Heavier ones count as the last. Its objective is the first less the second; where there is none, those
    of what serves the most.
    """
    solver = FrontSolver(problem)
    chosen = [solver.solve(load * unit_rps).to_run for load in range(LOADS_OF_TABLE + 1)]
    gains = np.array([problem.weights.alpha * score(problem, one) for one in chosen])
    return np.stack([gains, gains - [objective(problem, one) for one in chosen]])


WEIGHTS = np.dtype([(name, np.float64) for name in ("alpha", "beta", "delta", "rho")])
"""Weights of one environment."""


def weight_records(each: Sequence[Weights]) -> Records:
    """WEIGHTS (environments,)."""
    return np.array([(w.alpha, w.beta, w.delta, w.rho) for w in each], dtype=WEIGHTS)


@compiled_in_place
def interval_utilities(weights: Records, totals: Records, usual_rps: FloatArray, out: FloatArray) -> None:
    """What the interval that TOTALS (environments,) account for adds to each window's utility, into ``out``.

    ``weights``: WEIGHTS, and ``usual_rps``: the episode's mean load, (environments,). Accuracy and violations
    count by request, as in the window's utility, so that the mean over an episode is that.
    """
    for e in range(out.shape[0]):
        own, weight = totals[e], weights[e]
        usual = usual_rps[e] * own.seconds
        gain = weight.alpha * own.score / usual - weight.beta * own.core_s / own.seconds
        violated = (own.late + own.dropped) / usual
        out[e] = gain - weight.delta * own.batch_s / own.seconds - weight.rho * violated


@compiled_in_place
def take_shaping(
    optima: FloatArray,
    preference: IntArray,
    unit_rps: float,
    totals: Records,
    usual_rps: FloatArray,
    out: FloatArray,
) -> None:
    """Take from ``out`` what the optimum for the interval's mean load, rounded up to whole units, would add.

    ``optima``: (preferences, 2, loads), of `optimum_by_load`; ``preference`` (environments,): whose counts.
    """
    for e in range(out.shape[0]):
        own = totals[e]
        load = math.ceil(own.arrived / own.seconds / unit_rps - 1e-9)
        known = min(load, optima.shape[2] - 1)
        gain, penalty = optima[preference[e], 0, known], optima[preference[e], 1, known]
        out[e] -= gain * own.arrived / (usual_rps[e] * own.seconds) - penalty


def summarize(weights: Weights, sums: Mapping[str, float]) -> dict[str, float]:
    """Utility, PAS x 100, mean cores and violated share over the window that the TOTALS sums cover.

    Requests that still wait at the end count in none of these.
    """
    served = max(sums["served"], 1e-9)
    seconds = max(sums["seconds"], 1e-9)
    violations = (sums["late"] + sums["dropped"]) / max(sums["served"] + sums["dropped"], 1e-9)
    cores = sums["core_s"] / seconds
    value = utility(weights, sums["score"] / served, cores, sums["batch_s"] / seconds, violations)
    pas_x100 = 100.0 * sums["accuracy"] / served
    return {"utility": value, "pas_x100": pas_x100, "cores": cores, "violations": violations}
