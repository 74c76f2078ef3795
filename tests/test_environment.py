"""The Gymnasium environment: interfaces, determinism, observations, reward."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import inf
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ipa_rl  # noqa: F401  (registers the environments)
from ipa_rl import resources
from ipa_rl.environment.definition import Definition, default_rho, load_definition
from ipa_rl.environment.env import IpaEnv, IpaVectorEnv
from ipa_rl.environment.observation import BOUND, observation_names
from ipa_rl.errors import InputError
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import scaled

SHIPPED = resources.shipped_names("envs")


@pytest.fixture(scope="module")
def video() -> Definition:
    return load_definition("video")


def short(definition: Definition, episode_s: int = 120) -> Definition:
    return replace(definition, workload=definition.workload.model_copy(update={"episode_s": episode_s}))


def test_the_five_pipelines_of_the_paper_are_shipped() -> None:
    assert {"video", "audio-qa", "audio-sent", "sum-qa", "nlp"} <= set(SHIPPED)


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
    arrivals = np.full(HISTORY_S + 60, 7.0)
    env.reset(options={"arrivals": arrivals})
    *_, info = env.step(env.action_space.sample())
    assert env.episodes.simulator.totals["arrived"][0] == 70.0
    assert info["violations"] == 0.0


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_eventful_episodes_are_those_stretches_of_the_part_and_no_others(
    video: Definition, scale: float
) -> None:
    workload = video.workload.model_copy(update={"episode_s": 120, "eventful": 3, "scale": scale})
    env = IpaVectorEnv(16, replace(video, workload=workload))
    env.reset(seed=4)
    stretches = {one.clock_s: scaled(one, scale).arrivals for one in eventful("train", 120, 3)}
    assert set(env.episodes.clock_s.tolist()) == set(stretches)
    for clock_s, loads in zip(env.episodes.clock_s.tolist(), env.episodes.loads, strict=True):
        assert np.array_equal(loads, stretches[clock_s])


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
    finished = env.episodes.episode_totals[:3, 0]
    if finished[1] + finished[2] == pytest.approx(finished[0], rel=0.01):
        assert np.mean(rewards) == pytest.approx(summary["utility"], abs=0.03)


def test_the_reward_is_the_utility_of_the_interval_less_the_optimum_for_its_load(
    video: Definition,
) -> None:
    definition = short(video, 60)
    env = IpaEnv(definition)
    env.reset(options={"arrivals": np.full(HISTORY_S + 60, 5.0)})
    rows = definition.rows_for(5.0)
    reward = float(env.episodes.step(rows[None])[0])
    assert reward == pytest.approx(0.0, abs=1e-5)


def test_the_default_rho_makes_one_percent_weigh_as_a_tenth_of_the_mean_cost(
    video: Definition,
) -> None:
    costs = [0.01 * default_rho(video.problem), 0.1 * video.weights.beta * 2.06]
    assert costs[0] == pytest.approx(costs[1], rel=0.01)


BROKEN = {
    "sla_s": ("sla_s: 6.897365", "sla_s: -1"),
    "weights.alpha": ("alpha: 2", "alpha: much"),
    "limits.max_replicas": ("  max_replicas: 100\n", ""),
    "colour": ("pipeline: video", "pipeline: video\ncolour: red"),
    "reload_s": ("pipeline: video", "pipeline: video\nreload_s: {crops: 1}"),
    "baselines.fa2_low": ("fa2_low: [yolov5n, resnet18]", "fa2_low: [yolov5n, resnet19]"),
    "baselines.rim_replicas": ("rim_replicas: [3, 3]", "rim_replicas: [3]"),
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", [inf, inf]), ("reload_s: 2", [2.0, 2.0]), ("reload_s: {crop: 0.5}", [0.5, inf])],
)
def test_a_definition_says_which_stages_change_their_variant_in_place(
    given: str, expected: list[float], tmp_path: Path
) -> None:
    text = (resources.folder("envs") / "video.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(f"{text}\n{given}\n", encoding="utf-8")
    stages = load_definition(path).pipeline.stages
    assert [{variant.reload_s for variant in stage.variants} for stage in stages] == [{s} for s in expected]


@pytest.mark.parametrize("field", BROKEN)
def test_a_broken_definition_names_file_field_and_fix(field: str, tmp_path: Path) -> None:
    text = (resources.folder("envs") / "video.yaml").read_text(encoding="utf-8")
    before, after = BROKEN[field]
    assert before in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_definition(path)
    assert str(caught.value).startswith(f"{path}:")
    assert field in str(caught.value)
    assert "fix: " in str(caught.value)


def test_an_unknown_environment_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="video"):
        load_definition("vidoe")
