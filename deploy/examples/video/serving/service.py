"""Service times of a variant, drawn as the request-level simulator draws them, without its arrays."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from ipa_rl.pipeline import Variant

_Z99 = 2.3263478740408408


class ServiceTimes:
    """Lognormal service times with the profile's mean and 99th percentile at each batch size."""

    def __init__(self, variant: Variant, seed: int | None = None) -> None:
        self.variant = variant
        self._random = random.Random(seed)

    def mean_s(self, size: int) -> float:
        """Mean service time of a batch; sizes between the profiled ones are interpolated."""
        return _between(size, self.variant.batches, self.variant.latency_mean_s)

    def hold(self, size: int) -> float:
        """Time that the replica is taken, as a multiple of the service time; 1 or more.

        Above 1 where the profile's throughput is below batch / latency.
        """
        variant = self.variant
        rows = zip(variant.batches, variant.throughput_rps, variant.latency_mean_s, strict=True)
        return _between(size, variant.batches, [max(b / (h * mean), 1.0) for b, h, mean in rows])

    def draw_s(self, size: int) -> float:
        """The service time of one batch."""
        mean_s = self.mean_s(size)
        p99_s = _between(size, self.variant.batches, self.variant.latency_p99_s)
        mu, sigma = lognormal(mean_s, p99_s)
        return math.exp(mu + sigma * self._random.gauss(0.0, 1.0))


def lognormal(mean_s: float, p99_s: float) -> tuple[float, float]:
    """mu and sigma of the lognormal distribution with that mean and 99th percentile.

    >>> mu, sigma = lognormal(1.0, 2.0)
    >>> round(math.exp(mu + sigma**2 / 2), 6)
    1.0
    """
    log_ratio = math.log(max(p99_s / mean_s, 1.0))
    sigma = _Z99 - math.sqrt(max(_Z99**2 - 2.0 * log_ratio, 0.0))
    return math.log(mean_s) - sigma**2 / 2.0, sigma


def _between(size: int, sizes: Sequence[int], values: Sequence[float]) -> float:
    """Linear interpolation, the ends held."""
    if size <= sizes[0]:
        return values[0]
    for (left, low), (right, high) in pairwise(zip(sizes, values, strict=True)):
        if size <= right:
            return low + (high - low) * (size - left) / (right - left)
    return values[-1]
