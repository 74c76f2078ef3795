"""Times of arrival: drawn within the seconds of a trace, or read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import InputError, quoted
from ipa_rl.workload.trace import Window


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
    """A window of exact times of arrival: a text file, one time in seconds a line, ascending.

    Its first ``history_s`` seconds are history, which forecasters see and nobody serves. Raises InputError,
    with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError("cannot be read", file=path, fix="give a file, one time a line") from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8", file=path, fix="save the file as UTF-8") from error
    times = []
    last = 0.0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        last = _time(path, number, line, last)
        times.append(last)
    if last < history_s + interval_s:
        fix = f"give at least {history_s + interval_s} s, of which the first {history_s} are history"
        raise InputError(f"ends at {last:g} s", file=path, fix=fix)
    whole_s = (int(last - history_s) // interval_s + 1) * interval_s
    exact = np.array(times)
    counts = np.bincount(exact.astype(np.int64), minlength=history_s + whole_s)
    return Window(path.stem, counts, history_s, exact[exact >= history_s] - history_s)


def _time(path: Path, number: int, line: str, last: float) -> float:
    try:
        value = float(line)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(
            f"is no time: {quoted(line.strip())}", file=path, line=number, fix="give seconds, as 12.5"
        )
    if value < last:
        raise InputError(f"{value:g} comes after {last:g}", file=path, line=number, fix="sort the times")
    return value
