"""Specifications of `ipa_rl.workload.clock`, and of the forecaster that plans by it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.environment.definition import load_definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.workload.clock import (
    AHEAD_S,
    CLOCK_ENTRIES,
    HOUR_S,
    clock_names,
    clock_row,
    expected_growth,
    hourly_profile,
)
from ipa_rl.workload.forecasters import WindowMaximum, make_forecaster
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import HORIZON_S, load_trace, paper_window, starts, true_maxima, windows


def test_the_profile_is_relative_to_the_hours_mean() -> None:
    assert hourly_profile().shape == (HOUR_S,)
    assert hourly_profile().mean() == pytest.approx(1.0, abs=1e-6)


def test_the_profile_knows_the_train_part_alone() -> None:
    """Within the train part the growth before the half hour is there in each half of it, too."""
    growth = expected_growth(60)
    assert 1860 <= int(growth.argmax()) <= 1980
    assert growth.max() > 1.5


@given(st.integers(0, 10**7))
def test_only_the_second_of_the_hour_matters(second: int) -> None:
    np.testing.assert_array_equal(clock_row(float(second)), clock_row(float(second % HOUR_S)))
    assert clock_row(float(second)).shape == (CLOCK_ENTRIES,) == (len(clock_names()),)


@given(st.integers(0, HOUR_S - 1))
def test_looking_further_ahead_never_expects_less_growth(second: int) -> None:
    growths = [expected_growth(ahead_s)[second] for ahead_s in AHEAD_S]
    assert growths == sorted(growths)


def test_the_clock_forecaster_grows_the_recent_maximum() -> None:
    forecaster = make_forecaster("clock:60")
    history = np.full(HISTORY_S, 10.0)
    before_the_half_hour, in_a_quiet_stretch = 1920.0, 1200.0
    assert forecaster.forecast(history, before_the_half_hour) > 15.0
    assert forecaster.forecast(history, in_a_quiet_stretch) == pytest.approx(10.0, rel=0.1)


def test_the_clock_is_worth_knowing_on_the_validation_part() -> None:
    """Where the load doubles within a minute, looking at the clock expects more of it than not looking."""
    at = starts("validation", 60, HISTORY_S)
    loads = load_trace()
    recent = true_maxima(loads, at - 30, 30)
    ahead = true_maxima(loads, at, 60)
    doubling = at[(ahead > 2 * recent) & (recent >= 3)]
    by_clock, by_window = make_forecaster("clock:60"), WindowMaximum(30)
    expected = [
        [one.forecast(loads[now - HISTORY_S : now], now) for one in (by_clock, by_window)]
        for now in doubling[::5].tolist()
    ]
    with_clock, without = np.mean(expected, axis=0)
    assert with_clock > 1.2 * without


def test_windows_of_the_trace_know_what_the_clock_says() -> None:
    assert paper_window("bursty").clock_s == 1_301_160
    first = windows("validation", 1200, HISTORY_S)[0]
    assert first.name == f"validation {first.clock_s}"


def test_agents_see_the_clock() -> None:
    names = observation_names(load_definition("video").problem)
    assert set(clock_names()) <= set(names)
    assert f"clock, growth in {HORIZON_S} s" in names
