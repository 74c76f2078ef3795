"""A workload: a recorded or made-up series of arrivals, with its clock, its gaps, its split and its source.

It is a folder: ``workload.yaml`` says what it is, ``recorded.npz`` holds what was recorded (counts by slot,
or times of arrival), ``fitted/`` what was fitted to it. Controllers, simulators and judges see loads by
second. Where counts are of longer slots, the seconds within a slot are made up, by `spread_over_seconds`: the
counts stay exact.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from ipa_rl import documents, resources
from ipa_rl.arrays import Headers, read_arrays, write_arrays
from ipa_rl.documents import Count, Positive, StrictModel, Whole
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import write_text
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.spread import spread_over_seconds
from ipa_rl.workload.times import clocks_by_hour

SEE = "docs/reference/workloads.md"

Part = Literal["train", "validation", "test"]
"""What is learned from, chosen by, and reported on."""

PARTS: tuple[Part, ...] = ("train", "validation", "test")
_SHARES = (4, 1)
"""Of six parts of the time, so many are train and validation by default; the rest is test."""

LONGEST_S = 40_000_000
"""Seconds of a workload: 15 months, so that its loads by second fit the memory."""

MOST_BYTES = 500_000_000
"""Of a recording: 15 months of counts by second, or 60 million times."""


def _forward(stretch: tuple[int, int]) -> tuple[int, int]:
    if stretch[0] >= stretch[1]:
        raise ValueError("ends before it begins")
    return stretch


Stretch = Annotated[tuple[Whole, Whole], AfterValidator(_forward)]
"""First second, and the second after the last."""


def _zone(name: str | None) -> str | None:
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {quoted(str(name))}; write it as Europe/Berlin or UTC") from error
    return name


class SplitModel(StrictModel):
    """The parts, in seconds from the begin."""

    train: Stretch
    validation: Stretch
    test: Stretch

    @model_validator(mode="after")
    def _check(self) -> SplitModel:
        edges = [*self.train, *self.validation, *self.test]
        if edges != sorted(edges):
            raise ValueError("parts overlap or are not in the order of time")
        return self


class WorkloadModel(StrictModel):
    """``workload.yaml``.

    ``resolution_s``: length of a slot of the counts. ``start``: when the first slot begins, local time of
    ``time_zone`` (UTC by default); without it the clock counts from the begin. ``divide_by``: counts are
    divided by it, rounded down. ``dispersion``: variance over mean of the requests in a second around their
    rate, where seconds are made up; 1 (Poisson) is assumed where it is not given. ``gaps``: what was not
    recorded; ``held_out``: what the validation part leaves out; ``windows``: stretches that have a name. All
    in seconds from the begin. ``level_rps``: a usual load, about which stress is made up; by default the mean
    of the train part.
    """

    title: str = ""
    source: str = ""
    licence: str = ""
    resolution_s: Positive = 1.0
    start: datetime.datetime | None = None
    time_zone: Annotated[str | None, AfterValidator(_zone)] = None
    divide_by: Count = 1
    dispersion: Positive | None = None
    gaps: tuple[Stretch, ...] = ()
    split: SplitModel | None = None
    held_out: tuple[Stretch, ...] = ()
    windows: Mapping[str, Annotated[tuple[Stretch, ...], Field(min_length=1)]] = Field(default_factory=dict)
    level_rps: Positive | None = None


@dataclass(frozen=True)
class Recorded:
    """What was recorded: requests in each slot, or the time of each in seconds from the begin, ascending.

    ``dispersion``: by slot, where it is known by slot (`WorkloadModel`).
    """

    counts: NDArray[np.integer[Any]] | None = None
    times_s: FloatArray | None = None
    dispersion: FloatArray | None = None


@dataclass(frozen=True)
class Window:
    """A stretch of arrivals, and the loads before it.

    ``arrivals``: (history_s + length,) requests in each second; the first ``history_s`` have passed.
    ``times_s``: exact times of the others, in seconds since the history's end, where they are known.
    ``clock_s``: what the clock says at the history's end (`Workload.clock_s`). It runs on where stretches
    were joined.
    """

    name: str
    arrivals: IntArray
    history_s: int
    times_s: FloatArray | None = None
    clock_s: int = 0


@dataclass(frozen=True, eq=False)
class Workload:
    """A workload at a scale: so many times its requests arrive.

    ``folder``: None where it was made up; ``read`` gives what was recorded, and is asked when it is needed.
    ``origin``: the workload that this is so many times of, whose loads are made once for all scales.
    """

    name: str
    folder: Path | None = field(repr=False)
    description: WorkloadModel
    read: Callable[[], Recorded] = field(repr=False)
    scale: float = 1.0
    origin: Workload | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, which reads it once again."""
        if self.folder is None:
            return Workload, (self.name, None, self.description, self.read, self.scale)
        return _at_scale, (self.folder, self.scale)

    @cached_property
    def recorded(self) -> Recorded:
        """What was recorded. Raises InputError where it cannot be read."""
        return self.read() if self.origin is None else self.origin.recorded

    @cached_property
    def loads(self) -> NDArray[np.int32]:
        """Requests in each second, (seconds,), at scale 1."""
        if self.origin is not None:
            return self.origin.loads
        recorded, described = self.recorded, self.description
        if recorded.times_s is not None:
            return np.bincount(recorded.times_s.astype(np.int64)).astype(np.int32)
        assert recorded.counts is not None
        if described.resolution_s == 1:  # many, of which copies of wider numbers took more than the package
            return (recorded.counts // described.divide_by).astype(np.int32, copy=False)
        counts = recorded.counts.astype(np.int64) // described.divide_by
        assumed = described.dispersion or 1.0
        by_slot = assumed if recorded.dispersion is None else recorded.dispersion
        return spread_over_seconds(counts, described.resolution_s, by_slot)

    @property
    def are_seconds_made_up(self) -> bool:
        """Whether slots are longer than a second, so that what happens within them is not known."""
        return self.recorded.times_s is None and self.description.resolution_s > 1

    @cached_property
    def seconds(self) -> int:
        """How long it lasts; known before its seconds are made up, which takes a while of a year."""
        if self.recorded.times_s is not None or self.description.resolution_s == 1:
            return len(self.loads)
        assert self.recorded.counts is not None
        return math.ceil(len(self.recorded.counts) * self.description.resolution_s - 1e-9)

    @cached_property
    def parts(self) -> dict[Part, tuple[int, int]]:
        """First second and the one after the last, by part."""
        if (split := self.description.split) is not None:
            return {part: getattr(split, part) for part in PARTS}
        seconds = self.seconds
        first, second = (seconds * sum(_SHARES[: k + 1]) // 6 for k in range(2))
        return {"train": (0, first), "validation": (first, second), "test": (second, seconds)}

    def part(self, part: Part) -> NDArray[np.int32]:
        """Loads of one part at scale 1. Validation still holds what is held out."""
        begin, end = self.parts[part]
        return self.loads[begin:end]

    @cached_property
    def mean_rps(self) -> float:
        """Mean load of what was recorded of the train part, at the scale; 0 where nothing was."""
        recorded = self.part("train")[~self.missing(*self.parts["train"])]
        return self.scale * float(recorded.mean()) if len(recorded) else 0.0

    @property
    def level_rps(self) -> float:
        """A usual load, at the scale."""
        level_rps = self.description.level_rps
        return self.mean_rps if level_rps is None else self.scale * level_rps

    def at_scale(self, scale: float) -> Workload:
        """The same, so many times its requests."""
        return self if scale == self.scale else replace(self, scale=scale, origin=self.origin or self)

    def clock_s(self, second: int) -> int:
        """What the clock says at a second: seconds since a Monday's midnight, local time.

        Without a start it is the second itself.
        """
        if self.begin is None:
            return second
        return int(self.clock_at(self.begin.timestamp() + second))

    def clock_at(self, unix_s: float) -> float:
        """What the clock says at a moment, in seconds since 1970: the same for a workload of unknown date."""
        if self.description.start is None:
            return unix_s
        at = datetime.datetime.fromtimestamp(unix_s, self.zone)
        time_s = at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6
        return at.weekday() * 86_400 + time_s

    def clocks_s(self, seconds: IntArray) -> IntArray:
        """`clock_s` of many seconds, ascending."""
        if self.description.start is None or not len(seconds):
            return seconds
        return clocks_by_hour(seconds, lambda second: self.clock_s(int(second)))

    @cached_property
    def begin(self) -> datetime.datetime | None:
        """When it begins, with the offset of then; None where it has no clock."""
        start = self.description.start
        if start is None:
            return None
        return (start if start.tzinfo else start.replace(tzinfo=self.zone)).astimezone(datetime.UTC)

    @property
    def zone(self) -> ZoneInfo:
        """Where the clock hangs."""
        return ZoneInfo(self.description.time_zone or "UTC")

    def misses_data(self, begin: int, end: int) -> bool:
        """Whether something of a stretch was not recorded."""
        return bool(self._touch_gaps(np.array([begin]), np.array([end]))[0])

    def missing(self, begin: int, end: int) -> NDArray[np.bool_]:
        """Which seconds of a stretch were not recorded, (end - begin,)."""
        found = np.zeros(end - begin, dtype=np.bool_)
        for gap_begin, gap_end in self.description.gaps:
            found[max(gap_begin - begin, 0) : max(gap_end - begin, 0)] = True
        return found

    def is_whole(self, begin: IntArray, end: IntArray) -> NDArray[np.bool_]:
        """Which stretches begin:end miss nothing and touch nothing that is held out."""
        whole = ~self._touch_gaps(begin, end)
        for held_begin, held_end in self.description.held_out:
            whole &= (end <= held_begin) | (begin >= held_end)
        return np.asarray(whole, dtype=np.bool_)

    def _touch_gaps(self, begin: IntArray, end: IntArray) -> NDArray[np.bool_]:
        """Of each stretch begin:end, whether a gap begins before its end that ends after its begin."""
        begins, ends = self._gaps
        return np.asarray(begins[np.searchsorted(ends, begin, side="right")] < end, dtype=np.bool_)

    @cached_property
    def _gaps(self) -> tuple[FloatArray, FloatArray]:
        """Begins and ends of the gaps, ascending, none within another; behind the last a begin for ever."""
        joined: list[tuple[float, float]] = []
        for begin, end in sorted(self.description.gaps):
            if joined and begin <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((begin, end))
        return np.array([*(begin for begin, _ in joined), math.inf]), np.array([end for _, end in joined])

    def starts(self, part: Part, length_s: int, history_s: int) -> IntArray:
        """Every second of a part at which a whole stretch of that length, with its history, may begin."""
        begin, end = self.parts[part]
        candidates = np.arange(begin + history_s, end - length_s + 1)
        return candidates[self.is_whole(candidates - history_s, candidates + length_s)]

    def recorded_within(self, begin: int, end: int, history_s: int) -> list[Stretch]:
        """The stretches from one second to another that were recorded, after a whole history.

        They begin later where the history before has a gap, or the workload begins.
        """
        missing = self.missing(max(begin - history_s, 0), end)
        edges = np.flatnonzero(np.diff(np.concatenate([[True], missing, [True]]))) + max(begin - history_s, 0)
        found = [(first, last) for first, last in edges.reshape(-1, 2).tolist()]
        while found and found[0][1] - found[0][0] <= history_s:
            found.pop(0)
        return [(found[0][0] + history_s, found[0][1]), *found[1:]] if found else []

    def windows(self, part: Part, length_s: int, history_s: int) -> list[Window]:
        """Windows of a part, one after the other without overlap, those with missing data left out."""
        return self.windows_within(part, *self.parts[part], length_s, history_s)

    def windows_within(self, name: str, begin: int, end: int, length_s: int, history_s: int) -> list[Window]:
        """The same of any stretch, the history before the first included."""
        candidates = np.arange(begin + history_s, end - length_s + 1, length_s)
        whole = self.is_whole(candidates - history_s, candidates + length_s)
        return [self.stretch(f"{name} {at}", at, length_s, history_s) for at in candidates[whole].tolist()]

    def stretch(self, name: str, start: int, length_s: int, history_s: int) -> Window:
        """A stretch from a second on, its history before it. Raises InputError beyond the begin or end."""
        return self.joined(name, [(start, start + length_s)], history_s)

    def named_window(self, name: str, history_s: int) -> Window:
        """A window that has a name, its stretches one after the other. Raises InputError on others."""
        stretches = self.description.windows.get(name)
        if stretches is None:
            known = ", ".join(self.description.windows) or "--windows; this workload has none with a name"
            raise InputError(f"{self.name} has no window {quoted(name)}", field="window", fix=f"use {known}")
        return self.joined(name, stretches, history_s)

    def joined(self, name: str, stretches: Any, history_s: int) -> Window:
        """Stretches one after the other, with the history before the first, at the scale."""
        first, total = stretches[0][0], len(self.loads)
        if first < history_s or any(end > total for _, end in stretches):
            fix = f"stay within {history_s} and {total} s: a window comes after {history_s} s of history"
            raise InputError(f"{name} lies outside of {self.name}", field="window", fix=fix)
        loads = [self.loads[begin:end] for begin, end in ((first - history_s, first), *stretches)]
        arrivals = thinned(np.concatenate(loads).astype(np.int64), self.scale)
        times_s = None
        if self.recorded.times_s is not None and self.scale == 1 and len(stretches) == 1:
            found = np.searchsorted(self.recorded.times_s, stretches[0])
            times_s = self.recorded.times_s[slice(*found)] - first
        return Window(name, arrivals, history_s, times_s, self.clock_s(first))

    def fitted(self, name: str) -> Path | None:
        """Where something that was fitted to it is kept; None where it has no folder."""
        return self.folder and self.folder / "fitted" / name

    def forget(self) -> None:
        """Give the memory of the loads back; they are read again where they are needed once more."""
        for kept in ("recorded", "loads"):
            self.__dict__.pop(kept, None)


def thinned(counts: IntArray, share: float) -> IntArray:
    """So many of the requests, evenly spread: of 0.5 every second one; a share over 1 repeats some.

    >>> thinned(np.array([3, 0, 4, 1]), 0.5).tolist()
    [1, 0, 2, 1]
    """
    if share == 1.0:
        return counts
    sums = np.floor(np.cumsum(counts) * share + 1e-9).astype(np.int64)
    return np.asarray(np.diff(sums, prepend=0), dtype=np.int64)


def load_workload(name_or_folder: str | Path) -> Workload:
    """A shipped workload ("twitter"), or that of a folder; read once in a process. Raises InputError."""
    return _load(resources.find(name_or_folder, "workloads").resolve())


@lru_cache(maxsize=16)
def _load(folder: Path) -> Workload:
    description = documents.load(folder / "workload.yaml", WorkloadModel, see=SEE)
    return Workload(folder.name, folder, description, partial(_read, folder, description))


@lru_cache(maxsize=16)
def _at_scale(folder: Path, scale: float) -> Workload:
    return load_workload(folder).at_scale(scale)


def save_workload(folder: Path, description: WorkloadModel, recorded: Recorded) -> Workload:
    """Write a workload's folder, which must be there; what was fitted to another recording goes."""
    arrays: dict[str, Any] = {}
    if recorded.times_s is not None:
        arrays["times_us"] = np.round(recorded.times_s * 1e6).astype(np.int64)
    if recorded.counts is not None:
        arrays["counts"] = recorded.counts.astype(np.min_scalar_type(int(recorded.counts.max(initial=0))))
    if recorded.dispersion is not None:
        arrays["dispersion"] = recorded.dispersion.astype(np.float32)
    write_arrays(arrays, folder / "recorded.npz", compressed=True)
    said = description.model_dump(mode="json", exclude_defaults=True)
    in_flow = None if any(isinstance(value, list | dict) for value in said.values()) else False
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, default_flow_style=in_flow, width=110)
    write_text(text, folder / "workload.yaml")
    for fitted in (folder / "fitted").glob("*"):
        fitted.unlink()
    _load.cache_clear()
    return load_workload(folder)


_FIX = f"import it again: ipa-rl workload import FILE --out FOLDER; see {SEE}"


def _read(folder: Path, description: WorkloadModel) -> Recorded:
    """``recorded.npz``, checked. Raises InputError."""
    path = folder / "recorded.npz"
    arrays = read_arrays(path, _misfit, "recording of a workload", _FIX, MOST_BYTES)
    problem, recorded = "", Recorded()
    if "times_us" in arrays:
        times_us = arrays["times_us"]
        if (np.diff(times_us) < 0).any() or times_us.min(initial=0) < 0:
            problem = "its times do not ascend from 0"
        recorded = Recorded(times_s=times_us / 1e6)
        seconds = float(times_us[-1]) / 1e6 if len(times_us) else 0.0
    else:
        counts, dispersion = arrays["counts"], arrays.get("dispersion")
        if counts.min(initial=0) < 0 or counts.max(initial=0) > 2**31 - 1:
            problem = "its counts are negative or too large"
        if dispersion is not None and (
            dispersion.shape != counts.shape or not ((dispersion > 0) & (dispersion < 1e6)).all()
        ):
            problem = "its dispersion is not one positive number a slot"
        recorded = Recorded(counts, None, None if dispersion is None else dispersion.astype(np.float64))
        seconds = len(counts) * description.resolution_s
    if not 1 < seconds <= LONGEST_S:
        problem = problem or f"it lasts {seconds:g} s; give 2 to {LONGEST_S}"
    if problem:
        raise InputError(problem, file=path, fix=_FIX)
    latest = max((end for _, end in (*description.gaps, *_stretches(description))), default=0)
    if latest > np.ceil(seconds):
        problem = f"names second {latest}, and the recording ends at {seconds:g} s"
        raise InputError(problem, file=folder / "workload.yaml", fix="correct the stretches")
    return recorded


def _stretches(description: WorkloadModel) -> list[Stretch]:
    """Split and named windows."""
    split = description.split
    parts = [] if split is None else [split.train, split.validation, split.test]
    return [*parts, *(one for window in description.windows.values() for one in window)]


def _misfit(headers: Headers) -> str:
    one = headers.get("counts") or headers.get("times_us")
    if one is None:
        return "lacks the array counts or times_us"
    if "dispersion" in headers and headers["dispersion"].dtype.kind != "f":
        return f"its dispersion holds {headers['dispersion']}, not numbers"
    is_fine = one.dtype.kind in "iu" and len(one.shape) == 1
    return "" if is_fine else f"holds {one}, not one row of whole numbers"
