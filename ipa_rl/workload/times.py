"""Times of arrival, drawn within the seconds of a load."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def times_within(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Times (requests,) of ``counts`` requests in each second, ascending, from 0.

    Independent and uniform within its second each: a Poisson process, given how many requests each second
    of it has.

    >>> times_within(np.array([0, 2]), np.random.default_rng(0)).round(1).tolist()
    [1.3, 1.6]
    """
    seconds = np.repeat(np.arange(len(counts), dtype=np.float64), counts)
    return np.sort(seconds + rng.random(len(seconds)))
