"""Times of arrival: drawn within the seconds of a trace, or read from a file."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import InputError, quoted
from ipa_rl.files import read_text
from ipa_rl.workload.workload import Window

LONGEST_S = 31 * 86_400
"""Most seconds from the first to the last time of a file, so that its loads by second fit the memory."""

_SINCE_1970_S = 1e8
"""Seconds from which times are taken to be since 1970: three years, more than any file lasts."""
_SINCE_1970_FORM = "`date -f FILE +%s.%N` prints them for dates"
_MOST_BYTES = 64_000_000


def times_within(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Times (requests,) of ``counts`` requests in each second, ascending, from 0.

    Independent and uniform within its second each: a Poisson process, given how many requests each second
    of it has.

    >>> times_within(np.array([0, 2]), np.random.default_rng(0)).round(1).tolist()
    [1.3, 1.6]
    """
    seconds = np.repeat(np.arange(len(counts), dtype=np.float64), counts)
    return np.sort(seconds + rng.random(len(seconds)))


def read_times(path: Path, history_s: int, interval_s: int) -> Window:
    """A window of exact times of arrival: a text file, one time a line, ascending.

    Times are seconds since any moment. Times since 1970, as logs have them, may be in milliseconds,
    microseconds or nanoseconds as well, which their size tells; they begin at the second of the first. The
    first ``history_s`` seconds are history, which forecasters see and nobody serves. Raises InputError, with
    the line.
    """
    lines = read_text(path, _MOST_BYTES, "give a file, one time a line").split("\n")
    times: list[float] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            times.append(_time(path, number, line.strip(), times[-1] if times else 0.0))
    exact = _from_the_first(np.array(times))
    last = float(exact[-1]) if len(exact) else 0.0
    least = history_s + interval_s
    if not least <= last <= LONGEST_S:
        enough = f"give at least {least} s, of which the first {history_s} are history"
        fix = enough if last < least else f"give at most {LONGEST_S} s, times in seconds"
        raise InputError(f"ends at {last:g} s", file=path, fix=fix)
    whole_s = (int(last - history_s) // interval_s + 1) * interval_s
    counts = np.bincount(exact.astype(np.int64), minlength=history_s + whole_s)
    return Window(path.stem, counts, history_s, exact[exact >= history_s] - history_s)


def _from_the_first(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times since 1970 in seconds since the whole second of the first; others as they are.

    >>> _from_the_first(np.array([1714650000250.0, 1714650001000.0])).tolist()
    [0.25, 1.0]
    """
    if not len(times) or times[0] < _SINCE_1970_S:
        return times
    unit = 1000.0 ** min(3, int(math.log10(times[0] / _SINCE_1970_S) // 3))
    return np.asarray((times - times[0] // unit * unit) / unit, dtype=np.float64)


def _time(path: Path, number: int, line: str, last: float) -> float:
    try:
        value = float(line)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value):
        is_date = re.match(r"\[?\d{1,4}[-/.](\d{1,2}|\w{3})[-/.]\d{1,4}", line)  # ISO 8601, or with slashes
        fix = f"give seconds, as {_SINCE_1970_FORM if is_date else '12.5'}"
        raise InputError(f"is not a time: {quoted(line)}", file=path, line=number, fix=fix)
    if value < last:
        raise InputError(f"{value:g} comes after {last:g}", file=path, line=number, fix="sort the times")
    return value
