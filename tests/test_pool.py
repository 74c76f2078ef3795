"""The pool of loads for services without a history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipa_rl.errors import InputError
from ipa_rl.workload.pool import (
    LENGTHS_S,
    STRETCH_STEPS,
    STRETCHES,
    pooled,
    pooled_by_step,
    read_pool,
    save_pool,
    shipped_pool,
    train_loads,
)
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, save_workload


def counting(folder: Path, seconds: int, gaps: tuple[tuple[int, int], ...] = ()) -> Workload:
    folder.mkdir()
    return save_workload(folder, WorkloadModel(gaps=gaps), Recorded(np.arange(seconds)))


def test_of_a_long_load_there_is_no_more_than_of_others(tmp_path: Path) -> None:
    long, short = counting(tmp_path / "long", 60_000), counting(tmp_path / "short", 6_000)
    seconds = pooled([long, short])[1]
    assert len(seconds) == STRETCHES * (STRETCH_STEPS + 1) + 4_000 + 1
    assert np.isnan(seconds).sum() == STRETCHES + 1


def test_steps_of_other_lengths_are_means_that_touch_no_gap(tmp_path: Path) -> None:
    loads = pooled([counting(tmp_path / "one", 6_000, gaps=((1_000, 1_001),))])
    by_three = pooled_by_step(loads, 3)
    finite = by_three[np.isfinite(by_three)]
    assert set(np.diff(finite)) <= {3.0, 4.0, 5.0, 6.0}
    assert len(finite) == 1_000 // 3 + 2_999 // 3
    assert pooled_by_step(loads, 5).tolist()[-2] == pytest.approx(3_997.0)


def test_only_the_train_part_is_in_it_and_gaps_are_not(tmp_path: Path) -> None:
    first, loads = train_loads(counting(tmp_path / "one", 6_000, gaps=((10, 12),)), 1)
    assert (first, len(loads)) == (0, 4_000)
    assert np.flatnonzero(np.isnan(loads)).tolist() == [10, 11]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    loads = {length_s: np.array([1.0, 2.5, np.nan], dtype=np.float32) for length_s in LENGTHS_S}
    save_pool(loads, tmp_path / "pool.npz")
    for length_s, found in read_pool(tmp_path / "pool.npz").items():
        np.testing.assert_array_equal(found, loads[length_s])


def test_the_pool_that_ships_takes_little_memory() -> None:
    assert sum(array.nbytes for array in read_pool(shipped_pool()).values()) < 1_000_000


def test_a_file_that_is_no_pool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pool.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="pool of loads"):
        read_pool(tmp_path / "pool.npz")
