"""Which column holds what: times, counts, rates, how bursty they were."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from ipa_rl.errors import InputError
from ipa_rl.workload.recordings.hints import Hints
from ipa_rl.workload.recordings.instants import Instants, looks_like_dates
from ipa_rl.workload.recordings.sheet import Sheet, as_numbers

_TIMES = (
    "timestamp", "time", "ts", "datetime", "date", "arrival", "arrived", "start", "begin", "t", "window",
    "bucket", "created", "at", "received", "end", "ended", "minute", "second", "hour",
)  # fmt: skip
"""What columns of times are called, the likeliest first."""

_COUNTS = (
    "count", "counts", "n", "requests", "request", "invocations", "hits", "calls", "queries", "events",
    "arrivals", "load", "total", "value", "volume", "num",
)  # fmt: skip
_RATES = ("rate", "rps", "qps", "tps", "rates")
_CVS = ("cv", "cov")
_GAP_FAMILIES = {"Gamma", "Weibull", "Exponential", "Exp", "Poisson"}
_NO_COUNT = ("token", "byte", "size", "length", "latency", "duration", "status", "id", "model", "ms", "type")
_LEAST_WIDE = 10
_SHORTEST_US = 100_000
"""What comes more often is no count of an interval, unless its name says so."""


def is_of_windows(sheet: Sheet) -> bool:
    """Whether it has ServeGen's columns: begin [s], rate, variation and family of the gaps, parameters."""
    frame = sheet.frame
    if sheet.has_names or frame.shape[1] < 4:
        return False
    families = set(frame.iloc[:, 3].dropna().unique())
    return bool(families) and families <= _GAP_FAMILIES


def wide_columns(sheet: Sheet) -> list[str]:
    """The columns of a table that has one for each interval: named by number, or by date."""
    if not sheet.has_names:
        return []
    names = [str(name) for name in sheet.frame.columns]
    numbered = [name for name in names if name.isdecimal()]
    as_numbers = np.array([int(name) for name in numbered])
    if len(numbered) >= _LEAST_WIDE and (np.diff(as_numbers) == 1).all():
        return numbered
    dated = [name for name in names if re.match(r"\d{4}-\d\d-\d\d", name)]
    return dated if len(dated) >= 3 else []


def time_column(sheet: Sheet, hints: Hints) -> str | None:
    """The column of times, or of dates beside a column of the time of day; None where there is none."""
    if hints.time is not None:
        return sheet.column(hints.time, "--time")
    names = [str(name) for name in sheet.frame.columns]
    dates = [name for name in names if looks_like_dates(sheet.frame[name])]
    if dates:
        return min(dates, key=_likeliness)
    named = [name for name in names if _rank(name, _TIMES) is not None and _is_numeric(sheet, name)]
    if named and sheet.has_names:
        return min(named, key=_likeliness)
    ascending = [name for name in names if _ascends(sheet, name)]
    if ascending and (not sheet.has_names or len(names) == 1):
        return ascending[0]
    return None


def join_time_of_day(sheet: Sheet, name: str) -> str:
    """Where dates have their times in a column of their own: one column of both."""
    frame = sheet.frame
    has_times = frame[name].astype(str).str.contains(":").any()
    for other in frame.columns:
        is_text = other != name and not _is_numeric(sheet, other)
        if is_text and not has_times and frame[other].astype(str).str.match(r"\d{1,2}:\d\d").all():
            joined = f"{name} {other}"
            frame[joined] = frame[name].astype(str) + " " + frame.pop(other).astype(str)
            frame.pop(name)
            return joined
    return name


def duration_column(sheet: Sheet, time: str) -> str | None:
    """The column of how long each request took, where the times are those of its end."""
    if _rank(time, ("end", "ended", "finish", "finished")) is None:
        return None
    return next((n for n in sheet.frame.columns if _rank(n, ("duration", "elapsed")) is not None), None)


def value_column(
    sheet: Sheet, time: str | None, instants: Instants | None, hints: Hints
) -> tuple[str, str] | None:
    """The column of counts or of rates, and which of them; None where every row is a request.

    By what was told, by its name, or as the only numbers beside times that follow each other evenly.
    """
    if hints.count is not None:
        return sheet.column(hints.count, "--count"), "counts"
    if hints.rate is not None:
        return sheet.column(hints.rate, "--rate"), "rates"
    numeric = [name for name in sheet.frame.columns if name != time and _is_numeric(sheet, name)]
    plain = [name for name in numeric if not any(word in _words(name) for word in _NO_COUNT)]
    plain = [name for name in plain if not any(word.rstrip("s") in _NO_COUNT for word in _words(name))]
    if not (instants is None or _is_even(instants)):
        plain = [name for name in plain if _rank(name, (*_RATES, "count", "counts")) is not None]
    for names, kind in ((_RATES, "rates"), (_COUNTS, "counts")):
        found = [name for name in plain if _rank(name, names) is not None and sheet.has_names]
        if found:
            return min(found, key=lambda name: _rank(name, names) or 0), kind
    if instants is not None and len(plain) == 1 and len(numeric) == 1:
        return plain[0], "counts" if _is_whole(sheet.frame[plain[0]]) else "rates"
    return None


def cv_column(sheet: Sheet, hints: Hints) -> str | None:
    """The column of the coefficients of variation of the gaps between requests."""
    if hints.cv is not None:
        return sheet.column(hints.cv, "--cv")
    return next((name for name in sheet.frame.columns if _rank(name, _CVS) is not None), None)


def label_columns(sheet: Sheet, used: tuple[str | None, ...]) -> list[str]:
    """Columns of texts, which tell rows of the same time apart."""
    return [name for name in sheet.frame.columns if name not in used and not _is_numeric(sheet, name)]


def numbers_of(sheet: Sheet, name: str) -> Any:
    """A column as numbers, NaN where it is empty; what is no number is a fault of the table."""
    column = sheet.frame[name]
    numbers = as_numbers(column)
    sheet.fault(
        numbers.isna() & column.notna(), lambda value: f"is not a number: {value!r}", column, name,
        "correct it, or leave it empty where nothing was recorded",
    )  # fmt: skip
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def unknown(sheet: Sheet) -> InputError:
    """What is asked for where no column looks like anything."""
    known = ", ".join(map(str, sheet.frame.columns[:12]))
    fix = f"name one of {known} with --time, and counts with --count"
    return InputError("no column looks like times or counts", file=sheet.file, fix=fix)


def _words(name: str) -> list[str]:
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(name))
    return re.findall(r"[a-z]+", split.lower())


def _rank(name: str, known: tuple[str, ...]) -> int | None:
    """The place of a name's likeliest word in a list."""
    words = _words(name)
    return next((k for k, word in enumerate(known) if word in words), None)


def _likeliness(name: str) -> tuple[int, int]:
    rank = _rank(name, _TIMES)
    is_end = _rank(name, ("end", "ended", "finish", "finished")) is not None
    return (len(_TIMES) if rank is None else rank) + 100 * is_end, len(name)


def _is_numeric(sheet: Sheet, name: str) -> bool:
    column = sheet.frame[name]
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    return bool(as_numbers(column.head(1000)).notna().mean() > 0.5)


def _is_whole(column: Any) -> bool:
    values = as_numbers(column).dropna().to_numpy(dtype=np.float64)
    return bool((values == np.floor(values)).all())


def _ascends(sheet: Sheet, name: str) -> bool:
    if not _is_numeric(sheet, name):
        return False
    values = as_numbers(sheet.frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    steps = np.diff(values[~np.isnan(values)])
    return bool(len(steps) and (steps >= 0).mean() > 0.99 and values[-1] > values[0])


def _is_even(instants: Instants) -> bool:
    """Whether times follow each other in steps of one length, a few left out."""
    steps = np.diff(np.unique(instants.us))
    if len(steps) < 2:
        return False
    lengths, counts = np.unique(steps, return_counts=True)
    usual = lengths[counts.argmax()]
    is_usual = counts.max() >= 0.5 * len(steps) and usual >= _SHORTEST_US
    return bool(is_usual and (steps % usual == 0).mean() > 0.9)
