"""Which stretch of the trace is served: the one whose load rises and falls most, found by rule."""

from __future__ import annotations

import numpy as np

from ipa_rl.compiled import FloatArray
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import PARTS, Part, Window, is_whole, load_trace

SLOT_S = 10
_EVERY_S = 5


def eventful(seconds: int, part: Part = "test") -> Window:
    """The stretch of a part in whose course the load, in means of SLOT_S, rises and then falls most.

    The lesser of both counts. It is played as fast as it was recorded: the forecasters and the clock know the
    trace at its own pace.
    """
    begin, end = PARTS[part]
    starts = np.arange(begin + HISTORY_S, end - seconds + 1, _EVERY_S)
    starts = starts[is_whole(starts - HISTORY_S, starts + seconds)]
    sums = np.concatenate([[0], np.cumsum(load_trace())])
    edges = starts[:, None] + np.arange(0, seconds - seconds % SLOT_S + 1, SLOT_S)
    means = np.diff(sums[edges], axis=1) / SLOT_S
    start = int(starts[_rise_and_fall(means).argmax()])
    return Window(
        f"{part} {start}", load_trace()[start - HISTORY_S : start + seconds], HISTORY_S, clock_s=start
    )


def _rise_and_fall(means: FloatArray) -> FloatArray:
    """Of each row (stretches, slots), how far its best peak stands above the lows on both of its sides."""
    before = np.minimum.accumulate(means, axis=1)
    after = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.minimum(means - before, means - after).max(axis=1), dtype=np.float64)
