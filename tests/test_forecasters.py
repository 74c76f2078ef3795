"""Forecasters, by themselves and at each decision of a series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.workload.forecasters import (
    MovingAverage,
    Perfect,
    WindowMaximum,
    fit_autoregressive,
    forecast_series,
    make_forecaster,
    slot_maxima,
)
from ipa_rl.workload.steps import maxima_ahead
from ipa_rl.workload.workload import load_workload

TWITTER = load_workload("twitter")

HISTORY_STEPS = 120
histories = st.lists(st.integers(0, 60), min_size=HISTORY_STEPS, max_size=300).map(np.array)


@given(histories)
def test_a_window_maximum_never_expects_less_than_an_average_of_the_same_window(history: np.ndarray) -> None:
    assert WindowMaximum(30).forecast(history, 0.0) >= MovingAverage(30).forecast(history, 0.0)
    assert WindowMaximum(60).forecast(history, 0.0) >= WindowMaximum(30).forecast(history, 0.0)
    assert make_forecaster("last", TWITTER, 1).forecast(history, 0.0) == history[-1]


@given(histories, st.integers(0, 100))
def test_the_perfect_forecast_is_the_true_maximum_of_the_next_20_s(history: np.ndarray, ahead: int) -> None:
    arrivals = np.concatenate([history, np.arange(100)])
    now = len(history) + min(ahead, 79)
    assert Perfect(arrivals).forecast(arrivals[:now], 0.0) == arrivals[now : now + 20].max()


def test_an_autoregressive_forecast_finds_a_linear_world() -> None:
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.integers(5, 30, 3000), 40)
    fitted = fit_autoregressive(levels, order=4)
    steady = np.full(400, 17)
    assert fitted.forecast(steady, 0.0) == pytest.approx(17, rel=0.25)


def test_slots_and_maxima_are_aligned_with_the_end() -> None:
    loads = np.arange(25)
    np.testing.assert_array_equal(slot_maxima(loads), [14, 24])
    np.testing.assert_array_equal(maxima_ahead(loads, np.array([0, 5]), 20, 1), [19, 24])


@pytest.mark.parametrize(
    "name",
    ["last", "window-max:45", "moving-average:10", "clock:20", "quantile:90@20", "autoregressive", "lstm"],
)
def test_a_series_is_what_the_forecaster_says_at_each_decision(name: str) -> None:
    if name == "lstm":
        pytest.importorskip("torch")
    forecaster = make_forecaster(name, TWITTER, 1)
    window = TWITTER.named_window("bursty", HISTORY_STEPS)
    series = forecast_series(forecaster, window, 10)
    assert len(series) == 120
    for step in (0, 40, 119):
        now = HISTORY_STEPS + 10 * step
        alone = forecaster.forecast(window.arrivals[:now], window.clock_s + 10.0 * step)
        assert series[step] == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize(
    "name", ["next", "window-max:0", "window-max:soon", "window-max:121", "last:3", "perfect"]
)
def test_a_bad_forecaster_name_is_named_with_the_fix(name: str) -> None:
    with pytest.raises(InputError, match="fix: "):
        make_forecaster(name, TWITTER, 1)
