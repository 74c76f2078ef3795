"""From points to a full table: every cell measured or modelled, and told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ipa_rl.profiles.points import Point
from ipa_rl.profiles.scaling import DEFAULT_TAIL, Fit, Reading, Scaling, fit

CORES = (1, 2, 4, 8, 16)
"""Core counts that a replica may get."""

_TRUSTED = ("experiment", "companion")
_SLOWER = 1.25


@dataclass(frozen=True, slots=True)
class Cell:
    """A variant on ``cores`` at ``batch``; the three flags say which figures were measured.

    ``throughput_rps`` is the capacity of one replica.
    """

    cores: int
    batch: int
    latency_mean_s: float
    latency_p99_s: float
    throughput_rps: float
    mean_is_measured: bool
    p99_is_measured: bool
    throughput_is_measured: bool


@dataclass(frozen=True)
class VariantTable:
    """All cells of a variant, the fits behind those that are modelled, and the readings behind the fits.

    ``observed``: (cores, batch) of which a throughput was recorded, at capacity or below it.
    """

    variant: str
    cells: tuple[Cell, ...]
    mean_fit: Fit
    p99_fit: Fit
    readings: tuple[Reading, ...]
    observed: frozenset[tuple[int, int]]

    def cell(self, cores: int, batch: int) -> Cell:
        """The cell of that many cores and that batch size; KeyError where there is none."""
        for cell in self.cells:
            if (cell.cores, cell.batch) == (cores, batch):
                return cell
        raise KeyError((cores, batch))


def trusted(points: Sequence[Point]) -> list[Point]:
    """Points of the series that the paper used or of the same setup; early ones only mark history."""
    return [point for point in points if point.series in (*_TRUSTED, "")]


def _cells(points: Sequence[Point]) -> dict[tuple[int, int], list[Point]]:
    """Points by (cores, batch), of the best series there is."""
    groups: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        groups.setdefault((point.cores, point.batch), []).append(point)
    return groups


def _best(points: Sequence[Point], field: str) -> float | None:
    """Median of a figure over the points of the best series that recorded it."""
    for series in (*_TRUSTED, ""):
        values = [getattr(p, field) for p in points if p.series == series]
        known = [value for value in values if value is not None]
        if known:
            return float(median(known))
    return None


def capacities(points: Sequence[Point]) -> dict[tuple[int, int], float]:
    """Measured capacity by (cores, batch): throughput where saturated at more than 1 request a second."""
    found = {}
    for cell, group in _cells(points).items():
        heavy = [p for p in group if p.is_saturated and (p.load_rps or 0) > 1]
        capacity = _best(heavy, "throughput_rps")
        if capacity is not None:
            found[cell] = capacity
    return found


def service_readings(points: Sequence[Point]) -> list[Reading]:
    """Service latencies of full batches.

    A saturated cell gives b / throughput. At batch 1 the mean latency is service time as well; one that is
    slower than fewer cores is set aside (a thread setting, not the model).
    """
    full = capacities(points)
    readings = [Reading(c, b, b / capacity) for (c, b), capacity in full.items()]
    fastest = min((r.latency_s for r in readings if r.batch == 1), default=float("inf"))
    for (cores, batch), group in sorted(_cells(points).items()):
        latency_s = _best(group, "latency_mean_s")
        if batch != 1 or latency_s is None or (cores, batch) in full:
            continue
        slowest_allowed = _SLOWER * fastest if fastest < float("inf") else latency_s
        if latency_s <= slowest_allowed or cores == 1:
            readings.append(Reading(cores, batch, latency_s))
            fastest = min(fastest, latency_s)
    return readings


def p99_readings(points: Sequence[Point], means: Fit) -> list[Reading]:
    """99th percentiles of cells whose batches were full: batch 1, or saturated; outliers set aside."""
    full = capacities(points)
    readings = []
    for (cores, batch), group in _cells(points).items():
        latency_s = _best(group, "latency_p99_s")
        if latency_s is None or not (batch == 1 or (cores, batch) in full):
            continue
        if 0.3 <= latency_s / means.latency_s(cores, batch) <= 3.0:
            readings.append(Reading(cores, batch, latency_s))
    return readings


def fit_means(points: Sequence[Point], borrowed: Scaling) -> Fit | None:
    """The fit of mean service latency; from 99th percentiles where no mean was recorded; or None."""
    readings = service_readings(points)
    if not readings:
        tails = [
            Reading(cores, batch, latency_s / DEFAULT_TAIL)
            for (cores, batch), group in _cells(points).items()
            if batch == 1 and (latency_s := _best(group, "latency_p99_s")) is not None
        ]
        readings = tails
    return fit(readings, borrowed) if readings else None


def build_table(
    variant: str, points: Sequence[Point], means: Fit, tail: float, batches: Sequence[int]
) -> VariantTable:
    """All cells of a variant; ``tail`` is the neighbours' p99 over mean, for want of p99 points."""
    readings = p99_readings(points, means)
    if len(readings) >= 3:
        p99 = fit(readings, means.scaling)
    else:
        ratios = [r.latency_s / means.latency_s(r.cores, r.batch) for r in readings]
        factor = max(1.0, median(ratios) if ratios else tail)
        p99 = Fit(means.first_s * factor, means.scaling, len(readings), 0.0, ("cores", "batch"))
    service = service_readings(points)
    measured = _Measured(
        {(r.cores, r.batch): r.latency_s for r in service},
        {(r.cores, r.batch): r.latency_s for r in readings},
        capacities(points),
        _carried(points),
    )
    cells: list[Cell] = []
    for cores in CORES:
        row: list[Cell] = []
        for batch in sorted({1, *batches}):
            cell = _cell(measured, means, p99, cores, batch)
            row.append(_no_faster(cell, row[-1]) if row else cell)
        cells += row
    observed = frozenset(measured.carried_rps)
    return VariantTable(variant, tuple(cells), means, p99, tuple(service), observed)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What the points show, by (cores, batch); ``carried_rps``: the largest throughput, saturated or not."""

    mean_s: dict[tuple[int, int], float]
    p99_s: dict[tuple[int, int], float]
    capacity_rps: dict[tuple[int, int], float]
    carried_rps: dict[tuple[int, int], float]


def _carried(points: Sequence[Point]) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for point in points:
        if point.throughput_rps is not None:
            at = (point.cores, point.batch)
            found[at] = max(found.get(at, 0.0), point.throughput_rps)
    return found


def _cell(measured: _Measured, means: Fit, p99: Fit, cores: int, batch: int) -> Cell:
    at = (cores, batch)
    mean_s = measured.mean_s.get(at, means.latency_s(cores, batch))
    modelled_rps = max(batch / mean_s, measured.carried_rps.get(at, 0.0))
    return Cell(
        cores=cores,
        batch=batch,
        latency_mean_s=mean_s,
        latency_p99_s=max(measured.p99_s.get(at, p99.latency_s(cores, batch)), mean_s),
        throughput_rps=measured.capacity_rps.get(at, modelled_rps),
        mean_is_measured=at in measured.mean_s,
        p99_is_measured=at in measured.p99_s,
        throughput_is_measured=at in measured.capacity_rps,
    )


def _no_faster(cell: Cell, smaller: Cell) -> Cell:
    """The cell with latencies no lower than those of the next smaller batch; what is raised is modelled."""
    return Cell(
        cell.cores,
        cell.batch,
        max(cell.latency_mean_s, smaller.latency_mean_s),
        max(cell.latency_p99_s, smaller.latency_p99_s),
        cell.throughput_rps,
        cell.mean_is_measured and cell.latency_mean_s >= smaller.latency_mean_s,
        cell.p99_is_measured and cell.latency_p99_s >= smaller.latency_p99_s,
        cell.throughput_is_measured,
    )
