"""Which stretch of the trace is served: the one whose load rises and falls most, found by rule."""

from __future__ import annotations

import numpy as np

from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import PARTS, Part, Window, is_whole, load_trace

_EVERY_S = 5


def eventful(seconds: int, part: Part = "test") -> Window:
    """The stretch of a part whose middle third stands highest above the thirds before and after it.

    It is played as fast as it was recorded: the forecasters and the clock know the trace at its own pace.
    """
    begin, end = PARTS[part]
    starts = np.arange(begin + HISTORY_S, end - seconds + 1, _EVERY_S)
    starts = starts[is_whole(starts - HISTORY_S, starts + seconds)]
    first, middle, last = _thirds(starts, seconds)
    start = int(starts[(middle - np.maximum(first, last)).argmax()])
    arrivals = load_trace()[start - HISTORY_S : start + seconds]
    return Window(f"{part} {start}", arrivals, HISTORY_S, clock_s=start)


def _thirds(starts: IntArray, seconds: int) -> FloatArray:
    """Mean load of each third of the stretches, (3, stretches)."""
    sums = np.concatenate([[0], np.cumsum(load_trace())])
    edges = np.array([0, seconds // 3, seconds - seconds // 3, seconds])
    totals = np.diff(sums[starts[:, None] + edges], axis=1)
    return np.asarray((totals / np.diff(edges)).T, dtype=np.float64)
