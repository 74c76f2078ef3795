"""What a policy for any pipeline sees of a state and of the answers that it chooses from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents.protocol import State
from ipa_rl.agents.stage_figures import COST, MISSING, SEEN, SERVED_RPS, StageContext, stage_figures
from ipa_rl.agents.steer_features import (
    ANSWER_FEATURES,
    BOUND,
    STATE_FEATURES,
    SteerFeatures,
    forecasts_of,
)
from ipa_rl.agents.steers import FACTORS, Answers, Optima
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray, Records
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.simulation import Timing
from ipa_rl.simulation.tables import build_variants
from ipa_rl.simulation.transitions import FLEET, copy_stage, decide, pass_time, place
from ipa_rl.workload.workload import load_workload
from tests.pipelines import two_stages

PROBLEM = two_stages()


def seen(definition: Definition, state: State) -> tuple[Answers, FloatArray, FloatArray]:
    """The answers for all factors, and the features of state and answers."""
    features = SteerFeatures(Optima(definition), forecasts_of(definition))
    return features.look(state, features.expected(state.history_rps, state.clock_s))


def begun(definition: Definition) -> State:
    """A minute into a window."""
    cluster = SimulatedCluster(definition, Scenario(definition.windows("validation")[0]))
    for _ in range(6):
        state = cluster.observe()
        cluster.apply(definition.best_for(1.3 * definition.reference_rps(state.history_rps)))
        cluster.wait()
    return cluster.observe()


@pytest.mark.parametrize("name", ["video", "nlp", "made-up-3", "made-up-17"])
def test_pipelines_of_any_shape_give_as_many_numbers_and_none_is_large(name: str) -> None:
    definition = load_definition(name)
    answers, of_state, of_answers = seen(definition, begun(definition))
    assert of_state.shape == (len(STATE_FEATURES),)
    assert of_answers.shape == (len(answers.steers), len(ANSWER_FEATURES))
    assert max(abs(of_state).max(), abs(of_answers).max()) <= BOUND


def test_where_requests_come_in_clumps_it_is_asked_for_about_the_mean_load() -> None:
    """The highest second of Mooncake's conversations is some four times their mean."""
    video, load = load_definition("video"), load_workload("mooncake-conversations")
    definition = replace(video, workload=load.at_scale(10.0 / load.mean_rps))
    state = begun(definition)
    answers, _, _ = seen(definition, state)
    asked = [steer.factor for steer in answers.steers if steer.factor is not None]
    clumps = definition.reference_rps(state.history_rps) / state.history_rps.mean()
    assert clumps > 1.1 / min(FACTORS)
    assert min(asked) < min(FACTORS)
    assert 0.5 < min(asked) * clumps < 2.0


def test_the_unit_of_cores_is_not_seen() -> None:
    """Where every replica takes twice as many, and each is half as dear, all is as before."""
    one = load_definition("video")
    stages = (
        replace(stage, variants=tuple(replace(v, units=2 * v.units) for v in stage.variants))
        for stage in one.pipeline.stages
    )
    weights = replace(one.weights, beta=one.weights.beta / 2)
    twice = one.with_problem(pipeline=replace(one.pipeline, stages=tuple(stages)), weights=weights)
    state = begun(one)
    for mine, theirs in zip(seen(one, state)[1:], seen(twice, state)[1:], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)


def test_what_is_relative_to_the_program_is_nought_where_the_answer_is_the_programs() -> None:
    definition = load_definition("sum-qa")
    _, _, of_answers = seen(definition, begun(definition))
    names = list(ANSWER_FEATURES)
    programs = of_answers[of_answers[:, names.index("is the program's")] == 1.0]
    assert len(programs)
    for name in ("cost", "cost over the program's", "worth of its accuracy", "accuracy"):
        assert (programs[:, names.index(name)] == 0.0).all()


rows_of_a_stage = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 9))


def variants_of(in_place: bool) -> Records:
    """Of the pipeline, with start-ups that differ; in place or not."""
    variants = build_variants(PROBLEM, Timing())
    variants["start_up_s"] = np.array([[4.0, 7.5, 12.0], [2.0, 6.0, 11.0]])
    variants["reload_s"] = 3.0 if in_place else math.inf
    return variants


@given(st.data(), st.booleans(), st.lists(rows_of_a_stage, min_size=2, max_size=2), st.floats(0.0, 20.0))
@settings(max_examples=300, deadline=None)
def test_what_can_be_served_later_is_what_the_simulators_say(
    data: st.DataObject, in_place: bool, rows: list[tuple[int, int, int]], after_s: float
) -> None:
    variants, fleet = variants_of(in_place), np.zeros(2, dtype=FLEET)
    for s in range(2):
        place(fleet[s], *data.draw(rows_of_a_stage))
        for _ in range(data.draw(st.integers(0, 3))):
            decide(fleet[s], variants[s], *data.draw(rows_of_a_stage))
            pass_time(fleet[s], data.draw(st.floats(0.1, 9.0)))
    asked = np.array([rows])
    context = StageContext(np.array([0.0, after_s]), 1, np.zeros(2), np.ones(2), 1.0, 1.0, 1.0, 1.0)
    found = stage_figures(variants, fleet, asked, np.ones((1, 2)), context)[:, :, 0]
    later = np.zeros(2, dtype=FLEET)
    for s in range(2):
        copy_stage(fleet[s], later[s])
        decide(later[s], variants[s], *rows[s])
        paid = later[s]["starting"][: later[s]["cohorts"]].sum()
        assert found[MISSING, s] <= paid
        pass_time(later[s], after_s)
        expected = later[s]["ready"] * variants[s, later[s]["active"]]["rate_rps"][later[s]["batch"]]
        assert found[SERVED_RPS + 1, s] == pytest.approx(expected)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_an_answer_is_seen_the_same_whatever_stands_beside_it(data: st.DataObject) -> None:
    variants, fleet = variants_of(in_place=False), np.zeros(2, dtype=FLEET)
    for s in range(2):
        place(fleet[s], *data.draw(rows_of_a_stage))
    rows = np.array(data.draw(st.lists(st.lists(rows_of_a_stage, min_size=2, max_size=2), min_size=2)))
    context = StageContext(np.array([0.0, 10.0]), 1, np.ones(2), np.ones(2), 20.0, 1.0, 10.0, 1.0)
    together = stage_figures(variants, fleet, rows, np.ones(rows.shape[:2]), context)
    for k, row in enumerate(rows):
        own = together[:, :, k]
        alone = stage_figures(variants, fleet, row[None], np.ones((1, 2)), context)[:, :, 0]
        np.testing.assert_array_equal(own, alone)
        assert own[COST] == pytest.approx(row[:, 2] * variants["cores"][np.arange(2), row[:, 0]])


def test_how_many_stages_there_are_is_not_seen_of_what_all_have_in_common() -> None:
    """Of a pipeline whose stages are all alike the mean, the highest and the lowest are the same."""
    names = list(ANSWER_FEATURES)
    definition = load_definition("video")
    stage = definition.pipeline.stages[0]
    stages = tuple(replace(stage, name=f"stage-{k}") for k in range(3))
    alike = definition.with_problem(pipeline=replace(definition.pipeline, stages=stages))
    _, _, of_answers = seen(alike, begun(alike))
    for figure in SEEN:
        mean, highest, lowest = (
            of_answers[:, names.index(f"{figure} of the stages: {pool}")]
            for pool in ("mean", "highest", "lowest")
        )
        assert (lowest <= mean + 1e-9).all()
        assert (mean <= highest + 1e-9).all()
