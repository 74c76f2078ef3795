"""Policies of weights drawn by chance: one for any pipeline, and as training with PPO leaves them."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np

from ipa_rl import resources
from ipa_rl.agents.layers import Matrix
from ipa_rl.agents.policy import Policy, fit_coverage, save_policy
from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES
from ipa_rl.agents.universal import Scorer
from ipa_rl.environment.action import action_sizes, choice_names
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.observation import observation_names

UNITS, SAMPLES = 16, 500
"""Units of a hidden layer; observations of the coverage."""
GAIN = 2.0
"""Weights are of this deviation over the root of the inputs, so that decisions vary between states."""


def drawn_policy(definition: Definition, seed: int = 0) -> Policy:
    """A policy for an environment; what the environment shows is within its coverage."""
    rng = np.random.default_rng(seed)
    entries, sizes = len(observation_names(definition.problem)), tuple(action_sizes(definition.problem))
    widths = (entries, UNITS, UNITS, sum(sizes))
    layers = tuple(
        (
            rng.normal(0.0, GAIN / inputs**0.5, (outputs, inputs)).astype(np.float32),
            rng.normal(0.0, 0.1, outputs).astype(np.float32),
        )
        for inputs, outputs in pairwise(widths)
    )
    observations = rng.normal(0.5, 1.0, (SAMPLES, entries)).astype(np.float32)
    capacities, loads_rps = rng.uniform(0.8, 2.0, SAMPLES), rng.uniform(0.0, 40.0, SAMPLES)
    coverage = fit_coverage(observations, capacities, loads_rps, reserve=0.5)
    return Policy(layers, sizes, choice_names(definition.problem), coverage)


def ppo_folder(folder: Path, name: str = "video") -> Path:
    """The folder, with a policy for a shipped environment and the opponents tuned for it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_policy(drawn_policy(load_definition(name)), folder / "policy.npz")
    shutil.copy(resources.folder("agents") / name / "opponents.json", folder)
    return folder


def drawn_scorer(seed: int = 0, units: int = 8) -> Scorer:
    """A policy for any pipeline, of two networks."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Matrix:
        return rng.normal(size=shape).astype(np.float32)

    return Scorer(
        weights(2, units, len(STATE_FEATURES)),
        weights(2, units, len(ANSWER_FEATURES)),
        weights(2, units),
        weights(2, len(ANSWER_FEATURES)),
        ((weights(2, 4, units), weights(2, 4)), (weights(2, 1, 4), weights(2, 1))),
    )
