"""The pipeline's replicas, looked at once a second."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from ipa_rl.demo.application import Application
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.cluster import DeploymentView, view_stage
from ipa_rl.live.ray_serve.settings import DeploymentModel, ServeStage
from ipa_rl.pipeline import Pipeline

EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One stage at a moment, by `time.time`. ``paid``: replicas that exist, starting ones included.

    ``variant``, ``batch``, ``wanted``: what is asked for; replicas change to it in place within a second.
    """

    time_s: float
    stage: str
    variant: str
    batch: int
    wanted: int
    ready: int
    paid: int


class ReplicaWatch:
    """Samples all stages in a thread of its own while the block runs; ``samples``: all so far."""

    def __init__(self, application: Application, pipeline: Pipeline) -> None:
        self.samples: list[Sample] = []
        self._application = application
        self._stages = serve_stages(pipeline)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="replicas", daemon=True)

    def __enter__(self) -> ReplicaWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10.0)

    def latest(self) -> list[Sample]:
        """The newest sample of each stage; empty before the first."""
        return self.samples[-len(self._stages) :]

    def _watch(self) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            with suppress(ClusterError):  # the next look tries again
                details, now_s = self._application.details(), time.time()
                self.samples += [sample_of(view_stage(stage, details), now_s) for stage in self._stages]
            due_s = max(due_s + EVERY_S, time.monotonic())
            self._over.wait(due_s - time.monotonic())


def serve_stages(pipeline: Pipeline) -> tuple[ServeStage, ...]:
    """The stages as deployments of the digits application."""
    return tuple(ServeStage(stage, DeploymentModel(cores_key="cores")) for stage in pipeline.stages)


def sample_of(view: DeploymentView, now_s: float) -> Sample:
    """What is kept of a stage."""
    stage = view.stage.stage
    return Sample(
        time_s=now_s,
        stage=stage.name,
        variant=view.variant or stage.variants[0].name,
        batch=view.batch or stage.variants[0].batches[0],
        wanted=view.desired,
        ready=view.ready,
        paid=view.ready + len(view.started_s),
    )
