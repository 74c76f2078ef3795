"""The network that PPO trains, and the policy that is exported of it."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.environment.definition_file import load_definition

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from ipa_rl.environment.env import IpaVectorEnv  # noqa: E402
from ipa_rl.training.hyperparameters import visible  # noqa: E402
from ipa_rl.training.ppo import export_policy, freeze_actor, new_model  # noqa: E402
from tests.short_training import QUICK  # noqa: E402

pytestmark = pytest.mark.slow


def test_what_is_hidden_does_not_move_the_policy() -> None:
    """An ablated observation reads 0 in training, and its weights are 0 in what is exported."""
    definition = load_definition("video")
    hidden = QUICK.changed({"hidden": ["queue", "forecast"]})
    seen = visible(definition.problem, hidden.hidden)
    assert 0 < (seen == 0).sum() < len(seen) / 2
    policy = export_policy(new_model(definition, hidden), definition, hidden.hidden)
    observation = np.random.default_rng(0).normal(size=(1, len(seen))).astype(np.float32)
    np.testing.assert_array_equal(policy.logits(observation), policy.logits(observation * seen))


def test_a_frozen_actor_does_not_change_while_the_critic_learns() -> None:
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    freeze_actor(model.policy, frozen=True)
    before = export_policy(model, definition, ())
    value = model.policy.value_net.weight.detach().clone()
    model.learn(2 * QUICK.environments * QUICK.ppo.n_steps)
    after = export_policy(model, definition, ())
    for one, other in zip(before.layers, after.layers, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert not torch.equal(value, model.policy.value_net.weight)


def test_the_exported_policy_decides_as_stable_baselines_does() -> None:
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    vector = IpaVectorEnv(64, definition)
    observations, _ = vector.reset(seed=5)
    theirs, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(export_policy(model, definition, ()).act(observations), theirs)
