"""What a simulated interval is judged by: requests, accuracy, cores, latency."""

from __future__ import annotations

import math

import numpy as np

from ipa_rl.jit import FloatArray, Record, Records, compiled_in_place

TAIL_SHARE = 0.02
"""Share of requests that get the tail latency; its median is the 99th percentile."""

BINS = 600
"""400 for the six decades from 1 ms to 1000 s, and as wide ones for one and a half below and above."""

_BINS_BELOW, _BASE_S = 100, 1e-3
_BINS_PER_LOG = 400 / math.log(1e6)
_SMALLEST_S = 1e-5

SUMS = ("arrived", "served", "dropped", "late", "score", "accuracy", "core_s", "batch_s", "seconds")
"""The totals that are one number each."""

TOTALS = np.dtype(
    [(name, np.float64) for name in SUMS] + [("by_latency", np.int64), ("histogram", np.float64, (BINS,))],
    align=True,
)
"""What happened to one environment since the totals were cleared.

Requests: ``arrived``, ``served``, ``dropped``, ``late`` (served after the SLA). ``score`` and ``accuracy``
are sums over served requests, ``core_s`` and ``batch_s`` sums over ``seconds``; ``histogram``: where
``by_latency`` is not 0, served requests by the logarithm of their latency, 32 us to 9 hours.
"""


def no_totals(environments: int, by_latency: bool = True) -> Records:
    """TOTALS (environments,) in which nothing happened yet."""
    found = np.zeros(environments, dtype=TOTALS)
    found["by_latency"] = by_latency
    return found


def sums_of(totals: Records) -> FloatArray:
    """The SUMS of TOTALS (environments,), (environments, len(SUMS)), in the same memory."""
    return totals.view(np.float64).reshape(len(totals), -1)[:, : len(SUMS)]


def clear(totals: Records) -> None:
    """Nothing happened to any environment, TOTALS (environments,)."""
    sums_of(totals)[...] = 0.0
    if totals["by_latency"].any():
        totals["histogram"] = 0.0


@compiled_in_place
def _bin(latency_s: float) -> int:
    above = math.floor(math.log(max(latency_s, _SMALLEST_S) / _BASE_S) * _BINS_PER_LOG)
    return min(max(above + _BINS_BELOW, 0), BINS - 1)


@compiled_in_place
def finish(
    totals: Record,
    amount: float,
    typical_s: float,
    tail_s: float,
    score: float,
    accuracy: float,
    sla_s: float,
    tail_sla_s: float,
) -> None:
    """Requests leave the last stage; ``sla_s``, ``tail_sla_s``: within which they are in time."""
    totals.served += amount
    totals.score += amount * score
    totals.accuracy += amount * accuracy
    if typical_s > sla_s:
        totals.late += amount * (1.0 - TAIL_SHARE)
    if tail_s > tail_sla_s:
        totals.late += amount * TAIL_SHARE
    if totals.by_latency:
        totals.histogram[_bin(typical_s)] += amount * (1.0 - TAIL_SHARE)
        totals.histogram[_bin(tail_s)] += amount * TAIL_SHARE


@compiled_in_place
def finish_one(totals: Record, latency_s: float, score: float, accuracy: float, is_late: bool) -> None:
    """One request is served."""
    totals.served += 1.0
    totals.score += score
    totals.accuracy += accuracy
    if is_late:
        totals.late += 1.0
    totals.histogram[_bin(latency_s)] += 1.0


def latency_quantile_s(histogram: FloatArray, quantile: float) -> float:
    """Latency below which that share of requests finished, from a histogram; NaN for no requests.

    Exact to the width of a bin, 3.5 %.
    """
    total = histogram.sum()
    if total <= 0:
        return math.nan
    return float(bin_middles_s()[np.searchsorted(np.cumsum(histogram), quantile * total)])


def bin_middles_s() -> FloatArray:
    """The latency in the middle of each bin, on the logarithmic scale, (BINS,)."""
    above = np.arange(BINS) - _BINS_BELOW
    return np.asarray(_BASE_S * np.exp((above + 0.5) / _BINS_PER_LOG), dtype=np.float64)
