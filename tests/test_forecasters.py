"""Forecasters, by themselves and at each decision of a series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
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
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, load_workload

TWITTER = load_workload("twitter")


def counted(counts: np.ndarray, **description: object) -> Workload:
    """A workload of counts that nobody keeps."""
    said = WorkloadModel.model_validate(description)
    return Workload("mine", None, said, lambda: Recorded(counts=counts))


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
    fitted = fit_autoregressive(counted(levels), 1)
    steady = np.full(400, 17)
    assert fitted.forecast(steady, 0.0) == pytest.approx(17, rel=0.25)


@given(st.integers(2, 500))
@settings(max_examples=10, deadline=None)
def test_an_autoregressive_forecast_knows_no_scale(factor: int) -> None:
    counts = np.random.default_rng(0).poisson(10 + 5 * np.sin(np.arange(6000) / 200))
    fitted, grown = (fit_autoregressive(counted(one), 1) for one in (counts, factor * counts))
    history = counts[:HISTORY_STEPS]
    expected = factor * fitted.forecast(history, 0.0)
    assert grown.forecast(factor * history, 0.0) == pytest.approx(expected, rel=1e-6)


def test_an_autoregressive_forecast_learns_nothing_from_gaps() -> None:
    counts = np.full(6000, 10)
    counts[2000:2600] = 0
    fitted = fit_autoregressive(counted(counts, gaps=[(2000, 2600)]), 1)
    assert fitted.forecast(np.full(HISTORY_STEPS, 10), 0.0) == pytest.approx(10.0)


def test_what_was_fitted_follows_the_scale_of_the_workload() -> None:
    history = TWITTER.loads[:HISTORY_STEPS]
    for name in ("autoregressive", "lstm"):
        if name == "lstm":
            pytest.importorskip("torch")
        alone, thrice = (make_forecaster(name, TWITTER.at_scale(k), 1) for k in (1.0, 3.0))
        expected = 3 * alone.forecast(history, 0.0)
        assert thrice.forecast(3 * history, 0.0) == pytest.approx(expected, rel=1e-5)


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
