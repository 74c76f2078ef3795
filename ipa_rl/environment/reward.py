"""Reward: the utility of one interval, less what the exact optimum reaches for the load that was seen.

The load does not depend on the actions, so neither does the subtracted term: over the same arrivals every
policy's return moves by the same amount, and the order of any two policies stays (design, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from ipa_rl.compiled import FloatArray, Records
from ipa_rl.objective import Problem, Weights, utility
from ipa_rl.solvers import FrontSolver

SHAPING_LOADS_RPS = 150
"""The shaping term is known up to this load; heavier ones count as this."""


@lru_cache(maxsize=64)
def optimum_by_load(problem: Problem) -> FloatArray:
    """The optimum's objective at loads 0, 1, ..., SHAPING_LOADS_RPS."""
    return FrontSolver(problem).objective_table(SHAPING_LOADS_RPS)


def active_score(fleet: Records, variants: Records) -> FloatArray:
    """What alpha weighs of the active variants, (environments,); fleet (environments, stages)."""
    stages = np.arange(fleet.shape[1])
    return np.asarray(variants["score"][stages, fleet["active"]].prod(axis=1), dtype=np.float64)


WEIGHTS = np.dtype([(name, np.float64) for name in ("alpha", "beta", "delta", "rho")])
"""Weights of one environment."""


def weight_records(each: Sequence[Weights]) -> Records:
    """WEIGHTS (environments,)."""
    return np.array([(w.alpha, w.beta, w.delta, w.rho) for w in each], dtype=WEIGHTS)


def interval_utility(weights: Records, totals: Records, idle_score: FloatArray) -> FloatArray:
    """Utility of the interval that TOTALS (environments,) account for, by each one's WEIGHTS.

    Where no request was served the score is ``idle_score``; where none finished, none was violated.
    """
    served, dropped = totals["served"], totals["dropped"]
    finished = served + dropped
    score = np.where(served > 0, totals["score"] / np.maximum(served, 1e-9), idle_score)
    violated = (totals["late"] + dropped) / np.maximum(finished, 1e-9)
    seconds = totals["seconds"]
    gain = weights["alpha"] * score - weights["beta"] * totals["core_s"] / seconds
    return np.asarray(
        gain - weights["delta"] * totals["batch_s"] / seconds - weights["rho"] * violated,
        dtype=np.float64,
    )


def shaping_term(optimum: FloatArray, totals: Records) -> FloatArray:
    """The optimum's objective at the interval's mean load, rounded up.

    ``optimum``: (environments, loads), by integer load.
    """
    load = np.ceil(totals["arrived"] / totals["seconds"] - 1e-9).astype(np.int64)
    known = np.minimum(load, optimum.shape[1] - 1)
    return np.asarray(optimum[np.arange(len(load)), known], dtype=np.float64)


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
