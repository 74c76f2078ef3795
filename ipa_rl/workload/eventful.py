"""The stretches of the trace whose load rises and falls most, found by rule."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import PARTS, Part, Window, is_whole, load_trace

_EVERY_S = 5


@lru_cache(maxsize=4)
def eventful(part: Part, seconds: int, most: int | None = None) -> tuple[Window, ...]:
    """The stretches of a part whose middle third stands highest above the thirds before and after it.

    The most eventful one first, and none that overlaps one before it; ``most``: how many, by default all.
    """
    begin, end = PARTS[part]
    starts = np.arange(begin + HISTORY_S, end - seconds + 1, _EVERY_S)
    starts = starts[is_whole(starts - HISTORY_S, starts + seconds)]
    first, middle, last = _thirds(starts, seconds)
    ranked = starts[np.argsort(np.maximum(first, last) - middle, kind="stable")]
    return tuple(_window(part, start, seconds) for start in _apart(ranked, seconds, most))


def _apart(ranked: IntArray, seconds: int, most: int | None) -> list[int]:
    """The first of these starts of which no two stretches overlap."""
    kept: list[int] = []
    while len(ranked) > 0 and len(kept) != most:
        kept.append(int(ranked[0]))
        ranked = ranked[np.abs(ranked - ranked[0]) >= seconds]
    return kept


def _window(part: Part, start: int, seconds: int) -> Window:
    arrivals = load_trace()[start - HISTORY_S : start + seconds]
    return Window(f"{part} {start}", arrivals, HISTORY_S, clock_s=start)


def _thirds(starts: IntArray, seconds: int) -> FloatArray:
    """Mean load of each third of the stretches, (3, stretches)."""
    sums = np.concatenate([[0], np.cumsum(load_trace())])
    edges = np.array([0, seconds // 3, seconds - seconds // 3, seconds])
    totals = np.diff(sums[starts[:, None] + edges], axis=1)
    return np.asarray((totals / np.diff(edges)).T, dtype=np.float64)
