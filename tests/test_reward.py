"""The reward is the utility of the interval, shaped by what changes no preference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ipa_rl  # noqa: F401  (registers the environments)
from ipa_rl.environment.definition import Definition, default_rho
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv
from ipa_rl.workload.steps import HISTORY_STEPS


def short(definition: Definition, episode_s: int = 120) -> Definition:
    return replace(definition, episodes=definition.episodes.model_copy(update={"episode_s": episode_s}))


def returns(definition: Definition, seed: int, actions: NDArray[np.int64]) -> float:
    env = IpaEnv(definition)
    env.reset(seed=seed)
    return sum(float(env.step(action)[1]) for action in actions)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_shaping_moves_every_policy_by_the_same_so_never_changes_which_is_better(
    seed: int, policy_seed: int
) -> None:
    """Over the same arrivals, two policies' returns differ by as much with shaping as without."""
    shaped = short(load_definition("video"), 240)
    plain = replace(shaped, reward=shaped.reward.model_copy(update={"shaping": False}))
    space = IpaEnv(shaped).action_space
    space.seed(policy_seed)
    one, other = (np.stack([space.sample() for _ in range(24)]) for _ in range(2))
    with_shaping = returns(shaped, seed, one) - returns(shaped, seed, other)
    without = returns(plain, seed, one) - returns(plain, seed, other)
    assert with_shaping == pytest.approx(without, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_rewards_are_on_average_the_utility_of_the_episode(seed: int) -> None:
    """Accuracy and violations count by request, as controllers are judged, not by interval."""
    definition = short(load_definition("video"), 300)
    plain = replace(definition, reward=definition.reward.model_copy(update={"shaping": False}))
    env = IpaEnv(plain)
    env.reset(seed=seed)
    load_rps = float(env.episodes.loads[0].max())
    rows = plain.rows_for(load_rps)[None]
    rewards = [float(env.episodes.step(rows)[0]) for _ in range(30)]
    summary = env.episodes.summary(0)
    finished = env.episodes.episode_totals[0, :3]
    if finished[1] + finished[2] == pytest.approx(finished[0], rel=0.01):
        assert np.mean(rewards) == pytest.approx(summary["utility"], abs=0.03)


def test_the_reward_is_the_utility_of_the_interval_less_the_optimum_for_its_load(
    video: Definition,
) -> None:
    definition = short(video, 60)
    env = IpaEnv(definition)
    env.reset(options={"arrivals": np.full(HISTORY_STEPS + 60, 5.0)})
    rows = definition.rows_for(5.0)
    reward = float(env.episodes.step(rows[None])[0])
    assert reward == pytest.approx(0.0, abs=1e-5)


def test_the_default_rho_makes_one_percent_weigh_as_a_tenth_of_the_mean_cost(
    video: Definition,
) -> None:
    costs = [0.01 * default_rho(video), 0.1 * video.weights.beta * 2.06]
    assert costs[0] == pytest.approx(costs[1], rel=0.01)
