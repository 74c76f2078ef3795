"""What is served: pipelines of stages of variants, and the configurations that serve them.

Frozen values. A variant, stage or pipeline with figures that are out of range or not numbers cannot be made:
compiled code trusts them. Terms as in section 2 of the IPA paper (arXiv 2308.12871).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

from ipa_rl.blocks import raced, tree_of
from ipa_rl.border import MOST_RPS, number, positive, whole
from ipa_rl.errors import InputError, quoted
from ipa_rl.graph import Edge, Graph, Join, chain_of

CORES = "cores"
"""The resource that variants occupy unless they say another; its unit costs 1 unless a price is given."""

MOST_UNITS = 1e6
"""Units of one replica, and cores that one is worth, beyond which they are taken for a mistake."""

LARGEST_BATCH = 10_000
"""The simulators keep a table of every batch size up to the largest."""

MOST_BATCHES = 16
"""Batch sizes that the variants of a stage offer, at most."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One model that can do a stage's task, where it is placed: on its base allocation of one resource.

    ``units``: of ``resource`` that one replica occupies, cores or devices of a kind or shares of them;
    ``price``: what a unit costs, in cores. A model on two kinds of hardware is two variants.

    ``batches`` ascends; the tuples after it are aligned with it. Latencies (seconds, of one batch in
    service) do not fall from one batch size to the next. ``throughput_rps`` is the capacity of one
    replica at that batch size. ``accuracy`` is a fraction, ``start_up_s`` the seconds from a decision
    to a ready replica. ``reload_s``: seconds in which a ready replica changes to this variant in place;
    infinite where it cannot, and new replicas are started instead.
    """

    name: str
    accuracy: float
    units: float
    start_up_s: float
    batches: tuple[int, ...]
    latency_mean_s: tuple[float, ...]
    latency_p99_s: tuple[float, ...]
    throughput_rps: tuple[float, ...]
    reload_s: float = math.inf
    resource: str = CORES
    price: float = 1

    def __post_init__(self) -> None:
        number(self.accuracy, f"{self.name}.accuracy", most=1.0)
        positive(self.units, f"{self.name}.units", MOST_UNITS)
        number(self.price, f"{self.name}.price", most=MOST_UNITS)
        number(self.start_up_s, f"{self.name}.start_up_s")
        number(self.reload_s, f"{self.name}.reload_s", most=math.inf)
        for batch in self.batches:
            whole(batch, f"{self.name}.batches", 1, LARGEST_BATCH)
        if not self.batches or list(self.batches) != sorted(set(self.batches)):
            fix = "list them once each, smallest first"
            raise InputError("do not ascend", field=f"{self.name}.batches", fix=fix)
        for name in ("latency_mean_s", "latency_p99_s", "throughput_rps"):
            field, figures = f"{self.name}.{name}", getattr(self, name)
            if len(figures) != len(self.batches):
                problem = f"has {len(figures)} entries for {len(self.batches)} batch sizes"
                raise InputError(problem, field=field, fix="give one for each")
            for figure in figures:
                positive(figure, field, MOST_RPS)

    @property
    def cost_cores(self) -> float:
        """What one replica costs, in cores."""
        return self.units * self.price

    def serving(self, scale: float) -> Variant:
        """The same variant, which takes so many times as long to serve."""
        return replace(
            self,
            latency_mean_s=tuple(scale * one for one in self.latency_mean_s),
            latency_p99_s=tuple(scale * one for one in self.latency_p99_s),
            throughput_rps=tuple(one / scale for one in self.throughput_rps),
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """One task of the pipeline and the variants that can do it, least accurate first.

    ``join``: whether it waits for all of those that lead to it or for the first; None is all of several.
    ``cold_batch``: replicas take a batch size at their start only, so that another one starts new replicas.
    ``rolls_whole``: a rolling update brings as many new replicas as there are old ones, should fewer be
    wanted. The simulators leave both out: there batch sizes change at once.
    """

    name: str
    variants: tuple[Variant, ...]
    cold_batch: bool = False
    rolls_whole: bool = False
    join: Join | None = None

    def __post_init__(self) -> None:
        if not self.variants:
            raise InputError("has no variants", field=self.name, fix="give one or more")

    def index(self, variant: str) -> int:
        """Position of the variant of that name; KeyError where there is none."""
        for position, candidate in enumerate(self.variants):
            if candidate.name == variant:
                return position
        raise KeyError(f"stage {self.name} has no variant {variant}")

    def variant(self, name: str) -> Variant:
        """The variant of that name; KeyError where there is none."""
        return self.variants[self.index(name)]

    def with_delays(self, start_up_s: Mapping[str, float], reload_s: Mapping[str, float]) -> Stage:
        """The same stage with other delays by variant; variants that are not named keep theirs."""
        variants = []
        for one in self.variants:
            delay_s = start_up_s.get(one.name, one.start_up_s)
            variants.append(replace(one, start_up_s=delay_s, reload_s=reload_s.get(one.name, one.reload_s)))
        return replace(self, variants=tuple(variants))


@dataclass(frozen=True, slots=True)
class JointAccuracy:
    """How right stages are together, as it was measured, in the place of the product of their accuracies.

    ``stages``: by name. ``measured``: (variants, accuracy), a variant of each stage by name; all combinations
    are there.
    """

    stages: tuple[str, ...]
    measured: tuple[tuple[tuple[str, ...], float], ...]

    def __post_init__(self) -> None:
        if len(self.stages) < 2 or len(set(self.stages)) < len(self.stages):
            raise InputError("are not several stages", field="stages", fix="name two or more, each once")
        for variants, accuracy in self.measured:
            number(accuracy, f"accuracy of {' and '.join(variants)}", most=1.0)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages, and where requests go from each: by ``edges``, or through all of them in order without any.

    ``accuracies``: of stages that were measured together. ``graph``: how they hang together, made of the
    rest.
    """

    name: str
    stages: tuple[Stage, ...]
    edges: tuple[Edge, ...] = ()
    accuracies: tuple[JointAccuracy, ...] = ()
    graph: Graph = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("has no stages", field=self.name, fix="give one or more")
        names = tuple(stage.name for stage in self.stages)
        variants = tuple(tuple(variant.name for variant in stage.variants) for stage in self.stages)
        joins = tuple((stage.name, stage.join) for stage in self.stages if stage.join is not None)
        object.__setattr__(self, "graph", _graph(names, variants, self.edges, joins))
        told = [[(one.name, one.accuracy) for one in stage.variants] for stage in self.stages]
        check_together(self.graph, told, self.accuracies)

    @property
    def resources(self) -> tuple[str, ...]:
        """What its variants are placed on, each once."""
        return tuple(dict.fromkeys(one.resource for stage in self.stages for one in stage.variants))

    def restricted_to(self, variants: Sequence[str]) -> Pipeline:
        """The same pipeline with one variant left a stage (as FA2 uses it)."""
        kept = {stage.name: stage.index(name) for stage, name in zip(self.stages, variants, strict=True)}
        stages = (replace(stage, variants=(stage.variants[kept[stage.name]],)) for stage in self.stages)
        edges = (replace(one, requests=(one.requests_of(kept[one.source]),)) for one in self.edges)
        return replace(self, stages=tuple(stages), edges=tuple(edges))

    def serving(self, scales: Sequence[float]) -> Pipeline:
        """The same pipeline, whose stages take so many times as long to serve."""
        pairs = zip(self.stages, scales, strict=True)
        stages = (replace(stage, variants=tuple(v.serving(f) for v in stage.variants)) for stage, f in pairs)
        return replace(self, stages=tuple(stages))


@dataclass(frozen=True, slots=True)
class StageConfig:
    """What one stage runs: variant, batch size and number of replicas."""

    variant: str
    batch: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the whole pipeline runs, one StageConfig a stage, in the order of the stages."""

    stages: tuple[StageConfig, ...]

    def __str__(self) -> str:
        return " | ".join(f"{s.variant} b{s.batch} x{s.replicas}" for s in self.stages)


def together(graph: Graph, joint: JointAccuracy) -> tuple[int, ...]:
    """Positions of stages that were measured together, in the order in which requests visit them."""
    positions = (graph.names.index(name) for name in joint.stages)
    return tuple(sorted(positions, key=graph.order.index))


def check_together(
    graph: Graph, variants: Sequence[Sequence[tuple[str, float]]], accuracies: Sequence[JointAccuracy]
) -> None:
    """Whether these tell all combinations of stages that the same requests visit; InputError where not.

    ``variants``: names and accuracies of each stage's.
    """
    names = list(graph.names)
    for joint in accuracies:
        for name in joint.stages:
            if name not in names:
                problem, fix = f"{quoted(name)} is no stage", f"name some of {', '.join(names)}"
                raise InputError(problem, field="accuracies.stages", fix=fix)
            if sum(name in one.stages for one in accuracies) > 1:
                fix = "measure all of them together"
                raise InputError(f"{name} is in two", field="accuracies.stages", fix=fix)
        *others, last = together(graph, joint)
        for route in graph.routes:
            if last in route.stages and not set(others) <= set(route.stages):
                problem = f"requests come to {names[last]} that were not at all of {', '.join(joint.stages)}"
                fix = "take stages that the same requests visit"
                raise InputError(problem, field="accuracies.stages", fix=fix)
        among = {*others, last}
        for arms in () if (tree := tree_of(graph)) is None else raced(tree):
            if any(arm & among and not among <= arm for arm in arms):
                problem = f"of {', '.join(joint.stages)} some are in arms of which the first is awaited"
                fix = "take stages of one arm, or none of an arm"
                raise InputError(problem, field="accuracies.stages", fix=fix)
        told = {variants for variants, _ in joint.measured}
        for chosen in product(*(variants[names.index(name)] for name in joint.stages)):
            own = tuple(name for name, _ in chosen)
            if own not in told:
                problem, fix = f"says nothing of {' with '.join(own)}", "give every combination of variants"
                raise InputError(problem, field="accuracies.measured", fix=fix)
            if math.prod(accuracy for _, accuracy in chosen) <= 0:
                problem, fix = f"{' or '.join(own)} has an accuracy of 0", "leave that variant out"
                raise InputError(problem, field="accuracies.measured", fix=fix)


@lru_cache(maxsize=256)
def _graph(
    names: tuple[str, ...],
    variants: tuple[tuple[str, ...], ...],
    edges: tuple[Edge, ...],
    joins: tuple[tuple[str, Join], ...],
) -> Graph:
    return Graph(names, variants, edges or chain_of(names), dict(joins))
