"""The integer program's objective and constraints, and the utility that compares controllers.

Section 4 of the IPA paper (arXiv 2308.12871):
maximise alpha PAS - beta sum(n cores) - delta sum(b), subject to L <= SLA and n h >= lambda.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ipa_rl.blocks import score_along
from ipa_rl.border import MOST_REPLICAS, number, positive, whole
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, compiled_in_place
from ipa_rl.pipeline import Configuration, JointAccuracy, Pipeline, Stage, StageConfig, Variant, together
from ipa_rl.queueing import service_scv, wait_p99_s

LOWEST_SCORE = 0.05
"""Score of the least accurate variant under normalisation (the paper's ``lowest_model_accuracy``)."""

NO_LOAD_RPS = 1e-6
"""Below this there is no load."""

NO_WAIT = 0.01
"""Of the SLA: waits that together are less do not matter."""

MOST_WEIGHT = 1e12
"""Beyond this a weight is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the objective (alpha, beta, delta) and of violations in the utility (rho).

    With ``normalize_accuracy`` alpha weighs the product of the accuracies scaled to 0..1 within each
    stage, as the paper's settings do for all pipelines but video; PAS itself is always reported raw.
    """

    alpha: float
    beta: float
    delta: float
    rho: float = 0.0
    normalize_accuracy: bool = False

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "delta", "rho"):
            number(getattr(self, name), name, most=MOST_WEIGHT)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many replicas of a stage's variant, at one batch size or (None) at any; 0 rules it out."""

    stage: str
    variant: str
    batch: int | None
    replicas: int


@dataclass(frozen=True, slots=True)
class Allotment:
    """What one of several pipelines has of resources that they share.

    ``units``: (resource, units) that it may occupy; ``room``: while old and new replicas run beside each
    other, where that is more.
    """

    units: tuple[tuple[str, float], ...]
    room: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What a solver is asked for every load: pipeline, weights, SLA (s), most replicas a stage.

    ``fixed_replicas``, one count a stage, takes the number of replicas out of the choice (RIM). ``caps``
    leave something of every stage. ``sink_sla_s``: (stage, s) of stages that requests end at, where these
    have an SLA of their own beside the pipeline's. ``limits``: (resource, units) that all stages together
    occupy at most. ``waits``: whether the latency counts what requests
    wait for a replica, which the paper's program does not. More replicas than carry the load shorten
    that.
    """

    pipeline: Pipeline
    weights: Weights
    sla_s: float
    max_replicas: int
    fixed_replicas: tuple[int, ...] | None = None
    caps: tuple[Cap, ...] = ()
    waits: bool = False
    sink_sla_s: tuple[tuple[str, float], ...] = ()
    limits: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        positive(self.sla_s, "sla_s")
        sinks = self.pipeline.graph.sinks
        for name, own_s in self.sink_sla_s:
            positive(own_s, f"sink_sla_s.{name}")
            if name not in sinks:
                fix = f"name one of {', '.join(sinks)}"
                raise InputError("is no stage that requests end at", field=f"sink_sla_s.{name}", fix=fix)
        for name, units in self.limits:
            number(units, f"limits.{name}")
        whole(self.max_replicas, "max_replicas", 1, MOST_REPLICAS)
        if self.fixed_replicas is None:
            return
        for count in self.fixed_replicas:
            whole(count, "fixed_replicas", 1, MOST_REPLICAS)
        if len(self.fixed_replicas) != len(self.pipeline.stages):
            problem = f"has {len(self.fixed_replicas)} entries for {len(self.pipeline.stages)} stages"
            raise InputError(problem, field="fixed_replicas", fix="give one a stage")

    def limits_under(self, allotted: Allotment | None) -> Allotment:
        """What all stages together occupy at most, within an allotment as well."""
        if allotted is None:
            return Allotment(self.limits)
        limits = dict(self.limits)
        for name, units in allotted.units:
            limits[name] = min(units, limits.get(name, math.inf))
        return replace(allotted, units=tuple(limits.items()))

    def earlier_s(self, stage: Stage) -> float:
        """By how much requests that end at a stage must be done before the pipeline's SLA."""
        return max(0.0, self.sla_s - dict(self.sink_sla_s).get(stage.name, self.sla_s))


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Share of one stage in the latency budget, seconds: 99th percentile service and batch fill.

    ``wait_s``: `counted_wait_s`, where the problem counts it.
    """

    service_s: float
    fill_s: float
    wait_s: float = 0.0

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.service_s + self.fill_s + self.wait_s


def capped(caps: Iterable[Cap], stage: str, variant: str, batch: int, most: int) -> int:
    """Most replicas of a variant of a stage at a batch size: ``most``, or less by the caps."""
    own = (one for one in caps if (one.stage, one.variant) == (stage, variant))
    return min([most, *(one.replicas for one in own if one.batch in (None, batch))])


def scores(stage: Stage, weights: Weights) -> tuple[float, ...]:
    """What alpha weighs, by variant: the accuracy, or its position between worst (0.05) and best (1)."""
    accuracies = [variant.accuracy for variant in stage.variants]
    if not weights.normalize_accuracy:
        return tuple(accuracies)
    low, high = min(accuracies), max(accuracies)
    if high == low:
        return (1.0,) * len(accuracies)
    return tuple(max((a - low) / (high - low), LOWEST_SCORE) for a in accuracies)


@dataclass(frozen=True)
class Correction:
    """What the figure of the stage ``last`` is multiplied by, as it was measured together with ``others``.

    ``factor``: (variants of the others, in their order, ..., variants of the last).
    """

    others: tuple[int, ...]
    last: int
    factor: FloatArray

    def of(self, variants: IntArray) -> FloatArray:
        """For variants (many, stages), by position: (many,)."""
        return np.asarray(self.factor[tuple(variants[:, s] for s in (*self.others, self.last))])


def corrections(pipeline: Pipeline, weights: Weights | None = None) -> tuple[Correction, ...]:
    """So that products of accuracies are as measured; products of `scores` where there are ``weights``."""
    return tuple(_correction(pipeline, joint, weights) for joint in pipeline.accuracies)


def _correction(pipeline: Pipeline, joint: JointAccuracy, weights: Weights | None) -> Correction:
    positions = together(pipeline.graph, joint)
    stages = [pipeline.stages[s] for s in positions]
    order = [joint.stages.index(pipeline.graph.names[s]) for s in positions]
    told = {tuple(names[place] for place in order): accuracy for names, accuracy in joint.measured}
    measured = np.empty([len(stage.variants) for stage in stages])
    for index in np.ndindex(measured.shape):
        measured[index] = told[tuple(stage.variants[v].name for stage, v in zip(stages, index, strict=True))]
    own = [np.array([one.accuracy for one in stage.variants]) for stage in stages]
    if weights is not None and weights.normalize_accuracy:
        low, high = measured.min(), measured.max()
        spread = (measured - low) / (high - low) if high > low else np.ones_like(measured)
        measured = np.maximum(spread, LOWEST_SCORE)
        own = [np.array(scores(stage, weights)) for stage in stages]
    return Correction(positions[:-1], positions[-1], measured / reduce(np.multiply.outer, own))


def each_apart(problem: Problem) -> Iterator[tuple[dict[int, int], dict[int, FloatArray]]]:
    """The choices of variants of all stages that were measured together but the last of them.

    Each with what the scores of these are multiplied by, by variant. One choice of nothing where no stages
    were.
    """
    some = corrections(problem.pipeline, problem.weights)
    given = [s for one in some for s in one.others]
    for variants in product(*(range(len(problem.pipeline.stages[s].variants)) for s in given)):
        fixed = dict(zip(given, variants, strict=True))
        yield fixed, {one.last: one.factor[tuple(fixed[s] for s in one.others)] for one in some}


def corrected(own: FloatArray, variants: IntArray, some: Sequence[Correction]) -> FloatArray:
    """Figures (many, stages) of variants (many, stages), such that their products are as measured."""
    if not some:
        return own
    found = own.copy()
    for one in some:
        found[:, one.last] *= one.of(variants)
    return found


def _along(
    pipeline: Pipeline, configuration: Configuration, own: list[float], weights: Weights | None
) -> float:
    """Figures of the chosen variants along a route, in the mean of the routes."""
    if not pipeline.accuracies:
        return score_along(pipeline.graph, own)
    pairs = zip(pipeline.stages, configuration.stages, strict=True)
    variants = np.array([[stage.index(one.variant) for stage, one in pairs]])
    each = corrected(np.array([own]), variants, corrections(pipeline, weights))
    return score_along(pipeline.graph, each[0].tolist())


def _chosen(pipeline: Pipeline, configuration: Configuration) -> list[tuple[Variant, StageConfig]]:
    """The variant of each stage that serves, and how."""
    pairs = zip(pipeline.stages, configuration.stages, strict=True)
    return [(stage.variant(one.variant), one) for stage, one in pairs]


def pas(pipeline: Pipeline, configuration: Configuration) -> float:
    """Pipeline accuracy score: the product of the variants' accuracies, a fraction (equation 8).

    Of stages that were measured together what was measured counts instead. Where a request takes one of
    several routes, in the mean of these (`ipa_rl.blocks.score_along`).
    """
    own = [variant.accuracy for variant, _ in _chosen(pipeline, configuration)]
    return _along(pipeline, configuration, own, None)


def score(problem: Problem, configuration: Configuration) -> float:
    """The product that alpha weighs: PAS, or its normalised twin."""
    pairs = zip(problem.pipeline.stages, configuration.stages, strict=True)
    own = [scores(stage, problem.weights)[stage.index(chosen.variant)] for stage, chosen in pairs]
    return _along(problem.pipeline, configuration, own, problem.weights)


def cost_cores(pipeline: Pipeline, configuration: Configuration) -> float:
    """What the configuration's replicas cost, in cores: units times price."""
    return sum(one.replicas * variant.cost_cores for variant, one in _chosen(pipeline, configuration))


def units_of(pipeline: Pipeline, configuration: Configuration) -> dict[str, float]:
    """Units that the configuration's replicas occupy of each resource that the pipeline knows."""
    found = dict.fromkeys(pipeline.resources, 0.0)
    for variant, one in _chosen(pipeline, configuration):
        found[variant.resource] += one.replicas * variant.units
    return found


def objective(problem: Problem, configuration: Configuration) -> float:
    """alpha PAS - beta cost - delta sum of batch sizes (equation 10)."""
    weights = problem.weights
    batch_sum = sum(chosen.batch for chosen in configuration.stages)
    cost = cost_cores(problem.pipeline, configuration)
    return weights.alpha * score(problem, configuration) - weights.beta * cost - weights.delta * batch_sum


def fill_s(batch: ArrayLike, load_rps: float, smallest: int = 1) -> FloatArray:
    """Longest wait for batches to fill as the paper's program has it, q(b) = (b - 1) / lambda (equation 7).

    What simulators and accounts wait ends with the time-out: `ipa_rl.simulation.queues.batch_fill_s`.

    Without a load nobody waits for the ``smallest`` batch that is offered, and a larger one never fills.

    >>> fill_s([1, 5], 8.0).tolist(), fill_s([1, 5], 0.0).tolist()
    ([0.0, 0.5], [0.0, inf])
    """
    sizes = np.asarray(batch)
    if load_rps < NO_LOAD_RPS:
        return np.where(sizes > smallest, math.inf, 0.0)
    return np.asarray((sizes - 1) / load_rps, dtype=np.float64)


@compiled_in_place
def counted_wait_s(
    load_rps: float,
    replicas: int,
    rate_rps: float,
    batch: int,
    service_scv: float,
    stages: int,
    sla_s: float,
) -> float:
    """What waiting for a replica adds to the latency at one of ``stages``; endless if all are always busy.

    It is the 99th percentile of the wait of Poisson arrivals, divided by the square root of the number of
    stages. For stages are slow independently: their tails add up as the root of the sum of squares, and of
    tails that are alike this is the sum of such parts. Waits that together are less than NO_WAIT of the SLA
    count as none.
    """
    busy = load_rps / (replicas * rate_rps)
    p99_s = wait_p99_s(busy, replicas, batch / rate_rps, 1.0 / batch, service_scv)
    added_s = p99_s / math.sqrt(stages)
    return added_s if added_s * stages > NO_WAIT * sla_s else 0.0


def _wait_s(problem: Problem, variant: Variant, chosen: StageConfig, load_rps: float) -> float:
    k = variant.batches.index(chosen.batch)
    mean_s, p99_s = np.array(variant.latency_mean_s[k]), np.array(variant.latency_p99_s[k])
    served = chosen.replicas, variant.throughput_rps[k], chosen.batch, float(service_scv(mean_s, p99_s))
    return counted_wait_s(load_rps, *served, problem.pipeline.graph.longest, problem.sla_s)


def latency_budget(
    problem: Problem, configuration: Configuration, load_rps: float
) -> tuple[StageLatency, ...]:
    """Service (99th percentile), batch fill and wait of each stage, by the requests that come to it."""
    loads_rps = stage_loads_rps(problem.pipeline, configuration, load_rps)
    return tuple(
        StageLatency(
            service_s=variant.latency_p99_s[variant.batches.index(one.batch)],
            fill_s=float(fill_s(one.batch, own_rps, variant.batches[0])),
            wait_s=_wait_s(problem, variant, one, own_rps) if problem.waits else 0.0,
        )
        for (variant, one), own_rps in zip(_chosen(problem.pipeline, configuration), loads_rps, strict=True)
    )


def latency_s(pipeline: Pipeline, budget: Sequence[StageLatency]) -> float:
    """Latency of the pipeline, L = sum of l + q, and of the waits where they count, over the stages.

    Of stages beside each other the slower counts, or the faster where the first is awaited.
    """
    return pipeline.graph.latency_s([share.total_s for share in budget])


def meets_sla(problem: Problem, budget: Sequence[StageLatency]) -> bool:
    """Whether the latency is within the SLA of the pipeline and of each sink."""
    stages = problem.pipeline.stages
    used_s = [share.total_s + problem.earlier_s(one) for one, share in zip(stages, budget, strict=True)]
    return problem.pipeline.graph.latency_s(used_s) <= problem.sla_s


def stage_loads_rps(pipeline: Pipeline, configuration: Configuration, load_rps: float) -> list[float]:
    """Requests a second that come to each stage where so many come to the pipeline."""
    pairs = zip(pipeline.stages, configuration.stages, strict=True)
    visits = pipeline.graph.visits([stage.index(one.variant) for stage, one in pairs])
    return [load_rps * one for one in visits.tolist()]


def capacity_rps(pipeline: Pipeline, configuration: Configuration) -> tuple[float, ...]:
    """Requests of its own a second that each stage can serve, n h."""
    return tuple(
        one.replicas * variant.throughput_rps[variant.batches.index(one.batch)]
        for variant, one in _chosen(pipeline, configuration)
    )


def carried_rps(pipeline: Pipeline, configuration: Configuration) -> float:
    """The load of the pipeline that all stages carry."""
    visits = stage_loads_rps(pipeline, configuration, 1.0)
    each = zip(capacity_rps(pipeline, configuration), visits, strict=True)
    return min(capacity / own for capacity, own in each)


def utility(
    weights: Weights, score_mean: float, cost_mean: float, batch_mean: float, violations: float
) -> float:
    """The figure controllers are compared by, over a window (design, section 3).

    ``score_mean``: mean over served requests of what alpha weighs; ``cost_mean``: mean cores, starting
    replicas included; ``batch_mean``: mean sum of batch sizes; ``violations``: share of requests that
    were dropped or finished later than the SLA.

    >>> utility(Weights(alpha=2, beta=1, delta=0, rho=27), 0.5, 3.0, 2.0, 0.01)
    -2.27
    """
    gain = weights.alpha * score_mean - weights.beta * cost_mean - weights.delta * batch_mean
    return gain - weights.rho * violations
