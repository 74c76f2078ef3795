"""From the points of a stage to full tables: every cell measured or modelled, and told apart."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ipa_rl.pipeline import CORES
from ipa_rl.profiles.points import BENCHMARK, Point, grouped
from ipa_rl.profiles.scaling import (
    DEFAULT,
    DEFAULT_TAIL,
    PROPORTIONAL,
    Batch,
    Cores,
    Fit,
    Scaling,
    fit,
    typical_scaling,
)

CORE_COUNTS = (1, 2, 4, 8, 16)
"""Cores that a replica may get, besides those that it was measured on; of other resources only the latter."""

BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes of the paper's profiles; base allocations are judged over these and those measured."""

_SERIES = ("experiment", "companion", BENCHMARK, "")
"""Series that the paper used or of the same setup, best first; early ones only mark history."""

_SLOWER = 1.25
_MOST_OFF = 0.3, 3.0
"""99th percentiles that are less or more than these times the mean are set aside, but for benchmarks."""
_LEAST_FOR_A_TAIL = 3

At = tuple[Cores, Batch]


@dataclass(frozen=True)
class Evidence:
    """What the points of a variant show, by (cores, batch); cores are units of what it is placed on.

    ``capacity_rps``: throughput where the replica was saturated.
    ``carried_rps``: the largest throughput, saturated or not. ``mean_s`` and ``p99_s``: service latencies of
    full batches. ``settled``: where the 99th percentile is a benchmark's, of many requests.
    """

    capacity_rps: Mapping[At, float]
    carried_rps: Mapping[At, float]
    mean_s: Mapping[At, float]
    p99_s: Mapping[At, float]
    settled: frozenset[At] = frozenset()

    @property
    def cells(self) -> set[At]:
        """Where a figure was measured."""
        return {*self.capacity_rps, *self.carried_rps, *self.mean_s, *self.p99_s}

    @property
    def cores(self) -> list[Cores]:
        """Core counts that were measured, ascending."""
        return sorted({cores for cores, _ in self.cells})


NOTHING_MEASURED = Evidence({}, {}, {}, {})


@dataclass(frozen=True, slots=True)
class Cell:
    """A variant on ``cores`` at ``batch``; the three flags say which figures were measured.

    ``throughput_rps`` is the capacity of one replica.
    """

    cores: Cores
    batch: Batch
    latency_mean_s: float
    latency_p99_s: float
    throughput_rps: float
    mean_is_measured: bool
    p99_is_measured: bool
    throughput_is_measured: bool


@dataclass(frozen=True)
class VariantTable:
    """All cells of a variant, what was measured, and the fits behind the cells that are modelled."""

    variant: str
    cells: tuple[Cell, ...]
    evidence: Evidence
    mean_fit: Fit
    p99_fit: Fit
    resource: str = CORES

    def cell(self, cores: Cores, batch: Batch) -> Cell:
        """The cell of that many cores and that batch size; modelled where the table has none."""
        own = (one for one in self.cells if (one.cores, one.batch) == (cores, batch))
        return next(own, None) or _cell(NOTHING_MEASURED, self.mean_fit, self.p99_fit, cores, batch)


def evidence(points: Sequence[Point]) -> Evidence:
    """What the points of a variant show.

    A saturated replica serves full batches, so that one takes b / throughput. At batch 1 the mean latency is
    service time as well; one that is slower than on fewer cores is set aside (a thread setting, not the
    model).
    """
    trusted = [point for point in points if point.series in _SERIES]
    groups = grouped(trusted, "cores", "batch")
    saturated = [point for point in trusted if point.is_saturated and not _is_latency_test(point)]
    capacity_rps = _best(grouped(saturated, "cores", "batch"), "throughput_rps")
    served = grouped([point for point in trusted if point.throughput_rps is not None], "cores", "batch")
    carried_rps = {at: max(point.throughput_rps or 0.0 for point in group) for at, group in served.items()}
    mean_s = {(cores, batch): batch / rps for (cores, batch), rps in capacity_rps.items()}
    fastest_s = min((latency_s for (_, batch), latency_s in mean_s.items() if batch == 1), default=math.inf)
    for (cores, batch), latency_s in sorted(_best(groups, "latency_mean_s").items()):
        if batch != 1 or (cores, batch) in mean_s:
            continue
        if cores <= 1 or latency_s <= _SLOWER * fastest_s:
            mean_s[cores, batch] = latency_s
            fastest_s = min(fastest_s, latency_s)
    tails = _best(groups, "latency_p99_s").items()
    p99_s = {at: latency_s for at, latency_s in tails if at[1] == 1 or at in capacity_rps}
    settled = frozenset(grouped([one for one in trusted if one.series == BENCHMARK], "cores", "batch"))
    return Evidence(capacity_rps, carried_rps, mean_s, p99_s, settled)


def _is_latency_test(point: Point) -> bool:
    """Whether a point of the paper's series offered a request a second, for which no batch was full."""
    return bool(point.series) and (point.load_rps or 0.0) <= 1.0


def _best(groups: Mapping[At, Sequence[Point]], name: str) -> dict[At, float]:
    """Median of a figure over the points of the best series that recorded it."""
    found = {}
    for at, group in groups.items():
        for series in _SERIES:
            values = [getattr(point, name) for point in group if point.series == series]
            known = [value for value in values if value is not None]
            if known:
                found[at] = float(median(known))
                break
    return found


def build_tables(
    points: Mapping[str, Sequence[Point]],
    lent: Sequence[Point] | None = None,
    batches: Collection[Batch] = (),
    resource: str = CORES,
) -> dict[str, VariantTable]:
    """The tables of a stage from the points of its variants; of none whose points show no latency.

    All variants are on one ``resource``: cores and devices scale in different ways. What a variant's own
    points cannot show of the scaling is taken from ``lent`` points, else from the other variants.
    ``batches``: sizes to offer, besides the usual ones and those that were measured.
    """
    shown = {name: evidence(own) for name, own in points.items()}
    lenders = shown.values() if lent is None else [evidence(lent)]
    default = DEFAULT if resource == CORES else PROPORTIONAL
    fitted = [one for one in (_fit_means(own, default) for own in lenders) if one is not None]
    scaling = typical_scaling(fitted, default)
    fits = {name: _fit_means(own, scaling) for name, own in shown.items()}
    means = {name: fitted for name, fitted in fits.items() if fitted is not None}
    shown = {name: _without_outliers(shown[name], fitted) for name, fitted in means.items()}
    ratios = [ratio for name, fitted in means.items() for ratio in _tails(shown[name], fitted)]
    tail = max(1.0, median(ratios)) if ratios else DEFAULT_TAIL
    return {name: _table(name, shown[name], means[name], tail, batches, resource) for name in means}


def _fit_means(shown: Evidence, borrowed: Scaling = DEFAULT) -> Fit | None:
    """The fit of mean service latency; from 99th percentiles where no mean was recorded; or None."""
    tails = {at: latency_s / DEFAULT_TAIL for at, latency_s in shown.p99_s.items() if at[1] == 1}
    latencies = shown.mean_s or tails
    return fit(latencies, borrowed) if latencies else None


def _without_outliers(shown: Evidence, means: Fit) -> Evidence:
    """The same without 99th percentiles of a few calls that are out of proportion to the mean."""
    low, high = _MOST_OFF
    kept = {
        at: p99_s
        for at, p99_s in shown.p99_s.items()
        if at in shown.settled or low <= p99_s / means.latency_s(*at) <= high
    }
    return replace(shown, p99_s=kept)


def _tails(shown: Evidence, means: Fit) -> list[float]:
    """99th percentiles over means."""
    return [p99_s / means.latency_s(*at) for at, p99_s in shown.p99_s.items()]


def _table(
    variant: str, shown: Evidence, means: Fit, tail: float, batches: Collection[Batch], resource: str
) -> VariantTable:
    """All cells of a variant; ``tail`` is the neighbours' p99 over mean, for want of p99 points."""
    if len(shown.p99_s) >= _LEAST_FOR_A_TAIL:
        p99 = fit(shown.p99_s, means.scaling)
    else:
        factor = max(1.0, median(_tails(shown, means) or [tail]))
        p99 = Fit(means.first_s * factor, means.scaling, len(shown.p99_s), 0.0, ("cores", "batch"))
    cells: list[Cell] = []
    counts = CORE_COUNTS if resource == CORES else ()
    sizes = sorted({*BATCHES, *batches, *(batch for _, batch in shown.cells)})
    for cores in sorted({*counts, *shown.cores}):
        row: list[Cell] = []
        for batch in sizes:
            cell = _cell(shown, means, p99, cores, batch)
            if resource != CORES:
                least = min(size for at, size in shown.cells if at == cores)
                cell = _as_slow(cell, _cell(shown, means, p99, cores, least))
            row.append(_no_faster(cell, row[-1]) if row else cell)
        cells += row
    return VariantTable(variant, tuple(cells), shown, means, p99, resource)


def _as_slow(cell: Cell, smallest: Cell) -> Cell:
    """A device's cell, which below the smallest batch that was measured takes as long as that one."""
    if cell.batch >= smallest.batch:
        return cell
    return replace(
        cell,
        latency_mean_s=smallest.latency_mean_s,
        latency_p99_s=smallest.latency_p99_s,
        throughput_rps=cell.batch / smallest.latency_mean_s,
    )


def _cell(shown: Evidence, means: Fit, p99: Fit, cores: Cores, batch: Batch) -> Cell:
    """Measured where there is a figure, else modelled."""
    at = (cores, batch)
    mean_s = shown.mean_s.get(at, _below_larger(shown.mean_s, at, means.latency_s(cores, batch)))
    modelled_rps = max(batch / mean_s, shown.carried_rps.get(at, 0.0))
    return Cell(
        cores=cores,
        batch=batch,
        latency_mean_s=mean_s,
        latency_p99_s=max(shown.p99_s.get(at, _below_larger(shown.p99_s, at, p99.latency_s(*at))), mean_s),
        throughput_rps=shown.capacity_rps.get(at, modelled_rps),
        mean_is_measured=at in shown.mean_s,
        p99_is_measured=at in shown.p99_s,
        throughput_is_measured=at in shown.capacity_rps,
    )


def _below_larger(measured: Mapping[At, float], at: At, modelled_s: float) -> float:
    """A modelled latency, above none that was measured of a larger batch on as many cores."""
    larger = (latency_s for (cores, batch), latency_s in measured.items() if cores == at[0] and batch > at[1])
    return min(modelled_s, *larger, math.inf)


def _no_faster(cell: Cell, smaller: Cell) -> Cell:
    """The cell with latencies no lower than those of the next smaller batch; what is raised is modelled."""
    return replace(
        cell,
        latency_mean_s=max(cell.latency_mean_s, smaller.latency_mean_s),
        latency_p99_s=max(cell.latency_p99_s, smaller.latency_p99_s),
        mean_is_measured=cell.mean_is_measured and cell.latency_mean_s >= smaller.latency_mean_s,
        p99_is_measured=cell.p99_is_measured and cell.latency_p99_s >= smaller.latency_p99_s,
    )
