"""The stretches of a workload whose load rises and falls by the largest factor, found by rule."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.steps import Loads
from ipa_rl.workload.workload import Part, Window, Workload

_EVERY_S = 5
_AT_ONCE = 20_000


@lru_cache(maxsize=4)
def eventful(
    workload: Workload,
    part: Part,
    seconds: int,
    history_s: int,
    least_rps: float = 1.0,
    most: int | None = None,
) -> tuple[Window, ...]:
    """The stretches of a part whose middle third has the highest load relative to the thirds around it.

    A third's load is the median of its seconds, so that what rises lasts: to a spike that is over before a
    replica has started no controller can answer. It counts as ``least_rps`` at least. The most eventful one
    first, and none that overlaps one before it; ``most``: how many, by default all.
    """
    possible = workload.starts(part, seconds, history_s)
    starts = possible[(possible - workload.parts[part][0] - history_s) % _EVERY_S == 0]
    order = np.argsort(-rises(workload.loads, starts, seconds, least_rps), kind="stable")
    return tuple(
        workload.stretch(f"{part} {at}", at, seconds, history_s) for at in apart(starts[order], seconds, most)
    )


def rises(loads: Loads, starts: IntArray, length: int, least: float) -> FloatArray:
    """Load of the middle third over the higher one of the thirds around it, of stretches (starts,)."""
    if not len(starts):
        return np.ones(0)
    first, middle, last = np.maximum(_thirds(loads, starts, length), least)
    return np.asarray(middle / np.maximum(first, last), dtype=np.float64)


def apart(starts: IntArray, length: int, most: int | None) -> list[int]:
    """The first of the starts, and those after it whose stretches overlap none before; ``most`` of them."""
    found: list[int] = []
    while len(starts) > 0 and len(found) != most:
        found.append(int(starts[0]))
        starts = starts[np.abs(starts - starts[0]) >= length]
    return found


def _thirds(loads: Loads, starts: IntArray, length: int) -> FloatArray:
    """Median load of each third of the stretches, (3, stretches)."""
    views = np.lib.stride_tricks.sliding_window_view(loads, length)
    edges = [length // 3, length - length // 3]
    few = [starts[i : i + _AT_ONCE] for i in range(0, len(starts), _AT_ONCE)]
    found = [[np.median(third, axis=1) for third in np.split(views[some], edges, axis=1)] for some in few]
    return np.concatenate(found, axis=1)
