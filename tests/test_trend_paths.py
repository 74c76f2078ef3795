"""Load paths by the load's own trend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ipa_rl.jit import FloatArray
from ipa_rl.workload.trend_paths import LEAST, MOST, PACES, trend_paths

HISTORIES = arrays(np.float64, 120, elements=st.floats(0.0, 1e5))


@given(HISTORIES, st.integers(1, 40), st.integers(1, 90))
def test_paths_are_loads(history: FloatArray, count: int, steps: int) -> None:
    paths = trend_paths(history, count, steps)
    assert paths.shape == (count, steps)
    assert np.isfinite(paths).all()
    assert (paths >= 0.0).all()


@given(HISTORIES, st.floats(0.001, 1000.0))
def test_so_many_times_the_load_has_so_many_times_the_paths(history: FloatArray, factor: float) -> None:
    history = np.round(history)
    ours, theirs = factor * trend_paths(history, 8, 30), trend_paths(factor * history, 8, 30)
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6 * factor * max(history.max(), 1.0))


def test_a_steady_climb_goes_on_at_every_pace_until_it_ends() -> None:
    climbs = np.arange(120.0, 240.0)
    paths = trend_paths(climbs, len(PACES), 30)
    np.testing.assert_allclose(paths[:, -1], 239.5 + 30.0 * np.array(PACES), atol=2.0)
    later = trend_paths(climbs, len(PACES), 3000)
    newest = climbs[-20:].mean()
    assert later.max() == pytest.approx(MOST * newest, rel=0.02)
    falls = trend_paths(climbs[::-1], len(PACES), 3000)
    assert falls.min() == pytest.approx(LEAST * climbs[:20].mean(), rel=0.1)


def test_a_load_strays_from_its_trend_as_it_did() -> None:
    rng = np.random.default_rng(0)
    spreads = [trend_paths(rng.poisson(rate, 120).astype(float), 16, 60).std() for rate in (10.0, 1000.0)]
    assert spreads[1] / spreads[0] == pytest.approx(10.0, rel=0.3)
