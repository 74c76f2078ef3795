"""Synthetic arrivals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.workload.synthetic import on_off_rates, poisson_arrivals


@given(st.integers(0, 100), st.floats(0.5, 50))
def test_poisson_arrivals_have_the_rate_they_were_given(seed: int, rate: float) -> None:
    drawn = poisson_arrivals(np.full(4000, rate), np.random.default_rng(seed))
    assert drawn.mean() == pytest.approx(rate, abs=6 * np.sqrt(rate / 4000))
    assert drawn.min() >= 0


def test_an_on_off_load_has_two_levels_and_the_stationary_mean() -> None:
    rates = on_off_rates(400_000, 5.0, 30.0, np.random.default_rng(0), 120.0, 40.0)
    assert set(rates.tolist()) == {5.0, 30.0}
    assert rates.mean() == pytest.approx((5 * 120 + 30 * 40) / 160, rel=0.05)


def test_the_same_seed_gives_the_same_load() -> None:
    one, other = (on_off_rates(500, 5, 30, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
