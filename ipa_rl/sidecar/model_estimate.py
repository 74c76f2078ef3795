"""What the model says of a configuration: its capacity, the replicas for a load, what it is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ipa_rl.environment.definition import Definition
from ipa_rl.objective import cost_cores, pas, score, stage_loads_rps, utility
from ipa_rl.pipeline import Configuration, Pipeline, Stage, StageConfig
from ipa_rl.simulation.queues import batch_fill_s

ROUNDING = 1e-9
"""Slack on replicas, so that a load of exactly n h needs n replicas whatever the rounding."""


def rate_rps(stage: Stage, config: StageConfig) -> float:
    """Requests a second of one replica; of a batch size that was not profiled, that of the nearest below."""
    return stage.variant(config.variant).throughput_rps[_profiled(stage, config)]


def capacity_rps(stage: Stage, config: StageConfig) -> float:
    """Requests a second of all replicas."""
    return config.replicas * rate_rps(stage, config)


def capacities_rps(pipeline: Pipeline, configuration: Configuration) -> list[float]:
    """Requests a second of the pipeline that each stage can carry, by how many of them come to it."""
    each = zip(pipeline.stages, configuration.stages, strict=True)
    visits = stage_loads_rps(pipeline, configuration, 1.0)
    return [capacity_rps(*one) / own for one, own in zip(each, visits, strict=True)]


def replicas_for(load_rps: float, replica_rps: float) -> int:
    """The fewest replicas that carry a load, one at least.

    >>> replicas_for(30.0, 10.0), replicas_for(30.1, 10.0), replicas_for(0.0, 10.0)
    (3, 4, 1)
    """
    return max(math.ceil(load_rps / replica_rps - ROUNDING), 1)


def _profiled(stage: Stage, config: StageConfig) -> int:
    """Position of the batch size among those profiled, or of the nearest below."""
    batches = stage.variant(config.variant).batches
    return max((k for k, batch in enumerate(batches) if batch <= config.batch), default=0)


@dataclass(frozen=True, slots=True)
class Worth:
    """By the model: utility of an interval, PAS x 100, cores, 99th percentile of latency, least capacity."""

    utility: float
    pas_x100: float
    cores: float
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
    least_rps = min(capacities_rps(pipeline, configuration))
    pas_x100, cores = 100.0 * pas(pipeline, configuration), cost_cores(pipeline, paid or configuration)
    if math.isnan(load_rps):
        return Worth(math.nan, pas_x100, cores, math.nan, least_rps)
    stages_s = []
    for (stage, one), own_rps in zip(pairs, stage_loads_rps(pipeline, configuration, load_rps), strict=True):
        service_s = stage.variant(one.variant).latency_p99_s[_profiled(stage, one)]
        stages_s.append(service_s + batch_fill_s(one.batch, own_rps, timeout_s))
    latency = pipeline.graph.latency_s(stages_s)
    beyond = 1.0 - least_rps / load_rps if load_rps > least_rps else 0.0
    violated = 1.0 if latency > problem.sla_s else beyond
    batches = float(sum(one.batch for one in configuration.stages))
    value = utility(problem.weights, score(problem, configuration), cores, batches, violated)
    return Worth(value, pas_x100, cores, latency, least_rps)
