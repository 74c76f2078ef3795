"""What queueing theory says of waiting for a replica: with random arrivals requests wait below capacity too.

Allen and Cunneen's approximation (1990, Probability, Statistics, and Queueing Theory, 5.4.2) for several
servers, with Sakasegawa's of Erlang's formula (1977, Ann. Inst. Statist. Math. 29): whoever waits at all
waits for an exponential time. Servers are replicas, and customers are batches. Poisson arrivals that fill
batches of b make batches come with a squared coefficient of variation of 1 / b.
"""

from __future__ import annotations

import math

import numpy as np

from ipa_rl.jit import FloatArray, compiled_in_place

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""

_TAIL = 0.01
"""One in 100."""


def lognormal(mean: FloatArray, p99: FloatArray) -> tuple[FloatArray, FloatArray]:
    """mu and sigma of the lognormal distribution with that mean and 99th percentile.

    From ln(p99 / mean) = 2.326 sigma - sigma^2 / 2. No lognormal has a ratio above 15; such a one counts
    as 15.

    >>> mu, sigma = lognormal(np.array([1.0]), np.array([2.0]))
    >>> round(float(np.exp(mu + sigma**2 / 2)[0]), 6), round(float(np.exp(mu + 2.3263478740 * sigma)[0]), 6)
    (1.0, 2.0)
    """
    log_ratio = np.log(np.maximum(p99 / mean, 1.0))
    sigma = _Z99 - np.sqrt(np.maximum(_Z99**2 - 2.0 * log_ratio, 0.0))
    return np.log(mean) - sigma**2 / 2.0, sigma


def service_scv(mean: FloatArray, p99: FloatArray) -> FloatArray:
    """Squared coefficient of variation of service times with that mean and 99th percentile."""
    return np.asarray(np.expm1(lognormal(mean, p99)[1] ** 2), dtype=np.float64)


@compiled_in_place
def _waiting(
    busy: float, servers: int, service_s: float, arrival_scv: float, service_scv: float
) -> tuple[float, float]:
    """The share that waits, and the mean wait of those; endless where servers are busy all the time."""
    if busy >= 1.0:
        return 1.0, math.inf
    waits = busy ** (math.sqrt(2.0 * (servers + 1)) - 1.0)
    return waits, service_s * (arrival_scv + service_scv) / 2.0 / (servers * (1.0 - busy))


@compiled_in_place
def wait_s(
    busy: float, servers: int, service_s: float, arrival_scv: float, service_scv: float
) -> tuple[float, float]:
    """How long one waits where servers are busy for that share of the time: mean, and how much more 1 in 100.

    ``arrival_scv``, ``service_scv``: squared coefficients of variation.

    >>> [round(one, 3) for one in wait_s(0.8, 1, 1.0, 1.0, 1.0)]  # M/M/1: mean 4, 1 in 100 ln(80) / 0.2
    [4.0, 17.91]
    """
    waits, waits_s = _waiting(busy, servers, service_s, arrival_scv, service_scv)
    if waits >= 1.0:
        return waits_s, 0.0
    tail_s = waits_s * math.log(waits / _TAIL) if waits > _TAIL else 0.0
    return waits * waits_s, max(tail_s - waits * waits_s, 0.0)


@compiled_in_place
def randomness(alone_s: float, longest_s: float, highest_scv: float, share: float) -> float:
    """How random arrivals are behind other stages, as a share of what Poisson ones are.

    ``alone_s``: the mean wait here if they came as the pipeline's do; ``longest_s``: the longest of these
    before; ``highest_scv``: of the services before. ``share``: how many come here of each that leaves the
    stage before; what is drawn, or comes several at once, is random anew.

    >>> randomness(3.0, 0.0, 0.0, 1.0), randomness(3.0, 2.25, 0.1, 1.0), randomness(3.0, 4.0, 0.0, 0.5)
    (1.0, 0.25, 0.5)
    """
    anew = min(max(abs(1.0 - share), highest_scv), 1.0)
    return max(1.0 - longest_s / alone_s, anew) if alone_s > longest_s else anew


@compiled_in_place
def share_of_wait(is_random: float, arrival_scv: float, service_scv: float) -> float:
    """What is left of a wait where arrivals have such a share (`randomness`) of their own squared variation.

    Waits go by the sum of that and the services' (Allen and Cunneen).

    >>> float(share_of_wait(0.5, 1.0, 0.0)), float(share_of_wait(0.0, 1.0, 1.0))
    (0.5, 0.5)
    """
    return (is_random * arrival_scv + service_scv) / (arrival_scv + service_scv)


@compiled_in_place
def wait_p99_s(busy: float, servers: int, service_s: float, arrival_scv: float, service_scv: float) -> float:
    """The 99th percentile of the wait: 0 where fewer than 1 in 100 wait at all.

    >>> [round(wait_p99_s(busy, servers, 1.0, 1.0, 1.0), 3) for busy, servers in ((0.8, 1), (0.1, 9))]
    [21.91, 0.0]
    """
    waits, waits_s = _waiting(busy, servers, service_s, arrival_scv, service_scv)
    return waits_s * math.log(waits / _TAIL) if waits > _TAIL else 0.0
