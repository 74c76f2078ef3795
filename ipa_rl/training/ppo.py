"""PPO from a cloned start, with checkpoints on validation windows, resumable after a kill.

The actor is frozen while the critic learns the clone's returns, then PPO with gamma 0.9, no entropy bonus and
a limit on the divergence an update; ablations are in the agents' cards.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule

from ipa_rl.agents.policy import Policy, save_policy
from ipa_rl.agents.windows import play_policy
from ipa_rl.environment.action import choice_names
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.progress import Report
from ipa_rl.training.checkpoints import Checkpoint, read_log, write_log
from ipa_rl.training.hyperparameters import Hyperparameters, visible
from ipa_rl.training.model_file import save_model
from ipa_rl.training.vec_env import SB3VectorEnv
from ipa_rl.workload.workload import Window

MODEL = "model.npz"
"""The file of a run's folder from which it goes on."""


def new_model(definition: Definition, hyperparameters: Hyperparameters) -> PPO:
    """An untrained PPO over the definition's environments."""
    ppo, network = hyperparameters.ppo, list(hyperparameters.network)
    seen = visible(definition.problem, hyperparameters.hidden)
    return PPO(
        "MlpPolicy",
        SB3VectorEnv(IpaVectorEnv(hyperparameters.environments, definition), seen),
        learning_rate=LinearSchedule(ppo.learning_rate, 0.0, 1.0) if ppo.decay else ppo.learning_rate,
        **ppo.model_dump(exclude={"total_steps", "frozen_steps", "learning_rate", "decay"}),
        policy_kwargs={"net_arch": {"pi": network, "vf": network}},
        seed=hyperparameters.seed,
        device="cpu",
    )


def export_policy(model: PPO, definition: Definition, hidden: Sequence[str]) -> Policy:
    """The actor as plain arrays; weights of hidden observations are 0."""
    policy: Any = model.policy
    linears = [m for m in policy.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)]
    layers = tuple(
        (m.weight.detach().numpy().copy(), m.bias.detach().numpy().copy())
        for m in [*linears, policy.action_net]
    )
    layers = ((layers[0][0] * visible(definition.problem, hidden), layers[0][1]), *layers[1:])
    sizes = tuple(int(size) for size in policy.action_space.nvec)
    return Policy(layers, sizes, choice_names(definition.problem))


def freeze_actor(policy: ActorCriticPolicy, frozen: bool) -> None:
    """Stop or let the actor learn; the critic learns in both cases."""
    actor: Any = policy
    for module in (actor.mlp_extractor.policy_net, actor.action_net):
        for parameter in module.parameters():
            parameter.requires_grad_(not frozen)


class Checkpoints(BaseCallback):
    """Every so many steps: validate, log beside the rival (if any), keep model and policy; draws progress."""

    def __init__(
        self,
        definition: Definition,
        hyperparameters: Hyperparameters,
        validation: Sequence[Window],
        rival: Mapping[str, Any] | None,
        folder: Path,
        report: Report,
    ) -> None:
        super().__init__()
        self.definition, self.hyperparameters = definition, hyperparameters
        self.validation, self.rival = validation, rival
        self.folder, self.report = folder, report
        self.log = read_log(folder / "checkpoints.json")
        self._before_s = self.log[-1].wall_s if self.log else 0.0
        self._began_s = time.monotonic()

    def _on_rollout_start(self) -> None:
        policy: Any = self.model.policy
        freeze_actor(policy, self.num_timesteps < self.hyperparameters.ppo.frozen_steps)
        every = self.hyperparameters.checkpoint_every_steps
        if not self.log or self.num_timesteps - self.log[-1].step >= every:
            self.keep()

    def _on_rollout_end(self) -> None:
        infos = [info["figures"] for info in self.model.ep_info_buffer or [] if "figures" in info]
        for name in infos[0] if infos else []:
            self.logger.record(f"train_episodes/{name}", float(np.mean([info[name] for info in infos])))

    def _on_step(self) -> bool:
        self.report.advance("PPO", self.num_timesteps, self.hyperparameters.ppo.total_steps)
        return True

    def _on_training_end(self) -> None:
        self.keep()

    def keep(self) -> None:
        """Validate and write a checkpoint; the log is written last, so what it names is whole."""
        model: Any = self.model
        policy = export_policy(model, self.definition, self.hyperparameters.hidden)
        means = play_policy(self.definition, policy, self.validation).means()
        save_policy(policy, self.folder / f"policy-{self.num_timesteps}.npz")
        save_model(model, self.folder / MODEL)
        passed_s = time.monotonic() - self._began_s
        self.log.append(Checkpoint(self.num_timesteps, **means, wall_s=self._before_s + passed_s))
        write_log(self.log, self.folder / "checkpoints.json")
        for name, value in means.items():
            self.logger.record(f"validation_agent/{name}", value)
            if self.rival is not None:
                self.logger.record(f"validation_rival/{name}", self.rival[name])
        self.logger.dump(self.num_timesteps)


def learn(model: PPO, checkpoints: Checkpoints, hyperparameters: Hyperparameters) -> None:
    """Train until the total number of steps, from wherever the model stands."""
    model.set_logger(configure(str(checkpoints.folder / "tensorboard"), ["tensorboard"]))
    left = hyperparameters.ppo.total_steps - model.num_timesteps
    if left > 0:
        model.learn(left, callback=checkpoints, reset_num_timesteps=False)
    elif not checkpoints.log or checkpoints.log[-1].step < model.num_timesteps:
        checkpoints.init_callback(model)  # cut off between the model and its line in the log
        checkpoints.keep()
