"""Load paths: as the recorded load went on when it looked like now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.workload.clock import Season, save_season
from ipa_rl.workload.futures import (
    APART_STEPS,
    GENERAL,
    TrueFuture,
    futures_of,
    general_futures,
    recorded_futures,
)
from ipa_rl.workload.pool import read_pool, shipped_pool
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.trend_paths import trend_paths
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, load_workload, save_workload


def waves(folder: Path, seconds: int = 12_000, period_s: int = 300) -> Workload:
    """A load that rises and falls, the same every five minutes."""
    counts = 50.0 + 40.0 * np.sin(2 * np.pi * np.arange(seconds) / period_s)
    return save_workload(folder, WorkloadModel(), Recorded(np.round(counts).astype(np.int64)))


def test_a_load_that_came_before_goes_on_as_it_did_then(tmp_path: Path) -> None:
    workload = waves(tmp_path)
    begin, _ = workload.parts["test"]
    futures = futures_of(workload, 1, 60)
    now = begin + 777
    history = workload.loads[now - 120 : now].astype(np.float64)
    paths = futures.ahead(history, 0.0, 8, 60).paths_rps
    assert paths.shape == (8, 60)
    np.testing.assert_allclose(paths, np.tile(workload.loads[now : now + 60], (8, 1)), atol=6.0)


def test_a_workload_of_so_many_times_the_requests_has_so_many_times_the_paths(tmp_path: Path) -> None:
    workload = waves(tmp_path)
    history = workload.part("test")[500:620].astype(np.float64)
    ours = futures_of(workload, 1, 60).ahead(history, 0.0, 16, 60).paths_rps
    larger = futures_of(workload.at_scale(8.0), 1, 60).ahead(8.0 * history, 0.0, 16, 60).paths_rps
    np.testing.assert_allclose(np.sort(larger, axis=0), 8.0 * np.sort(ours, axis=0), rtol=1e-5)


def test_a_load_far_from_all_that_was_recorded_goes_on_at_its_own_level(tmp_path: Path) -> None:
    paths = futures_of(waves(tmp_path), 1, 60).ahead(np.full(120, 9000.0), 0.0, 16, 60).paths_rps
    assert 1000.0 < paths.min() <= paths.max() < 30_000.0


def test_only_the_train_part_is_known(tmp_path: Path) -> None:
    counts = np.full(12_000, 10, dtype=np.int64)
    counts[8_000:] = 1000
    workload = save_workload(tmp_path, WorkloadModel(), Recorded(counts))
    assert futures_of(workload, 1, 30).loads.max() == 10.0


def test_moments_of_the_same_time_of_the_season_come_before_others(tmp_path: Path) -> None:
    """The load doubles at every full hour: a flat history says so only to who knows the time."""
    seconds = np.arange(40 * 3600)
    counts = np.where(seconds % 3600 < 60, 40, 20)
    workload = save_workload(tmp_path, WorkloadModel(), Recorded(counts))
    (tmp_path / "fitted").mkdir(exist_ok=True)
    save_season(Season(3600, np.ones(3600)), workload)
    flat = np.full(120, 20.0)
    at_the_hour = futures_of(workload, 1, 60).ahead(flat, 3600 * 50 - 5.0, 16, 60).paths_rps
    between = futures_of(workload, 1, 60).ahead(flat, 3600 * 50 - 1800.0, 16, 60).paths_rps
    assert (at_the_hour.max(axis=1) == 40.0).all()
    assert between.max() == 20.0


def test_moments_next_to_a_gap_are_not_known() -> None:
    loads = np.full(2_000, 5.0, dtype=np.float32)
    loads[1_000:1_010] = np.nan
    found = recorded_futures("mine", loads, lambda at: at, 0, 1, 60)
    every = np.arange(120, 2_000 - 60 + 1, APART_STEPS)
    np.testing.assert_array_equal(found.at, every[(every <= 1_000 - 60) | (every >= 1_010 + 120)])
    assert np.isfinite(found.ahead(np.full(120, 5.0), 0.0, 32, 60).paths_rps).all()


def test_a_load_too_short_to_look_back_on_takes_the_futures_of_all_that_ship_without_a_clock(
    tmp_path: Path,
) -> None:
    short = futures_of(waves(tmp_path, seconds=400), 1, 60)
    assert (short.name, short.period_s) == (GENERAL, 0)
    assert futures_of(load_workload("twitter"), 1, 60).period_s == 3600


@pytest.mark.parametrize("level", [1.0, 1000.0])
def test_where_nothing_is_known_paths_are_as_rough_as_the_load_at_any_level(level: float) -> None:
    rng = np.random.default_rng(0)
    smooth = level * np.linspace(1.0, 1.02, 120)
    rough = level * rng.uniform(0.5, 1.5, 120)
    futures = general_futures(read_pool(shipped_pool()), 1, 60)
    spreads = [futures.ahead(one, 0.0, 32, 60).paths_rps.std() / level for one in (smooth, rough)]
    assert spreads[0] < 0.1 < spreads[1]


def test_where_no_load_that_ships_is_long_enough_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="look ahead"):
        futures_of(waves(tmp_path, seconds=400), 3600, 500)


def test_where_a_load_does_what_it_never_did_some_paths_go_on_by_its_trend_and_some_as_others_did(
    tmp_path: Path,
) -> None:
    """A load that always went up and down within five minutes climbs for two, and on."""
    futures = futures_of(waves(tmp_path), 1, 60)
    assert futures.others is not None
    climbs = np.linspace(100.0, 900.0, 120)
    paths, recorded = (one.ahead(climbs, 0.0, 64, 60).paths_rps for one in (futures, futures.alone))
    assert (paths.shape, recorded.shape) == ((64, 60), (64, 60))
    assert (paths[1::4] == trend_paths(climbs, 16, 60)).all()
    assert (paths[:, -1] > 1100.0).mean() > 0.15 > (recorded[:, -1] > 1100.0).mean()
    usual = futures.loads[600:720].astype(np.float64)
    np.testing.assert_array_equal(
        futures.ahead(usual, 0.0, 64, 60).paths_rps, futures.alone.ahead(usual, 0.0, 64, 60).paths_rps
    )


def test_further_ahead_than_moments_were_chosen_for_a_path_goes_on_with_its_mean(tmp_path: Path) -> None:
    futures = futures_of(waves(tmp_path), 1, 60)
    usual = futures.loads[600:720].astype(np.float64)
    near, far = (futures.ahead(usual, 0.0, 16, steps).paths_rps for steps in (60, 100))
    np.testing.assert_array_equal(far[:, :60], near)
    np.testing.assert_allclose(far[:, 60:], np.repeat(near.mean(axis=1)[:, None], 40, axis=1), rtol=1e-6)


@pytest.mark.parametrize("step_s", [1, 5])
def test_the_truth_is_what_comes(step_s: int) -> None:
    arrivals: FloatArray = np.arange(400, dtype=np.float64)
    ahead = TrueFuture(arrivals, step_s).ahead(arrivals[:200], 0.0, 32, 10).paths_rps
    np.testing.assert_array_equal(
        ahead[0], arrivals[200 : 200 + 10 * step_s].reshape(10, step_s).mean(axis=1)
    )
    at_the_end = TrueFuture(arrivals, step_s).ahead(arrivals[:395], 0.0, 32, 10).paths_rps
    assert np.isfinite(at_the_end).all()
    assert at_the_end[0, -1] == at_the_end[0, 0] if step_s == 5 else at_the_end[0, -1] == 399.0


def test_a_load_is_new_where_even_the_moments_that_look_most_like_it_do_not(tmp_path: Path) -> None:
    futures = futures_of(waves(tmp_path), 1, 60)
    assert futures.ahead(np.linspace(100.0, 900.0, 120), 0.0, 64, 60).is_new
    assert not futures.ahead(futures.loads[600:720].astype(np.float64), 0.0, 64, 60).is_new
    assert not TrueFuture(np.ones(400), 1).ahead(np.linspace(100.0, 900.0, 120), 0.0, 64, 60).is_new


@given(begin=st.integers(0, 300_000), length=st.integers(1, 100_000))
def test_what_is_learned_on_is_not_known(begin: int, length: int) -> None:
    futures = futures_of(made_up("on-off", 6.0, 30.0), 1, 60).without(begin, begin + length)
    parts = (futures.features, futures.reference_rps, futures.season_s)
    assert {len(one) for one in parts} == {len(futures.at)}
    assert futures.others is None
    overlaps = (futures.at - HISTORY_STEPS < begin + length) & (futures.at + 60 > begin)
    assert not overlaps.any()
