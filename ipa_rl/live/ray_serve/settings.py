"""What the sidecar's settings may say about a pipeline on Ray Serve and about its loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from ipa_rl.documents import Beside, Count, Name, Positive, StrictModel, Url, check
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.pipeline import Pipeline, Stage

SEE = "docs/reference/ray-serve.md"


class DeploymentModel(StrictModel):
    """The deployment of a stage (by default it has the stage's name), and the keys of its user_config.

    ``cores_key``: where the base allocation of the variant is written; without it, it is not.
    ``ongoing_batches``: `max_ongoing_requests` is kept at this many batches; None leaves it alone.
    """

    deployment: Name | None = None
    variant_key: Name = "variant"
    batch_key: Name = "batch_size"
    cores_key: Name | None = None
    ongoing_batches: Count | None = 1


class ServeSettings(StrictModel):
    """``cluster.ray_serve``: Ray's dashboard, the application, its stages."""

    address: Url = "http://127.0.0.1:8265"
    token_file: Beside | None = None
    application: Name = "default"
    stages: dict[str, DeploymentModel] = Field(default_factory=dict)
    timeout_s: Positive = 5.0

    def of(self, pipeline: Pipeline) -> tuple[ServeStage, ...]:
        """The stages of the pipeline, in its order."""
        return tuple(
            ServeStage(stage, self.stages.get(stage.name, DeploymentModel())) for stage in pipeline.stages
        )


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
    """A stage of the profile and how its deployment is configured."""

    stage: Stage
    model: DeploymentModel

    @property
    def deployment(self) -> str:
        """The name of its deployment."""
        return self.model.deployment or self.stage.name

    def __str__(self) -> str:
        return f"deployment {self.deployment}"


def read_cluster(content: Mapping[str, Any] | None, definition: Definition, file: Path) -> ServeSettings:
    """Check ``cluster.ray_serve`` of the file. Raises InputError."""
    settings = check(content or {}, ServeSettings, SEE, file, under="cluster.ray_serve")
    names = [stage.name for stage in definition.pipeline.stages]
    for name in settings.stages.keys() - set(names):
        fix = f"the stages of {definition.name} are {', '.join(names)}"
        raise InputError("is not a stage", file=file, field=f"cluster.ray_serve.stages.{name}", fix=fix)
    return settings
