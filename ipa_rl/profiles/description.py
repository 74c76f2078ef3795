"""``pipeline.yaml``: the stages of a pipeline and what each variant is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

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


class VariantDescription(StrictModel):
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

    @property
    def by_accuracy(self) -> list[VariantDescription]:
        """Its variants, the least accurate first."""
        return sorted(self.variants, key=lambda variant: variant.accuracy)


class EdgeDescription(StrictModel):
    """Where requests go from a stage, and how many for each there: one figure, or one a variant by name."""

    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    requests: Positive | dict[str, Positive] = 1.0
    probability: Fraction = 1.0


class Derating(StrictModel):
    """Percent added to profiled latency and throughput before use."""

    latency_pct: Annotated[float, Field(gt=-100)] = 0.0
    throughput_pct: Annotated[float, Field(gt=-100)] = 0.0


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

    ``edges``: where requests go; without any, through all stages in order. ``threshold_rps``: load that a
    base allocation carries; None: replicas get the cores that were measured.
    """

    source: str = ""
    threshold_rps: Positive | None = None
    batches: Ascending | None = None
    derating: Derating = Derating()
    measured: Measurement | None = None
    stages: UniquelyNamed[StageDescription]
    edges: tuple[EdgeDescription, ...] = ()
