"""Series by time at the resolution of a screen, however long they are.

A page holds a short series as it is, a long one by bucket: mean, lowest and highest value. It draws as many
buckets as the screen has room for, and finer ones once somebody zooms in (``templates/resolution.js``). A
picture draws a bucket every few pixels.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.pipeline import Stage

MOST_SHOWN, MOST_HIDDEN, MOST_SERVED = 280_000, 50_000, 50_000
"""Numbers that a page holds: of series that are shown at first, of hidden ones, and of what served."""

_LEAST = 400
"""Numbers of a series, however many there are."""

LONG_S = 2 * 3600
"""Longer than this, an axis says hours and days instead of seconds."""


@dataclass(frozen=True)
class Buckets:
    """Mean, lowest and highest of each ``size`` values in a row; NaN where a bucket knows none."""

    size: int
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def bucketed(values: FloatArray | IntArray, most: int) -> Buckets:
    """The values in at most so many buckets of equal size, of which the last may be smaller.

    Values that are NaN are left out.

    >>> bucketed(np.array([1.0, 3.0, np.nan, 5.0, 7.0]), 3).mean.tolist()
    [2.0, 5.0, 7.0]
    """
    values = np.asarray(values, dtype=np.float64)
    size = max(1, -(-len(values) // most))
    starts, known = np.arange(0, len(values), size), ~np.isnan(values)
    counts = np.add.reduceat(known, starts, dtype=np.float64)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    mean = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return Buckets(size, np.clip(mean, low, high), low, high)


def most_of_each(series: int, most: int) -> int:
    """How many numbers a page may hold of each of so many series, which together have so many."""
    return max(_LEAST, most // max(series, 1))


def embedded_series(values: FloatArray | IntArray, every_s: float, most: int) -> dict[str, Any]:
    """A series, one value each ``every_s`` seconds, as the page reads it: at most so many numbers."""
    if len(values) <= most:
        return {"every_s": every_s, "mean": _short(np.asarray(values, dtype=np.float64))}
    found = bucketed(values, most // 3)
    return {
        "every_s": every_s * found.size,
        "mean": _short(found.mean),
        "low": _short(found.low),
        "high": _short(found.high),
    }


def _short(values: FloatArray) -> list[float | int | None]:
    """To four digits, which no screen shows more of; None where nothing is known."""
    rounded = (float(f"{one:.4g}") for one in values.tolist())
    return [None if math.isnan(one) else int(one) if one.is_integer() else one for one in rounded]


def embedded_band(served: IntArray, stage: Stage, every_s: int, most: int) -> dict[str, Any]:
    """What served at a stage, as the page reads it, of rows (steps, 3) of variant, batch index, replicas.

    ``begins``: of each stretch of equal rows; ``ids``: which of ``rows`` it is. Where there are more than so
    many steps, what served longest in each bucket of some.
    """
    different, ids = np.unique(served, axis=0, return_inverse=True)
    size = max(1, -(-len(served) // most))
    longest = most_frequent(ids.ravel(), size, len(different))
    begins = [0, *(np.flatnonzero(np.diff(longest)) + 1).tolist()]
    return {
        "every_s": every_s * size,
        "end_s": every_s * len(served),
        "begins": begins,
        "ids": longest[begins].tolist(),
        "rows": [_in_words(stage, *row) for row in different.tolist()],
    }


def _in_words(stage: Stage, variant: int, batch: int, replicas: int) -> dict[str, Any]:
    size = stage.variants[variant].batches[batch]
    words = f"x{replicas}" if size == 1 else f"x{replicas} b{size}"
    return {"variant": variant, "batch": size, "replicas": replicas, "words": words}


def most_frequent(ids: IntArray, size: int, kinds: int) -> IntArray:
    """The most frequent of each ``size`` numbers below ``kinds`` in a row; of several the smallest.

    >>> most_frequent(np.array([1, 0, 0, 2, 2]), 3, 3).tolist()
    [0, 2]
    """
    buckets = np.arange(len(ids)) // size
    counts = np.zeros((-(-len(ids) // size), kinds), dtype=np.int64)
    np.add.at(counts, (buckets, ids), 1)
    return np.asarray(counts.argmax(axis=1), dtype=np.int64)


def time_axis(end_s: float) -> dict[str, Any]:
    """A plotly axis of so many seconds; a long one has days and hours, and labels for any part of it."""
    end = end_s * axis_unit(end_s)
    if end == end_s:
        return {"range": [0, end]}
    return {
        "type": "date",
        "range": [0, end],
        "hoverformat": "day %-j, %H:%M:%S",
        "tickformatstops": [
            {"dtickrange": [None, 60_000], "value": "%H:%M:%S\nday %-j"},
            {"dtickrange": [60_000, 86_400_000], "value": "%H:%M\nday %-j"},
            {"dtickrange": [86_400_000, None], "value": "day %-j"},
        ],
    }


def dated_axis(end_s: float, begin: datetime.datetime) -> dict[str, Any]:
    """A plotly axis of so many seconds from a date on, by the clock's offset of then."""
    first = milliseconds(begin)
    hover = "%a %-d %b %Y, %H:%M:%S"
    return {"type": "date", "range": [first, first + 1000 * end_s], "hoverformat": hover}


def milliseconds(at: datetime.datetime) -> int:
    """A local date as such an axis counts it, which knows no time zones."""
    return round(1000 * at.replace(tzinfo=datetime.UTC).timestamp())


def axis_unit(end_s: float) -> int:
    """What that axis counts a second as: one, or the milliseconds of a date."""
    return 1 if end_s <= LONG_S else 1000


def axis_title(end_s: float) -> str:
    """What that axis counts."""
    return "seconds" if end_s <= LONG_S else "time since the start"
