"""The pipeline's replicas, looked at once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ipa_rl.demo.application import Application
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.live.ray_serve.cluster import view_stage
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


@contextmanager
def watched_replicas(application: Application, pipeline: Pipeline) -> Iterator[list[Sample]]:
    """Samples of all stages, taken once a second in a thread of its own while the block runs."""
    samples: list[Sample] = []
    stages = [ServeStage(stage, DeploymentModel(cores_key="cores")) for stage in pipeline.stages]
    over = threading.Event()

    def watch() -> None:
        due_s = time.monotonic()
        while not over.is_set():
            with suppress(ClusterError):  # the next look tries again
                details, now_s = application.details(), time.time()
                samples.extend([_sample(stage, details, now_s) for stage in stages])
            due_s = max(due_s + EVERY_S, time.monotonic())
            over.wait(due_s - time.monotonic())

    thread = threading.Thread(target=watch, name="replicas", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join(10.0)


def _sample(stage: ServeStage, details: Document, now_s: float) -> Sample:
    view, first = view_stage(stage, details), stage.stage.variants[0]
    return Sample(
        time_s=now_s,
        stage=stage.stage.name,
        variant=view.variant or first.name,
        batch=view.batch or first.batches[0],
        wanted=view.desired,
        ready=view.ready,
        paid=view.ready + len(view.started_s),
    )
