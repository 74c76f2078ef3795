"""The CSV file of one stage: measured points, and every fault that the file has."""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from ipa_rl.errors import InputError, quoted
from ipa_rl.files import read_text
from ipa_rl.limits import LONGEST_LATENCY_S

COLUMNS = (
    "variant", "cores", "batch", "load_rps", "latency_mean_s", "latency_p99_s", "throughput_rps",
    "kind", "series", "source", "note",
)  # fmt: skip
BENCHMARK = "benchmark"
"""Series of points that were imported from a benchmark."""
_COUNTS = ("cores", "batch")
_FIGURES = ("load_rps", "latency_mean_s", "latency_p99_s", "throughput_rps")
_LATENCIES = ("latency_mean_s", "latency_p99_s")
_SEPARATORS = (",", ";", "\t")
_KINDS = ("measured", "derived")
FALL = 0.75
"""A latency of less than this share of a smaller batch's is a fall, and not noise."""
_MOST_BYTES = 4_000_000
_MOST_COUNT, _LEAST, _MOST = 1_000_000, 1e-7, 1e9
_UNITS_FACTOR = 200.0
_UNITS_FIX = "latencies are in seconds: divide milliseconds by 1000"

Fault: TypeAlias = "partial[InputError]"
"""Makes the faults of one line of a file."""


@dataclass(frozen=True, slots=True)
class Point:
    """One reading. ``None`` where a figure was not recorded; ``line`` is its line in the file.

    ``cores``: units of what the variant is placed on. ``load_rps`` is the offered load, inf where a closed
    loop always had the next batch waiting; throughput can be read as capacity only well below it.
    """

    line: int
    variant: str
    cores: float
    batch: int
    load_rps: float | None
    latency_mean_s: float | None
    latency_p99_s: float | None
    throughput_rps: float | None
    kind: str
    series: str
    source: str
    note: str

    @property
    def is_saturated(self) -> bool:
        """Whether the replica was at its capacity: throughput below 95 % of the offered load."""
        if self.throughput_rps is None or self.load_rps is None:
            return False
        return self.throughput_rps < 0.95 * self.load_rps


@dataclass(frozen=True)
class PointFile:
    """The good points of a file, and its faults."""

    path: Path
    points: tuple[Point, ...]
    faults: tuple[InputError, ...]

    def of(self, variant: str) -> tuple[Point, ...]:
        """The points of one variant."""
        return tuple(point for point in self.points if point.variant == variant)


def read_points(path: Path, variants: Collection[str], on_devices: Collection[str] = ()) -> PointFile:
    """Read a stage's file; never raises for its content, all faults are returned.

    ``on_devices``: those of the variants that do not run on cores; they may occupy shares of a device.
    """
    try:
        rows = _table(path)
    except InputError as fault:
        return PointFile(path, (), (fault,))
    columns = [name.strip() for name in rows[0]]
    faults = list(_header_faults(path, columns))
    if faults:
        return PointFile(path, (), tuple(faults))
    points: list[Point] = []
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        match _point(partial(InputError, file=path, line=line), line, columns, row, variants, on_devices):
            case Point() as point:
                points.append(point)
            case found:
                faults += found
    units = _unit_faults(path, points)
    faults += [*_duplicates(path, points), *(units or _falling(path, points))]
    if not points and not faults:
        faults.append(InputError("has no points", file=path, fix="add one line a measured point"))
    return PointFile(path, tuple(points), tuple(faults))


def points_text(rows: Iterable[Mapping[str, object]]) -> str:
    """The text of a stage's file; what a row leaves out is blank."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _table(path: Path) -> list[list[str]]:
    """Rows of fields, numbers with a decimal point. Raises InputError.

    Spreadsheets of many countries write decimal commas, and separate by something else than a comma then.
    """
    text = read_text(path, _MOST_BYTES, "add the file, or name it in points:")
    if not text.strip():
        raise InputError("is empty", file=path, line=1, fix=f"begin with {','.join(COLUMNS)}")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError("holds a NUL byte", file=path, line=line, fix="save it as plain text")
    header = text.lstrip("\r\n").partition("\n")[0]
    known = {one: {name.strip(' "') for name in header.split(one)} & set(COLUMNS) for one in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda one: len(known[one]))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        fix = f"separate the columns by commas; {path.name} is not a table"
        raise InputError(f"cannot be read as CSV: {error}", file=path, fix=fix) from error
    if separator != ",":
        _write_decimal_points(path, rows)
    return rows


def _write_decimal_points(path: Path, rows: list[list[str]]) -> None:
    """Replace decimal commas. Raises InputError where the numbers have points as well."""
    numeric = [i for i, name in enumerate(rows[0]) if name.strip() in (*_COUNTS, *_FIGURES)]
    points, commas = None, None
    for line, row in enumerate(rows[1:], start=2):
        for i in [i for i in numeric if i < len(row)]:
            points = points or (line if "." in row[i] else None)
            commas = commas or (line if "," in row[i] else None)
            row[i] = row[i].replace(",", ".")
    if points and commas:
        problem = f"decimal commas (line {commas}) and decimal points (line {points})"
        raise InputError(problem, file=path, fix="write all numbers with decimal points")


def _header_faults(path: Path, columns: list[str]) -> Iterator[InputError]:
    at = partial(InputError, file=path, line=1)
    if not set(columns) & set(COLUMNS):
        problem = f"begins with {quoted(columns[0] if columns else '')}, not with the names of the columns"
        yield at(problem, fix=f"separate them by commas, semicolons or tabs: {','.join(COLUMNS)}")
        return
    for column in COLUMNS:
        if columns.count(column) != 1:
            problem = "column is missing" if column not in columns else "column is listed twice"
            yield at(problem, field=column, fix=f"give the columns {','.join(COLUMNS)}")
    for column in columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, 1)
            fix = f"rename it to {near[0]}" if near else "remove it"
            yield at("is not a known column", field=column or "(blank)", fix=fix)


def _point(
    at: Fault,
    line: int,
    columns: list[str],
    row: list[str],
    known: Collection[str],
    on_devices: Collection[str],
) -> Point | list[InputError]:
    """One line as a point, or its faults."""
    if len(row) != len(columns):
        fix = "quote fields that hold the separator; decimal commas need semicolons or tabs between columns"
        return [at(f"{len(row)} fields for {len(columns)} columns", field="line", fix=fix)]
    fields: dict[str, Any] = {name: value.strip() for name, value in zip(columns, row, strict=True)}
    faults = []
    if fields["variant"] not in known:
        near = difflib.get_close_matches(fields["variant"], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        fix = f"{hint} or add it to pipeline.yaml"
        faults.append(at(f"unknown variant {quoted(fields['variant'])}", field="variant", fix=fix))
    if fields["kind"] not in _KINDS:
        fix = f"use one of {', '.join(_KINDS)}"
        faults.append(at(f"is {quoted(fields['kind'])}", field="kind", fix=fix))
    counts = ("batch",) if fields["variant"] in on_devices else _COUNTS
    for name in (*_COUNTS, *_FIGURES):
        try:
            fields[name] = _figure(at, name, fields[name], is_count=name in counts)
        except InputError as fault:
            fields[name] = None
            faults.append(fault)
    faults += _contradictions(at, *(fields[name] for name in _FIGURES), is_whole=not faults)
    return faults or Point(line, **fields)


def _figure(at: Fault, name: str, text: str, is_count: bool) -> float | None:
    """A count or a figure; None where a figure is left blank. Raises InputError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if is_count:
        if number.is_integer() and 1 <= number <= _MOST_COUNT:
            return int(number)
        raise at(f"is {quoted(text)}", field=name, fix=f"give a whole number, 1 to {_MOST_COUNT:,}")
    if name == "cores":
        if 0 < number <= _MOST_COUNT:
            return int(number) if number.is_integer() else number
        raise at(f"is {quoted(text)}", field=name, fix=f"give the units, a number above 0 to {_MOST_COUNT:,}")
    if text == "":
        return None
    is_endless = name == "load_rps" and text.lower().lstrip("+") in ("inf", "infinity")
    if is_endless or _LEAST <= number <= _MOST:
        return number
    fix = f"give a number from {_LEAST:g} to {_MOST:g}, or leave it blank where nothing was measured"
    raise at(f"is {quoted(text)}", field=name, fix=fix)


def _contradictions(
    at: Fault,
    load_rps: float | None,
    mean_s: float | None,
    p99_s: float | None,
    throughput_rps: float | None,
    *,
    is_whole: bool,
) -> Iterator[InputError]:
    """Figures of a line that cannot be true together; ``is_whole``: the line has no fault so far."""
    if is_whole and mean_s is None and p99_s is None and throughput_rps is None:
        fix = "give one of the three, or drop the line"
        yield at("no latency and no throughput", field="latency_mean_s", fix=fix)
    if mean_s is not None and p99_s is not None and p99_s < mean_s * 0.98:
        if mean_s > _UNITS_FACTOR * p99_s:
            problem = f"{mean_s} is {mean_s / p99_s:.0f} times the 99th percentile"
            yield at(problem, field="latency_mean_s", fix=_UNITS_FIX)
        else:
            fix = "check which column is which"
            yield at(f"{p99_s} is below the mean {mean_s}", field="latency_p99_s", fix=fix)
    if load_rps is not None and throughput_rps is not None and throughput_rps > 1.5 * load_rps + 1.0:
        problem = f"{throughput_rps} is above the load {load_rps}"
        yield at(problem, field="throughput_rps", fix="check the units")


def grouped(points: Iterable[Point], *names: str) -> dict[Any, list[Point]]:
    """The points by the values of these fields."""
    groups: dict[Any, list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(getattr(point, name) for name in names), []).append(point)
    return groups


def _duplicates(path: Path, points: list[Point]) -> Iterator[InputError]:
    alike = grouped(points, "variant", "cores", "batch", "load_rps", "source", "note").values()
    for first, *others in alike:
        for point in others:
            what = f"{point.variant}, cores {point.cores:g}, batch {point.batch}"
            problem = f"repeats line {first.line} ({what})"
            fix = "remove one, or tell repeat readings apart in note"
            yield InputError(problem, file=path, line=point.line, field="variant", fix=fix)


def _unit_faults(path: Path, points: list[Point]) -> list[InputError]:
    """Latencies in milliseconds: too long to be true, or out of proportion to the same cell's others."""
    faults = []
    for name in _LATENCIES:
        timed = [point for point in points if getattr(point, name) is not None]
        for group in grouped(timed, "variant", "cores").values():
            *_, second, longest = [math.inf, *sorted(getattr(point, name) for point in group)]
            for point in group:
                value = getattr(point, name)
                slow = value * (point.throughput_rps or 0.0) / point.batch if point.is_saturated else 0.0
                far = value == longest > _UNITS_FACTOR * second
                problem = f"{value} s is about 1000 times what the other figures say"
                if value > LONGEST_LATENCY_S:
                    problem = f"{value} s is more than {LONGEST_LATENCY_S:g} s"
                if value > LONGEST_LATENCY_S or slow > _UNITS_FACTOR or far:
                    faults.append(InputError(problem, file=path, line=point.line, field=name, fix=_UNITS_FIX))
    return sorted(faults, key=lambda fault: fault.line or 0)


def _falling(path: Path, points: list[Point]) -> Iterator[InputError]:
    """Latency that falls from a batch size to a larger one, at the same cores and series.

    Only saturated points are compared, of which the batches were full, and only a fall of more than a
    quarter is called a fault: less is noise. So is a 99th percentile that falls where the means are recorded
    and do not: a few stalls among a hundred calls make it.
    """
    saturated = [point for point in points if point.is_saturated]
    for group in grouped(saturated, "variant", "cores", "series").values():
        has_means = all(point.latency_mean_s is not None for point in group)
        for name in _LATENCIES[:1] if has_means else _LATENCIES:
            for small, large in _falls([point for point in group if getattr(point, name) is not None], name):
                before, after = getattr(small, name), getattr(large, name)
                where = f"{before} s at {small.batch} (line {small.line}), {after} s at {large.batch}"
                problem, fix = f"latency falls with batch: {where}", "measure again, or drop one of the lines"
                yield InputError(problem, file=path, line=large.line, field=name, fix=fix)


def _falls(points: list[Point], name: str) -> Iterable[tuple[Point, Point]]:
    """Points of a batch size and the next larger one between which the latency falls too far.

    Between points of different loads, as a sweep has them, the latency may hold a queue's wait; a fall counts
    where what they served says so too: the time that a full batch takes, batch over throughput, falls as far.
    """
    ascending = sorted(points, key=lambda point: point.batch)
    pairs = [pair for some in grouped(ascending, "load_rps").values() for pair in pairwise(some)]
    typical = [
        sorted(some, key=lambda point: float(getattr(point, name)))[(len(some) - 1) // 2]
        for some in grouped(ascending, "batch").values()
    ]
    for pair in pairwise(typical):
        before, after = (point.batch / (point.throughput_rps or math.inf) for point in pair)
        if after < FALL * before:
            pairs.append(pair)
    found: dict[tuple[int, int], tuple[Point, Point]] = {}
    for small, large in pairs:
        if large.batch > small.batch and getattr(large, name) < FALL * getattr(small, name):
            found.setdefault((small.batch, large.batch), (small, large))
    return found.values()
