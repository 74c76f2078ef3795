"""The loads that the sidecar has seen: the last days in memory, and in a file that outlives the process.

A load a step (`ipa_rl.workload.steps`). What was not measured is not there: it is NaN in memory and has no
line in the file, and is never a load of zero. The file is CSV, ``time,load_rps``, which
``ipa-rl workload import`` reads: `time` in seconds since 1970, when the step begins.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.files import append, is_file, read_lines, replacing
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.live.cluster import Loads
from ipa_rl.sidecar.decision_log import Trouble
from ipa_rl.workload.recent_fits import Recent
from ipa_rl.workload.steps import HISTORY_STEPS, by_step

LOG = logging.getLogger(__name__)

HEADER = b"time,load_rps\n"
_LINES_AT_ONCE = 20_000
_LONGEST_LINE = 100
_SLACK = 1.25
"""The file is written anew, without what is too old, where it has so many times the lines that are kept."""


class LoadHistory:
    """Loads of the last ``days``, in steps of ``step_s``; filled by the loop, read and saved by a thread.

    ``path``: the file; None for none. ``end_s``: loads after that moment are not believed (the clock was set
    back since). Raises InputError where the file cannot be written to, or is not one of loads.
    """

    def __init__(self, step_s: int, days: float, path: Path | None = None, end_s: float = math.inf) -> None:
        self.step_s, self.path = step_s, path
        self._rps = np.full(max(round(days * 86_400 / step_s), 1), np.nan, dtype=np.float32)
        self._end = 0
        """Number of the step after the newest: step k lasts from k * step_s on, seconds since 1970."""
        self._lock = threading.Lock()
        self._unsaved: list[tuple[IntArray, FloatArray]] = []
        self._lines = 0
        self._trouble = Trouble("the history of loads", path or Path())
        if path is not None:
            self._open(path, end_s)

    def saw(self, loads: Loads, unix_s: float) -> None:
        """What is known of ``loads``, whose newest second ends at ``unix_s``; steps that are new are kept."""
        if loads.stale:
            return
        end = math.floor(unix_s / self.step_s)
        after_s = math.floor(unix_s) - end * self.step_s
        known = loads.history_rps if loads.measured_rps is None else loads.measured_rps
        rps = by_step(known[: len(known) - after_s], self.step_s)
        steps = np.arange(end - len(rps), end)
        if self._end > end + HISTORY_STEPS:
            self._forget_after(end - len(rps))
        new = (steps >= self._end) & np.isfinite(rps)
        if not new.any():
            return
        with self._lock:
            self._keep(steps[new], rps[new])
            if self.path is not None:
                self._unsaved.append((steps[new], rps[new]))

    def _forget_after(self, end: int) -> None:
        """The clock was set back: what seems to be still to come was not so."""
        LOG.warning("the clock was set back: loads after it are forgotten")
        with self._lock:
            self._unknown(end, self._end)
            self._end = end

    def _keep(self, steps: IntArray, rps: FloatArray) -> None:
        """Ascending steps, of which those that are older than the oldest kept fall out."""
        size, end = len(self._rps), int(steps[-1]) + 1
        if end > self._end:  # the steps between are unknown until they are said to be known
            self._unknown(self._end, end)
            self._end = end
        kept = steps >= self._end - size
        self._rps[steps[kept] % size] = rps[kept]

    def _unknown(self, begin: int, end: int) -> None:
        """Of these steps nothing is known; at the first loads of all these are weeks, so no copy is made."""
        size = len(self._rps)
        first, last = begin % size, end % size
        if end - begin >= size:
            self._rps[:] = np.nan
        elif first <= last:
            self._rps[first:last] = np.nan
        else:
            self._rps[first:] = self._rps[:last] = np.nan

    def recent(self, clock_of: Callable[[float], float]) -> Recent:
        """All that is kept, from the first that is known on."""
        with self._lock:
            rps, end = np.roll(self._rps, -(self._end % len(self._rps))), self._end
        known = np.isfinite(rps)
        first = int(known.argmax()) if known.any() else len(rps)
        return Recent(rps[first:], end - len(rps) + first, self.step_s, clock_of)

    @property
    def known_s(self) -> int:
        """Seconds of load that are known."""
        return int(np.isfinite(self._rps).sum()) * self.step_s

    @property
    def newest_s(self) -> float:
        """When the newest step ends, seconds since 1970; 0 where there is none."""
        return float(self._end * self.step_s)

    def between(self, begin_s: float, end_s: float) -> NDArray[np.float32] | None:
        """The steps that begin within a stretch of time; None where they are not all past and kept."""
        begin, end = math.ceil(begin_s / self.step_s), math.ceil(end_s / self.step_s)
        if end > self._end or begin < self._end - len(self._rps):
            return None
        return self._rps[np.arange(begin, end) % len(self._rps)]

    # The file. Only one thread saves; a disk that is slow or full holds no step up.

    def save(self) -> None:
        """Write what is new; where the disk is full it is told once and kept until it can be written."""
        if self.path is None:
            return
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        if not unsaved:
            return
        steps, rps = (np.concatenate(one) for one in zip(*unsaved, strict=True))
        with self._trouble.told():
            try:
                if self._lines + len(steps) > _SLACK * len(self._rps) or not is_file(self.path):
                    self._write_anew(self.path)
                else:
                    append(self.path, self._text(steps, rps))
                    self._lines += len(steps)
            except OSError:
                with self._lock:  # bounded as the memory is: of steps that are too old nothing is kept
                    kept = steps >= self._end - len(self._rps)
                    self._unsaved.insert(0, (steps[kept], rps[kept]))
                raise

    def _text(self, steps: IntArray, rps: FloatArray) -> bytes:
        pairs = zip(steps.tolist(), rps.tolist(), strict=True)
        return "".join(f"{step * self.step_s},{one:.4g}\n" for step, one in pairs).encode()

    def _write_anew(self, path: Path) -> None:
        recent = self.recent(float)
        known = np.flatnonzero(np.isfinite(recent.rps))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(HEADER)
            for first in range(0, len(known), _LINES_AT_ONCE):
                some = known[first : first + _LINES_AT_ONCE]
                file.write(self._text(recent.first + some, recent.rps[some].astype(np.float64)))
        self._lines = len(known)

    def _open(self, path: Path, end_s: float) -> None:
        """Read what the file has; lines that were cut off or broken are left out, and counted."""
        fix = "give another path, or move the file away"
        try:
            append(path, b"")
        except OSError as error:
            problem = f"cannot be written to: {(error.strerror or str(error)).lower()}"
            raise InputError(problem, file=path, field="load_history.path", fix=fix) from error
        lines = read_lines(path, _LONGEST_LINE, fix)
        header = next(lines, b"")
        if header and header != HEADER:
            problem = f"does not begin with {HEADER.decode().strip()}"
            raise InputError(problem, file=path, field="load_history.path", fix=fix)
        if not header:
            with self._trouble.told():
                append(path, HEADER)
        left_out = 0
        while some := list(islice(lines, _LINES_AT_ONCE)):
            table = _numbers(some)
            time_s, rps = table[:, 0], table[:, 1]
            fits = (
                (time_s >= 0) & (time_s < end_s) & (time_s % self.step_s == 0) & (rps >= 0) & (rps < np.inf)
            )
            self._lines += len(some)
            left_out += len(some) - int(fits.sum())
            order = np.argsort(time_s[fits], kind="stable")
            if len(order):
                steps = (time_s[fits][order] // self.step_s).astype(np.int64)
                self._keep(steps, rps[fits][order])
        if left_out:
            told = {"file": str(path), "lines": left_out}
            LOG.warning("lines of the history of loads are left out: broken, or of another time", extra=told)


def _numbers(lines: list[bytes]) -> FloatArray:
    """Time and load of each line, (lines, 2), NaN where a line holds no two numbers."""
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2, usecols=(0, 1), comments=None)
    except ValueError:
        return np.array([_pair(line) for line in lines])


def _pair(line: bytes) -> tuple[float, float]:
    try:
        time_s, rps = (float(one) for one in line.split(b","))
    except ValueError:
        return math.nan, math.nan
    return time_s, rps
