"""Turns of controllers on the same requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.demo.controllers import RunningSidecar
from ipa_rl.demo.serving import due_times
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.workload import load_workload


def test_every_controller_meets_the_same_requests_and_every_run_others() -> None:
    window = eventful(load_workload("twitter"), "test", 40, 120, most=1)[0]
    assert np.array_equal(due_times(window, 1), due_times(window, 1))
    assert not np.array_equal(due_times(window, 1), due_times(window, 2))
    counts = np.bincount(due_times(window, 1).astype(int), minlength=40)
    assert np.array_equal(counts, window.arrivals[window.history_s :])


@given(st.floats(0.0, 1e4), st.floats(0.0, 1e3))
def test_the_window_begins_with_a_step_of_the_controller(began_s: float, later_s: float) -> None:
    sidecar = RunningSidecar(None, Path(), began_s)  # type: ignore[arg-type]
    tick_s = sidecar.tick_after(began_s + later_s)
    assert began_s + later_s - 1e-6 <= tick_s < began_s + later_s + 5.0 + 1e-6
    assert (tick_s - began_s) / 5.0 == pytest.approx(round((tick_s - began_s) / 5.0))
