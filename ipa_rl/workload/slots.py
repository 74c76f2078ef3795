"""Rates as whole requests by slot, and slots that are missing as gaps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.workload.workload import Stretch


def counts_of_rates(rates: FloatArray, resolution_s: float) -> FloatArray:
    """Requests of each slot: whole, and their sums within half a request of what the rates say.

    >>> counts_of_rates(np.array([0.25, 0.25, np.nan, 0.5]), 2.0).tolist()
    [1.0, 0.0, nan, 1.0]
    """
    known = ~np.isnan(rates)
    sums = np.round(np.cumsum(np.where(known, rates, 0.0) * resolution_s) + 1e-9)
    return np.where(known, np.diff(sums, prepend=0.0), np.nan)


def gaps_of(missing: Any, resolution_s: float) -> tuple[Stretch, ...]:
    """Stretches in whole seconds that cover the slots that are missing.

    >>> gaps_of(np.array([False, True, True, False]), 0.5)
    ((0, 2),)
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    stretches: list[Stretch] = []
    for first, after in edges.reshape(-1, 2).tolist():
        begin, end = int(first * resolution_s), int(-(-after * resolution_s // 1))
        if stretches and begin <= stretches[-1][1]:
            begin = stretches.pop()[0]
        stretches.append((begin, end))
    return tuple(stretches)
