"""Times of a column: ISO 8601 with and without a zone, or numbers since 1970 or since the begin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import IntArray
from ipa_rl.workload.recordings.csv_text import DATE
from ipa_rl.workload.recordings.hints import UNIT_NAMES, US, Hints
from ipa_rl.workload.recordings.sheet import Sheet, as_numbers
from ipa_rl.workload.summary import in_words

_EARLIEST_US, _LATEST_US = 631_152_000e6, 4_102_444_800e6
"""1990 to 2100: numbers of which all lie between them in one unit are times since 1970."""

_OFFSET = r"Z|[+-]\d\d:?\d\d|[+-]\d\d"
_ZONED = rf"\d{{1,2}}:\d\d.*?(?:{_OFFSET})$"
_WEB_LOG = r"\[?\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]?"
_UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "millisecond", "milliseconds"),
    "us": ("us", "usec", "micros", "microsecond", "microseconds", "µs"),
    "ns": ("ns", "nsec", "nanos", "nanosecond", "nanoseconds"),
}
_USUAL_SLOTS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 86_400)


@dataclass(frozen=True)
class Instants:
    """``us``: microseconds since 1970 where they have a date, else since the file's zero.

    They are of local time where ``zone`` is None: which, nobody said. ``form``: what they were, in words.
    """

    us: IntArray
    has_date: bool
    zone: str | None
    form: str


def read_instants(sheet: Sheet, name: str, hints: Hints, known_unit: str | None = None) -> Instants:
    """The times of a column, row by row. Raises InputError, or notes faults of the table."""
    column = sheet.frame[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        return _of_dates(sheet, name, column, hints, "dates")
    numbers = as_numbers(column)
    are_numbers = np.isfinite(numbers.astype(np.float64))
    if hints.dates is None and are_numbers.mean() > 0.5:
        sheet.fault(~are_numbers, _no_time, column, name, "correct the line, or remove it")
        numbers = numbers.where(are_numbers, numbers[are_numbers].iloc[0])
        return _of_numbers(sheet, name, numbers, hints, known_unit)
    return _of_texts(sheet, name, column.astype(str).str.strip(), hints)


def looks_like_dates(column: Any) -> bool:
    """Whether a column of texts holds dates with times."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    some = column.dropna().astype(str).head(20)
    return bool(len(some)) and sum(bool(DATE.match(one)) for one in some) > len(some) / 2


def unit_of_name(name: str) -> str | None:
    """The unit that a name ends in.

    >>> unit_of_name("arrival_ms"), unit_of_name("start [s]"), unit_of_name("timestamp")
    ('ms', 's', None)
    """
    words = re.findall(r"[A-Za-zµ]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))
    last = words[-1].lower() if len(words) > 1 else ""
    return next((unit for unit, names in _UNITS.items() if last in names), None)


def _no_time(value: Any) -> str:
    return "is empty" if pd.isna(value) or value == "nan" else f"is not a time: {quoted(str(value))}"


def _of_texts(sheet: Sheet, name: str, texts: Any, hints: Hints) -> Instants:
    fix = "write it as 2024-05-01T11:40:00, or say its form: --dates '%d/%m/%Y %H:%M:%S'"
    form = "dates as --dates says"
    if hints.dates is not None:
        wanted = hints.dates
    elif bool(texts.head(20).str.fullmatch(_WEB_LOG).all()):
        texts, wanted, form = texts.str.strip("[]"), "%d/%b/%Y:%H:%M:%S %z", "dates of a web server's log"
    else:
        texts, wanted, form = texts.str.replace(",", ".", regex=False), "ISO8601", "ISO 8601"
    has_zone = texts.str.contains(_ZONED, regex=True) | ("%z" in wanted)
    try:
        dates = pd.to_datetime(texts, format=wanted, utc=True, errors="coerce")
    except ValueError as error:
        raise InputError(
            f"is {quoted(hints.dates)}", field="--dates", fix="write it as '%d/%m/%Y'"
        ) from error
    bad = dates.isna()
    sheet.fault(bad, _no_time, sheet.frame[name], name, fix)
    if bad.all():
        return Instants(np.zeros(len(texts), dtype=np.int64), True, None, form)
    dates, has_zone = dates.where(~bad, dates.dropna().iloc[0]), has_zone.where(~bad, has_zone[~bad].iloc[0])
    if has_zone.any() and not has_zone.all():
        rare = has_zone if has_zone.mean() < 0.5 else ~has_zone
        words = "names a zone, and others do not" if has_zone.mean() < 0.5 else "names no zone, and others do"
        sheet.fault(rare, lambda value: f"{quoted(value)} {words}", sheet.frame[name], name, "give all alike")
    if has_zone.all():
        zone = hints.zone or _zone_of_offsets(texts)
        return Instants(_microseconds(dates), True, zone, f"{form} with zone")
    return _of_local(sheet, name, dates.dt.tz_localize(None), hints, form)


def _zone_of_offsets(texts: Any) -> str:
    """The zone of whole hours that all texts name; UTC where they differ."""
    offsets = set(texts.str.extract(f"({_OFFSET})$", expand=False).str.replace(":", "").unique())
    found = re.fullmatch(r"([+-])(\d\d)(00)?", next(iter(offsets))) if len(offsets) == 1 else None
    if found is None or int(found[2]) == 0 or int(found[2]) > 12:
        return "UTC"
    return f"Etc/GMT{'-' if found[1] == '+' else '+'}{int(found[2])}"


def _of_dates(sheet: Sheet, name: str, column: Any, hints: Hints, form: str) -> Instants:
    bad = column.isna()
    sheet.fault(bad, _no_time, column, name, "correct the row, or remove it")
    column = column.where(~bad, column.dropna().iloc[0])
    if column.dt.tz is not None:
        zone = hints.zone or str(column.dt.tz)
        return Instants(_microseconds(column.dt.tz_convert("UTC")), True, zone, f"{form} with zone")
    return _of_local(sheet, name, column, hints, form)


def _of_local(sheet: Sheet, name: str, dates: Any, hints: Hints, form: str) -> Instants:
    """Dates that name no zone: of the zone that was told, else of an unknown one."""
    if hints.zone is None:
        us = _microseconds(dates)
        back = np.diff(us, prepend=us[0]) / 1e6
        is_hour_again = (back >= -3600) & (back <= -3000) & (back == back.min())
        fix = "name the zone of these times, as --zone Europe/Berlin"
        sheet.fault(
            is_hour_again & (np.count_nonzero(back < 0) <= 4),
            lambda value: f"{value} is an hour back, as when daylight saving ends",
            dates, name, fix,
        )  # fmt: skip
        return Instants(us, True, None, f"{form} without zone")
    try:
        local = dates.dt.tz_localize(hints.zone, ambiguous="infer", nonexistent="NaT")
    except ValueError:  # an hour that comes twice, and nothing tells which of the two is meant
        local = dates.dt.tz_localize(hints.zone, ambiguous=np.ones(len(dates), dtype=bool), nonexistent="NaT")
    fix = f"correct it, or the zone: {hints.zone} leaves this hour out"
    sheet.fault(local.isna(), lambda value: f"{value} is a time that never was", dates, name, fix)
    local = local.where(local.notna(), local.dropna().iloc[0] if local.notna().any() else local)
    return Instants(_microseconds(local.dt.tz_convert("UTC")), True, hints.zone, f"{form} without zone")


def _microseconds(dates: Any) -> IntArray:
    if dates.dt.tz is not None:
        dates = dates.dt.tz_localize(None)
    return np.asarray(dates.to_numpy().astype("datetime64[us]").astype(np.int64))


def _of_numbers(sheet: Sheet, name: str, numbers: Any, hints: Hints, known_unit: str | None) -> Instants:
    values = numbers.to_numpy()
    low, high = float(values.min()), float(values.max())
    dated = [unit for unit in US if low * US[unit] >= _EARLIEST_US and high * US[unit] <= _LATEST_US]
    is_of_another = hints.unit not in (None, *dated)
    if dated and is_of_another and high - low < low:  # else it begins no later than it lasts: since the start
        problem = f"are {UNIT_NAMES[dated[0]]} since 1970, not {UNIT_NAMES[str(hints.unit)]}"
        raise InputError(problem, file=sheet.file, field=name, fix=f"leave --unit out, or give {dated[0]}")
    if dated and not is_of_another:
        zone = hints.zone or "UTC"
        return Instants(_scaled(values, dated[0]), True, zone, f"{UNIT_NAMES[dated[0]]} since 1970")
    unit = hints.unit or known_unit or _unit(sheet, name, values)
    reason = "" if hints.unit or known_unit else _why(sheet, name)
    return Instants(_scaled(values, unit), False, None, f"{UNIT_NAMES[unit]} since the start{reason}")


def _scaled(values: Any, unit: str) -> IntArray:
    """Whole microseconds, exact where the values are whole."""
    if float(np.abs(values.astype(np.float64)).max()) * max(US[unit], 1.0) > 9e18:
        raise InputError("last too long", field="--unit", fix="give a smaller unit")
    if values.dtype.kind in "iu":
        whole = values.astype(np.int64)
        return np.asarray(whole // 1000 if unit == "ns" else whole * int(US[unit]), dtype=np.int64)
    return np.asarray(np.round(values.astype(np.float64) * US[unit]), dtype=np.int64)


def _unit(sheet: Sheet, name: str, values: Any) -> str:
    """The unit of times since the begin, by a name, by their fractions or by their steps; else asked for."""
    named = unit_of_name(name) or unit_of_name(_stem(sheet.file))
    if named is not None:
        return named
    if (values != np.floor(values)).any():
        return "s"
    steps = np.unique(np.diff(np.unique(values)))
    if len(steps) and len(values) > 2 and steps[0] in _USUAL_SLOTS_S and (steps % steps[0] == 0).all():
        return "s"
    span, rows = float(values.max() - values.min()), len(values)
    choices = [f"--unit {unit} ({rows:,} rows in {in_words(span * US[unit] / 1e6)})" for unit in US]
    fix = f"add {', '.join(choices[:-1])} or {choices[-1]}"
    raise InputError("does not say the unit of its times", file=sheet.file, field=name, fix=fix)


def _why(sheet: Sheet, name: str) -> str:
    if unit_of_name(name):
        return ""
    return ", as the file's name says" if unit_of_name(_stem(sheet.file)) else ", taken so: see --unit"


def _stem(path: Path) -> str:
    return path.name.split(".")[0]
