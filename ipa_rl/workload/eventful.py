"""The stretches of the trace whose load rises and falls by the largest factor, found by rule."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import PARTS, Part, Window, is_whole, load_trace, stretch

_EVERY_S = 5
_AT_ONCE = 20_000


@lru_cache(maxsize=4)
def eventful(part: Part, seconds: int, most: int | None = None) -> tuple[Window, ...]:
    """The stretches of a part whose middle third has the highest load relative to the thirds around it.

    A third's load is the median of its seconds, so that what rises lasts: to a spike that is over before a
    replica has started no controller can answer. The most eventful one first, and none that overlaps one
    before it; ``most``: how many, by default all.
    """
    begin, end = PARTS[part]
    starts = np.arange(begin + HISTORY_S, end - seconds + 1, _EVERY_S)
    starts = starts[is_whole(starts - HISTORY_S, starts + seconds)]
    first, middle, last = np.maximum(_thirds(starts, seconds), 1.0)
    ranked = starts[np.argsort(np.maximum(first, last) / middle, kind="stable")]
    found: list[Window] = []
    while len(ranked) > 0 and len(found) != most:
        found.append(stretch(part, int(ranked[0]), seconds, HISTORY_S))
        ranked = ranked[np.abs(ranked - ranked[0]) >= seconds]
    return tuple(found)


def _thirds(starts: IntArray, seconds: int) -> FloatArray:
    """Median load of each third of the stretches, (3, stretches)."""
    loads = np.lib.stride_tricks.sliding_window_view(load_trace(), seconds)
    edges = [seconds // 3, seconds - seconds // 3]
    few = [starts[i : i + _AT_ONCE] for i in range(0, len(starts), _AT_ONCE)]
    found = [[np.median(third, axis=1) for third in np.split(loads[some], edges, axis=1)] for some in few]
    return np.concatenate(found, axis=1)
