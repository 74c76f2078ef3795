"""Quantile forecasts: calibration, order, and what the observation makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.environment.definition import load_definition
from ipa_rl.environment.observation import FORECAST_QUANTILES, Observer, observation_names
from ipa_rl.errors import InputError
from ipa_rl.simulation import FluidSimulator
from ipa_rl.workload.forecasters import Perfect, make_forecaster
from ipa_rl.workload.quantiles import (
    HISTORY_S,
    HORIZONS_S,
    QUANTILES,
    QuantileForecaster,
    make_quantile,
    nearest_horizon,
)
from ipa_rl.workload.trace import load_trace, starts, true_maxima


@pytest.mark.parametrize("horizon_s", HORIZONS_S)
def test_each_quantile_covers_its_share_of_the_validation_part(horizon_s: int) -> None:
    """That is what they were shifted to do, on other seconds of the part than these."""
    at = starts("validation", max(HORIZONS_S), HISTORY_S)[3::97]
    loads = load_trace()
    true = true_maxima(loads, at, horizon_s)
    for quantile in QUANTILES:
        forecaster = make_quantile(quantile, horizon_s)
        expected = np.array([forecaster.forecast(loads[now - HISTORY_S : now], now) for now in at.tolist()])
        assert (true <= expected).mean() == pytest.approx(quantile, abs=0.02)


@given(st.integers(0, 2**32 - 1), st.sampled_from(HORIZONS_S))
@settings(max_examples=40, deadline=None)
def test_a_higher_quantile_forecasts_more_on_real_loads(seed: int, horizon_s: int) -> None:
    at = starts("train", max(HORIZONS_S), HISTORY_S)
    second = int(np.random.default_rng(seed).choice(at))
    history = load_trace()[second - HISTORY_S : second]
    low, high = (make_quantile(q, horizon_s).forecast(history, second) for q in (0.5, 0.99))
    assert 0 <= low < high


def test_names_are_understood_and_wrong_ones_refused_in_words() -> None:
    quantile, perfect = make_forecaster("quantile:95@30"), make_forecaster("perfect:30", np.ones(9))
    assert isinstance(quantile, QuantileForecaster)
    assert isinstance(perfect, Perfect)
    assert (quantile.quantile, quantile.horizon_s, perfect.horizon_s) == (0.95, 30, 30)
    for wrong in ("quantile", "quantile:96@30", "quantile:95@31", "quantile:95"):
        with pytest.raises(InputError, match="write quantile:90@30"):
            make_forecaster(wrong)


def test_the_horizon_lasts_until_the_slowest_replica_has_served_an_interval() -> None:
    video, nlp = load_definition("video"), load_definition("nlp")
    assert video.horizon_s == nearest_horizon(11.5 + 10) == 25
    assert nlp.horizon_s == nearest_horizon(20.2 + 10) == 35
    assert nearest_horizon(1000.0) == HORIZONS_S[-1]


def test_the_observation_holds_the_forecasts_relative_to_the_recent_maximum() -> None:
    video = load_definition("video")
    loads = load_trace()[5000 : 5000 + HISTORY_S].astype(np.float64)
    simulator = FluidSimulator(video.problem, video.timing, 1)
    simulator.reset(0, video.rows_for(20.0))
    observed, reference = Observer(video).observe(
        loads[None], np.array([HISTORY_S]), np.array([5120]), simulator.fleet, simulator.waiting(),
        simulator.sla_s, np.zeros(1),
    )  # fmt: skip
    names = observation_names(video.problem)
    for quantile in FORECAST_QUANTILES:
        at = names.index(f"forecast, {100 * quantile:g} %")
        wanted = make_quantile(quantile, video.horizon_s).forecast(loads, 5120.0) / reference[0]
        assert observed[0, at] == pytest.approx(wanted, rel=1e-5)
