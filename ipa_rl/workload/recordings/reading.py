"""From a file to a workload: read its table, find its times and counts, and say what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray
from ipa_rl.workload.faults import doubts
from ipa_rl.workload.fit import keep_workload
from ipa_rl.workload.recordings import columns
from ipa_rl.workload.recordings.hints import Hints
from ipa_rl.workload.recordings.instants import Instants, read_instants
from ipa_rl.workload.recordings.sheet import Sheet, read_sheet
from ipa_rl.workload.recordings.timeline import (
    Slots,
    Timeline,
    counted,
    in_slots,
    of_requests,
    start_of,
)
from ipa_rl.workload.slots import counts_of_rates
from ipa_rl.workload.summary import in_words, summary
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel

_SLOTS_OF_A_DAY = {24: 3600.0, 48: 1800.0, 96: 900.0, 144: 600.0, 288: 300.0, 1440: 60.0, 86_400: 1.0}
"""Tables that have so many columns have one for each interval of a day."""


@dataclass(frozen=True)
class Taken:
    """What a file was taken for. ``words``: the same in words; ``doubts``: what is worth a look."""

    description: WorkloadModel
    recorded: Recorded
    words: dict[str, str]
    doubts: list[str]


@dataclass(frozen=True)
class Looked:
    """What a look at a file found: faults, or what it holds."""

    faults: list[InputError]
    taken: Taken | None


def import_workload(path: Path, folder: Path, hints: Hints | None = None) -> Workload:
    """The workload of a file, kept in a folder. Raises InputError, the first of what is wrong."""
    looked = look(path, hints or Hints())
    if looked.taken is None:
        raise looked.faults[0]
    return keep_workload(folder, looked.taken.description, looked.taken.recorded)[0]


def look(path: Path, hints: Hints) -> Looked:
    """What a file holds, or every fault of it."""
    faults: list[InputError] = []
    try:
        sheet = read_sheet(path, hints.decimal)
        faults = sheet.faults
        taken = _taken(sheet.only(hints.only), hints)
    except InputError as error:
        return Looked([*faults, error], None)
    return Looked(faults, None if faults else taken)


@dataclass(frozen=True)
class _Found:
    """A timeline with its times, where the file has them, and what it was taken for."""

    timeline: Timeline
    instants: Instants | None
    taken: dict[str, str]


def _taken(sheet: Sheet, hints: Hints) -> Taken:
    names = columns.wide_columns(sheet)
    time = None if names else columns.time_column(sheet, hints)
    if names:
        found = _of_wide(sheet, names, hints)
    elif time is not None:
        found = _of_times(sheet, columns.join_time_of_day(sheet, time), hints)
    else:
        found = _of_values(sheet, hints)
    if sheet.faults:
        raise sheet.faults.pop()
    one, instants = found.timeline, found.instants
    start, zone = hints.start, hints.zone
    if instants is not None and instants.has_date:
        start, zone = start_of(instants, one.begin_us), instants.zone
    description = WorkloadModel(
        title=sheet.file.name,
        resolution_s=one.resolution_s,
        start=start,
        time_zone=None if zone == "UTC" else zone,
        gaps=one.gaps,
    )
    taken = {"file": sheet.form, **found.taken, **summary(description, one.recorded)}
    return Taken(description, one.recorded, taken, [*one.remarks, *doubts(description, one.recorded)])


def _of_times(sheet: Sheet, time: str, hints: Hints) -> _Found:
    """Rows with a time: requests, or counts or rates of intervals."""
    of_windows = columns.is_of_windows(sheet)
    instants = read_instants(sheet, time, hints, "s" if of_windows else None)
    taken = {"rows": "a request each", "times": f"{time}: {instants.form}"}
    if of_windows:
        _, value, cv = list(sheet.frame.columns)[:3]
        kind = "rates"
    else:
        value, kind = columns.value_column(sheet, time, instants, hints) or ("", "requests")
        cv = columns.cv_column(sheet, hints)
    if kind == "requests":
        duration = columns.duration_column(sheet, time)
        if duration is not None:
            took_us = np.nan_to_num(np.round(columns.numbers_of(sheet, duration) * 1e6))
            instants = replace(instants, us=instants.us - took_us.astype(np.int64))
            taken["times"] = f"{time} - {duration}: {instants.form}"
        if sheet.faults:
            raise sheet.faults.pop()
        return _Found(of_requests(sheet, instants), instants, taken)
    values = _checked(sheet, value, kind)
    if sheet.faults:
        raise sheet.faults.pop()
    labels = columns.label_columns(sheet, (time, value, cv))
    slots = in_slots(sheet, instants, values, hints.interval_s, bool(labels))
    taken["rows"] = f"{value}: {_KINDS[kind]} in each {in_words(slots.resolution_s)}"
    dispersion = None
    if kind == "rates":
        slots = replace(slots, sums=counts_of_rates(slots.sums, slots.resolution_s))
        dispersion = None if cv is None else _dispersion(columns.numbers_of(sheet, cv), slots)
    if dispersion is not None:
        taken["spread"] = f"{cv}: coefficient of variation of the gaps between requests"
    return _Found(counted(slots, dispersion), instants, taken)


_KINDS = {"counts": "requests", "rates": "requests a second"}


def _dispersion(variation: FloatArray, slots: Slots) -> FloatArray:
    """Variance over mean of the requests by slot: the gaps' variation squared, 1 where it is unknown."""
    dispersion = np.ones(len(slots.sums))
    is_known = np.isfinite(variation) & (variation > 0)
    dispersion[slots.of_row[is_known]] = variation[is_known] ** 2
    return dispersion


def _of_values(sheet: Sheet, hints: Hints) -> _Found:
    """Counts or rates without times, one after the other."""
    value, kind = columns.value_column(sheet, None, None, hints) or ("", "counts")
    if not value and sheet.frame.shape[1] > 1:
        raise columns.unknown(sheet)
    value = value or str(sheet.frame.columns[0])
    values = _checked(sheet, value, kind)
    if sheet.faults:
        raise sheet.faults.pop()
    if hints.interval_s is None:
        count = len(values)
        spans = [f"--interval {text} ({in_words(count * s)} in all)" for text, s in (("1s", 1), ("1min", 60))]
        problem = f"holds {count:,} {kind}, and does not say of what interval"
        raise InputError(problem, file=sheet.file, fix=f"add {spans[0]}, {spans[1]} or another")
    if kind == "rates":
        values = counts_of_rates(values, hints.interval_s)
    words = f"{value}: {_KINDS[kind]} in each {in_words(hints.interval_s)}"
    slots = Slots(np.arange(len(values)), values, hints.interval_s, 0, ())
    return _Found(counted(slots), None, {"rows": words})


def _of_wide(sheet: Sheet, names: list[str], hints: Hints) -> _Found:
    """A column for each interval: the rows are added up."""
    numbers = np.stack([_checked(sheet, name, "counts") for name in names])
    sums = np.where(np.isnan(numbers).all(axis=1), np.nan, np.nansum(numbers, axis=1))
    rows = len(sheet.frame)
    remarks = (f"{rows:,} rows are added up; choose some by --only COLUMN=VALUE",) if rows > 1 else ()
    taken = {"rows": f"a column for each interval, {names[0]} to {names[-1]}"}
    if not names[0].isdecimal():
        heads = Sheet(sheet.file, pd.DataFrame({"names": names}), True, "", sheet.faults)
        instants = read_instants(heads, "names", hints)
        slots = in_slots(heads, instants, sums, hints.interval_s, False)
        return _Found(counted(replace(slots, remarks=(*remarks, *slots.remarks))), instants, taken)
    resolution_s = hints.interval_s or _SLOTS_OF_A_DAY.get(len(names))
    if resolution_s is None:
        problem = f"has {len(names)} columns of counts, and does not say of what interval"
        fix = f"add --interval, as --interval 1min ({in_words(60.0 * len(names))} in all)"
        raise InputError(problem, file=sheet.file, fix=fix)
    taken["rows"] += f": {in_words(resolution_s)} each" + ("" if hints.interval_s else ", as they make a day")
    return _Found(counted(Slots(np.arange(len(sums)), sums, resolution_s, 0, remarks)), None, taken)


def _checked(sheet: Sheet, name: str, kind: str) -> FloatArray:
    """Counts or rates of a column, faults noted."""
    values: FloatArray = columns.numbers_of(sheet, name)
    fix = "correct it, or leave it empty where nothing was recorded"
    sheet.fault(values < 0, lambda value: f"is negative: {value:g}", values, name, fix)
    sheet.fault(values > 2**31 - 1, lambda value: f"is too large: {value:g}", values, name, fix)
    if kind == "counts":
        is_part = np.isfinite(values) & (values != np.floor(values))
        fix = f"if they are requests a second, add --rate {quoted(name)}"
        sheet.fault(is_part, lambda value: f"is not a whole number of requests: {value:g}", values, name, fix)
    return values
