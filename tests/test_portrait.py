"""What is seen in a workload: figures of what was measured, and nothing about what was not."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.jit import IntArray
from ipa_rl.workload.portrait import (
    LoadSeries,
    dispersion,
    figures,
    gaps_joined,
    growth,
    measured,
    portrait,
    profiles,
)
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel

HOUR_S, DAY_S = 3600, 86_400


def workload(counts: IntArray, **described: object) -> Workload:
    description = WorkloadModel.model_validate(described)
    return Workload("mine", None, description, lambda: Recorded(counts=counts))


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 50.0), st.integers(2, 5))
def test_a_slow_wave_of_poisson_arrivals_is_not_dispersed_and_requests_in_groups_are(
    seed: int, mean: float, group: int
) -> None:
    wave = 1.0 + 0.9 * np.sin(np.arange(20_000) / 2000.0)
    counts = np.random.default_rng(seed).poisson(mean * wave).astype(float)
    assert dispersion(LoadSeries(1.0, counts)) == pytest.approx(1.0, abs=0.1)
    assert dispersion(LoadSeries(1.0, group * counts)) == pytest.approx(group, rel=0.1)


@given(st.lists(st.integers(0, 100), min_size=30, max_size=60), st.integers(0, 20), st.integers(1, 9))
def test_gaps_count_neither_as_load_nor_as_quiet(counts: list[int], begin: int, length: int) -> None:
    cut = [*counts[:begin], *[0] * length, *counts[begin:]]
    seen = figures(workload(np.array(cut), resolution_s=60, gaps=[[60 * begin, 60 * (begin + length)]]))
    assert seen.mean_rps == pytest.approx(np.mean(counts) / 60)
    if any(counts):
        assert seen.peak_over_mean == pytest.approx(max(counts) / np.mean(counts))


def test_a_load_that_triples_at_once_grows_threefold_and_longer_slots_say_nothing_of_seconds() -> None:
    counts = np.where(np.arange(600) % 200 < 100, 10, 30)
    assert growth(LoadSeries(1.0, counts.astype(float)), 20) == pytest.approx(3.0)
    assert np.isnan(growth(LoadSeries(60.0, counts.astype(float)), 20))


def test_seconds_that_are_made_up_are_not_looked_at() -> None:
    one = workload(np.full(3 * 1440, 600), resolution_s=60, dispersion=2.5)
    seen = portrait(one)
    assert "loads" not in one.__dict__
    assert (seen.figures.dispersion_at(1).value, seen.figures.dispersion_at(1).is_made_up) == (2.5, True)
    assert (seen.figures.dispersion_at(60).value, seen.figures.dispersion_at(60).is_made_up) == (0.0, False)
    assert np.isnan(seen.figures.growth[0])


def test_a_usual_day_follows_the_local_clock_over_daylight_saving() -> None:
    """Berlin puts its clocks forward on 30 March 2025."""
    clock = {"resolution_s": HOUR_S, "start": datetime.datetime(2025, 3, 27), "time_zone": "Europe/Berlin"}
    at = HOUR_S * np.arange(8 * 24 - 1)
    hours = workload(np.zeros(len(at), dtype=int), **clock).clocks_s(at) % DAY_S // HOUR_S
    local = workload(3600 * (1 + hours), **clock)
    day = next(found for found in profiles(local, measured(local), None) if found.name == "day")
    assert day.mean == pytest.approx(1.0 + np.arange(24))
    assert day.low == pytest.approx(day.high)
    assert day.by_period.shape == (8, 24)
    assert np.isnan(day.by_period[3]).sum() == 1


def test_bursts_rise_do_not_overlap_and_touch_no_gap() -> None:
    rng, at = np.random.default_rng(0), np.arange(40_000)
    rates = np.where((at % 9000 > 4000) & (at % 9000 < 4500), 60.0, 20.0)
    one = workload(rng.poisson(rates), gaps=[[4100, 4200]])
    found = portrait(one).bursts
    assert len(found) == 3
    for burst in found:
        assert burst.factor == pytest.approx(3.0, rel=0.15)
        assert burst.end_s - burst.begin_s == 1200
        assert burst.end_s <= 4100 or burst.begin_s >= 4200
        assert burst.begin_s % 9000 < 4000
        assert burst.begin_s % 9000 + 1200 > 4500


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=40).filter(lambda steps: len(steps) % 2 == 0),
    st.integers(1, 10),
)
def test_joined_gaps_are_few_and_cover_all(steps: list[int], most: int) -> None:
    gaps = np.cumsum(steps).reshape(-1, 2).tolist()
    joined = gaps_joined(workload(np.zeros(3000, dtype=int), gaps=gaps), most)
    assert len(joined) == min(most, len(gaps))
    assert all(any(first <= begin and end <= last for first, last in joined) for begin, end in gaps)
    assert (joined[0][0], joined[-1][1]) == (gaps[0][0], gaps[-1][1])


@pytest.mark.parametrize("counts", [[0, 0, 0], [5, 0], [1] * 100])
def test_a_recording_of_next_to_nothing_is_seen_too(counts: list[int]) -> None:
    seen = portrait(workload(np.array(counts)))
    assert seen.figures.lasts_s == len(counts)
    assert seen.bursts == ()
    assert seen.profiles == ()
