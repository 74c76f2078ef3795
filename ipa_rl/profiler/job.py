"""The job file: what to profile, at which batch sizes, on how many cores or devices, and how tightly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

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
    load,
)
from ipa_rl.pipeline import CORES

Reference = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]

MOST_VALUES = 10_000_000
"""Numbers that a request may hold: a batch of 64 images, or so; it is made in memory."""


class _Endpoint(StrictModel):
    """A server: where it answers, and how to start it where it does not run yet.

    ``{variant}``, ``{cores}``, ``{batch}`` and ``{port}`` are filled in ``url``, ``ready`` and ``command``.
    A command that names ``{batch}`` is started again for each batch size.
    """

    url: Name
    ready: str | None = None
    command: tuple[Name, ...] = ()

    @property
    def restarts_per_batch(self) -> bool:
        """Whether another batch size needs another process."""
        return any("{batch}" in word for word in self.command)


class HttpModel(_Endpoint):
    """An endpoint that takes a POST of a file (``body``) or of JSON (``json``).

    ``items``: field of the JSON whose list is one batch; without it a request is one item and the server
    forms the batches. ``answers``: field of the answer whose list must be as long.
    """

    body: Path | None = None
    json_body: Annotated[dict[str, Any] | None, Field(alias="json")] = None
    items: str | None = None
    answers: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _tells_when_ready(self) -> Self:
        if self.command and self.ready is None:
            raise ValueError("give ready, the URL that answers 200 once the command serves")
        return self

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if (self.body is None) == (self.json_body is None):
            raise ValueError("give either body (a file) or json")
        if self.items is not None:
            listed = (self.json_body or {}).get(self.items)
            if not isinstance(listed, list) or not listed:
                raise ValueError(f"items names {self.items}, which is not a list with entries in json")
        return self


class TensorModel(StrictModel):
    """An input of a V2 request: shape of one item, batch axis left out; random data unless ``data``.

    ``data``: the elements of one item, flat.
    """

    name: Name
    datatype: Name
    shape: tuple[Count, ...]
    data: tuple[float | int | str | bool, ...] | None = None

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        numeric = self.datatype.startswith(("FP", "INT", "UINT", "BOOL"))
        if self.data is None and not numeric:
            raise ValueError(f"random data of {self.datatype} cannot be made: give data")
        return self


class V2Model(_Endpoint):
    """A server of the V2 (Open Inference) protocol; ``url`` is its root.

    ``batching``: client, a request carries a whole batch; server, a request carries one item.
    """

    model: Name = "{variant}"
    inputs: Annotated[tuple[TensorModel, ...], Field(min_length=1)]
    batching: Literal["client", "server"] = "client"


class TargetModel(StrictModel):
    """What is measured: a Python callable, an HTTP endpoint or a V2 server."""

    callable: Reference | None = None
    sample: Reference | None = None
    http: HttpModel | None = None
    v2: V2Model | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.callable, self.http, self.v2)) != 1:
            raise ValueError("give one of callable, http, v2")
        return self

    @property
    def endpoint(self) -> HttpModel | V2Model | None:
        """The server, or None for a callable."""
        return self.http or self.v2

    def values_of(self, batch: int) -> float:
        """Numbers and texts that a request of so many items holds, about."""
        if self.v2 is not None:
            count = batch if self.v2.batching == "client" else 1
            return float(count) * sum(math.prod(map(float, one.shape)) for one in self.v2.inputs)
        if self.http is not None and self.http.items is not None:
            items = (self.http.json_body or {})[self.http.items]
            return float(batch) * len(json.dumps(items)) / len(items)
        return 0.0

    @property
    def is_started(self) -> bool:
        """Whether the profiler starts it, and so can time its start."""
        return self.endpoint is None or bool(self.endpoint.command)


class JobVariant(StrictModel):
    """A model; ``start_up_s`` only where the profiler cannot measure it, ``base_cores`` to pin them."""

    name: Name
    accuracy: Fraction
    start_up_s: Delay | None = None
    base_cores: Count | None = None


class JobStage(StrictModel):
    """A stage: its variants and how to reach them; its SLA for base allocations, as the threshold.

    ``resource``: what its variants run on; of another than cores the ``units`` are measured, not the cores.
    """

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    stage_sla_s: Positive | None = None
    accuracy_metric: str = ""
    resource: Name = CORES
    units: Ascending | None = None
    target: TargetModel
    variants: UniquelyNamed[JobVariant]

    @property
    def on_cores(self) -> bool:
        """Whether its variants run on cores alone."""
        return self.resource == CORES

    @model_validator(mode="after")
    def _counts_what_it_runs_on(self) -> Self:
        if self.on_cores and self.units is not None:
            raise ValueError("units are of another resource than cores: give resource, or the job's cores")
        pinned = [one.name for one in self.variants if one.base_cores is not None]
        if pinned and not self.on_cores:
            raise ValueError(f"base_cores of {pinned[0]}: its stage runs on {self.resource}; remove it")
        return self

    @model_validator(mode="after")
    def _knows_start_ups(self) -> Self:
        if not self.target.is_started and any(variant.start_up_s is None for variant in self.variants):
            raise ValueError("give the target a command, or each variant its start_up_s")
        return self


class Measuring(StrictModel):
    """How to measure a cell, which is a variant on some cores at one batch size.

    ``precision``: half-width of the 95 % interval over the mean, for latency and throughput, at which a
    cell is done. ``cell_limit_s``: most seconds for it. ``batches_in_flight``: how many full batches keep
    a server saturated. ``starts``: process starts for each variant and core count, to time them.
    ``scheduling_s``: added to each start-up, for what is not gone through here (scheduling, image pull).
    """

    precision: Annotated[float, Field(gt=0, lt=1)] = 0.05
    cell_limit_s: Positive = 20.0
    warm_up_s: NonNegative = 0.5
    timeout_s: Positive = 120.0
    batches_in_flight: Count = 2
    starts: Count = 1
    scheduling_s: NonNegative = 0.0


class ProfilingJob(StrictModel):
    """The file as a whole."""

    source: str = ""
    threshold_rps: Positive | None = None
    batches: Ascending
    cores: Ascending | None = None
    measuring: Measuring = Measuring()
    stages: UniquelyNamed[JobStage]

    def counts(self, stage: JobStage) -> tuple[int, ...]:
        """Cores, or units of another resource, on which a stage's variants are measured."""
        return (self.cores or ()) if stage.on_cores else (stage.units or (1,))

    @model_validator(mode="after")
    def _says_cores(self) -> Self:
        if self.cores is None and any(stage.on_cores for stage in self.stages):
            raise ValueError(
                "cores is missing: list the core counts to measure, or give stages their resource"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_memory(self) -> Self:
        for stage in self.stages:
            values = stage.target.values_of(max(self.batches))
            if values > MOST_VALUES:
                told = f"a request of {stage.name} would hold {values:.2g} values, more than {MOST_VALUES:,}"
                raise ValueError(told)
        return self


def read_job(path: Path) -> ProfilingJob:
    """The job of a file. Raises InputError with its first fault."""
    return load(path, ProfilingJob, see="docs/how-to/profile-your-models.md")
