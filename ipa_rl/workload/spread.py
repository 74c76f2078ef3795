"""Counts of longer slots as arrivals by second: the counts stay exact, what lies between them is made up.

The rate within a slot runs along straight lines through the middles of the slots around it. The slot's
requests fall on its seconds as Poisson arrivals of that rate would, given how many they are; where they are
more dispersed, the rate of every second varies as well, by gamma factors, so that variance over mean of a
second's requests is what it should be (a negative binomial, given its sum). Where they are less dispersed, a
share of them comes evenly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray, IntArray

_SEED = 0
_AT_ONCE = 4_000_000
"""Seconds that are made up at once."""


def spread_over_seconds(
    counts: IntArray, resolution_s: float, dispersion: float | FloatArray = 1.0
) -> NDArray[np.int32]:
    """Requests in each second, (seconds,), of ``counts`` in slots of ``resolution_s``; always the same.

    ``dispersion``: variance over mean of a second's requests around their rate, for all slots or by slot. A
    slot that is no whole number of seconds gives its edges' seconds their share.

    >>> int(spread_over_seconds(np.array([600, 60, 0]), 60.0).sum())
    660
    """
    seconds = math.ceil(len(counts) * resolution_s - 1e-9)
    out = np.zeros(seconds, dtype=np.int32)
    rng = np.random.default_rng(_SEED)
    dispersions = np.broadcast_to(np.asarray(dispersion, dtype=np.float64), counts.shape)
    at_once = max(1, int(_AT_ONCE / resolution_s))
    for first in range(0, len(counts), at_once):
        some = slice(first, first + at_once)
        _spread(counts, some, resolution_s, dispersions[some], rng, out)
    return out


def _spread(
    counts: IntArray,
    some: slice,
    resolution_s: float,
    dispersion: FloatArray,
    rng: np.random.Generator,
    out: NDArray[np.int32],
) -> None:
    """Some of the slots, added to ``out``."""
    found = counts[some]
    slots = np.arange(some.start, some.start + len(found))
    begins = slots * resolution_s
    # Each slot's seconds, and how much of each lies within it.
    width = math.ceil(resolution_s) + (0 if float(resolution_s).is_integer() else 1)
    at = np.floor(begins + 1e-9).astype(np.int64)[:, None] + np.arange(width)
    inside = np.minimum(at + 1, (begins + resolution_s)[:, None]) - np.maximum(at, begins[:, None])
    middles = (np.arange(len(counts)) + 0.5) * resolution_s
    rates = np.interp(at + 0.5, middles, counts / resolution_s) + 1e-12
    weights = np.where(inside > 1e-9, inside, 0.0) * rates
    even = np.clip(1.0 - dispersion, 0.0, 1.0)
    evenly = _evenly(np.floor(found * even).astype(np.int64), weights, rng)
    excess = np.maximum(dispersion - 1.0, 0.0)[:, None]
    shape = np.divide(np.maximum(rates, 1e-9), excess, out=np.full_like(rates, np.inf), where=excess > 1e-6)
    varied = np.where(np.isfinite(shape), rng.gamma(np.minimum(shape, 1e9)) / np.minimum(shape, 1e9), 1.0)
    varied = weights * np.maximum(varied, 1e-300)
    chances = varied / varied.sum(axis=1, keepdims=True)
    drawn = rng.multinomial(found - evenly.sum(axis=1), chances) + evenly
    inside_out = at < len(out)
    np.add.at(out, at[inside_out], drawn[inside_out].astype(np.int32))


def _evenly(counts: IntArray, weights: FloatArray, rng: np.random.Generator) -> IntArray:
    """So many requests of each slot at even steps of its rate, from a random first one on."""
    shares = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    begins = rng.random((len(counts), 1))
    passed = np.floor(shares * counts[:, None] + begins + 1e-9)
    passed = np.minimum(passed, counts[:, None])
    passed[:, -1] = counts
    return np.asarray(np.diff(passed, axis=1, prepend=0.0), dtype=np.int64)
