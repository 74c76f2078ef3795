"""What a stage can run at a load: its (variant, batch) pairs with the least number of replicas each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import NO_LOAD_RPS, Problem, capped, fill_s, scores
from ipa_rl.pipeline import Configuration, StageConfig

_ROUNDING = 1e-9
"""Slack on replicas, so that a load of exactly n h needs n replicas whatever the rounding."""

_MOST_NEEDED = 2.0**40
"""Replicas beyond this are as many; so their cores stay within an integer."""


@dataclass(frozen=True)
class Pairs:
    """The (variant, batch) pairs of one stage, arrays (pairs,); nothing here depends on the load.

    ``limit``: most replicas; all of them where ``fixed``.
    """

    variant: IntArray
    batch: IntArray
    cores: IntArray
    service_s: FloatArray
    rate_rps: FloatArray
    score: FloatArray
    limit: IntArray
    fixed: bool
    released_slack: int


@dataclass(frozen=True)
class Options:
    """Pairs that carry a load, arrays (options,).

    ``penalty``: beta n cores + delta b; ``latency_s``: service and fill; ``extra_cores``: cores of replicas
    beyond the limit, 0 unless the limit is lifted.
    """

    pair: IntArray
    replicas: IntArray
    latency_s: FloatArray
    penalty: FloatArray
    score: FloatArray
    extra_cores: IntArray


def stage_pairs(problem: Problem) -> list[Pairs]:
    """The pairs of every stage that the caps leave something of."""
    fixed = problem.fixed_replicas
    stages = []
    for s, stage in enumerate(problem.pipeline.stages):
        most = fixed[s] if fixed else problem.max_replicas
        by_variant = zip(stage.variants, scores(stage, problem.weights), strict=True)
        rows = [
            (
                v, b, variant.cores, variant.latency_p99_s[k], variant.throughput_rps[k], score,
                capped(problem.caps, stage.name, variant.name, b, most),
            )
            for v, (variant, score) in enumerate(by_variant)
            for k, b in enumerate(variant.batches)
        ]  # fmt: skip
        columns = [np.array(column) for column in zip(*(r for r in rows if r[-1] > 0), strict=True)]
        fields = ("variant", "batch", "cores", "service_s", "rate_rps", "score", "limit")
        arrays = dict(zip(fields, columns, strict=True))
        stages.append(Pairs(**arrays, fixed=fixed is not None, released_slack=len(rows) - 1))
    return stages


def fills(pairs: Pairs, load_rps: float, as_released: bool) -> FloatArray:
    """Batch fill of every pair, `fill_s`; as released, (1 - pairs of the stage) / lambda."""
    if not as_released:
        return fill_s(pairs.batch, load_rps, int(pairs.batch.min()))
    slack_s = pairs.released_slack / load_rps if load_rps >= NO_LOAD_RPS else 0.0
    return np.full(len(pairs.batch), -slack_s)


def options(
    problem: Problem, pairs: Pairs, load_rps: float, as_released: bool, lift_limit: bool = False
) -> Options:
    """The pairs that carry the load within the replica limit, with the least replicas."""
    needed = np.ceil(load_rps / pairs.rate_rps - _ROUNDING)
    least = np.clip(needed, 1, _MOST_NEEDED).astype(np.int64)
    replicas = np.maximum(least, pairs.limit) if pairs.fixed else least
    extra = np.maximum(0, replicas - pairs.limit) * pairs.cores
    latency_s = pairs.service_s + fills(pairs, load_rps, as_released)
    kept = np.isfinite(latency_s) & ((extra == 0) | lift_limit)
    weights = problem.weights
    penalty = weights.beta * replicas * pairs.cores + weights.delta * pairs.batch
    return Options(
        pair=np.flatnonzero(kept),
        replicas=replicas[kept],
        latency_s=latency_s[kept],
        penalty=penalty[kept],
        score=pairs.score[kept],
        extra_cores=extra[kept],
    )


def configuration(
    problem: Problem, stages: list[Pairs], chosen: list[Options], picks: list[int]
) -> Configuration:
    """The configuration of one option (position in ``chosen``) a stage."""
    configs = []
    for stage, pairs, offered, pick in zip(problem.pipeline.stages, stages, chosen, picks, strict=True):
        pair = offered.pair[pick]
        name = stage.variants[int(pairs.variant[pair])].name
        configs.append(StageConfig(name, int(pairs.batch[pair]), int(offered.replicas[pick])))
    return Configuration(tuple(configs))
