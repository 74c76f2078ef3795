"""Synthetic arrivals: Poisson around any load, and an on-off load (a two-state Markov chain)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def poisson_arrivals(rate_rps: ArrayLike, rng: np.random.Generator) -> NDArray[np.int64]:
    """Requests in each second, Poisson around ``rate_rps`` (seconds,).

    >>> poisson_arrivals([0.0, 0.0], np.random.default_rng(0)).tolist()
    [0, 0]
    """
    return rng.poisson(np.asarray(rate_rps, dtype=np.float64)).astype(np.int64)


def on_off_rates(
    seconds: int,
    off_rps: float,
    on_rps: float,
    rng: np.random.Generator,
    mean_off_s: float = 120.0,
    mean_on_s: float = 40.0,
) -> NDArray[np.float64]:
    """Mean load of each second, which jumps between two levels after exponential times.

    Starts in the stationary distribution, so the mean is
    (off_rps mean_off_s + on_rps mean_on_s) / (mean_off_s + mean_on_s) throughout.
    """
    rates = np.empty(seconds)
    is_on = rng.random() < mean_on_s / (mean_on_s + mean_off_s)
    second = 0.0
    while second < seconds:
        stay_s = rng.exponential(mean_on_s if is_on else mean_off_s)
        rates[round(second) : round(second + stay_s)] = on_rps if is_on else off_rps
        second, is_on = second + stay_s, not is_on
    return rates
