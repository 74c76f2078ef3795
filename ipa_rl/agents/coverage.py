"""What training covered: how far an observation, and a decision, are from what the policy met there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray

_SHRINKAGE = 0.01
"""Added to every variance: entries that never moved in training may move by a tenth."""

_QUANTILE, _SLACK = 0.9999, 1.5
_LEAST_QUANTILE = 0.0005
_HEAVY_QUANTILE = 0.75


@dataclass(frozen=True)
class Coverage:
    """A normal distribution over observations, the least capacity that decisions gave, and heavy loads.

    ``mean`` (entries,) and ``whitening`` (entries, entries): an observation's score is the mean square of
    (observation - mean) @ whitening, its squared Mahalanobis distance by entry. Above ``limit`` it is out of
    what training covered. ``least_capacity``: lowest capacity of a decision, relative to the mean load of the
    last 10 s. ``heavy_rps``: 75th percentile of the loads in training, means of 10 s.
    ``reserve``: share of the program's planned-for load that every stage can serve where the load is
    heavier; 0 disables it.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float
    least_capacity: float
    heavy_rps: float
    reserve: float

    def score(self, observation: NDArray[np.float32]) -> float:
        """How far an observation (entries,) is from those of training; about 1 within them."""
        apart = (observation - self.mean) @ self.whitening
        return float(apart @ apart) / len(apart)


def fit_coverage(
    observations: NDArray[np.float32], capacities: FloatArray, loads_rps: FloatArray, reserve: float
) -> Coverage:
    """Coverage of observations (samples, entries), relative capacities and loads, (samples,) both."""
    mean = observations.mean(axis=0, dtype=np.float64)
    apart = observations - mean
    covariance = apart.T @ apart / len(apart) + _SHRINKAGE * np.eye(len(mean))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    scores = np.square(apart @ whitening).mean(axis=1)
    return Coverage(
        mean.astype(np.float32),
        whitening.astype(np.float32),
        _SLACK * float(np.quantile(scores, _QUANTILE)),
        float(np.quantile(capacities, _LEAST_QUANTILE)),
        float(np.quantile(loads_rps, _HEAVY_QUANTILE)),
        reserve,
    )
