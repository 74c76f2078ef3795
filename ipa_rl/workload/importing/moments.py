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
from ipa_rl.workload.importing.csv_text import DATE
from ipa_rl.workload.importing.table import Table
from ipa_rl.workload.importing.told import UNIT_NAMES, US, Told

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
class Moments:
    """``us``: microseconds since 1970 where they have a date, else since the file's zero.

    They are of local time where ``zone`` is None: which, nobody said. ``form``: what they were, in words.
    """

    us: IntArray
    has_date: bool
    zone: str | None
    form: str


def read_moments(table: Table, name: str, told: Told, known_unit: str | None = None) -> Moments:
    """The times of a column, row by row. Raises InputError, or notes faults in the table."""
    column = table.frame[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        return _of_dates(table, name, column, told, "dates")
    numbers = pd.to_numeric(column, errors="coerce")
    are_numbers = numbers.notna()
    if told.dates is None and are_numbers.mean() > 0.5:
        table.fault(~are_numbers, _no_time, column, name, "correct the line, or remove it")
        numbers = numbers.where(are_numbers, numbers.dropna().iloc[0])
        return _of_numbers(table, name, numbers, told, known_unit)
    return _of_texts(table, name, column.astype(str).str.strip(), told)


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


def _of_texts(table: Table, name: str, texts: Any, told: Told) -> Moments:
    fix = "write it as 2024-05-01T11:40:00, or say its form: --dates '%d/%m/%Y %H:%M:%S'"
    form = "dates as --dates says"
    if told.dates is not None:
        wanted = told.dates
    elif bool(texts.head(20).str.fullmatch(_WEB_LOG).all()):
        texts, wanted, form = texts.str.strip("[]"), "%d/%b/%Y:%H:%M:%S %z", "dates of a web server's log"
    else:
        texts, wanted, form = texts.str.replace(",", ".", regex=False), "ISO8601", "ISO 8601"
    has_zone = texts.str.contains(_ZONED, regex=True) | ("%z" in wanted)
    try:
        dates = pd.to_datetime(texts, format=wanted, utc=True, errors="coerce")
    except ValueError as error:
        raise InputError(f"is {quoted(told.dates)}", field="--dates", fix="write it as '%d/%m/%Y'") from error
    bad = dates.isna()
    table.fault(bad, _no_time, table.frame[name], name, fix)
    if bad.all():
        return Moments(np.zeros(len(texts), dtype=np.int64), True, None, form)
    dates, has_zone = dates.where(~bad, dates.dropna().iloc[0]), has_zone.where(~bad, has_zone[~bad].iloc[0])
    if has_zone.any() and not has_zone.all():
        rare = has_zone if has_zone.mean() < 0.5 else ~has_zone
        words = "names a zone, and others do not" if has_zone.mean() < 0.5 else "names no zone, and others do"
        table.fault(rare, lambda value: f"{quoted(value)} {words}", table.frame[name], name, "give all alike")
    if has_zone.all():
        zone = told.zone or _zone_of_offsets(texts)
        return Moments(_microseconds(dates), True, zone, f"{form} with zone")
    return _of_local(table, name, dates.dt.tz_localize(None), told, form)


def _zone_of_offsets(texts: Any) -> str:
    """The zone of whole hours that all texts name; UTC where they differ."""
    offsets = set(texts.str.extract(f"({_OFFSET})$", expand=False).str.replace(":", "").unique())
    found = re.fullmatch(r"([+-])(\d\d)(00)?", next(iter(offsets))) if len(offsets) == 1 else None
    if found is None or int(found[2]) == 0 or int(found[2]) > 12:
        return "UTC"
    return f"Etc/GMT{'-' if found[1] == '+' else '+'}{int(found[2])}"


def _of_dates(table: Table, name: str, column: Any, told: Told, form: str) -> Moments:
    bad = column.isna()
    table.fault(bad, _no_time, column, name, "correct the row, or remove it")
    column = column.where(~bad, column.dropna().iloc[0])
    if column.dt.tz is not None:
        zone = told.zone or str(column.dt.tz)
        return Moments(_microseconds(column.dt.tz_convert("UTC")), True, zone, f"{form} with zone")
    return _of_local(table, name, column, told, form)


def _of_local(table: Table, name: str, dates: Any, told: Told, form: str) -> Moments:
    """Dates that name no zone: of the zone that was told, else of an unknown one."""
    if told.zone is None:
        us = _microseconds(dates)
        back = np.diff(us, prepend=us[0]) / 1e6
        is_hour_again = (back >= -3600) & (back <= -3000) & (back == back.min())
        fix = "name the zone of these times, as --zone Europe/Berlin"
        table.fault(
            is_hour_again & (np.count_nonzero(back < 0) <= 4),
            lambda value: f"{value} is an hour back, as when daylight saving ends",
            dates, name, fix,
        )  # fmt: skip
        return Moments(us, True, None, f"{form} without zone")
    try:
        local = dates.dt.tz_localize(told.zone, ambiguous="infer", nonexistent="NaT")
    except ValueError:  # an hour that comes twice, and nothing tells which of the two is meant
        local = dates.dt.tz_localize(told.zone, ambiguous=np.ones(len(dates), dtype=bool), nonexistent="NaT")
    fix = f"correct it, or the zone: {told.zone} leaves this hour out"
    table.fault(local.isna(), lambda value: f"{value} is a time that never was", dates, name, fix)
    local = local.where(local.notna(), local.dropna().iloc[0] if local.notna().any() else local)
    return Moments(_microseconds(local.dt.tz_convert("UTC")), True, told.zone, f"{form} without zone")


def _microseconds(dates: Any) -> IntArray:
    if dates.dt.tz is not None:
        dates = dates.dt.tz_localize(None)
    return np.asarray(dates.to_numpy().astype("datetime64[us]").astype(np.int64))


def _of_numbers(table: Table, name: str, numbers: Any, told: Told, known_unit: str | None) -> Moments:
    values = numbers.to_numpy()
    table.fault(~np.isfinite(values.astype(np.float64)), _no_time, values, name, "correct the line")
    if table.faults:
        raise table.faults.pop()
    low, high = float(values.min()), float(values.max())
    units = [told.unit] if told.unit else list(US)
    since_1970 = [unit for unit in units if low * US[unit] >= _EARLIEST_US and high * US[unit] <= _LATEST_US]
    if since_1970:
        unit = since_1970[0]
        zone = told.zone or "UTC"
        return Moments(_scaled(values, unit), True, zone, f"{UNIT_NAMES[unit]} since 1970")
    unit = told.unit or known_unit or _unit(table, name, values)
    reason = "" if told.unit or known_unit else _why(table, name)
    return Moments(_scaled(values, unit), False, None, f"{UNIT_NAMES[unit]} since the start{reason}")


def _scaled(values: Any, unit: str) -> IntArray:
    """Whole microseconds, exact where the values are whole."""
    if values.dtype.kind in "iu":
        whole = values.astype(np.int64)
        if np.abs(whole.astype(np.float64)).max() * US[unit] > 9e18:
            raise InputError("last too long", field="--unit", fix="give a smaller unit")
        return np.asarray(whole // 1000 if unit == "ns" else whole * int(US[unit]), dtype=np.int64)
    scaled = np.round(values.astype(np.float64) * US[unit])
    if np.abs(scaled).max() > 9e18:
        raise InputError("last too long", field="--unit", fix="give a smaller unit")
    return np.asarray(scaled, dtype=np.int64)


def _unit(table: Table, name: str, values: Any) -> str:
    """The unit of times since the begin, by a name, by their fractions or by their steps; else asked for."""
    named = unit_of_name(name) or unit_of_name(_stem(table.file))
    if named is not None:
        return named
    if (values != np.floor(values)).any():
        return "s"
    steps = np.unique(np.diff(np.unique(values)))
    if len(steps) and len(values) > 3 and steps[0] in _USUAL_SLOTS_S and (steps % steps[0] == 0).all():
        return "s"
    span, rows = float(values.max() - values.min()), len(values)
    choices = [f"--unit {unit} ({rows:,} rows in {in_words(span * US[unit] / 1e6)})" for unit in US]
    fix = f"add {', '.join(choices[:-1])} or {choices[-1]}"
    raise InputError("does not say the unit of its times", file=table.file, field=name, fix=fix)


def _why(table: Table, name: str) -> str:
    if unit_of_name(name):
        return ""
    return ", as the file's name says" if unit_of_name(_stem(table.file)) else ", taken so: see --unit"


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def in_words(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> in_words(3502.3), in_words(0.25), in_words(90_000)
    ('58 min 22 s', '0.25 s', '1 d 1 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    sizes = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    k = next(k for k, (size, _) in enumerate(sizes) if seconds >= size)
    (large, first), (small, second) = sizes[k], sizes[k + 1]
    rest = int(seconds % large // small)
    return f"{int(seconds // large):,} {first}" + (f" {rest} {second}" if rest else "")
