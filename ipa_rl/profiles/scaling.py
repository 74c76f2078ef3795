"""The model that fills cells which were never measured.

Latency of a batch of b on c cores: l(c, b) = (k0 + k1 b) (s + (1 - s) / c), affine in the batch and by
Amdahl's law in the cores, fitted by least squares of the logarithm (relative error).

The fits of shipped profiles ship too, in ``profiles/fits.json``: importing scipy takes longer than everything
else that a decision needs. A fit is found by what it was made from, so changed points are fitted anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ipa_rl import resources
from ipa_rl.documents import load_json
from ipa_rl.jit import FloatArray

DEFAULT_SERIAL = 0.15
"""Serial fraction where neither a stage nor what it borrows from shows one: median of the video stages."""
DEFAULT_MARGINAL = 0.9
"""Share of a single request's latency that each further request of a batch adds, likewise."""
DEFAULT_TAIL = 1.3
"""99th percentile over mean, likewise."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Service latency (seconds) of a batch of ``batch`` on ``cores``."""

    cores: int
    batch: int
    latency_s: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """How latency moves: ``serial`` is s, ``marginal`` is k1 / (k0 + k1)."""

    serial: float
    marginal: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted curve: ``first_s`` is k0 + k1, the latency of batch 1 on one core.

    ``error`` is the root mean square of the relative error over ``count`` readings; ``borrowed`` names what
    the readings could not show and came from neighbours.
    """

    first_s: float
    scaling: Scaling
    count: int
    error: float
    borrowed: tuple[str, ...]

    def latency_s(self, cores: int, batch: int) -> float:
        """Latency of a batch of that size on that many cores."""
        return self.first_s * _shape(self.scaling.serial, self.scaling.marginal, cores, batch)

    def __str__(self) -> str:
        k1 = self.first_s * self.scaling.marginal
        text = (
            f"l = ({self.first_s - k1:.4g} + {k1:.4g} b) ({self.scaling.serial:.2f} + "
            f"{1 - self.scaling.serial:.2f} / c), {self.count} points, error {100 * self.error:.0f} %"
        )
        return text + (f", {' and '.join(self.borrowed)} borrowed" if self.borrowed else "")


def _shape(serial: float, marginal: float, cores: float, batch: float) -> float:
    return (1.0 + marginal * (batch - 1.0)) * (serial + (1.0 - serial) / cores)


def fit(readings: list[Reading], borrowed: Scaling) -> Fit:
    """The curve through the readings; what they cannot show is taken from ``borrowed``.

    Cores need two counts among the readings, batches a size above 1. At least one reading is needed.
    """
    has_cores = len({reading.cores for reading in readings}) > 1
    has_batches = len({reading.batch for reading in readings}) > 1
    start = [np.log(np.median([r.latency_s for r in readings])) + 0.5, 0.2, 0.8]
    free = [True, has_cores, has_batches]
    fixed = np.array([0.0, borrowed.serial, borrowed.marginal])
    fixed[free] = np.array(start)[free]

    def parameters(values: np.ndarray) -> np.ndarray:
        whole = fixed.copy()
        whole[free] = values
        return whole

    def residuals(values: np.ndarray) -> np.ndarray:
        log_first, serial, marginal = parameters(values)
        return np.array(
            [
                log_first + np.log(_shape(serial, marginal, r.cores, r.batch)) - np.log(r.latency_s)
                for r in readings
            ]
        )

    low, high = np.array([-20.0, 0.0, 0.0]), np.array([20.0, 1.0, 1.0])
    bounds = (low[free], high[free])
    begin = np.clip(fixed[free], *bounds)
    known, made_from = known_fits(), _digest(readings, borrowed)
    if made_from not in known:
        known[made_from] = _least_squares(residuals, begin, bounds)
    solution = np.array(known[made_from])
    log_first, serial, marginal = parameters(solution)
    missing = [name for name, known in (("cores", has_cores), ("batch", has_batches)) if not known]
    return Fit(
        first_s=float(np.exp(log_first)),
        scaling=Scaling(float(serial), float(marginal)),
        count=len(readings),
        error=float(np.sqrt(np.mean(residuals(solution) ** 2))),
        borrowed=tuple(missing),
    )


def _least_squares(
    residuals: Callable[[FloatArray], FloatArray], begin: FloatArray, bounds: tuple[FloatArray, FloatArray]
) -> list[float]:
    """Values within the bounds at which the residuals are least; outliers count less."""
    from scipy.optimize import least_squares

    solution = least_squares(residuals, begin, bounds=bounds, loss="soft_l1", f_scale=0.1)
    return [float(value) for value in solution.x]


@lru_cache(maxsize=1)
def known_fits() -> dict[str, list[float]]:
    """Solutions by what they were made from: those that ship, and those of this process."""
    path = resources.folder("profiles") / "fits.json"
    return load_json(path, dict[str, list[float]], "restore the file from the repository")


def _digest(readings: list[Reading], borrowed: Scaling) -> str:
    return hashlib.sha256(repr((readings, borrowed)).encode()).hexdigest()[:16]
