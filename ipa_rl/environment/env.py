"""The Gymnasium environment and its vectorised twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ipa_rl.compiled import FloatArray
from ipa_rl.environment.action import action_sizes
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.environment.observation import BOUND, observation_names
from ipa_rl.simulation import decode

Observation = NDArray[np.float32]
Action = NDArray[np.int64]


def _load(definition: Definition | str | Path) -> Definition:
    return definition if isinstance(definition, Definition) else load_definition(definition)


def observation_space(definition: Definition) -> Space[Observation]:
    """All entries are clipped to -BOUND..BOUND."""
    entries = len(observation_names(definition.problem))
    return Box(-BOUND, BOUND, (entries,), np.float32)


def action_space(definition: Definition) -> Space[Action]:
    """Three choices a stage: variant, batch size, headroom."""
    return MultiDiscrete(action_sizes(definition.problem))


class IpaEnv(gymnasium.Env[Observation, Action]):
    """A multi-stage inference pipeline that serves a changing load; a step is one adaptation interval.

    Action space: ``MultiDiscrete``, three entries a stage: variant, batch size, and headroom over the
    load, from which replicas follow (`ipa_rl.environment.action`).

    Observation space: ``Box`` float32, all entries scaled to about one
    (`ipa_rl.environment.observation.observation_names` lists them): recent loads, and by stage active and
    target variant and batch size, capacities relative to the load, starting replicas, time to
    readiness, wait in the queue; and the slack to the SLA.

    Reward: what the interval adds to the episode's utility, less what the exact optimum for the load that was
    seen would add (`ipa_rl.environment.reward`).

    Episode: starts at the optimum's configuration for the load, ends (truncated, never terminated)
    after the definition's ``workload.episode_s`` seconds. ``reset(options={"arrivals": array})`` plays
    given arrivals: history of HISTORY_S seconds first, then the episode; ``"clock_s"``, 0 by default, is what
    the clock says when it begins.

    Arguments: ``definition``, a shipped name, a YAML file or a `Definition`; ``render_mode`` "ansi".

    Version history: v1, the first.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, definition: Definition | str | Path = "video", render_mode: str | None = None) -> None:
        self.definition = _load(definition)
        self.render_mode = render_mode
        self.observation_space = observation_space(self.definition)
        self.action_space = action_space(self.definition)
        self.episodes = Episodes(self.definition, environments=1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed gives the same one, here and in `IpaVectorEnv`."""
        super().reset(seed=seed)
        if options and "arrivals" in options:
            self.episodes.begin(0, options["arrivals"], int(options.get("clock_s", 0)))
        else:
            self.episodes.reset(0, self.np_random)
        return self.episodes.observe()[0], {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One adaptation interval; ``info`` holds the episode's figures so far."""
        actions = np.asarray(action, dtype=np.int64)[None]
        reward = float(self.episodes.step(self.episodes.decisions(actions))[0])
        truncated = bool(self.episodes.ended()[0])
        return self.episodes.observe()[0], reward, False, truncated, self.episodes.summary(0)

    def render(self) -> str:
        """The active configuration and the episode's figures, in one line."""
        fleet = self.episodes.simulator.fleet[0]
        rows = np.stack([fleet["active"], fleet["batch"], fleet["ready"]], axis=1)
        figures = ", ".join(f"{k} {v:.3g}" for k, v in self.episodes.summary(0).items())
        return f"{decode(self.definition.problem, rows)} ({figures})"


class IpaVectorEnv(VectorEnv[Observation, Action, NDArray[Any]]):
    """Many `IpaEnv` as arrays: environment i with seed s plays what `IpaEnv` plays with seed s + i.

    Resets in the step that ends an episode (`AutoresetMode.SAME_STEP`); then ``infos`` holds
    ``final_obs`` and the episode's figures for those environments.
    """

    metadata = {"render_modes": ["ansi"], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        definition: Definition | str | Path = "video",
        render_mode: str | None = None,
    ) -> None:
        self.definition = _load(definition)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = observation_space(self.definition)
        self.single_action_space = action_space(self.definition)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.episodes = Episodes(self.definition, num_envs)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every environment."""
        if isinstance(seed, int):
            seed = [seed + i for i in range(self.num_envs)]
        for i, one in enumerate(seed or []):
            if one is not None:
                self._rngs[i] = gymnasium.utils.seeding.np_random(one)[0]
        for i, rng in enumerate(self._rngs):
            self.episodes.reset(i, rng)
        return self.episodes.observe(), {}

    def step(
        self, actions: Action
    ) -> tuple[Observation, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One adaptation interval of every environment."""
        decisions = self.episodes.decisions(np.asarray(actions, dtype=np.int64))
        rewards = self.episodes.step(decisions)
        observations, infos = self.episodes.observe(), {}
        ended = self.episodes.ended()
        if ended.any():
            infos = self._finish(ended, observations)
            observations = self.episodes.observe()
        return observations, rewards, np.zeros_like(ended), ended, infos

    def _finish(self, ended: NDArray[np.bool_], observations: Observation) -> dict[str, Any]:
        """Infos of the episodes that ended, in Gymnasium's form; then begin new ones."""
        finals: dict[str, Any] = {"final_obs": np.full(self.num_envs, None, dtype=object)}
        finals["_final_obs"] = ended
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(ended).tolist():
            finals["final_obs"][i] = observations[i]
            infos = self._add_info(infos, self.episodes.summary(i), i)
            self.episodes.reset(i, self._rngs[i])
        return {**finals, "final_info": infos, "_final_info": ended}
