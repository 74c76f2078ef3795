"""A pipeline's folder: checked, filled, and turned into a Pipeline on its base allocations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median

from ipa_rl import resources
from ipa_rl.errors import InputError
from ipa_rl.files import is_folder
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.profiles.description import PipelineModel, StageModel, VariantModel, read_description
from ipa_rl.profiles.points import Point, read_points
from ipa_rl.profiles.scaling import DEFAULT_MARGINAL, DEFAULT_SERIAL, DEFAULT_TAIL, Fit, Scaling
from ipa_rl.profiles.table import (
    CORES,
    Cell,
    VariantTable,
    build_table,
    fit_means,
    p99_readings,
    trusted,
)

PROFILED_BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes of the paper's profiles; base allocations are judged over all of them."""


@dataclass(frozen=True)
class StageProfile:
    """A stage's tables and points by variant, and the base allocations (cores of one replica)."""

    name: str
    tables: dict[str, VariantTable]
    points: dict[str, tuple[Point, ...]]
    base_cores: dict[str, int]


@dataclass(frozen=True)
class Allocation:
    """Other settings of the base allocation than the description's; None keeps the described one.

    ``base_cores``: (variant, cores) pins. Where the threshold is another, the description's pins, which
    hold for its own, are left out.
    """

    threshold_rps: float | None = None
    throughput_pct: float | None = None
    base_cores: tuple[tuple[str, int], ...] = ()


DESCRIBED = Allocation()


def check_folder(folder: Path) -> list[InputError]:
    """Every fault of a pipeline's folder; none where it is fit for use."""
    if not is_folder(folder):
        return [InputError("is no folder", file=folder, fix="give the folder of pipeline.yaml")]
    model, faults = read_description(folder)
    if model is None:
        return faults
    for stage in model.stages:
        names = [variant.name for variant in stage.variants]
        faults += read_points(_points_path(folder, stage), names).faults
        if stage.borrow is not None:
            lender = read_points(folder / stage.borrow.points, [stage.borrow.variant])
            if not any(point.variant == stage.borrow.variant for point in lender.points):
                fix = "name a file of points and a variant in it"
                field = f"{stage.name}.borrow"
                problem = f"no points of {stage.borrow.variant} in {stage.borrow.points}"
                faults.append(InputError(problem, file=folder / "pipeline.yaml", field=field, fix=fix))
    return faults or _fit_faults(folder, model)


def load_profile(name_or_folder: str | Path) -> tuple[PipelineModel, list[StageProfile]]:
    """Description and stage profiles of a shipped pipeline or a folder. Raises its first fault."""
    folder = resources.find(name_or_folder, "profiles")
    faults = check_folder(folder)
    if faults:
        raise faults[0]
    model, _ = read_description(folder)
    if model is None:
        raise InputError("has no pipeline.yaml", file=folder)
    return model, [_profile(folder, model, stage) for stage in model.stages]


@lru_cache(maxsize=32)
def load_pipeline(name_or_folder: str | Path, allocation: Allocation = DESCRIBED) -> Pipeline:
    """A shipped pipeline ("video"), or one of a folder, on its base allocations. Raises InputError.

    >>> [variant.cores for variant in load_pipeline("video").stages[0].variants]
    [1, 1, 2, 4, 8]
    """
    model, profiles = load_profile(name_or_folder)
    if allocation != DESCRIBED:
        model = _allocated(model, allocation)
        folder = resources.find(name_or_folder, "profiles")
        profiles = [_profile(folder, model, stage) for stage in model.stages]
    stages = [_stage(model, s, p) for s, p in zip(model.stages, profiles, strict=True)]
    return Pipeline(resources.find(name_or_folder, "profiles").name, tuple(stages))


def _allocated(model: PipelineModel, allocation: Allocation) -> PipelineModel:
    """The description with other settings of the allocation."""
    threshold_rps = allocation.threshold_rps or model.threshold_rps
    derating, pins = model.derating, dict(allocation.base_cores)
    if allocation.throughput_pct is not None:
        derating = derating.model_copy(update={"throughput_pct": allocation.throughput_pct})

    def pinned(variant: VariantModel) -> VariantModel:
        own = variant.base_cores if threshold_rps == model.threshold_rps else None
        return variant.model_copy(update={"base_cores": pins.get(variant.name, own)})

    stages = tuple(
        stage.model_copy(update={"variants": tuple(pinned(one) for one in stage.variants)})
        for stage in model.stages
    )
    update = {"threshold_rps": threshold_rps, "derating": derating, "stages": stages}
    return model.model_copy(update=update)


def _points_path(folder: Path, stage: StageModel) -> Path:
    return folder / (stage.points or f"{stage.name}.csv")


def _by_variant(folder: Path, stage: StageModel) -> dict[str, tuple[Point, ...]]:
    names = [variant.name for variant in stage.variants]
    points = read_points(_points_path(folder, stage), names).points
    return {name: tuple(p for p in points if p.variant == name) for name in names}


def _fit_faults(folder: Path, model: PipelineModel) -> list[InputError]:
    """Variants whose points are too few for any latency, and allocations that no core count carries."""
    faults = []
    for stage in model.stages:
        borrowed = _borrowed(folder, stage)
        path = _points_path(folder, stage)
        for name, points in _by_variant(folder, stage).items():
            if fit_means(trusted(points), borrowed) is None:
                problem = f"no point of {name} shows a service latency"
                fix = "add one at batch 1 with a latency, or one with throughput below its load"
                faults.append(InputError(problem, file=path, field="variant", fix=fix))
    if faults:
        return faults
    for stage in model.stages:
        try:
            _profile(folder, model, stage)
        except InputError as error:
            faults.append(error)
    return faults


def _borrowed(folder: Path, stage: StageModel) -> Scaling:
    """Scaling for what a variant's own points cannot show: its neighbours', the lender's, or the default."""
    scalings = []
    default = Scaling(DEFAULT_SERIAL, DEFAULT_MARGINAL)
    lenders = list(_by_variant(folder, stage).values())
    if stage.borrow is not None:
        path, name = folder / stage.borrow.points, stage.borrow.variant
        lent = read_points(path, [name]).points
        lenders = [tuple(point for point in lent if point.variant == name)]
    for points in lenders:
        fitted = fit_means(trusted(points), default)
        if fitted is not None:
            scalings.append(fitted)
    serials = [f.scaling.serial for f in scalings if "cores" not in f.borrowed]
    marginals = [f.scaling.marginal for f in scalings if "batch" not in f.borrowed]
    return Scaling(
        median(serials) if serials else DEFAULT_SERIAL,
        median(marginals) if marginals else DEFAULT_MARGINAL,
    )


def _profile(folder: Path, model: PipelineModel, stage: StageModel) -> StageProfile:
    borrowed = _borrowed(folder, stage)
    points = _by_variant(folder, stage)
    means = {name: fit_means(trusted(own), borrowed) for name, own in points.items()}
    fits = {name: fitted for name, fitted in means.items() if fitted is not None}
    tail = _tail(points, fits)
    tables = {
        name: build_table(name, trusted(points[name]), fitted, tail, PROFILED_BATCHES)
        for name, fitted in fits.items()
    }
    return StageProfile(stage.name, tables, points, _base_allocations(folder, model, stage, tables))


def _tail(points: dict[str, tuple[Point, ...]], fits: dict[str, Fit]) -> float:
    """Median of 99th percentile over mean, over the stage's points."""
    ratios = [
        reading.latency_s / fitted.latency_s(reading.cores, reading.batch)
        for name, fitted in fits.items()
        for reading in p99_readings(trusted(points[name]), fitted)
    ]
    return max(1.0, median(ratios)) if ratios else DEFAULT_TAIL


def _base_allocations(
    folder: Path, model: PipelineModel, stage: StageModel, tables: dict[str, VariantTable]
) -> dict[str, int]:
    """The least cores that carry the threshold load within the stage SLA (section 4.3 of the paper).

    Batch 1 or any batch size that was profiled on that many cores may carry it; derating is included; cores
    never fall from a variant to a more accurate one.
    """
    allocations: dict[str, int] = {}
    least = 1
    for variant in sorted(stage.variants, key=lambda one: one.accuracy):
        cores = variant.base_cores or _least_cores(model, stage, tables[variant.name], least)
        if cores is None:
            raise InputError(
                f"no core count carries {model.threshold_rps} requests/s within {stage.stage_sla_s} s",
                file=folder / "pipeline.yaml",
                field=f"{stage.name}.{variant.name}",
                fix="lower threshold_rps, or set base_cores",
            )
        allocations[variant.name] = cores
        least = max(least, cores)
    return allocations


def _least_cores(model: PipelineModel, stage: StageModel, table: VariantTable, least: int) -> int | None:
    for cores in CORES:
        cells = [
            _derated(model, cell)
            for cell in table.cells
            if cell.cores == cores and (cell.batch == 1 or (cores, cell.batch) in table.observed)
        ]
        carries = any(
            cell.throughput_rps >= model.threshold_rps and cell.latency_p99_s <= stage.stage_sla_s
            for cell in cells
        )
        if cores >= least and carries:
            return cores
    return None


def _derated(model: PipelineModel, cell: Cell) -> Cell:
    slower = 1.0 + model.derating.latency_pct / 100.0
    less = 1.0 + model.derating.throughput_pct / 100.0
    return Cell(
        cell.cores,
        cell.batch,
        cell.latency_mean_s * slower,
        cell.latency_p99_s * slower,
        cell.throughput_rps * less,
        cell.mean_is_measured,
        cell.p99_is_measured,
        cell.throughput_is_measured,
    )


def _stage(model: PipelineModel, stage: StageModel, profile: StageProfile) -> Stage:
    ordered = sorted(stage.variants, key=lambda variant: variant.accuracy)
    return Stage(stage.name, tuple(_variant(model, one, profile) for one in ordered))


def _variant(model: PipelineModel, variant: VariantModel, profile: StageProfile) -> Variant:
    cores = profile.base_cores[variant.name]
    cells = [_derated(model, _cell_of(profile.tables[variant.name], cores, batch)) for batch in model.batches]
    return Variant(
        name=variant.name,
        accuracy=variant.accuracy,
        cores=cores,
        start_up_s=variant.start_up_s,
        batches=tuple(model.batches),
        latency_mean_s=tuple(cell.latency_mean_s for cell in cells),
        latency_p99_s=tuple(cell.latency_p99_s for cell in cells),
        throughput_rps=tuple(cell.throughput_rps for cell in cells),
    )


def _cell_of(table: VariantTable, cores: int, batch: int) -> Cell:
    """The cell; batch sizes and core counts outside the table are modelled."""
    try:
        return table.cell(cores, batch)
    except KeyError:
        mean_s = table.mean_fit.latency_s(cores, batch)
        p99_s = max(mean_s, table.p99_fit.latency_s(cores, batch))
        return Cell(cores, batch, mean_s, p99_s, batch / mean_s, False, False, False)
