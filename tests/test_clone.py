"""Cloning: the teacher is the program, and the clone answers as it does."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.progress import Silent

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from ipa_rl.environment.env import IpaVectorEnv  # noqa: E402
from ipa_rl.training.clone import collect, fit, teacher_actions  # noqa: E402
from ipa_rl.training.hyperparameters import Cloning  # noqa: E402
from ipa_rl.training.ppo import new_model  # noqa: E402
from tests.short_training import QUICK  # noqa: E402

pytestmark = pytest.mark.slow


def test_the_clone_answers_as_the_program_does_in_nine_of_ten_states() -> None:
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    cloning = Cloning(steps=300, epochs=25, batch_size=128)
    observations, actions = collect(definition, cloning, QUICK.environments, 0, Silent())
    share = fit(model.policy, torch.as_tensor(observations), torch.as_tensor(actions), cloning, Silent())
    assert share > 0.9


def test_the_teacher_is_the_program_for_the_window_maximum() -> None:
    vector = IpaVectorEnv(4, "video")
    vector.reset(seed=0)
    taught = teacher_actions(vector, Cloning())
    decisions = vector.episodes.decisions(taught)
    for row, load in zip(decisions, vector.episodes.reference_rps.tolist(), strict=True):
        np.testing.assert_array_equal(row, vector.definition.rows_for(load))


def test_the_teacher_with_hindsight_is_the_program_for_the_load_to_come() -> None:
    vector = IpaVectorEnv(4, "video")
    vector.reset(seed=0)
    ahead = vector.episodes.ahead(vector.definition.horizon)
    decisions = vector.episodes.decisions(teacher_actions(vector, Cloning(teacher="hindsight")))
    for row, load in zip(decisions, ahead.tolist(), strict=True):
        wanted = vector.definition.rows_for(round(load, 3))
        np.testing.assert_array_equal(row[:, :2], wanted[:, :2])
