"""What came of a window, measured or predicted, in the same terms; and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.objective import utility


@dataclass(frozen=True)
class Outcomes:
    """Requests (requests,) that were due in the window, and what served them by interval (steps,).

    ``due_s``: since the window's begin. ``latency_s``: NaN where a request was not served. ``right``: the
    share of right answers that it stands for: measured 0 or 1 by its label, predicted the product of the
    accuracies of the variants that served it; NaN where it was not served. ``cores``: mean, starting replicas
    included. ``batches``: mean sum of batch sizes. ``replicas``: (steps, stages) that serve at the end.
    """

    due_s: FloatArray
    latency_s: FloatArray
    right: FloatArray
    cores: FloatArray
    batches: FloatArray
    replicas: FloatArray

    def served(self) -> NDArray[np.bool_]:
        """Which were served, (requests,)."""
        return ~np.isnan(self.latency_s)

    def violated(self, sla_s: float) -> NDArray[np.bool_]:
        """Which were not served within the SLA, (requests,)."""
        return ~(self.latency_s <= sla_s)


def figures(definition: Definition, outcomes: Outcomes) -> dict[str, float]:
    """Utility, PAS x 100, cores, violations in percent, latencies of served requests (NaN without any)."""
    served = outcomes.served()
    latency_s = outcomes.latency_s[served] if served.any() else np.array([np.nan])
    accuracy = float(outcomes.right[served].mean()) if served.any() else float("nan")
    violations = float(outcomes.violated(definition.problem.sla_s).mean()) if len(served) else 0.0
    cores, batches = float(outcomes.cores.mean()), float(outcomes.batches.mean())
    return {
        "utility": utility(definition.weights, accuracy, cores, batches, violations),
        "pas_x100": 100.0 * accuracy,
        "cores": cores,
        "violated_pct": 100.0 * violations,
        "mean_s": float(latency_s.mean()),
        "p50_s": float(np.quantile(latency_s, 0.5)),
        "p99_s": float(np.quantile(latency_s, 0.99)),
        "requests": float(len(served)),
        "served": float(served.sum()),
    }


def by_interval(definition: Definition, outcomes: Outcomes) -> Mapping[str, FloatArray]:
    """Mean and p99 latency, PAS x 100 and violated share of the requests due in each interval, (steps,)."""
    interval_s, steps = definition.timing.interval_s, len(outcomes.cores)
    step = (outcomes.due_s // interval_s).astype(np.int64)
    found = {name: np.full(steps, np.nan) for name in ("mean_s", "p99_s", "pas_x100", "violated_pct")}
    served, violated = outcomes.served(), outcomes.violated(definition.problem.sla_s)
    for k in range(steps):
        own = step == k
        if own.any():
            found["violated_pct"][k] = 100.0 * violated[own].mean()
        own &= served
        if own.any():
            found["mean_s"][k] = outcomes.latency_s[own].mean()
            found["p99_s"][k] = np.quantile(outcomes.latency_s[own], 0.99)
            found["pas_x100"][k] = 100.0 * outcomes.right[own].mean()
    return found
