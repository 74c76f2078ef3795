"""A seeded family of made-up pipelines: what a user could bring, drawn at random.

For measuring what holds for any pipeline. Drawn are the stages and their variants (accuracy, cores, speed,
what batches save, start-up), the interval, how much time the SLA leaves, how many replicas the load needs,
and what accuracy is worth. Times go by two drawn scales, that of the service and that of the start-ups, so
that quick and slow pipelines are among them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ipa_rl.environment.definition import (
    BATCH_TIMEOUT_SHARE,
    Definition,
    EpisodesModel,
    RewardModel,
    default_rho,
)
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, Weights, cost_cores
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.simulation import Timing
from ipa_rl.workload.workload import Workload

MOST_STAGES, MOST_VARIANTS = 9, 6
BATCHES = (1, 2, 4, 8, 16)
MOST_RPS = 200.0
"""The mean load is no higher, so that the request-level simulator plays a window in seconds."""


def drawn_definition(seed: int, workload: Workload) -> Definition:
    """The made-up pipeline of a seed, on a workload at the scale at which its load needs some replicas."""
    rng = np.random.default_rng(seed)
    service_s, start_up_s = _log_uniform(rng, 0.01, 0.3), _log_uniform(rng, 2.0, 60.0)
    stages = tuple(
        _stage(f"stage-{s}", service_s, start_up_s, rng) for s in range(int(rng.integers(1, MOST_STAGES + 1)))
    )
    middle = [stage.variants[len(stage.variants) // 2] for stage in stages]
    fastest_s = sum(min(one.latency_p99_s[0] for one in stage.variants) for stage in stages)
    sla_s = fastest_s * _log_uniform(rng, 2.0, 8.0)
    slowest_s = max(one.latency_mean_s[0] for one in middle)
    mean_rps = min(_log_uniform(rng, 2.0, 20.0) / slowest_s, MOST_RPS)
    timing = Timing(int(rng.choice([5, 10, 20])), 2.0 * sla_s, BATCH_TIMEOUT_SHARE * sla_s)
    problem = Problem(Pipeline(f"made-up-{seed}", stages), Weights(1.0, 1.0, 1e-6), sla_s, max_replicas=200)
    definition = Definition(
        name=f"made-up-{seed}",
        problem=problem,
        timing=timing,
        workload=workload.at_scale(mean_rps / workload.at_scale(1.0).mean_rps),
        episodes=EpisodesModel(),
        reward=RewardModel(),
    )
    cost = cost_cores(problem.pipeline, definition.best_for(mean_rps))
    weights = replace(problem.weights, alpha=cost * _log_uniform(rng, 1.0, 10.0))
    weighed = definition.with_problem(weights=weights)
    return weighed.with_problem(weights=replace(weights, rho=default_rho(weighed)))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _stage(name: str, service_s: float, start_up_s: float, rng: np.random.Generator) -> Stage:
    """Some variants; the more accurate one is slower, takes longer to start, and may take more cores."""
    many = int(rng.integers(1, MOST_VARIANTS + 1))
    accuracies = np.sort(rng.uniform(0.5, 0.95, many))
    singles_s = service_s * np.cumprod(rng.uniform(1.0, 2.5, many)) * _log_uniform(rng, 0.3, 3.0)
    starts_s = start_up_s * np.sort(rng.uniform(0.3, 1.0, many))
    cores = np.sort(rng.choice([1, 1, 2, 4, 8], many))
    saved, tail = rng.uniform(0.1, 0.8), rng.uniform(1.1, 2.0)
    drawn = zip(accuracies.tolist(), singles_s.tolist(), starts_s.tolist(), cores.tolist(), strict=True)
    variants = []
    for v, (accuracy, single_s, starts, core) in enumerate(drawn):
        mean_s: FloatArray = single_s * (1.0 + (1.0 - saved) * (np.array(BATCHES) - 1.0))
        variants.append(
            Variant(
                name=f"variant-{v}",
                accuracy=accuracy,
                cores=core,
                start_up_s=starts,
                batches=BATCHES,
                latency_mean_s=tuple(mean_s.tolist()),
                latency_p99_s=tuple((tail * mean_s).tolist()),
                throughput_rps=tuple((np.array(BATCHES) / mean_s).tolist()),
            )
        )
    return Stage(name, tuple(variants))
