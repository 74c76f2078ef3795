"""A seeded family of made-up pipelines: what a user could bring, drawn at random.

For measuring what holds for any pipeline. Drawn are the stages and their variants (accuracy, cores, speed,
what batches save, start-up), the interval, how much time the SLA leaves, how many replicas the load needs,
and what accuracy is worth. Times go by two drawn scales, that of the service and that of the start-ups, so
that quick and slow pipelines are among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.environment.definition import (
    BATCH_TIMEOUT_SHARE,
    Definition,
    EpisodesModel,
    RewardModel,
    default_rho,
)
from ipa_rl.environment.made_up_graphs import with_edges
from ipa_rl.graph import Edge
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, Weights, cost_cores
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.simulation import Timing
from ipa_rl.workload.workload import Workload

BATCHES = (1, 2, 4, 8, 16)
MOST_SLA_S = 1500.0
MOST_RPS = 200.0
"""The mean load is no higher, so that the request-level simulator plays a window in seconds."""


@dataclass(frozen=True)
class Ranges:
    """From what pipelines are drawn, most on a logarithmic scale.

    ``stages``, ``intervals_s``: one of them. ``service_s``, ``start_up_s``: of the whole pipeline; stages and
    variants differ. ``slack``: the SLA over the time of the fastest variants. ``replicas``: that the mean
    load takes at the slowest stage. ``variants``: of a stage, at most; ``slower``: how many times as long one
    takes as that before. ``least_accuracy``: of any. ``normalized``: share of the pipelines in which the
    worst variant's accuracy counts as 0, the best's as 1. ``are_graphs``: `with_edges`; else chains.
    """

    stages: tuple[int, ...] = tuple(range(1, 10))
    service_s: tuple[float, float] = (0.01, 0.3)
    start_up_s: tuple[float, float] = (2.0, 60.0)
    slack: tuple[float, float] = (2.0, 8.0)
    replicas: tuple[float, float] = (2.0, 20.0)
    variants: int = 6
    slower: tuple[float, float] = (1.0, 2.5)
    least_accuracy: float = 0.5
    intervals_s: tuple[int, ...] = (5, 10, 20)
    normalized: float = 0.0
    are_graphs: bool = False


MADE_UP = Ranges()
"""What `made-up-7` is drawn from."""
GRAPHS = Ranges(stages=(3, 4, 5, 6, 7), variants=5, are_graphs=True)
"""What `made-up-graph-7` is drawn from: so few combinations that all of them can be bounded."""
WIDE = Ranges(
    stages=(1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 8, 9),
    service_s=(0.001, 2.0),
    start_up_s=(1.0, 600.0),
    slack=(1.2, 80.0),
    replicas=(1.0, 40.0),
    variants=12,
    slower=(1.0, 1.7),
    least_accuracy=0.2,
    intervals_s=(5, 10, 10, 20, 30),
    normalized=0.5,
)
"""What a policy for any pipeline learns from: more than it is judged on, so that little is strange to it.

Most pipelines that are served have few stages, and time to spare (the paper's: 7 to 30 times what they take).
"""


def drawn_definition(seed: int, workload: Workload, ranges: Ranges = MADE_UP) -> Definition:
    """The made-up pipeline of a seed, on a workload at the scale at which its load needs some replicas."""
    rng = np.random.default_rng(seed)
    service_s, start_up_s = _log_uniform(rng, *ranges.service_s), _log_uniform(rng, *ranges.start_up_s)
    stages = tuple(
        _stage(f"stage-{s}", service_s, start_up_s, ranges, rng)
        for s in range(int(rng.choice(ranges.stages)))
    )
    name, edges = f"made-up-{seed}", tuple[Edge, ...]()
    if ranges.are_graphs:
        name = f"made-up-graph-{seed}"
        stages, edges = with_edges(stages, np.random.default_rng([seed, 1]))
    pipeline = Pipeline(name, stages, edges)
    middle = [stage.variants[len(stage.variants) // 2] for stage in stages]
    quickest_s = [min(one.latency_p99_s[0] for one in stage.variants) for stage in stages]
    fastest_s = pipeline.graph.latency_s(quickest_s)
    sla_s = min(fastest_s * _log_uniform(rng, *ranges.slack), MOST_SLA_S)
    visits = pipeline.graph.visits([len(stage.variants) // 2 for stage in stages]).tolist()
    slowest_s = max(many * one.latency_mean_s[0] for one, many in zip(middle, visits, strict=True))
    mean_rps = min(_log_uniform(rng, *ranges.replicas) / slowest_s, MOST_RPS)
    timing = Timing(int(rng.choice(ranges.intervals_s)), 2.0 * sla_s, BATCH_TIMEOUT_SHARE * sla_s)
    problem = Problem(pipeline, Weights(1.0, 1.0, 1e-6), sla_s, max_replicas=200)
    definition = Definition(
        name=name,
        problem=problem,
        timing=timing,
        workload=workload.at_scale(mean_rps / workload.at_scale(1.0).mean_rps),
        episodes=EpisodesModel(),
        reward=RewardModel(),
    )
    cost = cost_cores(problem.pipeline, definition.best_for(mean_rps))
    alpha = cost * _log_uniform(rng, 1.0, 10.0)
    normalizes = ranges.normalized > 0 and bool(rng.random() < ranges.normalized)
    weights = replace(problem.weights, alpha=alpha, normalize_accuracy=normalizes)
    weighed = definition.with_problem(weights=weights)
    return weighed.with_problem(weights=replace(weights, rho=default_rho(weighed)))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _stage(name: str, service_s: float, start_up_s: float, ranges: Ranges, rng: np.random.Generator) -> Stage:
    """Some variants; the more accurate one is slower, takes longer to start, and may take more cores."""
    many = int(rng.integers(1, ranges.variants + 1))
    accuracies = np.sort(rng.uniform(ranges.least_accuracy, 0.95, many))
    singles_s = service_s * np.cumprod(rng.uniform(*ranges.slower, many)) * _log_uniform(rng, 0.3, 3.0)
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
                units=core,
                start_up_s=starts,
                batches=BATCHES,
                latency_mean_s=tuple(mean_s.tolist()),
                latency_p99_s=tuple((tail * mean_s).tolist()),
                throughput_rps=tuple((np.array(BATCHES) / mean_s).tolist()),
            )
        )
    return Stage(name, tuple(variants))
