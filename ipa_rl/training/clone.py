"""Cloning: the policy first learns to answer as a teacher does that solves the integer program.

PPO from scratch collapses into the cheapest variants; cloning gives it a start worth keeping.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn.functional import cross_entropy

from ipa_rl.environment.action import HEADROOM_COMPONENT, encode_action
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.progress import Report
from ipa_rl.training.hyperparameters import Cloning, Hyperparameters, visible
from ipa_rl.workload.clock import REFERENCE_STEPS, season_of


def clone(
    policy: ActorCriticPolicy, definition: Definition, hyperparameters: Hyperparameters, report: Report
) -> str:
    """Teach the policy what its teacher answers; says how well it learned."""
    cloning, environments, seed = hyperparameters.cloning, hyperparameters.environments, hyperparameters.seed
    observations, actions = collect(definition, cloning, environments, seed, report)
    seen = observations * visible(definition.problem, hyperparameters.hidden)
    share = fit(policy, torch.as_tensor(seen), torch.as_tensor(actions), cloning, report)
    return f"clone answers as its teacher does in {100 * share:.1f} % of {len(actions)} states"


def teacher_actions(environments: IpaVectorEnv, cloning: Cloning) -> NDArray[np.int64]:
    """What the teacher answers, as actions (environments, components); each by its own preference."""
    episodes, definition = environments.episodes, environments.definition
    reference_rps, horizon_s = episodes.reference_rps, definition.horizon * definition.step_s
    if cloning.teacher == "hindsight":
        planned_rps = episodes.ahead(horizon_s)
    else:  # in halves of the unit of loads
        planned_rps = reference_rps
        if cloning.teacher == "clock":
            season, seen_s = season_of(definition.workload), REFERENCE_STEPS * definition.step_s
            planned_rps = planned_rps * season.growth(horizon_s, seen_s)[season.position(episodes.clock())]
        half_rps = definition.load_unit_rps / 2.0
        planned_rps = np.ceil(planned_rps / half_rps) * half_rps
    variants, limit = episodes.simulator.variants, definition.problem.max_replicas
    graph = definition.pipeline.graph
    kept: dict[tuple[float, float, int], NDArray[np.int64]] = {}
    keys = list(zip(planned_rps.tolist(), reference_rps.tolist(), episodes.preference.tolist(), strict=True))
    for planned, reference, preference in set(keys):
        rows = episodes.preferred[preference].rows_for(planned)
        kept[planned, reference, preference] = encode_action(rows, reference, variants, limit, graph)
    return np.stack([kept[key] for key in keys])


def collect(
    definition: Definition, cloning: Cloning, environments: int, seed: int, report: Report
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Play the teacher with some random actions, and keep what it would have done everywhere.

    Observations (samples, entries) and the teacher's actions (samples, components).
    """
    vector = IpaVectorEnv(environments, definition)
    rng = np.random.default_rng(seed)
    observations, _ = vector.reset(seed=seed)
    sizes = vector.single_action_space.nvec  # type: ignore[attr-defined]
    seen, answers = [], []
    for step in range(cloning.steps):
        taught = teacher_actions(vector, cloning)
        seen.append(observations)
        answers.append(taught)
        strays = rng.random(environments) < cloning.random_actions
        played = np.where(strays[:, None], rng.integers(0, sizes, size=taught.shape), taught)
        observations = vector.step(played)[0]
        report.advance("collect", step + 1, cloning.steps)
    return np.concatenate(seen), np.concatenate(answers)


def fit(
    policy: ActorCriticPolicy,
    observations: torch.Tensor,
    actions: torch.Tensor,
    cloning: Cloning,
    report: Report,
) -> float:
    """Fit the actor to a teacher by cross entropy; returns the share of actions it then gets right."""
    optimizer = torch.optim.Adam(policy.parameters(), lr=cloning.learning_rate)
    for epoch in range(cloning.epochs):
        order = torch.randperm(len(observations))
        for start in range(0, len(order), cloning.batch_size):
            batch = order[start : start + cloning.batch_size]
            parts = _logits(policy, observations[batch])
            targets = _targets(actions[batch], [part.shape[1] for part in parts], cloning)
            losses = [cross_entropy(part, target) for part, target in zip(parts, targets, strict=True)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        report.advance("clone", epoch + 1, cloning.epochs)
    with torch.no_grad():
        parts = _logits(policy, observations)
        guesses = torch.stack([part.argmax(dim=1) for part in parts], dim=1)
    return float((guesses == actions).all(dim=1).float().mean())


def _logits(policy: Any, observations: torch.Tensor) -> tuple[torch.Tensor, ...]:
    logits = policy.action_net(policy.mlp_extractor.forward_actor(observations))
    return torch.split(logits, policy.action_space.nvec.tolist(), dim=1)


def _targets(actions: torch.Tensor, sizes: list[int], cloning: Cloning) -> list[torch.Tensor]:
    """Distributions (samples, choices) to imitate, one a component of the action.

    Variant and batch are the teacher's; headroom, every third component, is spread over the levels beside
    the teacher's, as replicas move in steps that several levels share.
    """
    targets = []
    for component, size in enumerate(sizes):
        taught = actions[:, component, None]
        if component % 3 == HEADROOM_COMPONENT and cloning.headroom_spread > 0:
            distance = (torch.arange(size) - taught) / cloning.headroom_spread
            target = torch.softmax(-0.5 * distance**2, dim=1)
        else:
            target = torch.zeros(len(actions), size).scatter_(1, taught, 1.0)
        smoothing = cloning.label_smoothing
        targets.append((1.0 - smoothing) * target + smoothing / size)
    return targets
