"""What a configuration is worth by the model at a load, all replicas ready: for accounts only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ipa_rl.environment.definition import Definition
from ipa_rl.objective import cost_cores, pas, score, utility
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.core_budget import rate_rps
from ipa_rl.simulation.queues import batch_fill_s


@dataclass(frozen=True, slots=True)
class Worth:
    """By the model: utility of an interval, PAS x 100, cores, 99th percentile of latency, least capacity."""

    utility: float
    pas_x100: float
    cores: int
    latency_s: float
    capacity_rps: float


def worth(
    definition: Definition, configuration: Configuration, load_rps: float, paid: Configuration | None = None
) -> Worth:
    """A configuration at a load (requests a second); ``paid``: what is paid for, where more than serves.

    What exceeds the capacity is violated, and all of it where service and batch fill exceed the SLA. A batch
    fills for no longer than its time-out, as in the simulators. Where the load is not known (NaN) utility and
    latency are NaN; the other figures do not depend on it.
    """
    problem, timeout_s = definition.problem, definition.timing.batch_timeout_s
    pipeline = problem.pipeline
    pairs = list(zip(pipeline.stages, configuration.stages, strict=True))
    capacity_rps = min(one.replicas * rate_rps(stage, one) for stage, one in pairs)
    pas_x100, cores = 100.0 * pas(pipeline, configuration), cost_cores(pipeline, paid or configuration)
    if math.isnan(load_rps):
        return Worth(math.nan, pas_x100, cores, math.nan, capacity_rps)
    latency = 0.0
    for stage, one in pairs:
        variant = stage.variant(one.variant)
        at = max([k for k, batch in enumerate(variant.batches) if batch <= one.batch], default=0)
        latency += variant.latency_p99_s[at] + batch_fill_s(one.batch, load_rps, timeout_s)
    beyond = 1.0 - capacity_rps / load_rps if load_rps > capacity_rps else 0.0
    violated = 1.0 if latency > problem.sla_s else beyond
    batches = float(sum(one.batch for one in configuration.stages))
    value = utility(problem.weights, score(problem, configuration), cores, batches, violated)
    return Worth(value, pas_x100, cores, latency, capacity_rps)
