"""Holds work to a share of a processor, as a CPU quota of a container does.

A demonstration plays a cluster of many cores on a machine of two: what it calls a core is a small share of a
real one. Work that takes t seconds of processor time is followed by a pause until t / share has passed since
it began, so that service times are those of the work itself, on that share, whatever else the machine does
beside it (as long as it is not overloaded).

t is the least of a few passes. A core of its own would find a model in its caches; here it shares two with
all the others, and the first pass after a pause takes up to five times as long as the next, by who else ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

CORE = 0.02
"""The share of a real core that the demonstration calls a core."""

_PASSES = 4


@dataclass(frozen=True, slots=True)
class Pace:
    """``share``: of one processor, more than 0 and at most 1. ``wall``, ``processor``: clocks, seconds."""

    share: float
    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = time.thread_time

    def measure(self, work: Callable[[], T]) -> tuple[T, float]:
        """Do the work in this thread; what it returns, and for how many seconds to pause after it."""
        began_s, least_s = self.wall(), float("inf")
        for _ in range(_PASSES):
            before_s = self.processor()
            result = work()
            least_s = min(least_s, self.processor() - before_s)
        return result, max(began_s + least_s / self.share - self.wall(), 0.0)

    def run(self, work: Callable[[], T]) -> T:
        """Do the work, pause, return."""
        result, pause_s = self.measure(work)
        time.sleep(pause_s)
        return result


def pace_of(cores: int, core: float = CORE) -> Pace:
    """The pace of a replica of so many of the demonstration's cores, at most one processor.

    >>> pace_of(5).share
    0.1
    """
    return Pace(min(cores * core, 1.0))
