"""What a stage can run at a load: its (variant, batch) pairs with the least number of replicas each.

Where waits count also with more replicas, until the wait no longer counts: more would be as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ipa_rl.jit import FloatArray, IntArray, compiled, plain
from ipa_rl.objective import NO_LOAD_RPS, Problem, capped, counted_wait_s, fill_s, scores
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.queueing import service_scv

ROUNDING = 1e-9
"""Slack on replicas, so that a load of exactly n h needs n replicas whatever the rounding."""

_MOST_NEEDED = 2.0**40
"""Replicas beyond this are as many; so their cores stay within an integer."""


SLA_SLACK_S = 1e-9

FINE = 16
"""Where waits count, so many replicas more or fewer are told apart at most by one."""


@dataclass(frozen=True)
class Pairs:
    """The (variant, batch) pairs of one stage, arrays (pairs,); nothing here depends on the load.

    ``cores``: what a replica costs. ``units``: what it occupies of each of the problem's limits, (pairs,
    limits). ``service_s``: 99th percentile, and where a sink has an SLA of its own what that is shorter;
    ``service_scv``: squared coefficient of variation. ``limit``: most replicas; all of them where
    ``fixed``.
    """

    variant: IntArray
    batch: IntArray
    cores: FloatArray
    units: FloatArray
    service_s: FloatArray
    service_scv: FloatArray
    rate_rps: FloatArray
    score: FloatArray
    limit: IntArray
    fixed: bool
    released_slack: int

    @cached_property
    def smallest(self) -> int:
        """The smallest batch."""
        return int(self.batch.min())


_BY_PAIR = ("variant", "batch", "cores", "units", "service_s", "service_scv", "rate_rps", "score", "limit")


@dataclass(frozen=True)
class Options:
    """Pairs that carry a load, arrays (options,).

    ``variant``: by position. ``penalty``: beta n cores + delta b; ``latency_s``: service, fill and wait;
    ``extra_cores``: cores of replicas beyond the limit, 0 unless the limit is lifted. ``used``: units of each
    of the problem's limits, (options, limits).
    """

    pair: IntArray
    variant: IntArray
    replicas: IntArray
    latency_s: FloatArray
    penalty: FloatArray
    score: FloatArray
    extra_cores: FloatArray
    used: FloatArray

    def at(self, positions: IntArray | slice) -> Options:
        """Some of them."""
        return Options(*(getattr(self, name)[positions] for name in _BY_OPTION))


Offers = Callable[[int, float], Options]
"""What a stage can run where so many requests a second come to it."""
Picks = dict[int, tuple[Options, int]]
"""Of each stage, what it was offered and the position of what was taken."""

_BY_OPTION = tuple(one.name for one in fields(Options))


def stage_pairs(problem: Problem) -> list[Pairs]:
    """The pairs of every stage that the caps leave something of."""
    fixed, limited = problem.fixed_replicas, [name for name, _ in problem.limits]
    stages = []
    for s, stage in enumerate(problem.pipeline.stages):
        most = fixed[s] if fixed else problem.max_replicas
        scv = [service_scv(np.array(v.latency_mean_s), np.array(v.latency_p99_s)) for v in stage.variants]
        earlier_s = problem.earlier_s(stage)
        by_variant = zip(stage.variants, scores(stage, problem.weights), strict=True)
        rows = [
            (
                v, b, variant.cost_cores, [variant.units * (variant.resource == one) for one in limited],
                variant.latency_p99_s[k] + earlier_s, scv[v][k],
                variant.throughput_rps[k], score,
                capped(problem.caps, stage.name, variant.name, b, most),
            )
            for v, (variant, score) in enumerate(by_variant)
            for k, b in enumerate(variant.batches)
        ]  # fmt: skip
        columns = [np.array(column) for column in zip(*(r for r in rows if r[-1] > 0), strict=True)]
        arrays = dict(zip(_BY_PAIR, columns, strict=True))
        arrays["cores"], arrays["units"] = arrays["cores"].astype(float), arrays["units"].astype(float)
        stages.append(Pairs(**arrays, fixed=fixed is not None, released_slack=len(rows) - 1))
    return stages


def pipeline_rps(problem: Problem, stages_rps: Sequence[FloatArray]) -> FloatArray:
    """Loads of the pipeline, ascending, at which so many requests a second come to some stage, in any way.

    ``stages_rps``: of each stage, of any shape.
    """
    graph = problem.pipeline.graph
    found = []
    for s, own_rps in enumerate(stages_rps):
        found.append(np.divide.outer(own_rps.ravel(), [one.visits for one in graph.classes_of(s)]).ravel())
    return np.unique(np.concatenate(found))


def fills(pairs: Pairs, load_rps: float, as_released: bool) -> FloatArray:
    """Batch fill of every pair, `fill_s`; as released, (1 - pairs of the stage) / lambda."""
    if not as_released:
        return fill_s(pairs.batch, load_rps, pairs.smallest)
    slack_s = pairs.released_slack / load_rps if load_rps >= NO_LOAD_RPS else 0.0
    return np.full(len(pairs.batch), -slack_s)


def only(pairs: Pairs, kept: ArrayLike) -> Pairs:
    """Those pairs of a stage."""
    return replace(pairs, **{name: getattr(pairs, name)[kept] for name in _BY_PAIR})


def options(
    problem: Problem, pairs: Pairs, load_rps: float, as_released: bool, lift_limit: bool = False
) -> Options:
    """The pairs that carry the load within the replica limit, with the replicas that pay."""
    weights, carrying = problem.weights, _replicas(problem, pairs, load_rps, lift_limit)
    service_s = pairs.service_s + fills(pairs, load_rps, as_released)
    pair, replicas, latency_s, penalty, extra_cores = _within(
        *carrying, service_s, pairs.limit, pairs.cores, pairs.batch, weights.beta, weights.delta, lift_limit
    )
    return Options(
        pair=pair,
        variant=pairs.variant[pair],
        replicas=replicas,
        latency_s=latency_s,
        penalty=penalty,
        score=pairs.score[pair],
        extra_cores=extra_cores,
        used=replicas[:, None] * pairs.units[pair],
    )


@compiled
def _within(
    pair: IntArray,
    replicas: IntArray,
    wait_s: FloatArray,
    service_s: FloatArray,
    limit: IntArray,
    cores: FloatArray,
    batch: IntArray,
    beta: float,
    delta: float,
    lift_limit: bool,
) -> tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]:
    """What is within the replica limit and serves in time at all, as in `Options`: of the first three."""
    beyond = np.maximum(0, replicas - limit[pair])
    latency_s = service_s[pair] + wait_s
    kept = np.flatnonzero(np.isfinite(latency_s) & ((beyond == 0) | lift_limit))
    pair, replicas = pair[kept], replicas[kept]
    penalty = beta * replicas * cores[pair] + delta * batch[pair]
    return pair, replicas, latency_s[kept], penalty, beyond[kept] * cores[pair]


def by_replicas(problem: Problem, pairs: Pairs, load_rps: float) -> Pairs:
    """Where waits count, a row a number of replicas, which is then fixed; ``service_s`` is with the wait."""
    if not problem.waits:
        return pairs
    pair, replicas, wait_s = _replicas(problem, pairs, load_rps, lift_limit=False)
    rows, within = only(pairs, pair), (replicas <= pairs.limit[pair]) & np.isfinite(wait_s)
    return only(replace(rows, service_s=rows.service_s + wait_s, limit=replicas, fixed=True), within)


def _replicas(
    problem: Problem, pairs: Pairs, load_rps: float, lift_limit: bool
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs by position, replicas that carry the load, and the wait with these."""
    least = _needed(load_rps, pairs.rate_rps)
    if pairs.fixed:
        least = np.maximum(least, pairs.limit)
    if not problem.waits:
        return np.arange(len(least)), least, np.zeros(len(least))
    most = np.full_like(least, _MOST_NEEDED) if lift_limit else pairs.limit
    stages, sla_s = problem.pipeline.graph.longest, problem.sla_s
    served = plain(pairs.rate_rps), plain(pairs.batch), plain(pairs.service_scv)
    return _with_waits(load_rps, plain(least), plain(most), *served, stages, sla_s)


@compiled
def _needed(load_rps: float, rate_rps: FloatArray) -> IntArray:
    """Replicas that carry a load."""
    needed = np.ceil(load_rps / rate_rps - ROUNDING)
    return np.minimum(np.maximum(needed, 1.0), _MOST_NEEDED).astype(np.int64)


@compiled
def _with_waits(
    load_rps: float,
    least: IntArray,
    most: IntArray,
    rate_rps: FloatArray,
    batch: IntArray,
    service_scv: FloatArray,
    stages: int,
    sla_s: float,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Each pair with ``least`` replicas and more, ``most`` at most, until no wait counts.

    All numbers up to twice FINE, beyond that in steps of one in FINE. Pairs by position, replicas, waits.
    """
    pair, replicas, waits_s = [0][:0], [0][:0], [0.0][:0]
    for i in range(len(least)):
        n, is_last = least[i], least[i] > most[i]
        while not is_last:
            wait_s = counted_wait_s(load_rps, n, rate_rps[i], batch[i], service_scv[i], stages, sla_s)
            pair.append(i)
            replicas.append(n)
            waits_s.append(wait_s if n < _MOST_NEEDED else 0.0)
            is_last = wait_s == 0.0 or n >= most[i]
            n = min(n + max(n // FINE, 1), most[i])
    return np.array(pair, dtype=np.int64), np.array(replicas, dtype=np.int64), np.array(waits_s)


def configuration(problem: Problem, picks: Picks, stages: list[Pairs]) -> Configuration:
    """The configuration of one option a stage: what was offered, and the position of what was taken."""
    configs = []
    for s, (stage, pairs) in enumerate(zip(problem.pipeline.stages, stages, strict=True)):
        offered, pick = picks[s]
        name, batch = stage.variants[int(offered.variant[pick])].name, int(pairs.batch[offered.pair[pick]])
        configs.append(StageConfig(name, batch, int(offered.replicas[pick])))
    return Configuration(tuple(configs))
