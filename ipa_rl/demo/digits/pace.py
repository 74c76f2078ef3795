"""Holds work to a share of a processor, as a CPU quota of a container does; and the age of this process.

A demonstration plays a cluster of many cores on a machine of two: what it calls a core is a small share of a
real one. Work that takes t seconds of processor time is followed by a pause until t / share has passed since
it began, so that service times are those of the work itself, on that share, whatever else the machine does
beside it (as long as it is not overloaded).

t is what this kind of work (a model, a batch size) is said to take, or else the least that it took so far. A
core of its own would find a model in its caches and be shared with nobody; here the first pass after a pause
takes up to five times as long as the next, and any pass up to twice, where a neighbour uses the other thread
of the same core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CORE = 0.02
"""The share of a real core that the demonstration calls a core."""

_PASSES = 2


@dataclass
class Pace:
    """``share``: of one processor, more than 0 and at most 1. ``said_s``: processor time by kind of work,
    kept to even where the work turns out to be faster. ``wall``, ``processor``: clocks, seconds.

    For one thread.
    """

    share: float
    said_s: Mapping[Hashable, float] = field(default_factory=dict)
    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = time.thread_time
    _least_s: dict[Hashable, float] = field(init=False, default_factory=dict)

    def measure(self, kind: Hashable, work: Callable[[], T]) -> tuple[T, float]:
        """Do the work in this thread; what it returns, and for how many seconds to pause after it.

        ``kind``: works of the same kind take as long as one another.
        """
        began_s = self.wall()
        if kind in self.said_s:
            result, takes_s = work(), self.said_s[kind]
        else:
            takes_s = self._least_s.get(kind, float("inf"))
            for _ in range(_PASSES):  # the second one finds in the caches what the first left there
                before_s = self.processor()
                result = work()
                takes_s = min(takes_s, self.processor() - before_s)
            self._least_s[kind] = takes_s
        return result, max(began_s + takes_s / self.share - self.wall(), 0.0)


def share_of(cores: int, core: float = CORE) -> float:
    """The share of a processor that a replica of ``cores`` demonstration cores gets, at most one processor.

    >>> share_of(5)
    0.1
    """
    return min(cores * core, 1.0)


def process_age_s() -> float:
    """Seconds since this process began, to a tick of the kernel's clock (0.01 s).

    0.0 where the system has no /proc. (psutil knows the begin to a second only.)
    """
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return 0.0
    ticks = float(stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
