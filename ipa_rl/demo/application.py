"""The digits pipeline on a Ray Serve of this machine, as the demonstration deploys it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipa_rl
from ipa_rl.demo.core import Core
from ipa_rl.demo.digits.variants import SIZES, STAGES
from ipa_rl.demo.settings import BATCH_TIMEOUT_S, DROP_LIMIT_S, START_UP_S
from ipa_rl.live.ray_serve.api import Document, ServeApi
from ipa_rl.live.ray_serve.deploying import deploy
from ipa_rl.live.ray_serve.local import LocalRay, local_ray
from ipa_rl.pipeline import Configuration, StageConfig

NAME, ENTRANCE = "digits", "router"

SMALLEST = Configuration(tuple(StageConfig(next(iter(SIZES[stage])), 1, 1) for stage in STAGES))
"""Where everything begins."""

_CPUS = 2
_WITHIN_S, _ANSWER_S = 300.0, 60.0


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
        deploy(self.api, self.document(configuration, autoscaling or {}), _WITHIN_S)

    def order(self, configuration: Configuration) -> None:
        """Begin to change to a configuration."""
        self.api.deploy(self.document(configuration, {}))

    def document(self, configuration: Configuration, autoscaling: Mapping[str, Document]) -> Document:
        """What the file of ``serve deploy`` would say."""
        pairs = zip(STAGES, configuration.stages, strict=True)
        return {
            "proxy_location": "HeadOnly",
            "http_options": {"host": "127.0.0.1", "port": self.port},
            "applications": [
                {
                    "name": NAME,
                    "import_path": "ipa_rl.demo.digits.application:app",
                    "route_prefix": "/",
                    "args": {
                        "core": self.core.share,
                        "work_s": self.core.work_s,
                        "batch_timeout_s": BATCH_TIMEOUT_S,
                        "drop_limit_s": DROP_LIMIT_S,
                        "start_up_s": START_UP_S,
                    },
                    "deployments": [_deployment(name, one, autoscaling.get(name)) for name, one in pairs],
                }
            ],
        }


def _deployment(stage: str, one: StageConfig, autoscaling: Document | None) -> Document:
    replicas: Document = {"num_replicas": one.replicas}
    return {
        "name": stage,
        **(replicas if autoscaling is None else {"autoscaling_config": autoscaling}),
        "max_ongoing_requests": one.batch,
        "user_config": {"variant": one.variant, "batch_size": one.batch, "cores": 1},
    }


@contextmanager
def running(core: Core, say: Callable[[str], None]) -> Iterator[Application]:
    """Start Ray and the pipeline; both end with the block. Raises ClusterError where that fails."""
    say("starting Ray Serve")
    with local_ray(_CPUS, {"PYTHONPATH": _import_path()}) as ray:
        api = ServeApi(ray.address, ray.token_file, _ANSWER_S)
        try:
            application = Application(ray, api, _free_port(), core)
            say("deploying the pipeline")
            application.deploy(SMALLEST)
            yield application
        finally:
            api.close()


def _import_path() -> str:
    """So that replicas import this very package, installed or not."""
    own = str(Path(ipa_rl.__file__).parent.parent)
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: Any = one.getsockname()[1]
        return int(port)
