"""`IpaVectorEnv` behind stable-baselines3's VecEnv interface: one array step for all environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.errors import InputError, quoted


class SB3VectorEnv(VecEnv):
    """All environments of one `IpaVectorEnv`; episode figures stand in ``infos[i]["figures"]``.

    ``environments``: what ``gymnasium.make_vec("ipa_rl/video-v1", num_envs=64)`` gives, or ``IpaVectorEnv(64,
    "mine.yaml")``. ``visible``: (entries,), factors on observations; None shows all. Raises InputError where
    they are other environments.
    """

    def __init__(self, environments: Any, visible: NDArray[np.float32] | None = None) -> None:
        if not isinstance(environments, IpaVectorEnv):
            fix = 'give gymnasium.make_vec("ipa_rl/...", num_envs=64), or an IpaVectorEnv'
            raise InputError(f"is {quoted(environments)}", field="environments", fix=fix)
        self.environments = environments
        self._visible = np.float32(1.0) if visible is None else visible
        self._actions: NDArray[Any] | None = None
        self._returns = np.zeros(environments.num_envs)
        self._lengths = np.zeros(environments.num_envs, dtype=np.int64)
        super().__init__(
            environments.num_envs,
            environments.single_observation_space,
            environments.single_action_space,
        )

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode everywhere, with the seeds of the last `seed` call.

        Raises InputError where `set_options` gave any: the environments draw their episodes.
        """
        if any(self._options):
            raise InputError("are not taken", field="options", fix="give them to IpaVectorEnv.reset")
        observations, _ = self.environments.reset(seed=list(self._seeds))
        self._reset_seeds()
        self._returns[:], self._lengths[:] = 0.0, 0
        return observations * self._visible

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One adaptation interval; episodes end by truncation only."""
        if self._actions is None:
            raise RuntimeError("step_wait without step_async")
        observations, rewards, _, ended, found = self.environments.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(ended).tolist():
            figures = {name: one for name, one in found["final_info"].items() if not name.startswith("_")}
            infos[i] = {
                "terminal_observation": found["final_obs"][i] * self._visible,
                "TimeLimit.truncated": True,
                "episode": {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": 0.0},
                "figures": {name: float(one[i]) for name, one in figures.items()},
            }
        self._returns[ended], self._lengths[ended] = 0.0, 0
        return observations * self._visible, rewards.astype(np.float32), ended, infos

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` goes on from: the environments, their random generators and episodes so far."""
        own = {"returns": self._returns.copy(), "lengths": self._lengths.copy()}
        return own | self.environments.episodes.state() | {"generators": self.environments.generators()}

    def restore(self, state: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Go on from a `state` of environments of the same definition and number; what is observed there.

        Raises InputError where it is not.
        """
        self.environments.episodes.restore(state)
        self.environments.set_generators(state["generators"])
        self._returns[:], self._lengths[:] = state["returns"], state["lengths"]
        return self.environments.episodes.observe() * self._visible

    # The rest of stable-baselines3's interface: the environments are one object, without wrappers.

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the vectorised environment, once an environment."""
        return [getattr(self.environments, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vectorised environment."""
        setattr(self.environments, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Not offered."""
        raise NotImplementedError("the environments advance as one")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """No wrappers."""
        return [False for _ in self._get_indices(indices)]
