"""A training run of seconds."""

from __future__ import annotations

from functools import partial

from ipa_rl.agents.opponents import Opponent
from ipa_rl.agents.windows import validation_windows
from ipa_rl.training.hyperparameters import Cloning, Hyperparameters, Ppo

QUICK = Hyperparameters(
    environment="video",
    environments=16,
    checkpoint_every_steps=1600,
    cloning=Cloning(steps=150, epochs=6),
    ppo=Ppo(total_steps=8000, frozen_steps=1600, n_steps=50, batch_size=400, n_epochs=3),
)
RIVAL = {"utility": -1.6, "pas_x100": 34.4, "cores": 2.2, "violations": 0.002}
OPPONENTS = [
    Opponent("ip", "window-max:60", 0.0, RIVAL),
    Opponent("fa2-low", "last", 0.1, {**RIVAL, "utility": -2.0}),
]
FEW = partial(validation_windows, most=2)
