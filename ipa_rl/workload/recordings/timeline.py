"""Rows as a recording: times of requests, or counts of slots with what is missing between them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.recordings.instants import Instants
from ipa_rl.workload.recordings.sheet import Sheet
from ipa_rl.workload.slots import gaps_of
from ipa_rl.workload.workload import LONGEST_S, Recorded, Stretch

_WHOLE = {3600: "hour", 60: "minute", 1: "second"}
_ROWS_OF_COARSE = 100
"""So many rows have to agree that times name no more than the minute or the hour."""

_MOST_TIMES = 50_000_000
"""So many exact times at most are kept; what is judged is a window of them."""


@dataclass(frozen=True)
class Timeline:
    """What was recorded, from ``begin_us`` on, in slots of ``resolution_s`` where it is counts.

    ``remarks``: what was done to the rows, in words.
    """

    recorded: Recorded
    resolution_s: float
    begin_us: int = 0
    gaps: tuple[Stretch, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slots:
    """Values by slot. ``of_row``: the slot of each row; ``sums``: (slots,), NaN where there is none."""

    of_row: IntArray
    sums: FloatArray
    resolution_s: float
    begin_us: int
    remarks: tuple[str, ...]


def of_requests(sheet: Sheet, instants: Instants) -> Timeline:
    """A row a request. Times that name whole seconds, minutes or hours only are counts of these."""
    us = np.sort(instants.us)
    begin_us = int(us[0] // 1_000_000 * 1_000_000)
    if not instants.has_date and 0 <= us[0] <= us[-1] - us[0]:
        begin_us = 0
    _check_span(sheet, (us[-1] - begin_us) / 1e6)
    passed_us, remarks = us - begin_us, (*_backwards(sheet, instants.us), *_repeated(sheet))
    common_us = int(np.gcd.reduce(passed_us))
    for whole_s, name in _WHOLE.items():
        if common_us % (whole_s * 1_000_000) == 0 and (whole_s == 1 or len(us) >= _ROWS_OF_COARSE):
            counts = np.bincount(passed_us // (whole_s * 1_000_000))
            remark = f"times name whole {name}s, so the requests of each {name} are counted"
            return Timeline(Recorded(counts), float(whole_s), begin_us, (), (*remarks, remark))
    if len(us) > _MOST_TIMES:
        remark = f"more than {_MOST_TIMES:,} requests, so those of each second are counted"
        return Timeline(Recorded(np.bincount(passed_us // 1_000_000)), 1.0, begin_us, (), (*remarks, remark))
    return Timeline(Recorded(times_s=passed_us / 1e6), 1.0, begin_us, (), remarks)


def in_slots(
    sheet: Sheet, instants: Instants, values: FloatArray, interval_s: float | None, are_labelled: bool
) -> Slots:
    """A value a row, each of the interval that begins at its time; labelled rows of an interval add up."""
    us = instants.us
    resolution_s = _usual_step_s(sheet, us) if interval_s is None else interval_s
    begin_us = int(us.min())
    exactly = (us - begin_us) / (resolution_s * 1e6)
    of_row = np.round(exactly).astype(np.int64)
    _check_span(sheet, float(of_row.max() + 1) * resolution_s)
    problem = f"is not a whole number of intervals of {resolution_s:g} s after the first"
    fix = "correct the time, or say how long they are, as --interval 1min"
    sheet.fault(np.abs(exactly - of_row) > 0.25, lambda _: problem, us, "time", fix)
    remarks = () if are_labelled else _backwards(sheet, us)
    most = int(np.bincount(of_row).max())
    if most > 1 and are_labelled:
        remark = f"{most} rows of an interval are added up; choose some by --only COLUMN=VALUE"
        remarks = (*remarks, remark)
    elif most > 1:
        _check_twice(sheet, of_row)
    known = ~np.isnan(values)
    added = np.bincount(of_row[known], values[known], minlength=int(of_row.max()) + 1)
    sums = np.asarray(added, dtype=np.float64)
    sums[np.bincount(of_row[known], minlength=len(sums)) == 0] = np.nan
    return Slots(of_row, sums, resolution_s, begin_us, remarks)


def counted(slots: Slots, dispersion: FloatArray | None = None) -> Timeline:
    """Counts of slots; NaN was not recorded, and is a gap."""
    missing = np.isnan(slots.sums)
    counts = np.where(missing, 0, slots.sums).astype(np.int64)
    gaps = gaps_of(missing, slots.resolution_s)
    recorded = Recorded(counts, None, dispersion)
    return Timeline(recorded, slots.resolution_s, slots.begin_us, gaps, slots.remarks)


def start_of(instants: Instants, begin_us: int) -> datetime.datetime | None:
    """The date of the begin, with its offset where a zone is known."""
    if not instants.has_date:
        return None
    begin = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=begin_us)
    return begin.replace(tzinfo=None) if instants.zone is None else begin.astimezone(ZoneInfo(instants.zone))


def _usual_step_s(sheet: Sheet, us: IntArray) -> float:
    steps, counts = np.unique(np.diff(np.unique(us)), return_counts=True)
    if not len(steps):
        fix = "add --interval, as --interval 1min"
        raise InputError("does not say how long its intervals are", file=sheet.file, fix=fix)
    return float(steps[counts.argmax()]) / 1e6


def _backwards(sheet: Sheet, us: IntArray) -> tuple[str, ...]:
    back = np.flatnonzero(np.diff(us) < 0)
    if not len(back):
        return ()
    times = f"{len(back):,} times, first " if len(back) > 1 else ""
    return (f"time goes backwards {times}in line {int(sheet.frame.index[back[0] + 1])}; sorted",)


def _repeated(sheet: Sheet) -> tuple[str, ...]:
    """Requests of which every column repeats another's; times alone say too little for that."""
    if sheet.frame.shape[1] == 1:
        return ()
    again = np.flatnonzero(sheet.frame.duplicated())
    if not len(again):
        return ()
    line = int(sheet.frame.index[again[0]])
    return (f"{len(again):,} rows repeat one before in every column, first in line {line}; kept",)


def _check_twice(sheet: Sheet, of_row: IntArray) -> None:
    order = np.argsort(of_row, kind="stable")
    again = np.zeros(len(of_row), dtype=bool)
    again[order[1:]] = np.diff(of_row[order]) == 0
    fix = "remove one of them, or name the column that tells them apart"
    sheet.fault(again, lambda _: "gives an interval that a line before gives", of_row, "time", fix)


def _check_span(sheet: Sheet, seconds: float) -> None:
    if not seconds <= LONGEST_S:
        problem = f"lasts {seconds / 86_400:,.0f} days, more than {LONGEST_S // 86_400}"
        fix = "say the unit of its times, as --unit ms, or give a part"
        raise InputError(problem, file=sheet.file, fix=fix)
