"""The line of PAS over cores that no controller can be above."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.frontier import frontier
from ipa_rl.objective import Problem, capacity_rps, cost_cores, pas
from ipa_rl.pipeline import Configuration, Pipeline, StageConfig
from ipa_rl.sidecar.model_estimate import capacities_rps
from tests.graphs import block_pipelines
from tests.strategies import measured_together, problems


def drawn(data: st.DataObject, pipeline: Pipeline) -> Configuration:
    """Any configuration."""
    chosen = []
    for stage in pipeline.stages:
        variant = data.draw(st.sampled_from(stage.variants))
        batch, replicas = data.draw(st.sampled_from(variant.batches)), data.draw(st.integers(1, 20))
        chosen.append(StageConfig(variant.name, batch, replicas))
    return Configuration(tuple(chosen))


@given(problems(most_stages=4) | measured_together(problems(most_stages=3, most_variants=3)), st.data())
def test_nothing_that_serves_a_load_by_turns_is_above_the_line(problem: Problem, data: st.DataObject) -> None:
    """Some configurations after one another, each fully used: the hardest that a controller can be."""
    pipeline = problem.pipeline
    count = data.draw(st.integers(1, 3))
    turns = [(drawn(data, pipeline), data.draw(st.floats(0.01, 1.0))) for _ in range(count)]
    served = [min(capacity_rps(pipeline, one)) * length for one, length in turns]
    each = list(zip(turns, served, strict=True))
    seconds = sum(length for _, length in turns)
    cores = sum(cost_cores(pipeline, one) * length for one, length in turns) / seconds
    score = sum(100 * pas(pipeline, one) * share for (one, _), share in each) / sum(served)
    bound = frontier(pipeline, [sum(served) / seconds], cores)
    assert score <= bound[-1, 1] + 1e-9


@given(block_pipelines(most_stages=6), st.floats(0.1, 50.0), st.data())
def test_no_configuration_of_a_graph_that_serves_a_load_is_above_the_line(
    pipeline: Pipeline, load_rps: float, data: st.DataObject
) -> None:
    chosen = drawn(data, pipeline)
    carried_rps = min(capacities_rps(pipeline, chosen))
    cores = cost_cores(pipeline, chosen)
    bound = frontier(pipeline, [min(load_rps, carried_rps)], float(cores))
    assert 100 * pas(pipeline, chosen) <= bound[-1, 1] + 1e-9


@given(problems(most_stages=3), st.lists(st.floats(0.1, 200.0), min_size=1, max_size=4))
def test_the_line_rises_and_falls_behind_as_the_load_grows(problem: Problem, served_rps: list[float]) -> None:
    least = sum(min(one.cost_cores for one in stage.variants) for stage in problem.pipeline.stages)
    bound = frontier(problem.pipeline, served_rps, 10.0 * least)
    heavier = frontier(problem.pipeline, [2 * one for one in served_rps], 10.0 * least)
    assert bound[0, 0] == least
    assert (np.diff(bound[:, 1]) >= -1e-9).all()
    assert (heavier[:, 1] <= bound[:, 1] + 1e-9).all()


def test_with_many_cores_the_line_is_the_best_accuracy_and_with_few_it_is_less() -> None:
    pipeline = load_definition("video").pipeline
    best = 100 * max(one.accuracy for one in pipeline.stages[0].variants)
    best *= max(one.accuracy for one in pipeline.stages[1].variants)
    bound = frontier(pipeline, [12.0], 1000.0)
    assert np.isclose(bound[-1, 1], best)
    assert bound[0, 1] < 0.9 * best


def test_twelve_stages_of_twenty_variants_are_no_trouble() -> None:
    stage = load_definition("video").pipeline.stages[0]
    variants = tuple(
        replace(one, name=f"{one.name}-{k}", accuracy=min(one.accuracy + 0.01 * k, 1.0))
        for k in range(4)
        for one in stage.variants
    )
    stages = tuple(replace(stage, name=f"s{s}", variants=variants) for s in range(12))
    assert np.isfinite(frontier(Pipeline("long", stages), [20.0] * 50, 300.0)).all()
