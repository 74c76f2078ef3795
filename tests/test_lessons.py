"""Lessons: states of made-up pipelines, and what each answer would have come to."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl import resources
from ipa_rl.agents.planner import WORTH
from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES
from ipa_rl.agents.universal import UNIVERSAL, load_scorer
from ipa_rl.training.lessons import DECISIONS, DRAWN_EPISODES, FIRST_SEED, Lessons, attend, drawn_course

BEYOND = 1_000_000
"""Seeds from which on nothing is learned."""


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    return attend(drawn_course(FIRST_SEED), None)


@pytest.mark.slow
def test_every_state_has_a_best_answer_and_no_answer_is_ahead_of_it(lessons: Lessons) -> None:
    ends = np.cumsum(lessons.counts)
    assert len(lessons.counts) == DECISIONS * DRAWN_EPISODES == len(lessons.of_state) == len(lessons.seeds)
    assert ends[-1] == len(lessons.of_answers) == len(lessons.behind)
    for behind in np.split(lessons.behind, ends[:-1]):
        assert behind.min() == 0.0
    assert lessons.of_state.shape[1:] == (len(STATE_FEATURES),)
    assert lessons.of_answers.shape[1:] == (len(ANSWER_FEATURES),)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_lessons(lessons: Lessons) -> None:
    again = attend(drawn_course(FIRST_SEED), None)
    for name, array in vars(lessons).items():
        np.testing.assert_array_equal(array, vars(again)[name])


def test_what_is_learned_from_differs_in_pipeline_load_and_preference() -> None:
    courses = [drawn_course(FIRST_SEED + k) for k in range(40)]
    assert len({len(one.definition.pipeline.stages) for one in courses}) > 5
    assert len({one.definition.workload.name for one in courses}) > 3
    assert len({one.slower for one in courses}) > 1
    assert "video" not in {one.definition.name for one in courses}


@pytest.mark.slow
def test_the_planner_takes_a_score_for_what_it_is_worth() -> None:
    """On pipelines that nothing learned from, which differ by much: else the policy has too little say."""
    scorer, products, squares = load_scorer(resources.folder("agents") / UNIVERSAL / "scorer.npz"), 0.0, 0.0
    for seed in range(BEYOND, BEYOND + 12):
        lessons = attend(drawn_course(seed), scorer)
        ends = np.cumsum(lessons.counts)[:-1]
        parts = zip(np.split(lessons.of_answers, ends), np.split(lessons.behind, ends), strict=True)
        for of_state, (of_answers, behind) in zip(lessons.of_state, parts, strict=True):
            scores = scorer.scores(of_state.astype(np.float64), of_answers.astype(np.float64))
            best = int(scores.argmax())
            lower, further = scores[best] - scores, behind - behind[best]
            products += float(lower @ further)
            squares += float(lower @ lower)
    assert WORTH / 3.0 < products / squares < WORTH * 3.0
