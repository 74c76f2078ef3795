"""Workloads: what is recorded, their clock, their parts and their windows."""

from __future__ import annotations

import pickle
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.workload import workload
from ipa_rl.workload.workload import (
    Part,
    Recorded,
    Workload,
    WorkloadModel,
    load_workload,
    save_workload,
    thinned,
)

TWITTER = load_workload("twitter")

HISTORY_STEPS = 120


@pytest.mark.parametrize(
    ("name", "requests"), [("bursty", 14_437), ("steady-low", 6_067), ("steady-high", 34_606)]
)
def test_the_papers_windows_hold_the_requests_that_its_notebooks_print(name: str, requests: int) -> None:
    assert int(TWITTER.named_window(name, 0).arrivals.sum()) == requests


def test_an_unknown_window_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="steady-low"):
        TWITTER.named_window("busy", 0)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_windows_stay_in_their_part_do_not_overlap_and_miss_no_data(part: Part) -> None:
    begin, end = TWITTER.parts[part]
    found = TWITTER.windows(part, 1200, HISTORY_STEPS)
    first = [int(window.name.split()[1]) for window in found]
    assert min(first) - HISTORY_STEPS >= begin
    assert max(first) + 1200 <= end
    assert min(np.diff(first)) >= 1200
    assert len(found) > 200
    for start in first:
        for gap_begin, gap_end in TWITTER.description.gaps:
            assert start + 1200 <= gap_begin or start - HISTORY_STEPS >= gap_end


def test_validation_leaves_out_an_hour_around_the_papers_windows() -> None:
    possible = TWITTER.starts("validation", 1200, HISTORY_STEPS)
    for stretches in TWITTER.description.windows.values():
        for begin, end in stretches:
            if begin >= TWITTER.parts["test"][0]:
                continue
            inside = (possible + 1200 > begin - 3600) & (possible - HISTORY_STEPS < end + 3600)
            assert not inside.any()


def test_parts_are_disjoint_and_cover_the_trace() -> None:
    bounds = list(TWITTER.parts.values())
    assert bounds == [(0, 1_200_000), (1_200_000, 1_500_000), (1_500_000, 1_800_000)]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=200).map(np.array), st.floats(0.01, 3.0))
def test_a_share_of_the_requests_is_spread_as_evenly_as_whole_requests_can_be(
    counts: NDArray[np.int64], share: float
) -> None:
    kept = thinned(counts, share)
    assert kept.min() >= 0
    assert np.abs(np.cumsum(kept) - share * np.cumsum(counts)).max() <= 1.0 + 1e-6
    if share <= 1.0:
        assert (kept <= counts).all()
    assert np.array_equal(thinned(counts, 1.0), counts)


def minutes(tmp_path: Path, **description: object) -> Workload:
    """An hour of minute counts, kept in a folder."""
    said = WorkloadModel.model_validate({"resolution_s": 60, "title": "mine", **description})
    return save_workload(tmp_path, said, Recorded(counts=np.arange(60)))


def test_a_workload_comes_back_from_its_folder_as_it_was_saved(tmp_path: Path) -> None:
    saved = minutes(tmp_path, dispersion=2.0, gaps=[(600, 660)], time_zone="Europe/Berlin")
    assert saved.description.dispersion == 2.0
    np.testing.assert_array_equal(saved.recorded.counts, np.arange(60))
    assert saved.loads.sum() == np.arange(60).sum()
    assert saved.are_seconds_made_up
    assert saved.parts == {"train": (0, 2400), "validation": (2400, 3000), "test": (3000, 3600)}
    assert saved.misses_data(500, 601)
    assert not saved.misses_data(500, 600)


@given(st.lists(st.floats(0, 5000), min_size=3, max_size=300))
def test_exact_times_come_back_within_a_microsecond_and_count_by_second(times: list[float]) -> None:
    times_s = np.sort(np.array([0.0, *times, 5001.0]))
    with tempfile.TemporaryDirectory() as folder:
        saved = save_workload(Path(folder), WorkloadModel(), Recorded(times_s=times_s))
        assert saved.recorded.times_s is not None
        np.testing.assert_allclose(saved.recorded.times_s, times_s, atol=1e-6)
        assert saved.loads.sum() == len(times_s)
        window = saved.stretch("some", 1000, 2000, 120)
        assert window.times_s is not None
        counted = np.bincount(window.times_s.astype(np.int64), minlength=2000)
        np.testing.assert_array_equal(counted, window.arrivals[120:])


@pytest.mark.parametrize(
    ("start", "zone", "second", "said_s"),
    [
        ("2024-01-01T00:00:00", "UTC", 3600, 3600),  # a Monday
        ("2024-01-06T12:00:00+00:00", "Europe/Berlin", 0, 5 * 86_400 + 13 * 3600),
        ("2024-03-31T00:30:00", "Europe/Berlin", 3600 * 2, 6 * 86_400 + 3.5 * 3600),  # an hour is left out
        ("2024-10-27T00:30:00", "Europe/Berlin", 3600 * 3, 6 * 86_400 + 2.5 * 3600),  # an hour comes twice
    ],
)
def test_the_clock_is_that_of_the_wall_there(
    tmp_path: Path, start: str, zone: str, second: int, said_s: float
) -> None:
    assert minutes(tmp_path, start=start, time_zone=zone).clock_s(second) == said_s


def test_without_a_start_the_clock_counts_from_the_begin(tmp_path: Path) -> None:
    assert minutes(tmp_path).clock_s(1234) == 1234


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("resolution_s: 0", "resolution_s: Input should be greater than 0"),
        ("time_zone: Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("split: {train: [0, 9], validation: [5, 12], test: [12, 20]}", "not in the order of time"),
        ("windows: {all: [[0, 9999]]}", "names second 9999, and the recording ends at 3600 s"),
        ("speed: 1", "speed"),
    ],
)
def test_a_description_that_does_not_fit_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    minutes(tmp_path)
    path = tmp_path / "workload.yaml"
    path.write_text(f"resolution_s: 60\n{text}\n" if "resolution" not in text else text, encoding="utf-8")
    workload._load.cache_clear()
    with pytest.raises(InputError, match=told) as raised:
        _ = load_workload(tmp_path).recorded
    assert "\n" not in str(raised.value)


def test_what_was_fitted_to_another_recording_goes(tmp_path: Path) -> None:
    minutes(tmp_path)
    (tmp_path / "fitted").mkdir()
    (tmp_path / "fitted" / "clock.npz").write_bytes(b"")
    minutes(tmp_path)
    assert not list((tmp_path / "fitted").iterdir())


def test_another_process_reads_a_workload_once() -> None:
    again = pickle.loads(pickle.dumps([TWITTER.at_scale(2.0), TWITTER.at_scale(2.0)]))
    assert again[0] is again[1]
    assert again[0].mean_rps == 2.0 * TWITTER.mean_rps


def test_what_was_not_recorded_is_no_load_of_zero_in_the_mean(tmp_path: Path) -> None:
    counts = np.concatenate([np.full(300, 8), np.zeros(300, np.int64), np.full(300, 8)])
    gaps = WorkloadModel(gaps=((300, 600),))
    assert save_workload(tmp_path, gaps, Recorded(counts)).mean_rps == 8.0
    assert save_workload(tmp_path, WorkloadModel(), Recorded(counts)).mean_rps == 4.0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6))
def test_gaps_may_lie_anywhere_and_within_each_other(found: list[tuple[int, int]]) -> None:
    """In no order."""
    gaps = tuple((begin, begin + length) for begin, length in found)
    mine = Workload("mine", None, WorkloadModel(gaps=gaps), partial(Recorded, np.ones(80, np.int64)))
    missed = np.array([any(begin <= second < end for begin, end in gaps) for second in range(80)])
    begin, end = (edge.ravel() for edge in np.triu_indices(81, 1))
    holes = np.array([missed[first:after].any() for first, after in zip(begin, end, strict=True)])
    np.testing.assert_array_equal(mine.is_whole(begin, end), ~holes)
    np.testing.assert_array_equal(mine.missing(0, 80), missed)
    np.testing.assert_array_equal(mine.missing(7, 31), missed[7:31])
    assert mine.misses_data(5, 40) == missed[5:40].any()


@given(st.lists(st.booleans(), min_size=20, max_size=80), st.data())
def test_what_was_recorded_within_a_stretch_comes_after_a_whole_history(
    recorded: list[bool], data: st.DataObject
) -> None:
    last = len(recorded)
    begin = data.draw(st.integers(0, last - 1))
    end, history_s = data.draw(st.integers(begin + 1, last)), data.draw(st.integers(1, 8))
    gaps = tuple((k, k + 1) for k in range(last) if not recorded[k])
    mine = Workload("mine", None, WorkloadModel(gaps=gaps), partial(Recorded, np.ones(last, np.int64)))
    found = mine.recorded_within(begin, end, history_s)
    seconds = [k for first, after in found for k in range(first, after)]
    starts = (k for k in range(max(begin, history_s), end) if all(recorded[k - history_s : k + 1]))
    first = next(starts, end)
    assert seconds == [k for k in range(first, end) if recorded[k]]
    if found:
        assert len(mine.joined("x", found, history_s).arrivals) == history_s + len(seconds)


@pytest.mark.parametrize("field", ["windows", "gaps", "held_out"])
def test_a_stretch_that_ends_before_it_begins_is_refused(field: str, tmp_path: Path) -> None:
    save_workload(tmp_path, WorkloadModel(), Recorded(np.full(600, 5)))
    said = "{launch: [[1000000000000000, 300]]}" if field == "windows" else "[[1000000000000000, 300]]"
    (tmp_path / "workload.yaml").write_text(f"{field}: {said}\n", encoding="utf-8")
    workload._load.cache_clear()
    with pytest.raises(InputError, match="ends before it begins"):
        load_workload(tmp_path)
