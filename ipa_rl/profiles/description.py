"""``pipeline.yaml``: the stages of a pipeline and what each variant is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ipa_rl import documents
from ipa_rl.documents import Count, Delay, Fraction, Name, NonNegative, Positive, StrictModel
from ipa_rl.errors import InputError


class VariantModel(StrictModel):
    """A model: accuracy as a fraction, start-up delay, and base cores where the points cannot tell.

    ``load_s``: the part of the start-up that loads the model; ``memory_mb``: most that it held.
    """

    name: Name
    accuracy: Fraction
    start_up_s: Delay
    parameters_millions: Positive | None = None
    base_cores: Count | None = None
    load_s: NonNegative | None = None
    memory_mb: Positive | None = None


class BorrowModel(StrictModel):
    """A variant, of this or another stage, whose scaling stands in where a stage's points show none."""

    points: str
    variant: str


class StageModel(StrictModel):
    """A stage; its points stand in ``<name>.csv`` unless ``points`` says otherwise."""

    name: Name
    points: str | None = None
    stage_sla_s: Positive
    accuracy_metric: str = ""
    borrow: BorrowModel | None = None
    variants: Annotated[tuple[VariantModel, ...], Field(min_length=1)]


class DeratingModel(StrictModel):
    """Percent added to profiled latency and throughput before use."""

    latency_pct: Annotated[float, Field(gt=-100)] = 0.0
    throughput_pct: Annotated[float, Field(gt=-100)] = 0.0


class MachineModel(StrictModel):
    """What a profile was measured on."""

    processor: str
    cores: Count
    memory_gb: Positive
    system: str
    python: str


class MeasuredModel(StrictModel):
    """When, by what, how tightly (half-width over mean) and on what machine a profile was measured."""

    at: datetime
    by: str
    precision: Positive
    machine: MachineModel


class PipelineModel(StrictModel):
    """The file as a whole; ``measured`` where `ipa-rl profile` wrote it."""

    source: str = ""
    threshold_rps: Positive
    batches: Annotated[tuple[Count, ...], Field(min_length=1)]
    derating: DeratingModel = DeratingModel()
    measured: MeasuredModel | None = None
    stages: Annotated[tuple[StageModel, ...], Field(min_length=1)]


def read_description(folder: Path) -> tuple[PipelineModel | None, list[InputError]]:
    """The description of a pipeline's folder, or its faults."""
    path = folder / "pipeline.yaml"
    found = documents.load_or_faults(path, PipelineModel, see="docs/how-to/add-a-pipeline.md")
    return (None, found) if isinstance(found, list) else (found, _repeated(path, found))


def _repeated(path: Path, model: PipelineModel) -> list[InputError]:
    """Names that stand twice, and batch sizes that do not ascend."""
    faults = []
    names = {"stages": [stage.name for stage in model.stages]}
    names |= {f"{stage.name}.variants": [v.name for v in stage.variants] for stage in model.stages}
    for field, listed in names.items():
        for name in sorted({name for name in listed if listed.count(name) > 1}):
            faults.append(InputError(f"{name} stands twice", file=path, field=field, fix="keep one"))
    if list(model.batches) != sorted(set(model.batches)):
        fix = "list them once each, smallest first"
        faults.append(InputError("do not ascend", file=path, field="batches", fix=fix))
    return faults
