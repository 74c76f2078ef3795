"""Counts of longer slots as arrivals by second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.workload.spread import spread_over_seconds

counts = st.lists(st.integers(0, 2000), min_size=1, max_size=40).map(np.array)


@given(counts, st.integers(2, 120), st.floats(0.05, 20.0))
@settings(deadline=None)
def test_every_slot_keeps_its_count(found: np.ndarray, resolution_s: int, dispersion: float) -> None:
    loads = spread_over_seconds(found, float(resolution_s), dispersion)
    assert loads.min() >= 0
    assert len(loads) == len(found) * resolution_s
    np.testing.assert_array_equal(loads.reshape(-1, resolution_s).sum(axis=1), found)


@given(counts, st.floats(1.1, 90.0))
@settings(deadline=None)
def test_slots_that_are_no_whole_seconds_keep_their_sum(found: np.ndarray, resolution_s: float) -> None:
    assert spread_over_seconds(found, resolution_s).sum() == found.sum()


@pytest.mark.parametrize("dispersion", [0.1, 0.5, 1.0, 3.0, 10.0])
def test_seconds_are_as_dispersed_as_they_should_be(dispersion: float) -> None:
    """Within a slot the sum is fixed, so that a little less is left than in an open series."""
    loads = spread_over_seconds(np.full(3000, 1200), 60.0, dispersion).astype(np.float64)
    assert loads.var() / loads.mean() == pytest.approx(dispersion * 59 / 60, rel=0.15)


def test_the_rate_runs_along_straight_lines_through_the_middles_of_the_slots() -> None:
    loads = spread_over_seconds(np.array([0, 60_000, 120_000]), 60.0)
    halves = loads.reshape(-1, 30).sum(axis=1)
    assert halves[2] / halves[3] == pytest.approx(22_500 / 37_500, rel=0.03)


def test_what_is_made_up_is_the_same_every_time() -> None:
    one, other = (spread_over_seconds(np.arange(50), 10.0, 2.0) for _ in range(2))
    np.testing.assert_array_equal(one, other)
