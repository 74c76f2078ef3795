"""Futures of the load that a controller has seen, against those that it began with."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.jit import FloatArray
from ipa_rl.workload.clock import BINS, NO_SEASON, Season
from ipa_rl.workload.futures import RecordedFutures, recorded_futures
from ipa_rl.workload.recent_fits import Fits, Recent
from ipa_rl.workload.recent_futures import OWN, Judged, better_futures, least_days_s

DAY, STEPS = 86_400, 60


def jobs(days: float, every_s: int = 1_700) -> FloatArray:
    """A load that triples for two minutes, every so many seconds."""
    seconds = np.arange(round(days * DAY))
    rates = np.where(seconds % every_s < 120, 30.0, 10.0)
    return np.random.default_rng(0).poisson(rates).astype(np.float64)


def futures(loads: FloatArray, name: str = "given", period_s: int = 0) -> RecordedFutures:
    return recorded_futures(name, loads.astype(np.float32), lambda at: at, period_s, 1, STEPS)


def seen(loads: FloatArray) -> Recent:
    return Recent(loads.astype(np.float32), 0, 1, float)


def fits(period_s: int = 0) -> Fits:
    season = Season(period_s, np.ones(BINS)) if period_s else NO_SEASON
    return Fits(np.zeros((1, 1, 1)), season, "given", "own" if period_s else "none")


FLAT = futures(np.random.default_rng(1).poisson(10.0, 140_000).astype(np.float64), period_s=3600)
UNUSED = Judged(FLAT, False, 0)


def test_a_load_with_a_season_foretells_itself_better_than_one_without() -> None:
    found = better_futures(seen(jobs(2.2)), FLAT, UNUSED, fits(1_700), STEPS)
    assert found.is_own
    assert (found.futures.name, found.futures.period_s) == (OWN, 1_700)
    usual = np.random.default_rng(3).poisson(10.0, 120).astype(np.float64)
    paths = found.futures.ahead(usual, 1_700.0 * 200 - 10.0, 32, STEPS).paths_rps
    assert np.median(paths[:, 15:].max(axis=1)) > 25.0


def test_what_is_given_stays_where_it_is_as_good_and_without_a_clock_that_the_load_does_not_follow() -> None:
    steady = np.random.default_rng(2).poisson(10.0, round(2.2 * DAY)).astype(np.float64)
    found = better_futures(seen(steady), FLAT, UNUSED, fits(), STEPS)
    assert (found.is_own, found.futures.name, found.futures.period_s) == (False, "given", 0)
    assert found.known_s == len(steady)
    used = Judged(FLAT, True, DAY)
    assert better_futures(seen(steady), FLAT, used, fits(), STEPS).is_own  # nor is what is in use given up


def test_hours_are_too_little_and_gaps_are_no_loads_of_zero() -> None:
    assert least_days_s(1) == 2 * DAY
    assert better_futures(seen(jobs(1.0)), FLAT, UNUSED, fits(1_700), STEPS).known_s == 0
    loads = jobs(2.4)
    loads[50_000:60_000] = np.nan
    found = better_futures(seen(loads), FLAT, UNUSED, fits(1_700), STEPS)
    assert found.is_own
    assert found.known_s == pytest.approx(len(loads) - 10_000)
    assert np.isfinite(found.futures.features).all()
