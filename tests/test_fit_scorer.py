"""Fitting the policy for any pipeline: it learns which answer is best, and runs without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES
from ipa_rl.progress import Silent
from ipa_rl.training.fit_scorer import fit, read_lessons, save_lessons
from ipa_rl.training.lessons import Lessons

STATES = 4000


def made_up() -> Lessons:
    """States whose best answer is the one whose third feature is nearest to their second.

    None costs more than another, nor is worth more: scores begin with that.
    """
    rng = np.random.default_rng(0)
    counts = rng.integers(2, 9, STATES)
    of_state = rng.normal(size=(STATES, len(STATE_FEATURES)))
    of_answers = rng.normal(size=(counts.sum(), len(ANSWER_FEATURES)))
    for name in ("worth of its accuracy", "cost over the program's"):
        of_answers[:, ANSWER_FEATURES.index(name)] = 0.0
    apart = np.abs(of_answers[:, 2] - np.repeat(of_state[:, 1], counts))
    ends = np.cumsum(counts)
    behind = np.concatenate([one - one.min() for one in np.split(apart, ends[:-1])])
    return Lessons(
        of_state.astype(np.float16),
        of_answers.astype(np.float16),
        counts.astype(np.int16),
        behind.astype(np.float32),
        np.arange(STATES, dtype=np.int32),
    )


@pytest.mark.slow
def test_it_learns_which_answer_is_best_in_states_that_it_never_saw() -> None:
    lessons = made_up()
    _, progress = fit(lessons, 0, Silent(), epochs=20)
    assert progress.unseen < 0.2 * float(lessons.behind.mean())


@pytest.mark.slow
def test_the_same_seed_fits_the_same_and_the_scores_are_those_of_the_network() -> None:
    lessons = made_up()
    (one, first), (other, second) = (fit(lessons, 3, Silent(), epochs=1) for _ in range(2))
    assert (first.learned, first.unseen) == (second.learned, second.unseen)
    states, answers = lessons.of_state.astype(float), lessons.of_answers.astype(float)
    mine, theirs = (each.scores(states[0], answers[:5]) for each in (one, other))
    np.testing.assert_array_equal(mine, theirs)
    ends = np.cumsum(lessons.counts)
    begins = ends - lessons.counts
    behind = [
        lessons.behind[a:b][one.scores(states[s], answers[a:b]).argmax()]
        for s, (a, b) in enumerate(zip(begins, ends, strict=True))
        if lessons.seeds[s] % 20 == 0
    ]
    assert float(np.mean(behind)) == pytest.approx(first.unseen, abs=1e-3)


def test_lessons_that_are_kept_come_back(tmp_path: Path) -> None:
    lessons = made_up()
    save_lessons(lessons, tmp_path / "lessons.npz")
    found = read_lessons(tmp_path / "lessons.npz")
    for name, array in vars(lessons).items():
        np.testing.assert_array_equal(array, vars(found)[name])


@pytest.mark.slow
def test_a_fit_goes_on_from_a_scorer_and_at_no_learning_rate_it_stays_what_it_is() -> None:
    lessons = made_up()
    start, _ = fit(lessons, 3, Silent(), epochs=2)
    same, _ = fit(lessons, 5, Silent(), epochs=1, start=start, learning_rate=0.0)
    states, answers = lessons.of_state.astype(float), lessons.of_answers.astype(float)
    mine, theirs = (one.scores(states[0], answers[:9]) for one in (start, same))
    np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
