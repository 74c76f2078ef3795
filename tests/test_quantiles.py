"""Quantile forecasts: calibration, order, and what the observation makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.observation import FORECAST_QUANTILES, Observer, observation_names
from ipa_rl.errors import InputError
from ipa_rl.simulation import FluidSimulator
from ipa_rl.workload.forecasters import Perfect, make_forecaster
from ipa_rl.workload.quantiles import QUANTILES, QuantileForecaster, parse_quantile
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZONS_STEPS, maxima_ahead, nearest_horizon
from ipa_rl.workload.workload import load_workload

TWITTER = load_workload("twitter")


def make_quantile(quantile: float, horizon: int) -> QuantileForecaster:
    return parse_quantile(f"quantile:{100 * quantile:g}@{horizon}", TWITTER, 1)


@pytest.mark.parametrize("horizon", HORIZONS_STEPS)
def test_each_quantile_covers_its_share_of_the_validation_part(horizon: int) -> None:
    """That is what they were shifted to do, on other seconds of the part than these."""
    at = TWITTER.starts("validation", max(HORIZONS_STEPS), HISTORY_STEPS)[3::97]
    loads = TWITTER.loads
    true = maxima_ahead(loads, at, horizon, 1)
    for quantile in QUANTILES:
        forecaster = make_quantile(quantile, horizon)
        expected = np.array(
            [forecaster.forecast(loads[now - HISTORY_STEPS : now], now) for now in at.tolist()]
        )
        assert (true <= expected).mean() == pytest.approx(quantile, abs=0.02)


@given(st.integers(0, 2**32 - 1), st.sampled_from(HORIZONS_STEPS))
@settings(max_examples=40, deadline=None)
def test_a_higher_quantile_forecasts_more_on_real_loads(seed: int, horizon: int) -> None:
    at = TWITTER.starts("train", max(HORIZONS_STEPS), HISTORY_STEPS)
    second = int(np.random.default_rng(seed).choice(at))
    history = TWITTER.loads[second - HISTORY_STEPS : second]
    low, high = (make_quantile(q, horizon).forecast(history, second) for q in (0.5, 0.99))
    assert 0 <= low < high


def test_names_are_understood_and_wrong_ones_refused_in_words() -> None:
    quantile = make_forecaster("quantile:95@30", TWITTER, 1)
    perfect = make_forecaster("perfect:30", TWITTER, 1, np.ones(9))
    assert isinstance(quantile, QuantileForecaster)
    assert isinstance(perfect, Perfect)
    assert perfect.horizon == 30
    for wrong in ("quantile", "quantile:96@30", "quantile:95@31", "quantile:95"):
        with pytest.raises(InputError, match="write quantile:90@30"):
            make_forecaster(wrong, TWITTER, 1)


def test_the_horizon_lasts_until_the_slowest_replica_has_served_an_interval() -> None:
    video, nlp = load_definition("video"), load_definition("nlp")
    assert video.horizon == nearest_horizon(11.5 + 10) == 25
    assert nlp.horizon == nearest_horizon(20.2 + 10) == 35
    assert nearest_horizon(1000.0) == HORIZONS_STEPS[-1]


def test_the_observation_holds_the_forecasts_relative_to_the_recent_maximum() -> None:
    video = load_definition("video")
    loads = TWITTER.loads[5000 : 5000 + HISTORY_STEPS].astype(np.float64)
    simulator = FluidSimulator(video.problem, video.timing, 1)
    simulator.reset(0, video.rows_for(20.0))
    observed, reference = Observer(video).observe(
        loads[None], np.array([HISTORY_STEPS]), np.array([5120]), simulator.fleet, simulator.waiting(),
        simulator.sla_s, np.zeros(1),
    )  # fmt: skip
    names = observation_names(video.problem)
    for quantile in FORECAST_QUANTILES:
        at = names.index(f"forecast, {100 * quantile:g} %")
        wanted = make_quantile(quantile, video.horizon).forecast(loads, 5120.0) / reference[0]
        assert observed[0, at] == pytest.approx(wanted, rel=1e-5)
