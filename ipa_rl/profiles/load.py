"""From a pipeline's folder to the pipeline: CSV rows -> checked points -> fitted tables -> base allocations.

`load_pipeline` is the whole way. What a pipeline then runs for a load is the exact optimum's to say:
`ipa_rl.solvers.FrontSolver`, which an environment holds with its SLA and weights
(`ipa_rl.environment.definition.Definition.best_for`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import cast

from ipa_rl import documents, resources
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import is_folder
from ipa_rl.graph import Edge, Graph, chain_of
from ipa_rl.pipeline import (
    CORES,
    LARGEST_BATCH,
    MOST_BATCHES,
    JointAccuracy,
    Pipeline,
    Stage,
    Variant,
    check_together,
)
from ipa_rl.profiles.description import (
    ACCURACY,
    Derating,
    Lender,
    PipelineDescription,
    PlacedVariant,
    StageDescription,
)
from ipa_rl.profiles.points import PointFile, read_points
from ipa_rl.profiles.table import Cell, VariantTable, build_tables


@dataclass(frozen=True)
class StageProfile:
    """A stage's variants, least accurate first, and by name their tables and base allocations.

    ``units``: of one replica. ``batches``: sizes that its variants offer.
    """

    name: str
    variants: tuple[PlacedVariant, ...]
    tables: dict[str, VariantTable]
    units: dict[str, float]
    batches: tuple[int, ...]


@dataclass(frozen=True)
class PipelineProfile:
    """A pipeline's folder: what it describes, and what its points came to."""

    description: PipelineDescription
    stages: tuple[StageProfile, ...]


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


_LOADED: dict[tuple[Path, Allocation], tuple[Pipeline, dict[Path, tuple[int, int]]]] = {}
"""Pipelines that were read, and time and size of their files then."""
_MOST_LOADED = 32


def load_pipeline(name_or_folder: str | Path, allocation: Allocation = DESCRIBED) -> Pipeline:
    """A shipped pipeline ("video"), or one of a folder, on its base allocations. Raises InputError.

    Kept until one of its files changes.

    >>> [variant.units for variant in load_pipeline("video").stages[0].variants]
    [1, 1, 2, 4, 8]
    """
    key = resources.find(name_or_folder, "profiles").absolute(), allocation
    pipeline, stamps = _LOADED.get(key, (None, dict[Path, tuple[int, int]]()))
    if pipeline is None or _stamps(stamps) != stamps:
        profile = load_profile(key[0], allocation)
        folder, own = key[0], profile.description.stages
        names = [*(one.points_file for one in own), *(one.borrow.points for one in own if one.borrow)]
        pipeline = _pipeline(folder.name, profile)
        while len(_LOADED) >= _MOST_LOADED:
            del _LOADED[next(iter(_LOADED))]
        _LOADED[key] = pipeline, _stamps([folder / name for name in ("pipeline.yaml", *names)])
    return pipeline


def _stamps(files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Time and size of those that are there."""
    found = {}
    for path in files:
        with suppress(OSError):
            told = path.stat()
            found[path] = told.st_mtime_ns, told.st_size
    return found


def _pipeline(name: str, profile: PipelineProfile) -> Pipeline:
    description = profile.description
    stages = []
    for stage, measured in zip(description.stages, profile.stages, strict=True):
        variants = tuple(_variant(description, one, measured) for one in measured.variants)
        stages.append(Stage(stage.name, variants, join=stage.join))
    return Pipeline(name, tuple(stages), _edges(description), _accuracies(description))


def load_profile(name_or_folder: str | Path, allocation: Allocation = DESCRIBED) -> PipelineProfile:
    """The profile of a shipped pipeline or a folder. Raises its first fault."""
    found = profile_or_faults(resources.find(name_or_folder, "profiles"), allocation)
    if isinstance(found, list):
        raise found[0]
    return found


def check_folder(folder: Path) -> list[InputError]:
    """Every fault of a pipeline's folder; none where it is fit for use."""
    found = profile_or_faults(folder)
    return found if isinstance(found, list) else []


def profile_or_faults(folder: Path, allocation: Allocation = DESCRIBED) -> PipelineProfile | list[InputError]:
    """A pipeline's folder in one pass, or every fault that is in the way."""
    if not is_folder(folder):
        return [InputError("is not a folder", file=folder, fix="give the folder of pipeline.yaml")]
    # The description first: points are checked against the variants that it names.
    see = "docs/how-to/add-a-pipeline.md"
    found = documents.load_or_faults(folder / "pipeline.yaml", PipelineDescription, see)
    if isinstance(found, list):
        return found
    description = _allocated(found, allocation)
    pins, keeps_pins = dict(allocation.base_cores), description.threshold_rps == found.threshold_rps
    # Each CSV file once, though stages may share one or borrow from it: rows -> checked points.
    files = _read_files(folder, description)
    own_files = dict.fromkeys(stage.points_file for stage in description.stages)
    faults = [*_graph_faults(folder / "pipeline.yaml", description)]
    faults += [fault for name in own_files for fault in files[name].faults]
    for stage in description.stages:
        if stage.borrow is not None and not files[stage.borrow.points].of(stage.borrow.variant):
            problem = f"no points of {stage.borrow.variant} in {stage.borrow.points}"
            fix, file = "name a file of points and a variant in it", folder / "pipeline.yaml"
            faults.append(InputError(problem, file=file, field=f"{stage.name}.borrow", fix=fix))
    if faults:
        return faults
    stages = []
    for stage in description.stages:
        # A table of every variant: what was measured, and for other cells a curve through it.
        tables = _tables(description, stage, files)
        for name in [one.name for one in stage.placed if one.name not in tables]:
            problem = f"no point of {name} shows a service latency"
            fix = "add one at batch 1 with a latency, or one with throughput below its load"
            faults.append(InputError(problem, file=files[stage.points_file].path, field="variant", fix=fix))
        if faults:
            continue
        # The units of one replica, which the tables decide.
        own_pins = {one.name: one.units for one in stage.placed} if keeps_pins else {}
        try:
            units = _base_units(folder, description, stage, tables, {**own_pins, **pins})
            batches = stage.batches or description.batches
            batches = batches or spread({size for one in tables.values() for _, size in one.evidence.cells})
            if len(batches) > MOST_BATCHES or max(batches) > LARGEST_BATCH:
                problem = f"has {len(batches)} batch sizes up to {max(batches)}"
                fix = f"list at most {MOST_BATCHES}, none larger than {LARGEST_BATCH}"
                field = "batches" if stage.batches is None else f"stages.{stage.name}.batches"
                raise InputError(problem, file=folder / "pipeline.yaml", field=field, fix=fix)
            stages.append(StageProfile(stage.name, tuple(stage.placed), tables, units, batches))
        except InputError as fault:
            faults.append(fault)
    return faults or PipelineProfile(description, tuple(stages))


def _tables(
    description: PipelineDescription, stage: StageDescription, files: dict[str, PointFile]
) -> dict[str, VariantTable]:
    """Of the stage's variants, least accurate first; those on one resource learn from each other."""
    points = {one.name: files[stage.points_file].of(one.name) for one in stage.placed}
    offered = stage.batches or description.batches or ()
    measured = {point.batch for own in points.values() for point in own}
    found: dict[str, VariantTable] = {}
    for resource in dict.fromkeys(one.resource for one in stage.placed):
        own = {one.name: points[one.name] for one in stage.placed if one.resource == resource}
        lent, sizes = None, offered if resource == CORES else offered or measured
        if stage.borrow is not None and _lender_on(description, stage.borrow) == resource:
            lent = files[stage.borrow.points].of(stage.borrow.variant)
        found |= build_tables(own, lent, sizes, resource)
    return {name: found[name] for name in points if name in found}


def _lender_on(description: PipelineDescription, lender: Lender) -> str:
    """What a lender runs on; cores, where it is no variant of the pipeline."""
    own = (one for stage in description.stages if stage.points_file == lender.points for one in stage.placed)
    return next((one.resource for one in own if one.name == lender.variant), CORES)


def _check_variant(name: str, stage: str, placed: Sequence[PlacedVariant], field: str) -> None:
    """Raises InputError where a stage has no variant of that name, wherever it runs."""
    known = dict.fromkeys([*(one.model for one in placed), *(one.name for one in placed)])
    if name not in known:
        fix = f"name the variants of {stage}: {', '.join(known)}"
        raise InputError(f"no variant {quoted(name)}", field=field, fix=fix)


def _edges(description: PipelineDescription) -> tuple[Edge, ...]:
    """Where requests go, by variants in their order. Raises InputError."""
    variants = {stage.name: stage.placed for stage in description.stages}
    edges = []
    for one in description.edges:
        named = one.requests if isinstance(one.requests, dict) else {}
        own, field = variants.get(one.source, []), f"edges.{one.source} to {one.target}.requests"
        for name in named:
            _check_variant(name, one.source, own, field)
        for each in own if named else ():
            if each.name not in named and each.model not in named:
                fix = "give a figure for each variant"
                raise InputError(f"says nothing of {each.name}", field=field, fix=fix)
        figures = tuple(named.get(each.name, named.get(each.model)) for each in own)
        requests = figures if named else (one.requests,)
        edges.append(Edge(one.source, one.target, cast(tuple[float, ...], requests), one.probability))
    return tuple(edges)


def _accuracies(description: PipelineDescription) -> tuple[JointAccuracy, ...]:
    """Of stages that were measured together, by the names of their placed variants. Raises InputError."""
    placed = {stage.name: stage.placed for stage in description.stages}
    found = []
    for one in description.accuracies:
        rows = {tuple(str(row[name]) for name in one.stages): float(row[ACCURACY]) for row in one.measured}
        for row in rows:
            for stage, name in zip(one.stages, row, strict=True):
                if stage in placed:
                    _check_variant(name, stage, placed[stage], "accuracies.measured")
        measured = []
        for chosen in product(*(placed.get(name, ()) for name in one.stages)):
            called = product(*((each.name, each.model) for each in chosen))
            told = [rows[one] for one in called if one in rows]
            measured += [(tuple(each.name for each in chosen), accuracy) for accuracy in told[:1]]
        found.append(JointAccuracy(one.stages, tuple(measured)))
    return tuple(found)


def _graph_faults(path: Path, description: PipelineDescription) -> Iterator[InputError]:
    """What is wrong with edges, joins and what was measured together, if anything."""
    names = [stage.name for stage in description.stages]
    variants = [[one.name for one in stage.placed] for stage in description.stages]
    joins = {stage.name: stage.join for stage in description.stages if stage.join is not None}
    try:
        graph = Graph(names, variants, _edges(description) or chain_of(names), joins)
        told = [[(one.name, one.accuracy) for one in stage.placed] for stage in description.stages]
        check_together(graph, told, _accuracies(description))
    except InputError as fault:
        yield InputError(fault.problem, file=path, field=fault.field, fix=fault.fix)


def spread(batches: Iterable[int], most: int = MOST_BATCHES) -> tuple[int, ...]:
    """All of the batch sizes, or as many as a stage may offer: the ends, and the rest by even factors.

    >>> spread([1, 2, 4]), spread(range(1, 65), most=4)
    ((1, 2, 4), (1, 4, 16, 64))
    """
    sizes = sorted(batches)
    if len(sizes) <= most:
        return tuple(sizes)
    factor = (sizes[-1] / sizes[0]) ** (1 / (most - 1))
    wanted = [sizes[0] * factor**k for k in range(most)]
    return tuple(sorted({min(sizes, key=lambda size: abs(math.log(size / one))) for one in wanted}))


def _read_files(folder: Path, description: PipelineDescription) -> dict[str, PointFile]:
    """The files that the stages name, by their names there."""
    variants: dict[str, dict[str, str]] = {}
    for stage in description.stages:
        variants.setdefault(stage.points_file, {}).update({one.name: one.resource for one in stage.placed})
    for stage in description.stages:
        if stage.borrow is not None:
            variants.setdefault(stage.borrow.points, {}).setdefault(stage.borrow.variant, CORES)
    files = {}
    for name, known in variants.items():
        on_devices = [variant for variant, resource in known.items() if resource != CORES]
        files[name] = read_points(folder / name, list(known), on_devices)
    return files


def _allocated(described: PipelineDescription, allocation: Allocation) -> PipelineDescription:
    """The description with other settings of the allocation, pins aside."""
    threshold_rps, derating = allocation.threshold_rps or described.threshold_rps, described.derating
    if allocation.throughput_pct is not None:
        derating = derating.model_copy(update={"throughput_pct": allocation.throughput_pct})
    return described.model_copy(update={"threshold_rps": threshold_rps, "derating": derating})


def _base_units(
    folder: Path,
    description: PipelineDescription,
    stage: StageDescription,
    tables: dict[str, VariantTable],
    pins: Mapping[str, float | None],
) -> dict[str, float]:
    """The least cores that carry the threshold load within the stage SLA (section 4.3 of the paper).

    Batch 1 or any batch size that was profiled on that many cores may carry it; derating is included; cores
    never fall from a variant to a more accurate one. So it is on each other resource, among the units that
    were measured. Without a threshold: the least that the variant was measured on. Raises InputError.
    """
    threshold_rps, longest_s = description.threshold_rps, stage.stage_sla_s or math.inf
    allocations: dict[str, float] = {}
    least: dict[str, float] = {}
    for variant in stage.placed:
        table, pinned = tables[variant.name], pins.get(variant.name)
        fault = partial(InputError, file=folder / "pipeline.yaml", field=f"{stage.name}.{variant.name}")
        measured, on_cores = table.evidence.cores, variant.resource == CORES
        if pinned is not None and not on_cores and pinned not in measured:
            known = " or ".join(f"{one:g}" for one in measured)
            fix = f"use {known}, or add points to {stage.points_file}"
            raise fault(f"nothing was measured on {pinned:g} units of {variant.resource}", fix=fix)
        carrying = (
            cell.cores
            for cell in (_derated(one, description.derating) for one in table.cells)
            if threshold_rps is not None
            and cell.cores >= least.get(variant.resource, 0)
            and (cell.batch == 1 or (cell.cores, cell.batch) in table.evidence.carried_rps)
            and cell.throughput_rps >= threshold_rps
            and cell.latency_p99_s <= longest_s
        )
        units = pinned or (measured[0] if threshold_rps is None else min(carrying, default=None))
        if units is None:
            carried = f"{threshold_rps} requests/s" + f" within {longest_s} s" * math.isfinite(longest_s)
            what, pin = ("core", "base_cores") if on_cores else ("unit", "units")
            fix = f"lower threshold_rps, leave it out to take the {what}s that were measured, or set "
            raise fault(f"no {what} count carries {carried}", fix=fix + pin)
        allocations[variant.name] = int(units) if float(units).is_integer() else units
        if threshold_rps is not None:
            least[variant.resource] = max(least.get(variant.resource, 0), units)
    return allocations


def _derated(cell: Cell, derating: Derating) -> Cell:
    slower, less = 1.0 + derating.latency_pct / 100.0, 1.0 + derating.throughput_pct / 100.0
    return replace(
        cell,
        latency_mean_s=cell.latency_mean_s * slower,
        latency_p99_s=cell.latency_p99_s * slower,
        throughput_rps=cell.throughput_rps * less,
    )


def _variant(description: PipelineDescription, variant: PlacedVariant, profile: StageProfile) -> Variant:
    """A variant on its base allocation; batch sizes and core counts outside the table are modelled."""
    units, table = profile.units[variant.name], profile.tables[variant.name]
    cells = [_derated(table.cell(units, batch), description.derating) for batch in profile.batches]
    return Variant(
        name=variant.name,
        accuracy=variant.accuracy,
        units=units,
        start_up_s=variant.start_up_s,
        batches=profile.batches,
        latency_mean_s=tuple(cell.latency_mean_s for cell in cells),
        latency_p99_s=tuple(cell.latency_p99_s for cell in cells),
        throughput_rps=tuple(cell.throughput_rps for cell in cells),
        resource=variant.resource,
    )
