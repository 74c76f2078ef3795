"""The Gymnasium environment: interfaces, determinism, observations, reward."""

from __future__ import annotations

import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

import ipa_rl  # noqa: F401  (registers the environments)
from ipa_rl import resources
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv, IpaVectorEnv
from ipa_rl.environment.observation import BOUND, observation_names
from ipa_rl.simulation.tables import replicas_there
from ipa_rl.solvers.transition import units_there
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.steps import HISTORY_STEPS

SHIPPED = resources.shipped_names("envs")


def short(definition: Definition, episode_s: int = 120) -> Definition:
    return replace(definition, episodes=definition.episodes.model_copy(update={"episode_s": episode_s}))


@pytest.mark.parametrize("name", SHIPPED)
def test_make_and_make_vec_work(name: str) -> None:
    single = gymnasium.make(f"ipa_rl/{name}-v1")
    assert single.observation_space.contains(single.reset(seed=3)[0])
    vector = gymnasium.make_vec(f"ipa_rl/{name}-v1", num_envs=3)
    observations, _ = vector.reset(seed=3)
    assert observations.shape == (3, *single.observation_space.shape)  # type: ignore[misc]
    observations, rewards, _, _, _ = vector.step(vector.action_space.sample())
    assert vector.observation_space.contains(observations)
    assert np.isfinite(rewards).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_both_checkers_pass_without_warnings(name: str) -> None:
    sb3_checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"ipa_rl/{name}-v1").unwrapped)
        sb3_checker.check_env(IpaEnv(name))


def test_whatever_is_asked_for_no_more_is_occupied_than_resources_have() -> None:
    """Not while old and new replicas run beside each other either."""
    definition = short(resources_limited(load_definition("video"), 12.0), 600)
    vector = IpaVectorEnv(4, definition)
    vector.reset(seed=5)
    vector.action_space.seed(5)
    highest = 0.0
    for _ in range(60):
        vector.step(vector.action_space.sample())
        for fleet in vector.episodes.simulator.fleet:
            there = replicas_there(definition.problem, fleet)
            highest = max(highest, units_there(definition.pipeline, there)["cores"])
    assert 6.0 < highest <= 12.0


def test_a_decision_that_fits_is_played_as_it_is() -> None:
    definition = short(load_definition("video"))
    roomy = resources_limited(definition, 1e6)
    actions = np.random.default_rng(3).integers(0, 3, (8, 6))
    assert played(IpaVectorEnv(1, roomy), 3, actions) == played(IpaVectorEnv(1, definition), 3, actions)


def resources_limited(definition: Definition, cores: float) -> Definition:
    return definition.with_problem(limits=(("cores", cores),))


def played(vector: IpaVectorEnv, seed: int, actions: NDArray[np.int64]) -> list[bytes]:
    """Observations and rewards of the last environment, to the bit."""
    observations, _ = vector.reset(seed=seed)
    seen = [observations[-1].tobytes()]
    for action in actions:
        tiled = np.tile(action, (vector.num_envs, 1))
        observations, rewards, _, _, _ = vector.step(tiled)
        seen += [observations[-1].tobytes(), rewards[-1].tobytes()]
    return seen


def test_the_same_seed_gives_the_same_episode_whatever_the_number_of_environments(
    video: Definition,
) -> None:
    vector = IpaVectorEnv(1, video)
    vector.single_action_space.seed(1)
    actions = np.stack([vector.single_action_space.sample() for _ in range(150)])
    alone = played(vector, 45, actions)
    assert alone == played(IpaVectorEnv(6, video), 40, actions)
    assert alone == played(IpaVectorEnv(33, video), 13, actions)


def test_the_single_environment_plays_what_the_vectorised_one_plays(video: Definition) -> None:
    single, vector = IpaEnv(video), IpaVectorEnv(4, video)
    single.action_space.seed(2)
    ours, _ = single.reset(seed=12)
    theirs, _ = vector.reset(seed=10)
    np.testing.assert_array_equal(ours, theirs[2])
    for _ in range(30):
        action = single.action_space.sample()
        ours, reward, _, _, _ = single.step(action)
        theirs, rewards, _, _, _ = vector.step(np.tile(action, (4, 1)))
        np.testing.assert_array_equal(ours, theirs[2])
        assert reward == rewards[2]


def test_an_episode_is_truncated_after_its_length_and_never_terminates(video: Definition) -> None:
    env = IpaEnv(short(video, 120))
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(12)]
    assert ends == [(False, False)] * 11 + [(False, True)]


def test_a_vectorised_episode_resets_in_the_step_that_ends_it(video: Definition) -> None:
    vector = IpaVectorEnv(2, short(video, 60))
    vector.reset(seed=0)
    for _ in range(6):
        observations, _, _, ended, infos = vector.step(vector.action_space.sample())
    assert ended.all()
    assert not np.array_equal(infos["final_obs"][0], observations[0])
    assert set(infos["final_info"]) >= {"utility", "pas_x100", "cores", "violations"}
    assert (vector.episodes.simulator.clock == 0).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_entry_of_an_observation_has_a_name_and_stays_in_bounds(name: str) -> None:
    env = IpaEnv(name)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    names = observation_names(env.definition.problem)
    assert len(names) == len(set(names)) == len(observation)
    seen = [env.step(env.action_space.sample())[0] for _ in range(100)]
    assert np.abs(seen).max() <= BOUND
    assert np.median(np.abs(np.array(seen)).max(axis=0)) <= 1.5


def test_given_arrivals_are_played(video: Definition) -> None:
    env = IpaEnv(short(video, 60))
    arrivals = np.full(HISTORY_STEPS + 60, 7.0)
    env.reset(options={"arrivals": arrivals})
    *_, info = env.step(env.action_space.sample())
    assert env.episodes.simulator.totals["arrived"][0] == 70.0
    assert info["violations"] == 0.0


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_eventful_episodes_are_those_stretches_of_the_part_and_no_others(
    video: Definition, scale: float
) -> None:
    drawn = video.episodes.model_copy(update={"episode_s": 120, "eventful": 3})
    workload = video.workload.at_scale(scale)
    env = IpaVectorEnv(16, replace(video, workload=workload, episodes=drawn))
    env.reset(seed=4)
    stretches = {one.clock_s: one.arrivals for one in eventful(workload, "train", 120, HISTORY_STEPS, most=3)}
    assert set(env.episodes.clock_s.tolist()) == set(stretches)
    for clock_s, loads in zip(env.episodes.clock_s.tolist(), env.episodes.loads, strict=True):
        assert np.array_equal(loads, stretches[clock_s])
