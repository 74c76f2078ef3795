"""Times of arrival, drawn within the seconds of a load."""

from __future__ import annotations

import numpy as np

from ipa_rl.workload.times import times_within


def test_times_lie_in_their_seconds_and_ascend() -> None:
    counts = np.array([3, 0, 5, 1])
    times_s = times_within(counts, np.random.default_rng(0))
    assert (np.diff(times_s) >= 0).all()
    assert np.bincount(times_s.astype(int), minlength=4).tolist() == counts.tolist()
