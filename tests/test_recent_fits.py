"""What is learned from hours to weeks of load: which forecasts err least on the newest part of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipa_rl.jit import FloatArray
from ipa_rl.workload.clock import NO_SEASON, season_of
from ipa_rl.workload.quantiles import QUANTILES, quantiles_of
from ipa_rl.workload.recent_fits import Fits, Recent, Refit, refit
from ipa_rl.workload.steps import HORIZONS_STEPS
from ipa_rl.workload.workload import load_workload

TWITTER = load_workload("twitter")
GIVEN = Fits(quantiles_of(TWITTER, 1).coefficients, season_of(TWITTER), "given", "given")
HOUR = 3600


def learned(rps: FloatArray, step_s: int = 1, given: Fits = GIVEN) -> Refit | None:
    """What is learned from loads by step, whose clock starts at their begin."""
    return refit(Recent(rps.astype(np.float32), 0, step_s, float), given, given, horizon=25)


def poisson(hours: int, rate_rps: Any) -> FloatArray:
    """Loads of so many hours."""
    return np.random.default_rng(0).poisson(rate_rps, hours * HOUR).astype(np.float64)


def test_nothing_is_learned_from_less_than_six_hours() -> None:
    assert learned(poisson(5, 10.0)) is None
    loads = poisson(12, 10.0)
    loads[:: 2 * HOUR] = np.nan
    loads[: 7 * HOUR] = np.nan
    assert learned(loads) is None


def test_twitters_own_load_keeps_twitters_clock() -> None:
    begin, _ = TWITTER.parts["test"]
    recent = Recent(TWITTER.part("test")[: 24 * HOUR].astype(np.float32), begin, 1, float)
    found = refit(recent, GIVEN, GIVEN, horizon=25)
    assert found is not None
    assert found.fits.clock == "given"


@pytest.mark.parametrize("rate_rps", [3.0, 40.0, 2000.0])
def test_a_load_that_does_not_follow_the_clock_stops_its_use(rate_rps: float) -> None:
    found = learned(poisson(7, rate_rps))
    assert found is not None
    assert found.fits.clock == "none"
    assert found.fits.season is NO_SEASON


def test_quantiles_cover_what_they_should_on_what_comes_next() -> None:
    loads = poisson(12, 20.0)
    found = learned(loads[: 9 * HOUR])
    assert found is not None
    coming = Recent(loads[9 * HOUR :].astype(np.float32), 0, 1, float)
    from ipa_rl.workload import recent_fits as module

    at = module._samples(coming)
    shapes, reference_rps = module._shapes(coming, at, 0.0)
    maxima = module._maxima(coming, at) / reference_rps[:, None]
    h = HORIZONS_STEPS.index(25)
    covered = (maxima[:, h, None] <= shapes @ found.fits.coefficients[h].T).mean(axis=0)
    np.testing.assert_allclose(covered, QUANTILES, atol=0.03)


def test_a_season_is_found_after_days_and_not_before() -> None:
    minute = np.arange(72 * HOUR) // 60 % 60
    loads = poisson(72, 8.0 + 25.0 * np.isin(minute, [15, 16]))
    day = learned(loads[: 24 * HOUR])
    assert day is not None
    assert day.fits.clock == "none"
    days = learned(loads)
    assert days is not None
    assert (days.fits.clock, days.fits.season.period_s) == ("own", HOUR)
    highest = int(np.argmax(days.fits.season.profile))
    assert 15 * 60 <= highest < 17 * 60


def test_gaps_are_left_out_and_never_learned_as_zero() -> None:
    loads = poisson(24, 30.0)
    whole = learned(loads)
    loads[np.arange(len(loads)) // HOUR % 3 == 0] = np.nan
    found = learned(loads)
    assert found is not None
    assert whole is not None
    np.testing.assert_allclose(found.fits.coefficients[2, :, 0], whole.fits.coefficients[2, :, 0], atol=0.15)
    assert found.known_s == 16 * HOUR


def test_what_is_in_use_stays_where_nothing_is_better_by_more_than_chance() -> None:
    loads = poisson(30, 12.0)
    first = learned(loads[: 10 * HOUR])
    assert first is not None
    for hours in (15, 20, 30):
        recent = Recent(loads[: hours * HOUR].astype(np.float32), 0, 1, float)
        again = refit(recent, GIVEN, first.fits, horizon=25)
        assert again is not None
        assert again.fits.kind == first.fits.kind


def test_steps_of_a_minute_are_learned_as_steps_of_a_second() -> None:
    rps = np.random.default_rng(1).poisson(18.0, 80 * 60) / 60.0
    found = refit(Recent(rps.astype(np.float32), 0, 60, float), GIVEN, GIVEN, horizon=25)
    assert found is not None
    assert found.fits.clock == "none"
