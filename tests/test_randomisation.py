"""Worlds that differ from the profile, preferences as inputs, synthetic loads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ipa_rl.environment.definition import default_rho
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.environment.episodes import Episodes
from ipa_rl.environment.observation import observation_names
from ipa_rl.environment.randomisation import NOMINAL, Drawn, Randomisation
from ipa_rl.errors import InputError
from ipa_rl.objective import utility
from ipa_rl.simulation import FluidSimulator, Timing
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.synthetic import random_rates

VIDEO = load_definition("video")


def test_by_default_every_episode_is_as_profiled_and_draws_nothing() -> None:
    rng = np.random.default_rng(3)
    assert Randomisation().draw(rng) == NOMINAL
    assert rng.random() == np.random.default_rng(3).random()


@given(st.integers(0, 10_000))
@settings(max_examples=50)
def test_draws_stay_within_their_ranges(seed: int) -> None:
    ranges = Randomisation(
        share=1.0, start_up=(0.8, 2.0), service=(1.0, 1.3), load=(0.5, 1.5), sla=(0.9, 1.1),
        preference_share=0.5, preferences=(0.5, 2.0), synthetic_share=0.5, failure_share=0.5,
    )  # fmt: skip
    drawn = ranges.draw(np.random.default_rng(seed))
    for name in ("start_up", "service", "load", "sla"):
        low, high = getattr(ranges, name)
        assert low <= getattr(drawn, name) <= high
    assert drawn.preference in (0, 1, 2)
    assert (drawn.lost == 0.0) == (drawn.fails_at == 1.0)
    assert 0.0 <= drawn.fails_at <= 1.0
    assert drawn.lost == 0.0 or 0.2 <= drawn.lost <= 0.6


@pytest.mark.parametrize(
    "wrong",
    [{"start_up": (2.0, 1.0)}, {"preference_share": 0.5}, {"service": (0.0, 1.0)}, {"share": 1.5}],
)
def test_ranges_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Randomisation(**wrong)  # type: ignore[arg-type]


def test_a_slower_world_serves_as_a_simulator_with_slower_settings() -> None:
    """One environment's world is what Timing are for all."""
    loads = np.random.default_rng(0).poisson(12.0, (1, 300)).astype(np.float64)
    rows = VIDEO.rows_for(15.0)
    scaled = replace(VIDEO.timing, service_scale=1.3, start_up_scale=2.0)
    theirs = FluidSimulator(VIDEO.problem, scaled, 1)
    ours = FluidSimulator(VIDEO.problem, Timing(interval_s=10), 2)
    ours.set_world(1, 2.0, 1.3, 1.0)
    for simulator in (theirs, ours):
        for e in range(len(simulator.clock)):
            simulator.reset(e, rows)
        simulator.apply(np.repeat(VIDEO.rows_for(30.0)[None], len(simulator.clock), axis=0))
        simulator.advance(np.repeat(loads, len(simulator.clock), axis=0))
    for name in ("served", "late", "core_s", "dropped"):
        assert ours.totals[name][1] == pytest.approx(theirs.totals[name][0], rel=1e-12)
    assert ours.totals["histogram"][0].tolist() != ours.totals["histogram"][1].tolist()


def test_a_tighter_sla_counts_more_requests_as_late() -> None:
    simulator = FluidSimulator(VIDEO.problem, VIDEO.timing, 2)
    simulator.set_world(1, 1.0, 1.0, 0.01)
    for e in range(2):
        simulator.reset(e, VIDEO.rows_for(10.0))
    simulator.advance(np.full((2, 60), 8.0))
    assert simulator.totals["late"][0] == 0
    assert simulator.totals["late"][1] == pytest.approx(simulator.totals["served"][1])
    np.testing.assert_allclose(simulator.sla_s, VIDEO.problem.sla_s * np.array([1.0, 0.01]))


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
@settings(max_examples=20, deadline=None)
def test_a_preference_is_the_logarithm_of_its_ratio_and_rho_follows(alpha: float, beta: float) -> None:
    asked = VIDEO.preferring(alpha, beta)
    own = VIDEO.weights
    assert asked.preference == pytest.approx(math.log(alpha / beta) - math.log(own.alpha / own.beta))
    assert (asked.weights.alpha, asked.weights.beta) == (alpha, beta)
    assert asked.weights.rho == pytest.approx(default_rho(asked))


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_a_preference_without_a_ratio_is_refused_in_words(alpha: float, beta: float) -> None:
    with pytest.raises(InputError, match="give positive numbers"):
        VIDEO.preferring(alpha, beta)


def test_each_environment_is_rewarded_by_its_own_preference() -> None:
    """Of two environments that do the same, each episode's utility is that of its weights."""
    definition = replace(VIDEO, randomisation=Randomisation(preference_share=1.0, preferences=(30.0,)))
    episodes = Episodes(definition, 2)
    arrivals = np.full(HISTORY_STEPS + definition.episode_s, 12.0)
    episodes.begin(0, arrivals)
    episodes.begin(1, arrivals, drawn=Drawn(preference=1))
    rows = VIDEO.rows_for(14.0)
    for _ in range(30):
        episodes.step(np.repeat(rows[None], 2, axis=0))
    own, accurate = episodes.summary(0), episodes.summary(1)
    weights = VIDEO.preferring(30.0 * VIDEO.weights.alpha, VIDEO.weights.beta).weights
    wanted = utility(weights, accurate["pas_x100"] / 100.0, accurate["cores"], 0.0, accurate["violations"])
    assert accurate["utility"] == pytest.approx(wanted, abs=1e-4)
    assert own["utility"] != accurate["utility"]
    at = observation_names(definition.problem).index("preference")
    seen = episodes.observe()[:, at]
    assert seen.tolist() == pytest.approx([0.0, math.log(30.0) / 3.0])


def test_replicas_fail_once_where_an_episode_says_so_and_are_started_anew() -> None:
    episodes = Episodes(VIDEO, 2)
    arrivals = np.full(HISTORY_STEPS + VIDEO.episode_s, 12.0)
    episodes.begin(0, arrivals)
    episodes.begin(1, arrivals, drawn=Drawn(start_up=2.0, fails_at=0.1, lost=0.5))
    rows = np.array([[0, 0, 4], [0, 0, 4]])
    ready = []
    for _ in range(20):
        episodes.step(np.repeat(rows[None], 2, axis=0))
        ready.append(episodes.simulator.fleet["ready"].tolist())
    assert all(whole == [4, 4] for whole, _ in ready[2:])
    assert [lost for _, lost in ready[11:15]] == [[4, 4], [2, 2], [4, 4], [4, 4]]
    assert all(lost == [4, 4] for _, lost in ready[14:])


def test_randomised_episodes_are_the_same_for_the_same_seed() -> None:
    randomisation = Randomisation(
        share=0.7, start_up=(0.5, 3.0), service=(0.9, 1.4), load=(0.5, 1.5), synthetic_share=0.5
    )
    definition = replace(VIDEO, randomisation=randomisation)
    returns = []
    for environments in (2, 5):
        vector = IpaVectorEnv(environments, definition)
        vector.reset(seed=[7, 8, *range(environments - 2)])
        actions = np.zeros((environments, len(vector.single_action_space.sample())), dtype=np.int64)
        returns.append([vector.step(actions)[1][:2].tolist() for _ in range(130)])
    assert returns[0] == returns[1]


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_synthetic_loads_are_loads(seed: int) -> None:
    rates = random_rates(900, np.random.default_rng(seed))
    assert rates.shape == (900,)
    assert (rates >= 0).all()
    assert rates.max() <= 40
