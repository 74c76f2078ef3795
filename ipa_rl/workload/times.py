"""Times of arrival within the seconds of a load, and what a clock says at them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import IntArray


def times_within(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Times (requests,) of ``counts`` requests in each second, ascending, from 0.

    Independent and uniform within its second each: a Poisson process, given how many requests each second
    of it has.

    >>> times_within(np.array([0, 2]), np.random.default_rng(0)).round(1).tolist()
    [1.3, 1.6]
    """
    seconds = np.repeat(np.arange(len(counts), dtype=np.float64), counts)
    return np.sort(seconds + rng.random(len(seconds)))


def clocks_by_hour(times_s: IntArray, clock_of: Callable[[float], float]) -> IntArray:
    """What a clock says at many times, ascending: looked up once an hour, as offsets change on the hour."""
    hours, of = np.unique(times_s // 3600, return_inverse=True)
    at_hour = np.array([clock_of(3600.0 * hour) for hour in hours.tolist()])
    return np.asarray(at_hour[of] + times_s % 3600, dtype=np.int64)
