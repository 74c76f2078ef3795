"""Agents that see and act as in the Gymnasium environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents.gymnasium_agent import GymnasiumAgent
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.environment.action import action_sizes
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv
from ipa_rl.errors import InputError
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.steps import HISTORY_STEPS
from tests.policies import drawn_policy
from tests.scenarios import short, state

VIDEO = load_definition("video")
SIZES = action_sizes(VIDEO.problem)


@given(
    loads=st.lists(st.integers(0, 60), min_size=HISTORY_STEPS, max_size=HISTORY_STEPS),
    action=st.tuples(*[st.integers(0, size - 1) for size in SIZES]),
)
@settings(max_examples=30)
def test_an_action_means_what_it_means_in_the_environment(loads: list[int], action: tuple[int, ...]) -> None:
    seen: list[Any] = []

    def act(observation: Any) -> Any:
        seen.append(observation)
        return np.array(action)

    arrivals = np.array(loads)
    decision = GymnasiumAgent("any", VIDEO, act).decide(state(arrivals, VIDEO))
    env = IpaEnv(VIDEO)
    future = np.concatenate([arrivals, np.zeros(VIDEO.episode_s)])
    observation, _ = env.reset(options={"arrivals": future})
    assert np.allclose(seen[0], observation)
    meant = env.episodes.decisions([np.array(action)])[0]
    assert np.array_equal(encode(VIDEO.problem, decision.configuration), meant)


def test_a_network_plays_as_its_agent_without_its_guard() -> None:
    policy = replace(drawn_policy(VIDEO), coverage=None)
    unguarded = PolicyAgent("ppo", VIDEO, policy, ProgramAgent("ip", VIDEO, WindowMaximum(30)))
    agent = GymnasiumAgent("network", VIDEO, lambda seen: policy.act(seen[None])[0])
    played = play(VIDEO, agent, short("bursty"), SimulatorKind.fluid)
    assert played.name == "network"
    assert not played.fallbacks.any()
    assert played.column("served").sum() > 0
    expected = play(VIDEO, unguarded, short("bursty"), SimulatorKind.fluid)
    np.testing.assert_array_equal(played.configured, expected.configured)


@pytest.mark.parametrize(
    "action", [np.zeros(3, dtype=int), np.full(len(SIZES), 99), np.zeros(len(SIZES)), "a", None]
)
def test_an_action_that_is_not_in_the_action_space_is_refused(action: Any) -> None:
    agent = GymnasiumAgent("wrong", VIDEO, lambda _: action)
    with pytest.raises(InputError, match="action"):
        agent.decide(state(np.full(HISTORY_STEPS, 9), VIDEO))
