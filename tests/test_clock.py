"""Specifications of `ipa_rl.workload.clock`, and of the forecaster that plans by it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.workload.clock import (
    AHEAD_STEPS,
    CLOCK_ENTRIES,
    NO_SEASON,
    Season,
    clock_names,
    season_of,
)
from ipa_rl.workload.forecasters import WindowMaximum, make_forecaster
from ipa_rl.workload.steps import HISTORY_STEPS, maxima_ahead
from ipa_rl.workload.workload import load_workload

TWITTER = load_workload("twitter")
HOUR = season_of(TWITTER)
HOUR_S = 3600


def test_the_profile_is_relative_to_the_hours_mean() -> None:
    assert HOUR.profile.shape == (HOUR_S,)
    assert HOUR.profile.mean() == pytest.approx(1.0, abs=1e-6)


def test_the_profile_knows_the_train_part_alone() -> None:
    """Within the train part the growth before the half hour is there in each half of it, too."""
    growth = HOUR.growth(60, 30)
    assert 1860 <= int(growth.argmax()) <= 1980
    assert growth.max() > 1.5


@given(st.integers(0, 10**7))
def test_only_the_second_of_the_hour_matters(second: int) -> None:
    assert HOUR.position(float(second)) == HOUR.position(second % HOUR_S) == second % HOUR_S
    assert HOUR.table(1)[HOUR.position(second)].shape == (CLOCK_ENTRIES,) == (len(clock_names()),)


@given(st.floats(0, 10**8), st.integers(1, 600))
def test_without_a_season_the_clock_tells_nothing(clock_s: float, step_s: int) -> None:
    assert not NO_SEASON.table(step_s)[NO_SEASON.position(clock_s)].any()
    assert NO_SEASON.growth(20 * step_s, 30 * step_s)[NO_SEASON.position(clock_s)] == 1.0


@given(st.sampled_from([3600, 86_400, 604_800]), st.integers(0, 10**7))
def test_any_period_is_known_in_as_many_bins(period_s: int, second: int) -> None:
    season = Season(period_s, np.linspace(0.5, 1.5, 3600))
    assert season.position(second) == second % period_s * 3600 // period_s


@given(st.integers(0, HOUR_S - 1))
def test_looking_further_ahead_never_expects_less_growth(second: int) -> None:
    growths = [HOUR.growth(ahead_s, 30)[second] for ahead_s in AHEAD_STEPS]
    assert growths == sorted(growths)


def test_the_clock_forecaster_grows_the_recent_maximum() -> None:
    forecaster = make_forecaster("clock:60", TWITTER, 1)
    history = np.full(HISTORY_STEPS, 10.0)
    before_the_half_hour, in_a_quiet_stretch = 1920.0, 1200.0
    assert forecaster.forecast(history, before_the_half_hour) > 15.0
    assert forecaster.forecast(history, in_a_quiet_stretch) == pytest.approx(10.0, rel=0.1)


def test_the_clock_is_worth_knowing_on_the_validation_part() -> None:
    """Where the load doubles within a minute, looking at the clock expects more of it than not looking."""
    at = TWITTER.starts("validation", 60, HISTORY_STEPS)
    loads = TWITTER.loads
    recent = maxima_ahead(loads, at - 30, 30, 1)
    ahead = maxima_ahead(loads, at, 60, 1)
    doubling = at[(ahead > 2 * recent) & (recent >= 3)]
    by_clock, by_window = make_forecaster("clock:60", TWITTER, 1), WindowMaximum(30)
    expected = [
        [one.forecast(loads[now - HISTORY_STEPS : now], now) for one in (by_clock, by_window)]
        for now in doubling[::5].tolist()
    ]
    with_clock, without = np.mean(expected, axis=0)
    assert with_clock > 1.2 * without


def test_windows_of_the_trace_know_what_the_clock_says() -> None:
    assert TWITTER.named_window("bursty", 0).clock_s == 1_301_160
    first = TWITTER.windows("validation", 1200, HISTORY_STEPS)[0]
    assert first.name == f"validation {first.clock_s}"


def test_agents_see_the_clock() -> None:
    names = observation_names(load_definition("video").problem)
    assert set(clock_names()) <= set(names)
    assert "clock, growth in 20 steps" in names
