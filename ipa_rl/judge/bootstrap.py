"""95 % intervals over windows, by the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13)."""

from __future__ import annotations

import numpy as np

from ipa_rl.jit import FloatArray

RESAMPLES = 10_000


def interval_95(values: FloatArray, seed: int = 0) -> tuple[float, float]:
    """Interval of the mean of ``values`` (windows,). For a paired one, give the differences.

    >>> interval_95(np.ones(5))
    (1.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values)[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
