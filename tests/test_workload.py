"""The trace and its split, synthetic arrivals, forecasters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.workload import trace
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.forecasters import (
    Last,
    MovingAverage,
    Perfect,
    WindowMaximum,
    fit_autoregressive,
    forecast_series,
    make_forecaster,
    slot_maxima,
)
from ipa_rl.workload.synthetic import on_off_rates, poisson_arrivals
from ipa_rl.workload.trace import true_maxima

HISTORY_S = 120
histories = st.lists(st.integers(0, 60), min_size=HISTORY_S, max_size=300).map(np.array)


@pytest.mark.parametrize(
    ("name", "requests"), [("bursty", 14_437), ("steady-low", 6_067), ("steady-high", 34_606)]
)
def test_the_papers_windows_hold_the_requests_that_its_notebooks_print(name: str, requests: int) -> None:
    assert int(trace.paper_window(name).arrivals.sum()) == requests


def test_an_unknown_window_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="steady-low"):
        trace.paper_window("busy")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_windows_stay_in_their_part_do_not_overlap_and_miss_no_data(part: trace.Part) -> None:
    begin, end = trace.PARTS[part]
    found = trace.windows(part, 1200, HISTORY_S)
    first = [int(window.name.split()[1]) for window in found]
    assert min(first) - HISTORY_S >= begin
    assert max(first) + 1200 <= end
    assert min(np.diff(first)) >= 1200
    assert len(found) > 200
    for start in first:
        stretch = trace.load_raw()[start - HISTORY_S : start + 1200] == 0
        runs = np.diff(np.flatnonzero(np.concatenate([[True], ~stretch, [True]]))) - 1
        assert runs.max() <= trace.LONGEST_GAP_S


def test_validation_leaves_out_an_hour_around_the_papers_windows() -> None:
    possible = trace.starts("validation", 1200, HISTORY_S)
    for stretches in trace.PAPER_WINDOWS.values():
        for begin, end in stretches:
            inside = (possible + 1200 > begin - 3600) & (possible - HISTORY_S < end + 3600)
            assert not inside.any()


def test_parts_are_disjoint_and_cover_the_trace() -> None:
    bounds = list(trace.PARTS.values())
    assert bounds == [(0, 1_200_000), (1_200_000, 1_500_000), (1_500_000, 1_800_000)]


@pytest.mark.parametrize(("part", "seconds"), [("test", 40), ("validation", 80), ("train", 121)])
def test_eventful_stretches_rise_in_the_middle_and_do_not_overlap(part: trace.Part, seconds: int) -> None:
    found = eventful(part, seconds, 8)
    begin, end = trace.PARTS[part]
    third = seconds // 3
    heights = []
    for one in found:
        assert begin <= one.clock_s - one.history_s
        assert one.clock_s + seconds <= end
        loads = one.arrivals[one.history_s :]
        assert len(loads) == seconds
        before, middle, after = (
            max(np.median(one), 1.0) for one in np.split(loads, [third, seconds - third])
        )
        heights.append(middle / max(before, after))
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] > 1.0
    assert np.diff(sorted(one.clock_s for one in found)).min() >= seconds
    assert [one.name for one in eventful(part, seconds, 3)] == [one.name for one in found[:3]]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=200).map(np.array), st.floats(0.01, 3.0))
def test_a_share_of_the_requests_is_spread_as_evenly_as_whole_requests_can_be(
    counts: NDArray[np.int64], share: float
) -> None:
    kept = trace.thinned(counts, share)
    assert kept.min() >= 0
    assert np.abs(np.cumsum(kept) - share * np.cumsum(counts)).max() <= 1.0 + 1e-6
    if share <= 1.0:
        assert (kept <= counts).all()
    assert np.array_equal(trace.thinned(counts, 1.0), counts)


@given(st.integers(0, 100), st.floats(0.5, 50))
def test_poisson_arrivals_have_the_rate_they_were_given(seed: int, rate: float) -> None:
    drawn = poisson_arrivals(np.full(4000, rate), np.random.default_rng(seed))
    assert drawn.mean() == pytest.approx(rate, abs=6 * np.sqrt(rate / 4000))
    assert drawn.min() >= 0


def test_an_on_off_load_has_two_levels_and_the_stationary_mean() -> None:
    rates = on_off_rates(400_000, 5.0, 30.0, np.random.default_rng(0), 120.0, 40.0)
    assert set(rates.tolist()) == {5.0, 30.0}
    assert rates.mean() == pytest.approx((5 * 120 + 30 * 40) / 160, rel=0.05)


def test_the_same_seed_gives_the_same_load() -> None:
    one, other = (on_off_rates(500, 5, 30, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@given(histories)
def test_a_window_maximum_never_expects_less_than_an_average_of_the_same_window(history: np.ndarray) -> None:
    assert WindowMaximum(30).forecast(history, 0.0) >= MovingAverage(30).forecast(history, 0.0)
    assert WindowMaximum(60).forecast(history, 0.0) >= WindowMaximum(30).forecast(history, 0.0)
    assert Last().forecast(history, 0.0) == history[-1]


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
    np.testing.assert_array_equal(true_maxima(loads, np.array([0, 5]), 20), [19, 24])


@pytest.mark.parametrize(
    "name",
    ["last", "window-max:45", "moving-average:10", "clock:20", "quantile:90@20", "autoregressive", "lstm"],
)
def test_a_series_is_what_the_forecaster_says_at_each_decision(name: str) -> None:
    if name == "lstm":
        pytest.importorskip("torch")
    forecaster = make_forecaster(name)
    window = trace.paper_window("bursty", HISTORY_S)
    series = forecast_series(forecaster, window, 10)
    assert len(series) == 120
    for step in (0, 40, 119):
        now = HISTORY_S + 10 * step
        alone = forecaster.forecast(window.arrivals[:now], window.clock_s + 10.0 * step)
        assert series[step] == pytest.approx(alone, rel=1e-5)


def test_the_lstm_is_no_worse_than_the_best_simple_forecaster_on_validation() -> None:
    pytest.importorskip("torch")
    stretches = trace.windows("validation", 1220, HISTORY_S)[::10]
    errors = {}
    for name in ("lstm", "window-max:30", "autoregressive"):
        forecaster = make_forecaster(name)
        apart = [
            np.abs(
                forecast_series(forecaster, replace(one, arrivals=one.arrivals[:-20]), 10)
                - true_maxima(one.arrivals, np.arange(HISTORY_S, len(one.arrivals) - 29, 10))
            )
            for one in stretches
        ]
        errors[name] = float(np.concatenate(apart).mean())
    assert errors["lstm"] <= min(errors["window-max:30"], errors["autoregressive"])


@pytest.mark.parametrize(
    "name", ["next", "window-max:0", "window-max:soon", "window-max:121", "last:3", "perfect"]
)
def test_a_bad_forecaster_name_is_named_with_the_fix(name: str) -> None:
    with pytest.raises(InputError, match="fix: "):
        make_forecaster(name)
