"""Seasons are found where loads have one, and none where they have none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_rl.workload.clock import season_of
from ipa_rl.workload.fit_clock import find_season
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, load_workload

DAY_S = 86_400


def counted(counts: NDArray[np.int64], **description: object) -> Workload:
    """A workload of counts that nobody keeps."""
    said = WorkloadModel.model_validate(description)
    return Workload("mine", None, said, lambda: Recorded(counts=counts))


def arrivals(rates: NDArray[np.float64], seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).poisson(rates)


def wave(seconds: int, period_s: float, level: float = 6.0) -> NDArray[np.float64]:
    return np.asarray(level * (1.0 + 0.6 * np.sin(2 * np.pi * np.arange(seconds) / period_s)))


def rushes(seconds: int, period_s: int) -> NDArray[np.float64]:
    """Twice the load for a sixtieth of every period."""
    return np.where(np.arange(seconds) % period_s < period_s // 60, 20.0, 10.0)


def test_twitters_season_is_the_hour_and_its_profile_is_the_shipped_one() -> None:
    twitter = load_workload("twitter")
    season, tried = find_season(twitter, 1)
    assert season.period_s == 3600
    assert tried[0].name == "hour"
    np.testing.assert_allclose(season.profile, season_of(twitter).profile, rtol=1e-12)


@pytest.mark.parametrize("make", [wave, rushes])
@pytest.mark.parametrize(("period_s", "periods"), [(3600, 20), (DAY_S, 12)])
def test_the_period_of_a_made_up_load_is_found(make: object, period_s: int, periods: int) -> None:
    assert callable(make)
    season, _ = find_season(counted(arrivals(make(periods * period_s, period_s))), 1)
    assert season.period_s == period_s


@pytest.mark.slow
def test_a_week_is_found_where_its_end_is_quiet() -> None:
    minutes = np.arange(10 * 7 * 1440)
    working = np.where(minutes // 1440 % 7 < 5, 1.0, 0.3)
    rates = 300.0 * working * (1.0 + 0.5 * np.sin(2 * np.pi * minutes / 1440))
    season, _ = find_season(counted(arrivals(rates), resolution_s=60), 60)
    assert season.period_s == 7 * DAY_S


def test_the_profile_is_that_of_the_clock_on_the_wall_not_of_the_recording() -> None:
    """It begins at 7 o'clock in Berlin, before the clocks are put forward; noon is when most comes."""
    counts = arrivals(wave(20 * 1440, 1440, 300.0))
    lead = counted(counts, resolution_s=60, start="2024-03-25T07:00:00", time_zone="Europe/Berlin")
    season, _ = find_season(lead, 60)
    assert season.period_s == DAY_S
    highest_hour = season.profile.argmax() * 24 / len(season.profile)
    assert highest_hour == pytest.approx(7 + 6 + 1, abs=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_none_is_found_in_noise(seed: int) -> None:
    assert find_season(counted(arrivals(np.full(5 * DAY_S, 6.0), seed)), 1)[0].period_s == 0


@pytest.mark.parametrize("seed", range(5))
def test_none_is_found_where_the_load_wanders(seed: int) -> None:
    wander = np.random.default_rng(seed).normal(size=10 * 1440).cumsum() / 40.0
    rates = 100.0 * np.exp(wander - wander.mean())
    season, _ = find_season(counted(arrivals(rates, seed), resolution_s=60), 1)
    assert season.period_s == 0


def test_none_is_found_where_the_period_is_another() -> None:
    assert find_season(counted(arrivals(wave(3 * DAY_S, 4999.0))), 1)[0].period_s == 0


def test_too_few_periods_tell_of_no_season() -> None:
    assert find_season(counted(arrivals(wave(4 * 3600, 3600))), 1) == (season_of(load_empty()), [])


def load_empty() -> Workload:
    return counted(np.zeros(10, dtype=np.int64))


def test_gaps_are_no_part_of_a_profile() -> None:
    rates = wave(20 * 3600, 3600)
    gaps = [(at, at + 120) for at in range(1000, 20 * 3600, 3600)]
    counts = arrivals(rates)
    for begin, end in gaps:
        counts[begin:end] = 0
    season, _ = find_season(counted(counts, gaps=gaps), 1)
    assert season.period_s == 3600
    assert season.profile[1060] == pytest.approx(rates[1060] / 6.0, rel=0.15)


@pytest.mark.parametrize("factor", [10, 1000])
def test_the_season_knows_no_scale(factor: int) -> None:
    counts = arrivals(rushes(20 * 3600, 3600))
    one, many = (find_season(counted(k * counts), 1)[0] for k in (1, factor))
    np.testing.assert_allclose(one.profile, many.profile)
