"""Which column holds what: times, counts, rates, how bursty they were."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from ipa_rl.errors import InputError
from ipa_rl.workload.importing.moments import Moments, looks_like_dates
from ipa_rl.workload.importing.table import Table
from ipa_rl.workload.importing.told import Told

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


def is_of_windows(table: Table) -> bool:
    """Whether it has ServeGen's columns: begin [s], rate, variation and family of the gaps, parameters."""
    frame = table.frame
    if table.has_names or frame.shape[1] < 4:
        return False
    families = set(frame.iloc[:, 3].dropna().unique())
    return bool(families) and families <= _GAP_FAMILIES


def wide_columns(table: Table) -> list[str]:
    """The columns of a table that has one for each interval: named by number, or by date."""
    if not table.has_names:
        return []
    names = [str(name) for name in table.frame.columns]
    numbered = [name for name in names if name.isdecimal()]
    as_numbers = np.array([int(name) for name in numbered])
    if len(numbered) >= _LEAST_WIDE and (np.diff(as_numbers) == 1).all():
        return numbered
    dated = [name for name in names if re.match(r"\d{4}-\d\d-\d\d", name)]
    return dated if len(dated) >= 3 else []


def time_column(table: Table, told: Told) -> str | None:
    """The column of times, or of dates beside a column of the time of day; None where there is none."""
    if told.time is not None:
        return table.column(told.time, "--time")
    names = [str(name) for name in table.frame.columns]
    dates = [name for name in names if looks_like_dates(table.frame[name])]
    if dates:
        return min(dates, key=_likeliness)
    named = [name for name in names if _rank(name, _TIMES) is not None and _is_numeric(table, name)]
    if named and table.has_names:
        return min(named, key=_likeliness)
    ascending = [name for name in names if _ascends(table, name)]
    if ascending and (not table.has_names or len(names) == 1):
        return ascending[0]
    return None


def join_time_of_day(table: Table, name: str) -> str:
    """Where dates have their times in a column of their own: one column of both."""
    frame = table.frame
    has_times = frame[name].astype(str).str.contains(":").any()
    for other in frame.columns:
        is_text = other != name and not _is_numeric(table, other)
        if is_text and not has_times and frame[other].astype(str).str.match(r"\d{1,2}:\d\d").all():
            joined = f"{name} {other}"
            frame[joined] = frame[name].astype(str) + " " + frame.pop(other).astype(str)
            frame.pop(name)
            return joined
    return name


def duration_column(table: Table, time: str) -> str | None:
    """The column of how long each request took, where the times are those of its end."""
    if _rank(time, ("end", "ended", "finish", "finished")) is None:
        return None
    return next((n for n in table.frame.columns if _rank(n, ("duration", "elapsed")) is not None), None)


def value_column(
    table: Table, time: str | None, moments: Moments | None, told: Told
) -> tuple[str, str] | None:
    """The column of counts or of rates, and which of them; None where every row is a request.

    By what was told, by its name, or as the only numbers beside times that follow each other evenly.
    """
    if told.count is not None:
        return table.column(told.count, "--count"), "counts"
    if told.rate is not None:
        return table.column(told.rate, "--rate"), "rates"
    numeric = [name for name in table.frame.columns if name != time and _is_numeric(table, name)]
    plain = [name for name in numeric if not any(word in _words(name) for word in _NO_COUNT)]
    plain = [name for name in plain if not any(word.rstrip("s") in _NO_COUNT for word in _words(name))]
    if not (moments is None or len(np.unique(moments.us)) < 3 or _is_even(moments)):
        plain = [name for name in plain if _rank(name, (*_RATES, "count", "counts")) is not None]
    for names, kind in ((_RATES, "rates"), (_COUNTS, "counts")):
        found = [name for name in plain if _rank(name, names) is not None and table.has_names]
        if found:
            return min(found, key=lambda name: _rank(name, names) or 0), kind
    if moments is not None and len(plain) == 1 and len(numeric) == 1:
        return plain[0], "counts" if _is_whole(table.frame[plain[0]]) else "rates"
    return None


def cv_column(table: Table, told: Told) -> str | None:
    """The column of the coefficients of variation of the gaps between requests."""
    if told.cv is not None:
        return table.column(told.cv, "--cv")
    return next((name for name in table.frame.columns if _rank(name, _CVS) is not None), None)


def label_columns(table: Table, used: tuple[str | None, ...]) -> list[str]:
    """Columns of texts, which tell rows of the same time apart."""
    return [name for name in table.frame.columns if name not in used and not _is_numeric(table, name)]


def numbers_of(table: Table, name: str) -> Any:
    """A column as numbers, NaN where it is empty; what is no number is a fault of the table."""
    column = table.frame[name]
    numbers = pd.to_numeric(column, errors="coerce")
    table.fault(
        numbers.isna() & column.notna(), lambda value: f"is not a number: {value!r}", column, name,
        "correct it, or leave it empty where nothing was recorded",
    )  # fmt: skip
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def unknown(table: Table) -> InputError:
    """What is asked for where no column looks like anything."""
    known = ", ".join(map(str, table.frame.columns[:12]))
    fix = f"name one of {known} with --time, and counts with --count"
    return InputError("no column looks like times or counts", file=table.file, fix=fix)


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


def _is_numeric(table: Table, name: str) -> bool:
    column = table.frame[name]
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    return bool(pd.to_numeric(column.head(1000), errors="coerce").notna().mean() > 0.5)


def _is_whole(column: Any) -> bool:
    values = pd.to_numeric(column, errors="coerce").dropna().to_numpy(dtype=np.float64)
    return bool((values == np.floor(values)).all())


def _ascends(table: Table, name: str) -> bool:
    if not _is_numeric(table, name):
        return False
    values = pd.to_numeric(table.frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    steps = np.diff(values[~np.isnan(values)])
    return bool(len(steps) and (steps >= 0).mean() > 0.99 and values[-1] > values[0])


def _is_even(moments: Moments) -> bool:
    """Whether times follow each other in steps of one length, a few left out."""
    steps = np.diff(np.unique(moments.us))
    lengths, counts = np.unique(steps, return_counts=True)
    usual = lengths[counts.argmax()]
    return bool(counts.max() >= 0.5 * len(steps) and (steps % usual == 0).mean() > 0.9)
