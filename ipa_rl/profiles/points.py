"""The CSV file of one stage: measured points, and every fault that the file has."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ipa_rl.errors import InputError, quoted
from ipa_rl.files import read_text

COLUMNS = (
    "variant", "cores", "batch", "load_rps", "latency_mean_s", "latency_p99_s", "throughput_rps",
    "kind", "series", "source", "note",
)  # fmt: skip
_NUMBERS = ("cores", "batch", "load_rps", "latency_mean_s", "latency_p99_s", "throughput_rps")
_SEPARATORS = (",", ";", "\t")
_KINDS = ("measured", "derived")
_LONGEST_S = 600.0
_FALL = 0.75
_MOST_BYTES = 4_000_000
_MOST_COUNT, _LEAST, _MOST = 1_000_000, 1e-7, 1e9
_UNITS_FACTOR = 200.0
_UNITS_FIX = "latencies are in seconds: divide milliseconds by 1000"


@dataclass(frozen=True, slots=True)
class Point:
    """One reading. ``None`` where a figure was not recorded; ``line`` is its line in the file.

    ``load_rps`` is the offered load, inf where a closed loop always had the next batch waiting; throughput
    can be read as capacity only well below it.
    """

    line: int
    variant: str
    cores: int
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


def read_points(path: Path, variants: Iterable[str]) -> PointFile:
    """Read a stage's file; never raises for its content, all faults are returned."""
    known = list(variants)
    text, fault = _read_text(path)
    if fault is not None:
        return PointFile(path, (), (fault,))
    separator = _separator(text.lstrip("\r\n").partition("\n")[0])
    rows, fault = _rows(path, text, separator)
    if fault is not None:
        return PointFile(path, (), (fault,))
    faults = _header_faults(path, rows)
    if faults:
        return PointFile(path, (), tuple(faults))
    columns = [name.strip() for name in rows[0]]
    points: list[Point] = []
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        point, found = _point(path, line, columns, row, known)
        faults += found
        if point is not None:
            points.append(point)
    units = _unit_faults(path, points)
    faults += _duplicates(path, points) + (units or _falling(path, points))
    if not points and not faults:
        faults.append(InputError("has no points", file=path, fix="add one line a measured point"))
    return PointFile(path, tuple(points), tuple(faults))


def _read_text(path: Path) -> tuple[str, InputError | None]:
    try:
        text = read_text(path, _MOST_BYTES, "add the file, or name it in points:")
    except InputError as error:
        return "", error
    if not text.strip():
        fault = InputError("is empty", file=path, line=1, fix=f"begin with {','.join(COLUMNS)}")
        return "", fault
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        return "", InputError("holds a NUL byte", file=path, line=line, fix="save it as plain text")
    return text, None


def _separator(header: str) -> str:
    """What separates the columns: that under which the header holds most of the known names."""
    return max(
        _SEPARATORS, key=lambda one: len({name.strip(' "') for name in header.split(one)} & set(COLUMNS))
    )


def _rows(path: Path, text: str, separator: str) -> tuple[list[list[str]], InputError | None]:
    """Rows of fields, numbers with a decimal point.

    Spreadsheets of many countries write decimal commas, and separate by something else than a comma then.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        fix = f"separate the columns by commas; {path.name} is no table"
        return [], InputError(f"cannot be read as CSV: {error}", file=path, fix=fix)
    if separator == ",":
        return rows, None
    numeric = [i for i, name in enumerate(rows[0]) if name.strip() in _NUMBERS]
    points, commas = None, None
    for line, row in enumerate(rows[1:], start=2):
        for i in [i for i in numeric if i < len(row)]:
            points = points or (line if "." in row[i] else None)
            commas = commas or (line if "," in row[i] else None)
            row[i] = row[i].replace(",", ".")
    if points and commas:
        problem = f"decimal commas (line {commas}) and decimal points (line {points})"
        return [], InputError(problem, file=path, fix="write all numbers with decimal points")
    return rows, None


def _header_faults(path: Path, rows: list[list[str]]) -> list[InputError]:
    columns = [name.strip() for name in rows[0]]
    if not set(columns) & set(COLUMNS):
        problem = f"begins with {quoted(rows[0][0] if rows[0] else '')}, not with the names of the columns"
        fix = f"separate them by commas, semicolons or tabs: {','.join(COLUMNS)}"
        return [InputError(problem, file=path, line=1, fix=fix)]
    faults = []
    for column in COLUMNS:
        if columns.count(column) != 1:
            problem = "column is missing" if column not in columns else "column stands twice"
            fix = f"give the columns {','.join(COLUMNS)}"
            faults.append(InputError(problem, file=path, line=1, field=column, fix=fix))
    for column in columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, 1)
            fix = f"rename it to {near[0]}" if near else "remove it"
            problem = "is no known column"
            faults.append(InputError(problem, file=path, line=1, field=column or "(blank)", fix=fix))
    return faults


def _point(
    path: Path, line: int, columns: list[str], row: list[str], known: list[str]
) -> tuple[Point | None, list[InputError]]:
    """One line as a point, or its faults."""
    faults: list[InputError] = []

    def fault(problem: str, field: str, fix: str) -> None:
        faults.append(InputError(problem, file=path, line=line, field=field, fix=fix))

    if len(row) != len(columns):
        fix = "quote fields that hold the separator; decimal commas need semicolons or tabs between columns"
        fault(f"{len(row)} fields for {len(columns)} columns", "line", fix)
        return None, faults
    fields = {name: value.strip() for name, value in zip(columns, row, strict=True)}
    if fields["variant"] not in known:
        near = difflib.get_close_matches(fields["variant"], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        fault(f"unknown variant {quoted(fields['variant'])}", "variant", f"{hint} or add it to pipeline.yaml")
    if fields["kind"] not in _KINDS:
        fault(f"is {quoted(fields['kind'])}", "kind", f"use one of {', '.join(_KINDS)}")
    whole = {name: _whole(fields[name], name, fault) for name in ("cores", "batch")}
    real = {
        name: _real(fields[name], name, fault, may_be_endless=name == "load_rps")
        for name in ("load_rps", "latency_mean_s", "latency_p99_s", "throughput_rps")
    }
    mean_s, p99_s = real["latency_mean_s"], real["latency_p99_s"]
    if not faults and mean_s is None and p99_s is None and real["throughput_rps"] is None:
        fault("no latency and no throughput", "latency_mean_s", "give one of the three, or drop the line")
    if mean_s is not None and p99_s is not None and p99_s < mean_s * 0.98:
        if mean_s > _UNITS_FACTOR * p99_s:
            fault(f"{mean_s} is {mean_s / p99_s:.0f} times the 99th percentile", "latency_mean_s", _UNITS_FIX)
        else:
            fault(f"{p99_s} is below the mean {mean_s}", "latency_p99_s", "check which column is which")
    load, throughput = real["load_rps"], real["throughput_rps"]
    if load is not None and throughput is not None and throughput > 1.5 * load + 1.0:
        fault(f"{throughput} is above the load {load}", "throughput_rps", "check the units")
    if faults:
        return None, faults
    text = {name: fields[name] for name in ("variant", "kind", "series", "source", "note")}
    return Point(line=line, **text, **whole, **real), []  # type: ignore[arg-type]


def _whole(value: str, name: str, fault: object) -> int | None:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if number.is_integer() and 1 <= number <= _MOST_COUNT:
        return int(number)
    fault(f"is {quoted(value)}", name, f"give a whole number, 1 to {_MOST_COUNT:,}")  # type: ignore[operator]
    return None


def _real(value: str, name: str, fault: object, *, may_be_endless: bool = False) -> float | None:
    if value == "":
        return None
    try:
        number = float(value)
    except ValueError:
        fault(f"is {quoted(value)}, not a number", name, "give a number, or leave it blank")  # type: ignore[operator]
        return None
    endless = may_be_endless and value.lower().lstrip("+") in ("inf", "infinity")
    if not math.isfinite(number) and not endless:
        fault(f"is {quoted(value)}", name, "leave it blank where nothing was measured")  # type: ignore[operator]
        return None
    if number <= 0:
        fault(f"is {value}, not above 0", name, "give a positive number")  # type: ignore[operator]
        return None
    if not _LEAST <= number <= _MOST and number != math.inf:
        fault(f"is {quoted(value)}", name, f"give a number from {_LEAST:g} to {_MOST:g}")  # type: ignore[operator]
        return None
    return number


def _duplicates(path: Path, points: list[Point]) -> list[InputError]:
    first: dict[tuple[object, ...], int] = {}
    faults = []
    for point in points:
        key = (point.variant, point.cores, point.batch, point.load_rps, point.source, point.note)
        if key in first:
            problem = f"repeats line {first[key]} ({point.variant}, {point.cores} cores, batch {point.batch})"
            fix = "remove one, or tell repeat readings apart in note"
            faults.append(InputError(problem, file=path, line=point.line, field="variant", fix=fix))
        first.setdefault(key, point.line)
    return faults


def _unit_faults(path: Path, points: list[Point]) -> list[InputError]:
    """Latencies in milliseconds: too long to be true, or out of proportion to the same cell's others."""
    faults = []
    for field in ("latency_mean_s", "latency_p99_s"):
        groups: dict[tuple[str, int], list[Point]] = {}
        for point in points:
            if getattr(point, field) is not None:
                groups.setdefault((point.variant, point.cores), []).append(point)
        for group in groups.values():
            *_, second, longest = [math.inf, *sorted(getattr(point, field) for point in group)]
            for point in group:
                value = getattr(point, field)
                slow = value * (point.throughput_rps or 0.0) / point.batch if point.is_saturated else 0.0
                far = value == longest > _UNITS_FACTOR * second
                if value > _LONGEST_S or slow > _UNITS_FACTOR or far:
                    problem = f"{value} s is about 1000 times what the other figures say"
                    faults.append(
                        InputError(problem, file=path, line=point.line, field=field, fix=_UNITS_FIX)
                    )
    return sorted(faults, key=lambda fault: fault.line or 0)


def _falling(path: Path, points: list[Point]) -> list[InputError]:
    """Latency that falls from a batch size to a larger one, at the same cores and series.

    Only saturated points are compared, of which the batches were full, and only a fall of more than a
    quarter is called a fault: less is noise. So is a 99th percentile that falls where the means are recorded
    and do not: a few stalls among a hundred calls make it. Between points of different loads, as a sweep has
    them, the latency may hold a queue's wait; a fall counts where what they served says so too (`_serves`).
    """
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        if point.is_saturated:
            groups.setdefault((point.variant, point.cores, point.series), []).append(point)
    faults = []
    for group in groups.values():
        has_means = all(point.latency_mean_s is not None for point in group)
        for field in ("latency_mean_s",) if has_means else ("latency_mean_s", "latency_p99_s"):
            timed = [point for point in group if getattr(point, field) is not None]
            faults += [_fall(path, field, *pair) for pair in _falls(timed, field)]
    return faults


def _falls(points: list[Point], field: str) -> list[tuple[Point, Point]]:
    """Points of a batch size and the next larger one between which the latency falls too far."""
    found: dict[tuple[int, int], tuple[Point, Point]] = {}
    by_load: dict[float | None, list[Point]] = {}
    by_batch: dict[int, list[Point]] = {}
    for point in sorted(points, key=lambda one: one.batch):
        by_load.setdefault(point.load_rps, []).append(point)
        by_batch.setdefault(point.batch, []).append(point)
    typical = [
        sorted(some, key=lambda one: getattr(one, field))[(len(some) - 1) // 2] for some in by_batch.values()
    ]
    pairs = [pair for some in by_load.values() for pair in itertools.pairwise(some)]
    pairs += [pair for pair in itertools.pairwise(typical) if _serves(*pair)]
    for small, large in pairs:
        if large.batch > small.batch and getattr(large, field) < _FALL * getattr(small, field):
            found.setdefault((small.batch, large.batch), (small, large))
    return list(found.values())


def _serves(small: Point, large: Point) -> bool:
    """Whether the time that a full batch takes, batch over throughput, falls too far as well."""
    before, after = (point.batch / (point.throughput_rps or math.inf) for point in (small, large))
    return after < _FALL * before


def _fall(path: Path, field: str, small: Point, large: Point) -> InputError:
    before, after = getattr(small, field), getattr(large, field)
    where = f"{before} s at {small.batch} (line {small.line}), {after} s at {large.batch}"
    problem = f"latency falls with batch: {where}"
    fix = "measure again, or drop one of the lines"
    return InputError(problem, file=path, line=large.line, field=field, fix=fix)
