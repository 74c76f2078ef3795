"""Environments as stable-baselines3 takes them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.observation import observation_names

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from stable_baselines3 import A2C  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402

from ipa_rl.environment.env import IpaEnv, IpaVectorEnv  # noqa: E402
from ipa_rl.errors import InputError  # noqa: E402
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


def test_without_factors_all_of_the_observation_is_seen() -> None:
    seen, all_of_it = (SB3VectorEnv(IpaVectorEnv(2, "video"), *factors) for factors in ((SEEN,), ()))
    for one in (seen, all_of_it):
        one.seed(3)
    assert np.array_equal(seen.reset(), all_of_it.reset())


def test_what_gymnasium_makes_trains_another_algorithm() -> None:
    environments = SB3VectorEnv(gymnasium.make_vec("ipa_rl/video-v1", num_envs=4))
    assert A2C("MlpPolicy", environments, device="cpu").learn(40).num_timesteps == 40


def test_other_environments_are_named() -> None:
    with pytest.raises(InputError, match="environments: is a IpaEnv; fix: give gymnasium"):
        SB3VectorEnv(IpaEnv("video"))


@pytest.mark.filterwarnings("ignore:.*render_mode.*")
def test_stable_baselines_makes_an_environment_by_its_name() -> None:
    assert np.asarray(make_vec_env("ipa_rl/video-v1", 1).reset()).shape == (1, len(SEEN))
