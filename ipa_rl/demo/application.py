"""The digits pipeline on a Ray Serve of this machine, as the demonstration deploys it and looks at it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import ipa_rl
from ipa_rl.demo.core import Core
from ipa_rl.demo.digits import SIZES, STAGES
from ipa_rl.demo.local_ray import LocalRay, free_ports, local_ray
from ipa_rl.demo.settings import BATCH_TIMEOUT_S, DROP_LIMIT_S, START_UP_S
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import Document, ServeApi
from ipa_rl.live.ray_serve.cluster import view_stage
from ipa_rl.live.ray_serve.settings import DeploymentModel, ServeStage
from ipa_rl.pipeline import Configuration, Pipeline, StageConfig

NAME, ENTRANCE = "digits", "router"

SMALLEST = Configuration(tuple(StageConfig(next(iter(SIZES[stage])), 1, 1) for stage in STAGES))
"""Where everything begins."""

_CPUS = 2
_WITHIN_S, _ANSWER_S, _POLL_S = 300.0, 60.0, 0.5
EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Application:
    """The running pipeline. ``core``: what it calls one."""

    ray: LocalRay
    api: ServeApi
    port: int
    core: Core

    @property
    def url(self) -> str:
        """Where canvases go."""
        return f"http://127.0.0.1:{self.port}/"

    def details(self) -> Document:
        """What Ray Serve says of it now. Raises ClusterError."""
        found: Document = self.api.applications()["applications"][NAME]
        return found

    def deploy(self, configuration: Configuration, autoscaling: Mapping[str, Document] | None = None) -> None:
        """Change to a configuration and wait until it serves.

        ``autoscaling``: by stage, in place of replicas. Raises ClusterError where it does not come to serve.
        """
        deploy(self.api, self._document(configuration, autoscaling or {}), _WITHIN_S)

    def order(self, configuration: Configuration) -> None:
        """Begin to change to a configuration."""
        self.api.deploy(self._document(configuration, {}))

    def _document(self, configuration: Configuration, autoscaling: Mapping[str, Document]) -> Document:
        """What the file of ``serve deploy`` would say."""
        deployments = [
            {
                "name": stage,
                **(
                    {"autoscaling_config": autoscaling[stage]}
                    if stage in autoscaling
                    else {"num_replicas": one.replicas}
                ),
                "max_ongoing_requests": one.batch,
                "user_config": {"variant": one.variant, "batch_size": one.batch, "cores": 1},
            }
            for stage, one in zip(STAGES, configuration.stages, strict=True)
        ]
        arguments = {
            "core": self.core.share,
            "work_s": self.core.work_s,
            "batch_timeout_s": BATCH_TIMEOUT_S,
            "drop_limit_s": DROP_LIMIT_S,
            "start_up_s": START_UP_S,
        }
        application = {
            "name": NAME,
            "import_path": "ipa_rl.demo.digits.application:app",
            "route_prefix": "/",
            "args": arguments,
            "deployments": deployments,
        }
        http = {"host": "127.0.0.1", "port": self.port}
        return {"proxy_location": "HeadOnly", "http_options": http, "applications": [application]}


@contextmanager
def running(core: Core, say: Callable[[str], None]) -> Iterator[Application]:
    """Start Ray and the pipeline; both end with the block. Raises ClusterError where that fails."""
    say("starting Ray Serve")
    # Replicas import this very package, installed or not.
    places = [str(Path(ipa_rl.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with local_ray(_CPUS, {"PYTHONPATH": os.pathsep.join(places)}) as ray:
        api = ServeApi(ray.address, ray.token_file, _ANSWER_S)
        try:
            application = Application(ray, api, free_ports(1)[0], core)
            say("deploying the pipeline")
            application.deploy(SMALLEST)
            yield application
        finally:
            api.close()


def deploy(api: ServeApi, config: Document, within_s: float) -> None:
    """Deploy all applications of a configuration file's content, and wait until they run.

    Raises ClusterError where one fails, or does not run in time.
    """
    end_s = time.monotonic() + within_s
    api.deploy(config)
    names = [one["name"] for one in config["applications"]]
    while waiting := _waiting(api.applications(), names):
        if time.monotonic() > end_s:
            raise ClusterError(f"not deployed after {within_s:g} s: {waiting}")
        time.sleep(_POLL_S)


def _waiting(instance: Document, names: list[str]) -> str:
    """What does not run yet, in words; empty where all do. Raises ClusterError where one has failed."""
    lines = []
    for name in names:
        details = instance["applications"].get(name)
        if details is None:
            lines.append(f"{name} is not known yet")
        elif details["status"] == "DEPLOY_FAILED":
            raise ClusterError(f"application {name} was not deployed: {details['message']}")
        elif details["status"] != "RUNNING":
            lines.append(f"{name} is {details['status']}")
        else:
            lines += [
                f"{name}: {one['name']} is {one['status']}"
                for one in details["deployments"].values()
                if one["status"] != "HEALTHY"
            ]
    return ", ".join(lines)


# Its replicas, looked at once a second


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
    seen, first = view_stage(stage, details).seen, stage.stage.variants[0]
    return Sample(
        time_s=now_s,
        stage=stage.stage.name,
        variant=seen.asked[0] or first.name,
        batch=seen.asked[1] or first.batches[0],
        wanted=seen.desired,
        ready=seen.ready,
        paid=seen.current,
    )
