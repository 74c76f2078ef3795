"""Rates as whole requests: sums are kept, what is missing stays missing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.workload.slots import counts_of_rates, gaps_of

RATES = st.lists(st.one_of(st.floats(0, 1e4), st.just(float("nan"))), min_size=1, max_size=60)


@given(rates=RATES, resolution_s=st.integers(1, 3600), begin=st.integers(0, 59), length=st.integers(1, 60))
def test_the_counts_of_any_stretch_are_within_a_request_of_its_rates(
    rates: list[float], resolution_s: int, begin: int, length: int
) -> None:
    counts = counts_of_rates(np.array(rates), resolution_s)
    known = ~np.isnan(rates)
    assert (np.isnan(counts) == ~known).all()
    assert (counts[known] >= 0).all()
    assert (counts[known] == np.round(counts[known])).all()
    stretch = slice(begin, begin + length)
    expected = np.nansum(np.array(rates)[stretch]) * resolution_s
    assert abs(np.nansum(counts[stretch]) - expected) <= 1.0 + 1e-6


@given(missing=st.lists(st.booleans(), max_size=60), resolution_s=st.integers(1, 3600))
def test_gaps_hold_the_slots_that_are_missing_and_no_others(missing: list[bool], resolution_s: int) -> None:
    gaps = gaps_of(np.array(missing, dtype=np.bool_), resolution_s)
    inside = [any(a <= k * resolution_s < b for a, b in gaps) for k in range(len(missing))]
    assert inside == missing
