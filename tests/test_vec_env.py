"""Environments as stable-baselines3 takes them."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.environment.definition import load_definition
from ipa_rl.environment.observation import observation_names

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from ipa_rl.environment.env import IpaVectorEnv  # noqa: E402
from ipa_rl.training.vec_env import SB3VectorEnv  # noqa: E402

pytestmark = pytest.mark.slow


SEEN = np.ones(len(observation_names(load_definition("video").problem)), dtype=np.float32)


def test_truncated_episodes_reach_stable_baselines_with_their_last_observation() -> None:
    vector = SB3VectorEnv(IpaVectorEnv(3, "video"), SEEN)
    vector.seed(1)
    vector.reset()
    for _ in range(120):
        actions = np.stack([vector.action_space.sample() for _ in range(3)])
        _, _, ended, infos = vector.step(actions)
    assert ended.all()
    assert all(info["TimeLimit.truncated"] for info in infos)
    assert infos[0]["terminal_observation"].shape == vector.observation_space.shape
    assert infos[0]["episode"]["l"] == 120
    assert set(infos[0]["figures"]) == {"utility", "pas_x100", "cores", "violations"}
