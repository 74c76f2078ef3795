"""Synthetic arrivals: Poisson around any load; switched loads, bursts and waves; workloads of such."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel

_MADE_UP_S = 600_000
"""Seconds of a workload that is made up: a week."""


@lru_cache(maxsize=8)
def made_up(kind: Literal["poisson", "on-off"], rate_rps: float, peak_rps: float) -> Workload:
    """A workload of Poisson arrivals, around one load or between two (`on_off_rates`); always the same."""
    description = WorkloadModel(title=f"made up: {kind}", source="ipa-rl")
    return Workload(kind, None, description, partial(_draw, kind, rate_rps, peak_rps))


def _draw(kind: str, rate_rps: float, peak_rps: float) -> Recorded:
    rng = np.random.default_rng(0)
    rates = np.full(_MADE_UP_S, rate_rps)
    if kind == "on-off":
        rates = on_off_rates(_MADE_UP_S, rate_rps, peak_rps, rng)
    return Recorded(counts=poisson_arrivals(rates, rng))


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


USUAL_RPS = 12.0
"""The usual load that `random_rates` are drawn about: the mean of the paper's bursty window."""


def random_rates(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean loads by unit of time, of a kind drawn at random: switched, with bursts, with pauses, or waves.

    Requests a second, about USUAL_RPS: 1 to 8 switched with 12 to 36; bursts of 15 to 35 for 30 to 200 units
    over 2 to 10; 5 to 20 with pauses of 30 to 400 units; waves about 5 to 16 with periods of 120 to 900.
    """
    kind = int(rng.integers(4))
    if kind == 0:
        return on_off_rates(length, rng.uniform(1.0, 8.0), rng.uniform(12.0, 36.0), rng)
    if kind == 1:
        return burst_rates(length, rng)
    if kind == 2:
        return paused_rates(length, rng)
    mean = rng.uniform(5.0, 16.0)
    phase = 2.0 * np.pi * (np.arange(length) / rng.uniform(120.0, 900.0) + rng.random())
    return np.asarray(mean * (1.0 + rng.uniform(0.2, 0.8) * np.sin(phase)), dtype=np.float64)


def burst_rates(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A steady load with one to three bursts, each reached within 1 to 20 units."""
    rates = np.full(length, rng.uniform(2.0, 10.0))
    for _ in range(int(rng.integers(1, 4))):
        begin, lasts = int(rng.integers(length)), int(rng.integers(30, 201))
        ramp = int(rng.integers(1, 21))
        rise = np.minimum(np.arange(1, lasts + 1) / ramp, 1.0) * rng.uniform(15.0, 35.0)
        covered = rates[begin : begin + lasts]
        np.maximum(covered, rise[: len(covered)], out=covered)
    return rates


def paused_rates(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A steady load with one or two pauses in which nothing arrives."""
    rates = np.full(length, rng.uniform(5.0, 20.0))
    for _ in range(int(rng.integers(1, 3))):
        begin = int(rng.integers(length))
        rates[begin : begin + int(rng.integers(30, 401))] = 0.0
    return rates
