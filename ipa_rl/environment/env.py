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

from ipa_rl.border import MOST_RPS, amounts, as_array, whole
from ipa_rl.environment.action import action_sizes
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.episodes import LATEST_CLOCK_S, Episodes
from ipa_rl.environment.observation import BOUND, observation_names
from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray
from ipa_rl.simulation import decode
from ipa_rl.simulation.fluid import MOST_ENVIRONMENTS

Observation = NDArray[np.float32]
Action = NDArray[np.int64]


MOST_SEED = 2**128 - 1
"""Entropy that numpy's generators take."""


def _load(definition: Definition | str | Path) -> Definition:
    if isinstance(definition, Definition):
        return definition
    if not isinstance(definition, str | Path):
        fix = "give a shipped name, a YAML file or a Definition"
        raise InputError(f"is {quoted(definition)}", field="definition", fix=fix)
    return load_definition(definition)


class RenderModeError(InputError, TypeError):
    """No such render mode. By a TypeError stable-baselines3, which asks for "rgb_array" first, goes on."""


def _rendered(mode: str | None) -> str | None:
    if mode is not None and not (isinstance(mode, str) and mode == "ansi"):
        raise RenderModeError(f"is {quoted(mode)}", field="render_mode", fix="use ansi, or leave it out")
    return mode


def _seed(seed: object) -> int | None:
    return None if seed is None else whole(seed, "seed", 0, MOST_SEED)


def _begin_given(episodes: Episodes, options: object) -> bool:
    """Begin the episodes that the options of `reset` give: "arrivals", and "clock_s" with them.

    Returns whether they give any. Raises InputError.
    """
    if options is None:
        return False
    if not isinstance(options, dict):
        raise InputError(f"is {quoted(options)}", field="options", fix="give a mapping")
    if not options:
        return False
    unknown = [one for one in options if one not in ("arrivals", "clock_s")]
    if unknown:
        raise InputError(f"has {quoted(unknown[0])}", field="options", fix="give arrivals and clock_s")
    if "arrivals" not in options:
        raise InputError("has clock_s alone", field="options", fix="give arrivals, too")
    count, seconds = episodes.loads.shape
    arrivals, clock_s = (as_array(options.get(name, 0), name) for name in ("arrivals", "clock_s"))
    shape = (seconds,) if arrivals.ndim < 2 else (count, seconds)
    arrivals = np.broadcast_to(amounts(arrivals, "arrivals", shape, MOST_RPS), (count, seconds))
    clock_s = clock_s if clock_s.ndim else np.full(count, clock_s)
    clock_s = amounts(clock_s, "clock_s", (count,), LATEST_CLOCK_S)
    for i in range(count):
        episodes.begin(i, arrivals[i], int(clock_s[i]))
    return True


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
    given arrivals: those of the history first, then the episode; ``"clock_s"``, 0 by default, is what
    the clock says when it begins.

    An action, a seed or options that are not what they should be raise InputError, which is a ValueError.

    Arguments: ``definition``, a shipped name, a YAML file or a `Definition`; ``render_mode`` "ansi".

    Version history: v1, the first.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, definition: Definition | str | Path = "video", render_mode: str | None = None) -> None:
        self.definition = _load(definition)
        self.render_mode = _rendered(render_mode)
        self.observation_space = observation_space(self.definition)
        self.action_space = action_space(self.definition)
        self.episodes = Episodes(self.definition, environments=1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed gives the same one, here and in `IpaVectorEnv`."""
        super().reset(seed=_seed(seed))
        if not _begin_given(self.episodes, options):
            self.episodes.reset(0, self.np_random)
        return self.episodes.observe()[0], {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One adaptation interval; ``info`` holds the episode's figures so far."""
        reward = float(self.episodes.step(self.episodes.decisions([action]))[0])
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

    ``reset(options=...)`` as `IpaEnv`, where ``"arrivals"`` are those of all environments or (environments,
    seconds), and ``"clock_s"`` one number or one for each; the episodes after these are drawn.

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
        num_envs = whole(num_envs, "num_envs", 1, MOST_ENVIRONMENTS)
        self.num_envs = num_envs
        self.render_mode = _rendered(render_mode)
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
        for i, one in enumerate(self._seeds(seed)):
            if one is not None:
                self._rngs[i] = gymnasium.utils.seeding.np_random(one)[0]
        if not _begin_given(self.episodes, options):
            for i, rng in enumerate(self._rngs):
                self.episodes.reset(i, rng)
        return self.episodes.observe(), {}

    def _seeds(self, seed: object) -> list[int | None]:
        """One for each environment."""
        if seed is None:
            return []
        if not isinstance(seed, list | tuple):
            first = whole(seed, "seed", 0, MOST_SEED)
            return [first + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InputError(f"has {len(seed)} entries", field="seed", fix=f"give one, or {self.num_envs}")
        return [_seed(one) for one in seed]

    def step(
        self, actions: Action
    ) -> tuple[Observation, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One adaptation interval of every environment."""
        rewards = self.episodes.step(self.episodes.decisions(actions))
        observations, infos = self.episodes.observe(), {}
        ended = self.episodes.ended()
        if ended.any():
            infos = self._finish(ended, observations)
            observations = self.episodes.observe()
        return observations, rewards, np.zeros_like(ended), ended, infos

    def generators(self) -> NDArray[np.uint64]:
        """The states of the environments' random generators (PCG64), (environments, 6) words of 64 bits."""
        words = []
        for rng in self._rngs:
            found: Any = rng.bit_generator.state
            halves = [half for name in ("state", "inc") for half in divmod(found["state"][name], 2**64)]
            words.append([*halves, found["has_uint32"], found["uinteger"]])
        return np.array(words, dtype=np.uint64)

    def set_generators(self, states: NDArray[np.uint64]) -> None:
        """Go on with these `generators`."""
        for rng, words in zip(self._rngs, states, strict=True):
            high, low, high_step, low_step, has, kept = (int(word) for word in words)
            state = {"state": high << 64 | low, "inc": high_step << 64 | low_step}
            rng.bit_generator.state = {
                "bit_generator": "PCG64", "state": state, "has_uint32": has % 2, "uinteger": kept % 2**32,
            }  # fmt: skip

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
