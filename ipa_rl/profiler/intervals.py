"""Means with 95 % intervals from a run that is cut into rounds (the method of batch means).

Calls that follow each other are not independent: a busy neighbour slows many in a row. Means of long
stretches nearly are, so the interval is Student's over at most 20 stretches of whole rounds (Law, Simulation
Modeling and Analysis, section 9.5.3). A run that stops as soon as its interval is tight covers a little less
than 95 %; at least 10 rounds keep that small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

LEAST_ROUNDS = 10
"""Rounds below which no interval counts as tight."""
MOST_STRETCHES = 20
"""Rounds beyond this are put together, so that stretches get longer and less dependent."""
LEAST_SAMPLES = 100
"""Samples below which a 99th percentile is only the largest that was seen."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of positive figures and the half-width of its 95 % interval; NaN from one round."""

    mean: float
    half_width: float

    @property
    def relative(self) -> float:
        """Half-width over mean."""
        return self.half_width / self.mean


def estimate(rounds: Sequence[float]) -> Estimate:
    """Mean over rounds of equal length, with its interval.

    >>> estimate([2.0, 2.0, 2.0])
    Estimate(mean=2.0, half_width=0.0)
    """
    values = np.asarray(rounds, dtype=np.float64)
    stretches = [part.mean() for part in np.array_split(values, min(len(values), MOST_STRETCHES))]
    mean, count = float(values.mean()), len(stretches)
    if count < 2:
        return Estimate(mean, math.nan)
    spread = float(np.std(stretches, ddof=1))
    return Estimate(mean, float(t.ppf(0.975, count - 1)) * spread / math.sqrt(count))


def is_tight(rounds: Sequence[float], precision: float) -> bool:
    """Whether there are rounds enough and the half-width is within that share of the mean."""
    return len(rounds) >= LEAST_ROUNDS and estimate(rounds).relative <= precision


def percentile_99(samples: Sequence[float]) -> float:
    """The 99th percentile, never below the mean, above which a rare stall can lift it."""
    values = np.asarray(samples, dtype=np.float64)
    return float(max(np.quantile(values, 0.99, method="higher"), values.mean()))
