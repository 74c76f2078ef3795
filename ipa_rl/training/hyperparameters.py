"""Hyperparameters of one agent, a YAML file in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from ipa_rl import documents
from ipa_rl.documents import Count, Fraction, NonNegative, Positive, Share, StrictModel, Whole
from ipa_rl.environment.observation import observation_names
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.files import write_text
from ipa_rl.objective import Problem

_SEE = "agents/video/hyperparameters.yaml"

HIDEABLE: dict[str, tuple[str, ...]] = {
    "history": ("s ago", "s back"),
    "clock": ("clock, ",),
    "forecast": ("forecast, ",),
    "queue": (": wait in queue", "SLA slack"),
    "pending": (": target", ": share starting", ": time to ready"),
}
"""Groups of observations that an ablation hides, by what stands in the names of their entries."""


class Cloning(StrictModel):
    """Imitation of a teacher that solves the integer program.

    ``teacher``: "program" solves for the window maximum, "clock" for what that grows to, as a rule, until a
    replica ordered now has served an interval, "hindsight" for the true maximum until then. ``steps``
    vectorised steps are played; ``random_actions``: share of actions drawn at random, so that states off the
    teacher's path are seen. ``label_smoothing`` and ``headroom_spread`` (standard deviation, in levels,
    around the teacher's headroom) keep the policy exploring.
    """

    teacher: Literal["program", "clock", "hindsight", "none"] = "program"
    steps: Count = 1200
    random_actions: Share = 0.15
    epochs: Count = 20
    batch_size: Count = 1024
    learning_rate: Fraction = 1e-3
    label_smoothing: Share = 0.02
    headroom_spread: NonNegative = 1.5


class Ppo(StrictModel):
    """Arguments of stable-baselines3's PPO by its names; the actor is frozen for ``frozen_steps``.

    ``decay``: the learning rate falls linearly, to 0 at the end.
    """

    total_steps: Count = 400_000
    frozen_steps: Whole = 100_000
    n_steps: Count = 60
    batch_size: Count = 960
    n_epochs: Count = 10
    learning_rate: Fraction = 3e-4
    decay: bool = True
    gamma: Share = 0.9
    gae_lambda: Share = 0.95
    clip_range: Fraction = 0.2
    ent_coef: NonNegative = 0.0
    vf_coef: NonNegative = 0.5
    max_grad_norm: Positive = 0.5
    target_kl: Positive = 0.03


class Hyperparameters(StrictModel):
    """Everything that a training run depends on, beside the environment's own file.

    ``violation_factor``: how much heavier than in the utility violations weigh while learning. ``hidden``:
    groups of observations that the policy does not see (HIDEABLE). ``reserve``: share of
    the program's planned-for load below which the guard lets no stage fall where loads are heavy
    (`ipa_rl.agents.policy.Coverage`).
    """

    environment: str
    seed: Whole = 0
    environments: Count = 64
    network: tuple[Count, ...] = (64, 64)
    reward_scale: Positive = 0.1
    shaping: bool = True
    violation_factor: Positive = 1.0
    hidden: tuple[Literal["history", "clock", "forecast", "queue", "pending"], ...] = ()
    reserve: Share = 0.0
    randomisation: Randomisation = Randomisation()
    checkpoint_every_steps: Count = 38_400
    cloning: Cloning = Cloning()
    ppo: Ppo = Ppo()

    def changed(self, changes: Mapping[str, Any]) -> Hyperparameters:
        """The same with some values replaced, "ppo.gamma" in dotted names. Raises InputError."""
        values = self.model_dump(mode="json")
        for name, value in changes.items():
            *groups, last = name.split(".")
            place = values
            for group in groups:
                place = place.get(group, {})
            place[last] = value
        return documents.check(values, Hyperparameters, _SEE, None)


def load_hyperparameters(path: Path) -> Hyperparameters:
    """Read and check the file. Raises InputError, which names file, field and fix."""
    return documents.load(path, Hyperparameters, _SEE)


def save_hyperparameters(hyperparameters: Hyperparameters, path: Path) -> None:
    """Write them as YAML, in the order of the model."""
    text = yaml.safe_dump(hyperparameters.model_dump(mode="json"), sort_keys=False)
    write_text(text, path)


def visible(problem: Problem, hidden: Sequence[str]) -> NDArray[np.float32]:
    """1 for every observation that is seen, 0 for those of the hidden groups, (entries,)."""
    marks = [mark for group in hidden for mark in HIDEABLE[group]]
    names = observation_names(problem)
    return np.array([not any(mark in name for mark in marks) for name in names], dtype=np.float32)
