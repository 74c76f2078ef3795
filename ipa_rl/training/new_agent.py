"""Hyperparameters for a pipeline and a load that nobody has trained for."""

from __future__ import annotations

from ipa_rl.environment.definition import Definition, default_rho
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.training.hyperparameters import Cloning, Hyperparameters, Ppo
from ipa_rl.workload.clock import season_of

STEPS = 1_000_000
"""Training steps of a seed, where nothing else is said: half of what the shipped agents have."""

_REWARD = 4.5
"""reward_scale times rho of the shipped agents, 4.1 to 4.9: rewards are about one."""

_ENVIRONMENTS, _ROLLOUT = 64, 60
_CHECKPOINTS = 32


def new_hyperparameters(environment: str, definition: Definition, steps: int = STEPS) -> Hyperparameters:
    """Those that search found best for most shipped pipelines, their rewards scaled to this one.

    The teacher knows the clock where the workload has a season.
    """
    problem = definition.problem
    weight = max(default_rho(definition), problem.weights.rho) or problem.weights.alpha
    rollout = _ENVIRONMENTS * _ROLLOUT
    return Hyperparameters(
        environment=environment,
        environments=_ENVIRONMENTS,
        network=(128, 128),
        reward_scale=float(f"{_REWARD / (weight or 1.0):.2g}"),
        violation_factor=1.5,
        randomisation=Randomisation(
            share=0.3,
            start_up=(0.8, 2.5),
            service=(1.0, 1.15),
            load=(0.7, 1.5),
            sla=(0.9, 1.1),
            preference_share=0.3,
            preferences=(0.1, 0.3, 0.6, 2.0, 4.0),
            synthetic_share=0.25,
            failure_share=0.3,
        ),
        checkpoint_every_steps=max(steps // _CHECKPOINTS // rollout, 1) * rollout,
        cloning=Cloning(teacher="clock" if season_of(definition.workload).period_s else "program"),
        ppo=Ppo(
            total_steps=steps,
            frozen_steps=min(50_000, steps // 10),
            n_steps=_ROLLOUT,
            learning_rate=0.0013,
            gamma=0.865,
            gae_lambda=0.83,
            target_kl=0.0115,
        ),
    )
