"""Service times of the request-level simulator: tables by batch size, and the random numbers behind them.

Every draw is exp(mu + sigma z). Lognormal: mu and sigma from the profile's mean and 99th percentile, z
normal. Fixed: sigma = 0. Exponential: sigma = 1 and z the logarithm of an exponential variate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ipa_rl.jit import FloatArray, Records

Service = Literal["lognormal", "fixed", "exponential"]

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""


@dataclass(frozen=True)
class ServiceTables:
    """Service of a batch of n requests, float arrays (stages, variants, largest batch + 1), entry n.

    ``mu``, ``sigma``: logarithm of seconds. ``hold``: time that the replica is taken, as a multiple of the
    service time; above 1 where the profile's throughput is below batch / latency.
    """

    mu: FloatArray
    sigma: FloatArray
    hold: FloatArray


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


def service_tables(variants: Records, service: Service) -> ServiceTables:
    """Tables of VARIANT records (stages, variants); sizes between the profiled ones are interpolated.

    Below the smallest profiled batch size the latency is that of the smallest.
    """
    largest = int(variants["batch"].max())
    shape = (*variants.shape, largest + 1)
    mean, p99, hold = np.ones(shape), np.ones(shape), np.ones(shape)
    sizes = np.arange(largest + 1)
    for place in np.ndindex(variants.shape):
        row = variants[place]
        offered = row["batch"] > 0
        if not offered.any():
            continue
        batch = row["batch"][offered]
        mean[place] = np.interp(sizes, batch, row["mean_s"][offered])
        p99[place] = np.interp(sizes, batch, row["p99_s"][offered])
        taken = batch / (row["rate_rps"][offered] * row["mean_s"][offered])
        hold[place] = np.interp(sizes, batch, np.maximum(taken, 1.0))
    if service == "lognormal":
        return ServiceTables(*lognormal(mean, p99), hold)
    return ServiceTables(np.log(mean), np.full(shape, 0.0 if service == "fixed" else 1.0), hold)


def variates(service: Service, requests: int, stages: int, rng: np.random.Generator) -> FloatArray:
    """z of every request at every stage, (requests, stages).

    A batch uses that of its oldest request, so that controllers that are compared meet the same luck.
    """
    shape = (requests, stages)
    if service == "lognormal":
        return rng.standard_normal(shape)
    if service == "fixed":
        return np.zeros(shape)
    return np.log(np.maximum(rng.standard_exponential(shape), math.ulp(0.0)))
