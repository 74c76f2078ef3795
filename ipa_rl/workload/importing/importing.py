"""From a file to a workload: read the table, find its times and counts, and say what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray
from ipa_rl.result_files import output_folder
from ipa_rl.workload.faults import doubts
from ipa_rl.workload.importing import columns
from ipa_rl.workload.importing.moments import Moments, in_words, read_moments
from ipa_rl.workload.importing.series import (
    Series,
    Slots,
    counted,
    counts_of_rates,
    in_slots,
    of_requests,
    start_of,
)
from ipa_rl.workload.importing.table import Table, read_table
from ipa_rl.workload.importing.told import Told
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, save_workload

_SLOTS_OF_A_DAY = {24: 3600.0, 48: 1800.0, 96: 900.0, 144: 600.0, 288: 300.0, 1440: 60.0, 86_400: 1.0}
"""Tables that have so many columns have one for each interval of a day."""


@dataclass(frozen=True)
class Imported:
    """``taken``: what the file was taken for, name and words; ``doubts``: what is worth a look."""

    description: WorkloadModel
    recorded: Recorded
    taken: dict[str, str]
    doubts: list[str]


@dataclass(frozen=True)
class Looked:
    """What a look at a file found: faults, or what it holds."""

    faults: list[InputError]
    imported: Imported | None


def import_workload(path: Path, folder: Path, told: Told | None = None) -> Workload:
    """The workload of a file, kept in a folder. Raises InputError, the first of what is wrong."""
    looked = look(path, told or Told())
    if looked.imported is None:
        raise looked.faults[0]
    return save_workload(output_folder(folder), looked.imported.description, looked.imported.recorded)


def look(path: Path, told: Told) -> Looked:
    """What a file holds, or every fault of it."""
    faults: list[InputError] = []
    try:
        table = read_table(path, told.decimal)
        faults = table.faults
        imported = _imported(table.only(told.only), told)
    except InputError as error:
        return Looked([*faults, error], None)
    return Looked(faults, None if faults else imported)


@dataclass(frozen=True)
class _Found:
    """A series with its times, where the file has them, and what it was taken for."""

    series: Series
    moments: Moments | None
    taken: dict[str, str]


def _imported(table: Table, told: Told) -> Imported:
    names = columns.wide_columns(table)
    time = None if names else columns.time_column(table, told)
    if names:
        found = _of_wide(table, names, told)
    elif time is not None:
        found = _of_times(table, columns.join_time_of_day(table, time), told)
    else:
        found = _of_values(table, told)
    if table.faults:
        raise table.faults.pop()
    one, moments = found.series, found.moments
    start, zone = told.start, told.zone
    if moments is not None and moments.has_date:
        start, zone = start_of(moments, one.begin_us), moments.zone
    description = WorkloadModel(
        title=table.file.name,
        resolution_s=one.resolution_s,
        start=start,
        time_zone=None if zone == "UTC" else zone,
        gaps=one.gaps,
    )
    taken = {"file": table.form, **found.taken, **_summary(description, one.recorded)}
    return Imported(description, one.recorded, taken, [*one.remarks, *doubts(description, one.recorded)])


def _of_times(table: Table, time: str, told: Told) -> _Found:
    """Rows with a time: requests, or counts or rates of intervals."""
    of_windows = columns.is_of_windows(table)
    moments = read_moments(table, time, told, "s" if of_windows else None)
    taken = {"rows": "a request each", "times": f"{time}: {moments.form}"}
    if of_windows:
        _, value, cv = list(table.frame.columns)[:3]
        kind = "rates"
    else:
        value, kind = columns.value_column(table, time, moments, told) or ("", "requests")
        cv = columns.cv_column(table, told)
    if kind == "requests":
        duration = columns.duration_column(table, time)
        if duration is not None:
            took_us = np.nan_to_num(np.round(columns.numbers_of(table, duration) * 1e6))
            moments = replace(moments, us=moments.us - took_us.astype(np.int64))
            taken["times"] = f"{time} - {duration}: {moments.form}"
        return _Found(of_requests(table, moments), moments, taken)
    values = _checked(table, value, kind)
    labels = columns.label_columns(table, (time, value, cv))
    slots = in_slots(table, moments, values, told.interval_s, bool(labels))
    taken["rows"] = f"{value}: {_KINDS[kind]} in each {in_words(slots.resolution_s)}"
    dispersion = None
    if kind == "rates":
        slots = replace(slots, sums=counts_of_rates(slots.sums, slots.resolution_s))
        dispersion = None if cv is None else _dispersion(columns.numbers_of(table, cv), slots)
    if dispersion is not None:
        taken["spread"] = f"{cv}: coefficient of variation of the gaps between requests"
    return _Found(counted(slots, dispersion), moments, taken)


_KINDS = {"counts": "requests", "rates": "requests a second"}


def _dispersion(variation: FloatArray, slots: Slots) -> FloatArray:
    """Variance over mean of the requests by slot: the gaps' variation squared, 1 where it is unknown."""
    dispersion = np.ones(len(slots.sums))
    is_known = np.isfinite(variation) & (variation > 0)
    dispersion[slots.of_row[is_known]] = variation[is_known] ** 2
    return dispersion


def _of_values(table: Table, told: Told) -> _Found:
    """Counts or rates without times, one after the other."""
    value, kind = columns.value_column(table, None, None, told) or ("", "counts")
    if not value and table.frame.shape[1] > 1:
        raise columns.unknown(table)
    value = value or str(table.frame.columns[0])
    values = _checked(table, value, kind)
    if table.faults:
        raise table.faults.pop()
    if told.interval_s is None:
        count = len(values)
        spans = [f"--interval {text} ({in_words(count * s)} in all)" for text, s in (("1s", 1), ("1min", 60))]
        problem = f"holds {count:,} {kind}, and does not say of what interval"
        raise InputError(problem, file=table.file, fix=f"add {spans[0]}, {spans[1]} or another")
    if kind == "rates":
        values = counts_of_rates(values, told.interval_s)
    words = f"{value}: {_KINDS[kind]} in each {in_words(told.interval_s)}"
    slots = Slots(np.arange(len(values)), values, told.interval_s, 0, ())
    return _Found(counted(slots), None, {"rows": words})


def _of_wide(table: Table, names: list[str], told: Told) -> _Found:
    """A column for each interval: the rows are added up."""
    numbers = np.stack([_checked(table, name, "counts") for name in names])
    sums = np.where(np.isnan(numbers).all(axis=1), np.nan, np.nansum(numbers, axis=1))
    rows = len(table.frame)
    remarks = (f"{rows:,} rows are added up; choose some by --only COLUMN=VALUE",) if rows > 1 else ()
    taken = {"rows": f"a column for each interval, {names[0]} to {names[-1]}"}
    if not names[0].isdecimal():
        heads = Table(table.file, pd.DataFrame({"names": names}), True, "", table.faults)
        moments = read_moments(heads, "names", told)
        slots = in_slots(heads, moments, sums, told.interval_s, False)
        return _Found(counted(replace(slots, remarks=(*remarks, *slots.remarks))), moments, taken)
    resolution_s = told.interval_s or _SLOTS_OF_A_DAY.get(len(names))
    if resolution_s is None:
        problem = f"has {len(names)} columns of counts, and does not say of what interval"
        fix = f"add --interval, as --interval 1min ({in_words(60.0 * len(names))} in all)"
        raise InputError(problem, file=table.file, fix=fix)
    taken["rows"] += f": {in_words(resolution_s)} each" + ("" if told.interval_s else ", as they make a day")
    return _Found(counted(Slots(np.arange(len(sums)), sums, resolution_s, 0, remarks)), None, taken)


def _checked(table: Table, name: str, kind: str) -> FloatArray:
    """Counts or rates of a column, faults noted."""
    values: FloatArray = columns.numbers_of(table, name)
    fix = "correct it, or leave it empty where nothing was recorded"
    table.fault(values < 0, lambda value: f"is negative: {value:g}", values, name, fix)
    table.fault(values > 2**31 - 1, lambda value: f"is too large: {value:g}", values, name, fix)
    if kind == "counts":
        is_part = np.isfinite(values) & (values != np.floor(values))
        fix = f"if they are requests a second, add --rate {quoted(name)}"
        table.fault(is_part, lambda value: f"is not a whole number of requests: {value:g}", values, name, fix)
    return values


def _summary(description: WorkloadModel, recorded: Recorded) -> dict[str, str]:
    """When it was, how long it lasted and how high the load was, in words."""
    slot_s, counts = description.resolution_s, recorded.counts
    if counts is None:
        assert recorded.times_s is not None
        counts = np.bincount(recorded.times_s.astype(np.int64))
    seconds, requests = len(counts) * slot_s, int(counts.sum())
    missing_s = sum(end - begin for begin, end in description.gaps)
    rps = requests / max(seconds - missing_s, slot_s)
    begin, dated = description.start, ", no date"
    zone = description.time_zone or ("UTC" if begin is not None and begin.tzinfo else "zone unknown")
    if begin is not None:
        dated = f", from {begin:%Y-%m-%d %H:%M:%S} ({zone})"
    return {
        "span": in_words(seconds) + dated,
        "load": f"{requests:,} requests, {rps:.3g}/s; at most {int(counts.max()):,} in {in_words(slot_s)}",
        "gaps": f"{len(description.gaps)}, {in_words(missing_s)} in all" if missing_s else "none",
    }
