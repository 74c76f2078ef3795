"""Stretches of the trace whose load rises in the middle."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.workload import Part, load_workload

TWITTER = load_workload("twitter")


@pytest.mark.parametrize(("part", "seconds"), [("test", 40), ("validation", 80), ("train", 121)])
def test_eventful_stretches_rise_in_the_middle_and_do_not_overlap(part: Part, seconds: int) -> None:
    found = eventful(TWITTER, part, seconds, 120, most=8)
    begin, end = TWITTER.parts[part]
    third = seconds // 3
    heights = []
    for one in found:
        assert begin <= one.clock_s - one.history_s
        assert one.clock_s + seconds <= end
        loads = one.arrivals[one.history_s :]
        assert len(loads) == seconds
        before, middle, after = (
            max(np.median(one), 1.0) for one in np.split(loads, [third, seconds - third])
        )
        heights.append(middle / max(before, after))
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] > 1.0
    assert np.diff(sorted(one.clock_s for one in found)).min() >= seconds
    assert [one.name for one in eventful(TWITTER, part, seconds, 120, most=3)] == [
        one.name for one in found[:3]
    ]
