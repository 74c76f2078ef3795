"""Hypothesis strategies for pipelines, problems and loads."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import assume
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.objective import Cap, Problem, Weights
from ipa_rl.pipeline import JointAccuracy, Pipeline, Stage, Variant

BATCHES = (1, 2, 4, 8)


@st.composite
def variants(draw: st.DrawFn, name: str, batches: tuple[int, ...]) -> Variant:
    """A variant of which latency does not fall with the batch size."""
    first_s = draw(st.integers(10, 2000)) / 1000
    slope_s = draw(st.integers(0, 1000)) / 1000
    mean_s = tuple(first_s + slope_s * (b - 1) for b in batches)
    tail = draw(st.integers(10, 30)) / 10
    return Variant(
        name=name,
        accuracy=draw(st.integers(1, 100)) / 100,
        units=draw(st.integers(1, 16)),
        start_up_s=draw(st.integers(0, 30)),
        batches=batches,
        latency_mean_s=mean_s,
        latency_p99_s=tuple(tail * latency for latency in mean_s),
        throughput_rps=tuple(b / latency for b, latency in zip(batches, mean_s, strict=True)),
    )


@st.composite
def stages(draw: st.DrawFn, name: str, most_variants: int) -> Stage:
    """A stage of which all variants offer the same batch sizes; 1 is one among others."""
    batches = BATCHES[draw(st.sampled_from([0, 0, 1, 3])) :][: draw(st.integers(1, len(BATCHES)))]
    count = draw(st.integers(1, most_variants))
    return Stage(name, tuple(draw(variants(f"{name}-v{i}", batches)) for i in range(count)))


@st.composite
def problems(draw: st.DrawFn, most_stages: int = 5, most_variants: int = 6) -> Problem:
    """A pipeline with weights, SLA and limit, from easy to impossible."""
    count = draw(st.integers(1, most_stages))
    pipeline = Pipeline("random", tuple(draw(stages(f"s{i}", most_variants)) for i in range(count)))
    weights = Weights(
        alpha=draw(st.sampled_from([0.0, 2.0, 20.0, 200.0])),
        beta=draw(st.sampled_from([0.0, 0.5, 1.0])),
        delta=draw(st.sampled_from([0.0, 1e-6, 1e-2])),
        normalize_accuracy=draw(st.booleans()),
    )
    sla_s = draw(st.integers(1, 300)) / 10
    limit = draw(st.sampled_from([1, 3, 10, 100]))
    fixed = draw(st.none() | st.tuples(*[st.integers(1, 12)] * count))
    return Problem(pipeline, weights, sla_s, limit, fixed, waits=draw(st.booleans()))


@st.composite
def capped_problems(draw: st.DrawFn, most_stages: int = 3, most_variants: int = 3) -> Problem:
    """A problem with caps on some variants and batch sizes that leave something of every stage."""
    problem = draw(problems(most_stages, most_variants))
    caps = []
    for stage in problem.pipeline.stages:
        for variant in stage.variants[1:]:
            batch = draw(st.none() | st.sampled_from(variant.batches))
            caps.append(Cap(stage.name, variant.name, batch, draw(st.integers(0, 4))))
        first = stage.variants[0]
        caps.append(
            Cap(stage.name, first.name, draw(st.sampled_from(first.batches)), draw(st.integers(1, 4)))
        )
    return replace(problem, caps=tuple(draw(st.lists(st.sampled_from(caps), max_size=len(caps)))))


loads = st.sampled_from([0.0, 0.1, 1.0, 7.5, 20.0, 300.0, 1e5]) | st.floats(0, 500)
heavy_loads = st.floats(20, 5000)


@st.composite
def hard_problems(draw: st.DrawFn, most_stages: int = 5, most_variants: int = 6) -> Problem:
    """Problems of few replicas or a tight SLA."""
    problem = draw(problems(most_stages, most_variants))
    tight_s = draw(st.integers(1, 50)) / 100
    return replace(problem, max_replicas=2) if draw(st.booleans()) else replace(problem, sla_s=tight_s)


def stretched(problem: Problem, factor: float) -> Problem:
    """The same pipeline in which everything takes so many times longer."""
    staged = []
    for stage in problem.pipeline.stages:
        longer = (
            replace(
                one,
                start_up_s=one.start_up_s * factor,
                latency_mean_s=tuple(factor * s for s in one.latency_mean_s),
                latency_p99_s=tuple(factor * s for s in one.latency_p99_s),
                throughput_rps=tuple(rate / factor for rate in one.throughput_rps),
            )
            for one in stage.variants
        )
        staged.append(replace(stage, variants=tuple(longer)))
    pipeline = replace(problem.pipeline, stages=tuple(staged))
    return replace(problem, pipeline=pipeline, sla_s=problem.sla_s * factor)


@st.composite
def measured_together(draw: st.DrawFn, some: st.SearchStrategy[Problem]) -> Problem:
    """Problems of pipelines of which two or three stages were measured together, in any order."""
    pipeline = (problem := draw(some)).pipeline
    assume(len(pipeline.stages) > 1)
    assume(all(one.accuracy > 0 for stage in pipeline.stages for one in stage.variants))
    stages = draw(st.lists(st.sampled_from(pipeline.stages), min_size=2, max_size=3, unique=True))
    combinations = itertools.product(*([one.name for one in stage.variants] for stage in stages))
    accuracies = st.sampled_from([0.05, 0.3, 0.5, 0.62, 0.8, 0.9, 1.0])
    measured = tuple((names, draw(accuracies)) for names in combinations)
    joint = JointAccuracy(tuple(stage.name for stage in stages), measured)
    try:
        return replace(problem, pipeline=replace(pipeline, accuracies=(joint,)))
    except InputError:  # requests come to one of them that were not at the others
        assume(False)
        raise


@st.composite
def limited(draw: st.DrawFn, some: st.SearchStrategy[Problem]) -> Problem:
    """Problems whose variants are placed on three resources at prices, one or two of them limited."""
    problem = draw(some)
    prices = {"cores": 1.0, "l4": draw(st.sampled_from([0.0, 2.5, 8.0])), "t4": 2.0}
    staged = []
    for stage in problem.pipeline.stages:
        placed = [(one, draw(st.sampled_from(sorted(prices)))) for one in stage.variants]
        units = [one.units if name == "cores" else draw(st.sampled_from([0.5, 1, 2])) for one, name in placed]
        pairs = zip(placed, units, strict=True)
        own = (replace(one, resource=name, price=prices[name], units=n) for (one, name), n in pairs)
        staged.append(replace(stage, variants=tuple(own)))
    names = draw(st.lists(st.sampled_from(sorted(prices)), min_size=1, max_size=2, unique=True))
    limits = tuple((name, draw(st.sampled_from([1, 3, 8, 20, 64]))) for name in names)
    return replace(problem, pipeline=replace(problem.pipeline, stages=tuple(staged)), limits=limits)
