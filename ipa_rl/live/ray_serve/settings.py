"""What the sidecar's settings may say about a pipeline on Ray Serve and about its loads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from ipa_rl.documents import Beside, Count, Name, Positive, StrictModel, Url, check
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.live.ray_serve.placements import ActorOptionsModel, Placements, amounts_of, check_placements
from ipa_rl.pipeline import Pipeline, Stage

SEE = "docs/reference/ray-serve.md"


class DeploymentModel(StrictModel):
    """The deployment of a stage (by default it has the stage's name), and the keys of its user_config.

    ``cores_key``: where the base allocation of a variant on cores is written; without it, it is not.
    ``ongoing_batches``: `max_ongoing_requests` is kept at this many batches; None leaves it alone.
    """

    deployment: Name | None = None
    variant_key: Name = "variant"
    batch_key: Name = "batch_size"
    cores_key: Name | None = None
    ongoing_batches: Count | None = 1


class ServeSettings(StrictModel):
    """``cluster.ray_serve``: Ray's dashboard, the application, its stages, and what units are to Ray."""

    address: Url = "http://127.0.0.1:8265"
    token_file: Beside | None = None
    application: Name = "default"
    stages: dict[str, DeploymentModel] = Field(default_factory=dict)
    placements: dict[str, ActorOptionsModel] = Field(default_factory=dict)
    timeout_s: Positive = 5.0

    def of(self, pipeline: Pipeline) -> tuple[ServeStage, ...]:
        """The stages of the pipeline, in its order."""
        found = []
        for stage in pipeline.stages:
            own = dict.fromkeys(one.resource for one in stage.variants)
            placements = {name: self.placements[name] for name in own if name in self.placements}
            found.append(ServeStage(stage, self.stages.get(stage.name, DeploymentModel()), placements))
        return tuple(found)


class ServeLoadModel(StrictModel):
    """``load.ray_serve``: pages of Ray's metrics, and the deployment at the entrance of the pipeline."""

    metrics: Url | list[Url]
    application: Name = "default"
    entrance: Name
    scrape_interval_s: Positive = 5.0
    stale_after_s: Positive = 30.0
    timeout_s: Positive = 10.0


@dataclass(frozen=True, slots=True)
class ServeStage:
    """A stage of the profile and how its deployment is configured; ``placements``: of its variants."""

    stage: Stage
    model: DeploymentModel
    placements: Placements = field(default_factory=dict, compare=False)

    @property
    def deployment(self) -> str:
        """The name of its deployment."""
        return self.model.deployment or self.stage.name

    @property
    def restarts(self) -> bool:
        """Whether variants ask Ray for different things, so that a change starts other replicas."""
        asked = {frozenset(amounts_of(self.placements, one).items()) for one in self.stage.variants}
        return len(asked) > 1

    def __str__(self) -> str:
        return f"deployment {self.deployment}"


def read_cluster(content: Mapping[str, Any] | None, definition: Definition, file: Path) -> ServeSettings:
    """Check ``cluster.ray_serve`` of the file. Raises InputError."""
    settings = check(content or {}, ServeSettings, SEE, file, under="cluster.ray_serve")
    names = [stage.name for stage in definition.pipeline.stages]
    for name in settings.stages.keys() - set(names):
        fix = f"the stages of {definition.name} are {', '.join(names)}"
        raise InputError("is not a stage", file=file, field=f"cluster.ray_serve.stages.{name}", fix=fix)
    check_placements(settings.placements, definition.pipeline, file, "cluster.ray_serve.placements")
    return settings


def assumed(definition: Definition, settings: ServeSettings) -> Definition:
    """The environment, where stages whose variants differ in ray_actor_options change by other replicas."""
    stages = []
    for one in settings.of(definition.pipeline):
        names = [variant.name for variant in one.stage.variants] if one.restarts else []
        stages.append(one.stage.with_delays({}, dict.fromkeys(names, math.inf)))
    return definition.with_problem(pipeline=replace(definition.pipeline, stages=tuple(stages)))
