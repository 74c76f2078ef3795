"""The trained policy without torch: a small network of numpy arrays, read from ``policy.npz``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.agents.protocol import Decision, State
from ipa_rl.compiled import IntArray, Records
from ipa_rl.environment.action import action_sizes, decode_actions
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.environment.observation import (
    HISTORY_S,
    observation_names,
    observe_one,
    planned_load,
    variant_and_batch_counts,
)
from ipa_rl.errors import InputError
from ipa_rl.simulation import decode
from ipa_rl.simulation.tables import build_variants

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Policy:
    """Layers of (weight (out, in), bias (out,)), tanh between them; the last gives all logits."""

    layers: tuple[Layer, ...]
    sizes: tuple[int, ...]

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (environments, sum of sizes) of observations (environments, entries)."""
        values = observations
        for weight, bias in self.layers[:-1]:
            values = np.tanh(values @ weight.T + bias)
        weight, bias = self.layers[-1]
        return np.asarray(values @ weight.T + bias, dtype=np.float32)

    def act(self, observations: NDArray[np.float32]) -> IntArray:
        """The likeliest action (environments, len(sizes)) for each observation."""
        logits = self.logits(observations)
        ends = np.cumsum(self.sizes)
        parts = [logits[:, end - size : end] for end, size in zip(ends, self.sizes, strict=True)]
        return np.stack([part.argmax(axis=1) for part in parts], axis=1).astype(np.int64)


def save_policy(policy: Policy, path: Path) -> None:
    """Write a policy as ``.npz``: plain arrays, nothing that runs on loading."""
    arrays: dict[str, NDArray[Any]] = {"sizes": np.array(policy.sizes, dtype=np.int64)}
    for i, (weight, bias) in enumerate(policy.layers):
        arrays[f"weight_{i}"], arrays[f"bias_{i}"] = weight, bias
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def load_policy(path: Path, definition: Definition) -> Policy:
    """Read a policy and check that it fits the environment. Raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError) as error:
        raise InputError("is no readable policy", file=path, fix="train it: ipa-rl train NAME") from error
    count = sum(name.startswith("weight_") for name in arrays)
    wanted = (len(observation_names(definition.problem)), tuple(action_sizes(definition.problem)))
    try:
        layers = tuple((arrays[f"weight_{i}"], arrays[f"bias_{i}"]) for i in range(count))
        policy = Policy(layers, tuple(arrays["sizes"].tolist()))
        found = (layers[0][0].shape[1], policy.sizes)
    except (KeyError, IndexError) as error:
        raise InputError("lacks arrays of a policy", file=path, fix="train it again") from error
    if found != wanted:
        raise InputError(
            f"has {found[0]} inputs and choices {found[1]}, {definition.name} has "
            f"{wanted[0]} and {wanted[1]}",
            file=path,
            fix="train an agent for this environment: ipa-rl train",
        )
    return policy


def shipped_policy(name: str) -> Policy:
    """The trained policy that ships for an environment ("video"). Raises InputError on other names."""
    folder = resources.find(name, "agents")
    return load_policy(folder / "policy.npz", load_definition(name))


@dataclass
class PolicyAgent:
    """The trained agent: observes, runs the network once, decodes (`ipa_rl.environment.action`)."""

    name: str
    definition: Definition
    policy: Policy
    _variants: Records = field(init=False)
    _counts: IntArray = field(init=False)
    _observation: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        problem = self.definition.problem
        self._variants = build_variants(problem, self.definition.settings)
        self._counts = variant_and_batch_counts(problem)
        self._observation = np.zeros((1, len(observation_names(problem))), dtype=np.float32)

    def decide(self, state: State) -> Decision:
        """The likeliest action of the network, as a configuration."""
        definition = self.definition
        history = state.history_rps[-HISTORY_S:]
        observe_one(
            history,
            definition.load_window_s,
            state.fleet,
            state.queued,
            self._variants,
            self._counts,
            definition.problem.sla_s,
            self._observation[0],
        )
        load = planned_load(history, definition.load_window_s)
        action = self.policy.act(self._observation)
        rows = decode_actions(action, np.array([load]), self._variants, definition.problem.max_replicas)
        return Decision(decode(definition.problem, rows[0]), load)
