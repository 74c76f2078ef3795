"""The model that fills cells which were never measured.

Latency of a batch of b on c cores: l(c, b) = (k0 + k1 b) (s + (1 - s) / c), affine in the batch and by
Amdahl's law in the cores, fitted by least squares of the logarithm (relative error).

The fits of shipped profiles ship too, in ``profiles/fits.json``: importing scipy takes longer than everything
else that a decision needs. A fit is found by what it was made from, so changed points are fitted again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.documents import load_json
from ipa_rl.jit import FloatArray

Cores: TypeAlias = float
"""Or units of what else a replica occupies, of which there may be shares."""
Batch: TypeAlias = int
Latencies: TypeAlias = Mapping[tuple[Cores, Batch], float]
"""Service latency (seconds) of one batch by its cores and its size."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How latency moves: ``serial`` is s, ``marginal`` is k1 / (k0 + k1)."""

    serial: float
    marginal: float


DEFAULT = Scaling(serial=0.15, marginal=0.9)
"""Where neither a stage nor what it borrows from shows one: medians of the video stages."""
PROPORTIONAL = Scaling(serial=DEFAULT.serial, marginal=1.0)
"""Likewise on devices: from one batch size nobody can tell how much of the time is the same for any other."""
DEFAULT_TAIL = 1.3
"""99th percentile over mean, where nothing shows it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted curve: ``first_s`` is k0 + k1, the latency of batch 1 on one core.

    ``error`` is the root mean square of the relative error over ``count`` latencies; ``borrowed`` names what
    they could not show and came from neighbours.
    """

    first_s: float
    scaling: Scaling
    count: int
    error: float
    borrowed: tuple[str, ...]

    def latency_s(self, cores: Cores, batch: Batch) -> float:
        """Latency of a batch of that size on that many cores."""
        return float(self.first_s * _shape(self.scaling.serial, self.scaling.marginal, cores, batch))

    def __str__(self) -> str:
        k1 = self.first_s * self.scaling.marginal
        text = (
            f"l = ({self.first_s - k1:.4g} + {k1:.4g} b) ({self.scaling.serial:.2f} + "
            f"{1 - self.scaling.serial:.2f} / c), {self.count} point{'s' * (self.count != 1)}, "
            f"error {100 * self.error:.0f} %"
        )
        return text + (f", {' and '.join(self.borrowed)} borrowed" if self.borrowed else "")


def _shape(serial: float, marginal: float, cores: float | FloatArray, batch: float | FloatArray) -> Any:
    return (1.0 + marginal * (batch - 1.0)) * (serial + (1.0 - serial) / cores)


def fit(latencies: Latencies, borrowed: Scaling = DEFAULT) -> Fit:
    """The curve through the latencies, of which there is one at least.

    ``borrowed``: what they cannot show. Cores need two counts among them, batches two sizes.
    """
    cores, batches = np.array(list(latencies), dtype=np.float64).T
    logs = np.log(np.array(list(latencies.values())))
    shows = {"cores": len(set(cores)) > 1, "batch": len(set(batches)) > 1}
    free = np.array([True, *shows.values()])
    guess = [np.log(np.median(list(latencies.values()))) + 0.5, 0.2, 0.8]
    start = np.where(free, guess, [0.0, borrowed.serial, borrowed.marginal])

    def parameters(values: FloatArray) -> FloatArray:
        whole = start.copy()
        whole[free] = values
        return whole

    def errors(values: FloatArray) -> FloatArray:
        log_first, serial, marginal = parameters(values)
        return np.asarray(log_first + np.log(_shape(serial, marginal, cores, batches)) - logs)

    known, made_from = known_fits(), _digest(latencies, start[~free])
    if made_from not in known:
        known[made_from] = _least_squares(errors, start[free], free)
    found = np.array(known[made_from])
    log_first, serial, marginal = parameters(found)
    return Fit(
        first_s=float(np.exp(log_first)),
        scaling=Scaling(float(serial), float(marginal)),
        count=len(latencies),
        error=float(np.sqrt(np.mean(errors(found) ** 2))),
        borrowed=tuple(name for name, is_shown in shows.items() if not is_shown),
    )


def _least_squares(
    errors: Callable[[FloatArray], FloatArray], begin: FloatArray, free: NDArray[np.bool_]
) -> list[float]:
    """The free parameters, within their bounds, at which the errors are least; outliers count less."""
    from scipy.optimize import least_squares

    low, high = np.array([-20.0, 0.0, 0.0])[free], np.array([20.0, 1.0, 1.0])[free]
    solution = least_squares(
        errors, np.clip(begin, low, high), bounds=(low, high), loss="soft_l1", f_scale=0.1
    )
    return [float(value) for value in solution.x]


@lru_cache(maxsize=1)
def known_fits() -> dict[str, list[float]]:
    """Solutions by what they were made from: those that ship, and those of this process."""
    path = resources.folder("profiles") / "fits.json"
    return load_json(path, dict[str, list[float]], "restore the file from the repository")


def _digest(latencies: Latencies, given: FloatArray) -> str:
    """Of what a fit is made from; ``given``: parameters that are not fitted."""
    made_from = [(*at, latency_s) for at, latency_s in latencies.items()], given.tolist()
    return hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]


def typical_scaling(fits: Iterable[Fit], default: Scaling = DEFAULT) -> Scaling:
    """The median of what these fits' own latencies show; the default where none shows it."""
    shown = list(fits)
    serials = [one.scaling.serial for one in shown if "cores" not in one.borrowed]
    marginals = [one.scaling.marginal for one in shown if "batch" not in one.borrowed]
    return Scaling(
        median(serials) if serials else default.serial,
        median(marginals) if marginals else default.marginal,
    )
