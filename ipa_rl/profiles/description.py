"""``pipeline.yaml``: the stages of a pipeline and what each variant is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from ipa_rl.documents import (
    Ascending,
    Count,
    Delay,
    Fraction,
    Name,
    NonNegative,
    Positive,
    StrictModel,
    UniquelyNamed,
)
from ipa_rl.graph import Join
from ipa_rl.pipeline import CORES

ACCURACY = "accuracy"
"""What a row of variants that were measured together has beside them."""


class PlacementDescription(StrictModel):
    """A kind of hardware that a model runs on, by default cores.

    ``units``: of it for one replica, where not the least that were measured. ``start_up_s``: by default the
    model's. ``name``: what tells it from others after the model's name; by default the resource, and nothing
    on cores.
    """

    resource: Name = CORES
    units: Positive | None = None
    start_up_s: Delay | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _whole_cores(self) -> Self:
        if self.resource == CORES and not (self.units or 1.0).is_integer():
            raise ValueError("units of cores are a whole number")
        return self

    def of(self, model: str) -> str:
        """What the model is called here."""
        if self.name is None and self.resource == CORES:
            return model
        return f"{model}@{self.name or self.resource}"


class VariantDescription(StrictModel):
    """A model: accuracy as a fraction, start-up delay, and base cores where the points cannot tell.

    ``placements``: what it runs on, each a variant of its own; none: cores. ``load_s``: the part of the
    start-up that loads the model; ``memory_mb``: most that it held.
    """

    name: Name
    accuracy: Fraction
    start_up_s: Delay
    parameters_millions: Positive | None = None
    base_cores: Count | None = None
    load_s: NonNegative | None = None
    memory_mb: Positive | None = None
    placements: Annotated[tuple[PlacementDescription, ...] | None, Field(min_length=1)] = None

    @model_validator(mode="after")
    def _pins_once(self) -> Self:
        if self.placements is not None and self.base_cores is not None:
            raise ValueError("base_cores is for variants without placements: give the placement its units")
        return self

    @property
    def placed(self) -> tuple[PlacedVariant, ...]:
        """The variants that it comes to, in the order of its placements."""
        return tuple(
            PlacedVariant(
                name=one.of(self.name),
                model=self.name,
                accuracy=self.accuracy,
                start_up_s=self.start_up_s if one.start_up_s is None else one.start_up_s,
                resource=one.resource,
                units=one.units,
            )
            for one in self.placements or (PlacementDescription(units=self.base_cores),)
        )


@dataclass(frozen=True, slots=True)
class PlacedVariant:
    """A model on one kind of hardware; ``units`` of it for one replica, None where points decide."""

    name: str
    model: str
    accuracy: float
    start_up_s: float
    resource: str
    units: float | None


class Lender(StrictModel):
    """A variant, of this or another stage, whose scaling stands in where a stage's points show none."""

    points: str
    variant: str


class StageDescription(StrictModel):
    """A stage; its points stand in ``<name>.csv`` unless ``points`` names another file.

    ``stage_sla_s``: within which a base allocation carries the threshold load; None: no limit. ``batches``:
    sizes to offer; None: the pipeline's, else those that were measured. ``join``: whether it waits for all
    that lead to it, or for the first.
    """

    name: Name
    points: str | None = None
    stage_sla_s: Positive | None = None
    batches: Ascending | None = None
    accuracy_metric: str = ""
    borrow: Lender | None = None
    join: Join | None = None
    variants: UniquelyNamed[VariantDescription]

    @property
    def points_file(self) -> str:
        """Where its points stand, relative to the pipeline's folder."""
        return self.points or f"{self.name}.csv"

    @model_validator(mode="after")
    def _tells_placements_apart(self) -> Self:
        names = [one.name for one in self.placed]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is placed twice: give one of the placements another name")
        return self

    @property
    def placed(self) -> list[PlacedVariant]:
        """Its variants where they run, the least accurate first; of a model in the order of placements."""
        each = (one for variant in self.variants for one in variant.placed)
        return sorted(each, key=lambda variant: variant.accuracy)


class EdgeDescription(StrictModel):
    """Where requests go from a stage, and how many for each there: one figure, or one a variant by name.

    A model's name holds for all of its placements that are not named themselves.
    """

    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    requests: Positive | dict[str, Positive] = 1.0
    probability: Fraction = 1.0


class JointAccuracyDescription(StrictModel):
    """How right stages are together: their names, and rows of a variant of each and an ``accuracy``.

    A model's name holds for all of its placements.
    """

    stages: Annotated[tuple[Name, ...], Field(min_length=2)]
    measured: Annotated[tuple[dict[str, Name | Fraction], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole_rows(self) -> Self:
        if len(set(self.stages)) < len(self.stages) or ACCURACY in self.stages:
            raise ValueError(f"stages are named once each, and none of them {ACCURACY}")
        seen = set[tuple[str, ...]]()
        for row in self.measured:
            if set(row) != {*self.stages, ACCURACY}:
                raise ValueError(f"a row has {', '.join(self.stages)} and {ACCURACY}")
            names = [row[name] for name in self.stages]
            if not all(isinstance(name, str) for name in names) or isinstance(row[ACCURACY], str):
                raise ValueError("a row has the name of a variant for each stage, and a number for accuracy")
            if (models := tuple(map(str, names))) in seen:
                raise ValueError(f"{' with '.join(models)} is there twice")
            seen.add(models)
        return self


class Derating(StrictModel):
    """Percent added to profiled latency and throughput before use; a hundred times as much at most."""

    latency_pct: Annotated[float, Field(gt=-100, le=9900)] = 0.0
    throughput_pct: Annotated[float, Field(gt=-100, le=9900)] = 0.0


class Machine(StrictModel):
    """What a profile was measured on."""

    processor: str
    cores: Count
    memory_gb: Positive
    system: str
    python: str


class Measurement(StrictModel):
    """When, by what, how tightly (half-width over mean) and on what machine a profile was measured."""

    at: datetime
    by: str
    precision: Positive
    machine: Machine


class PipelineDescription(StrictModel):
    """The file as a whole; ``measured`` where `ipa-rl profile` wrote it.

    ``edges``: where requests go; without any, through all stages in order. ``accuracies``: of stages that
    were measured together. ``threshold_rps``: load that a base allocation carries; None: replicas get the
    cores that were measured.
    """

    source: str = ""
    threshold_rps: Positive | None = None
    batches: Ascending | None = None
    derating: Derating = Derating()
    measured: Measurement | None = None
    stages: UniquelyNamed[StageDescription]
    edges: tuple[EdgeDescription, ...] = ()
    accuracies: tuple[JointAccuracyDescription, ...] = ()
