"""The trace, its split into parts and its windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.workload import trace

HISTORY_S = 120


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
