"""The pipeline on Ray Serve: ``serve run ipa_rl.demo.digits.application:app``, or a configuration file.

Three deployments. `detect` and `classify` are stages: replicas that batch what they get. Their variant, batch
size and cores are `user_config`, so that a change restarts nothing. `router` takes canvases over HTTP:

    POST /   {"image": [[0..255, ...], ...]}
    200      {"digit": 7, "place": [3, 12], "detect": "conv8x2", "classify": "conv16x3"}
    503      {"dropped": "detect"}   it waited longer than the drop limit

A canvas without a digit (``"digit": null``) passes the second stage like any other, because the model of a
pipeline has every request pass every stage.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from pydantic import Field
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Counter, Histogram
from starlette.requests import Request
from starlette.responses import JSONResponse

from ipa_rl.demo.digits import SIZES, STAGES
from ipa_rl.demo.digits.data import CANVAS, CROP, Images, crop
from ipa_rl.demo.digits.pace import CORE, Pace, process_age_s, share_of
from ipa_rl.documents import StrictModel

_LOGICAL_CPUS = 0.05
"""What Ray's scheduler counts for a replica: less than it needs at most, so that a small machine has room."""

_LOWEST = 19
"""Of the priorities of Linux."""

_ASK_AGAIN_S = 0.001
"""FillFirst itself waits for a free replica; Ray Serve's pauses of up to 0.5 s would leave one idle."""

_WARM_BATCH = 8
"""Larger batches are served too, the first of a size more slowly."""

_LATENCIES_S = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0]


class Arguments(StrictModel):
    """What ``args`` of the configuration file may say.

    ``core``: the share of a real core that is called a core. ``work_s``: processor time by stage and variant
    of batches of 1, 2, 3 ..., where it is known; replicas keep to it. ``batch_timeout_s``: a batch is
    served, full or not, so long after its first request. ``drop_limit_s``: a request that has not left a
    stage after so long is dropped. ``start_up_s``: a replica that loads faster waits until its process is so
    old, so that a fast machine plays the same cluster as a slow one.
    """

    core: float = CORE
    work_s: dict[str, dict[str, list[float]]] = Field(default_factory=dict)
    batch_timeout_s: float = 0.1
    drop_limit_s: float = 3.0
    start_up_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StageAnswer:
    """What a stage says of one request, and the variant that said it."""

    found: Any
    variant: str


class StageReplica:
    """One replica: batches requests, and serves a batch at the pace of its cores."""

    def __init__(self, stage: str, arguments: Arguments) -> None:
        models, self._networks = _loaded(stage)
        self._start_up_s = arguments.start_up_s
        self._core, known = arguments.core, arguments.work_s.get(stage, {})
        self._paces = {
            name: Pace(1.0, dict(enumerate(known.get(name, ()), start=1))) for name in SIZES[stage]
        }
        self._infer = models.INFER[stage]
        self._worker = ThreadPoolExecutor(1)
        self._worker.submit(self._warm_up, CANVAS if stage == "detect" else CROP).result()
        self._serve_batch.set_batch_wait_timeout_s(arguments.batch_timeout_s)  # type: ignore[attr-defined]

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """The user_config: variant, batch_size, cores; from the next batch on.

        The first one ends the start; one that is not wanted any more can be stopped while it waits here.
        """
        await asyncio.sleep(max(self._start_up_s - process_age_s(), 0.0))
        self._variant = str(config["variant"])
        self._network = self._networks[self._variant]
        self._pace = self._paces[self._variant]
        self._pace.share = share_of(int(config.get("cores", 1)), self._core)
        self._serve_batch.set_max_batch_size(int(config["batch_size"]))  # type: ignore[attr-defined]

    async def __call__(self, image: Images) -> StageAnswer:
        """Serve one request, with others in a batch."""
        return await self._serve_batch(image)

    def _warm_up(self, side: int) -> None:
        """Every variant with every batch size, as torch makes its plans by shape at the first call.

        At the pace of a small share of a processor those first calls would take seconds each; so they are
        made at that of a whole one.
        """
        images = list(np.zeros((_WARM_BATCH, side, side), dtype=np.float32))
        for name, network in self._networks.items():
            for batch in range(1, _WARM_BATCH + 1):
                self._paces[name].measure(batch, partial(self._infer, network, images[:batch]))

    @serve.batch(max_batch_size=1)
    async def _serve_batch(self, images: list[Images]) -> list[StageAnswer]:
        variant, work = self._variant, partial(self._infer, self._network, images)
        loop = asyncio.get_running_loop()
        found, pause_s = await loop.run_in_executor(self._worker, self._pace.measure, len(images), work)
        await asyncio.sleep(pause_s)
        return [StageAnswer(one, variant) for one in found]


class Router:
    """Composes the stages, drops what waits too long, counts."""

    def __init__(
        self, detect: DeploymentHandle[Any], classify: DeploymentHandle[Any], arguments: Arguments
    ) -> None:
        self._detect, self._classify, self._limit_s = detect, classify, arguments.drop_limit_s
        self._served = Counter("ipa_served", "Requests served", ("detect", "classify"))  # type: ignore[arg-type]
        self._dropped = Counter("ipa_dropped", "Requests dropped", ("stage",))
        self._latency = Histogram("ipa_latency_s", "Seconds from arrival to answer", _LATENCIES_S)

    async def __call__(self, request: Request) -> JSONResponse:
        """One canvas."""
        began_s = time.perf_counter()
        try:
            image = np.array(json.loads(await request.body())["image"], dtype=np.float32) / 255.0
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"no canvas: {error}"}, 400)
        stage = "detect"
        try:
            seen = await self._within(self._detect, image)
            stage = "classify"
            read = await self._within(self._classify, crop(image, seen.found))
        except TimeoutError:
            self._dropped.inc(tags={"stage": stage})
            return JSONResponse({"dropped": stage}, 503)
        self._served.inc(tags={"detect": seen.variant, "classify": read.variant})
        self._latency.observe(time.perf_counter() - began_s)
        digit = None if seen.found is None else read.found
        body = {"digit": digit, "place": seen.found, "detect": seen.variant, "classify": read.variant}
        return JSONResponse(body)

    async def _within(self, stage: DeploymentHandle[Any], item: Images) -> StageAnswer:
        """A stage's answer. Raises TimeoutError after the drop limit, and takes the request back."""
        answer: StageAnswer = await asyncio.wait_for(stage.remote(item), self._limit_s)
        return answer


def _loaded(stage: str) -> tuple[Any, dict[str, Any]]:
    """The module of the models, and a stage's networks.

    A thread loads them that yields to everything else: that takes seconds of a processor, of which replicas
    that serve beside it need little, and that at once.
    """

    def load() -> tuple[Any, dict[str, Any]]:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        from ipa_rl.demo.digits import models  # torch, which the router does without

        return models, {name: models.load_network(stage, name) for name in SIZES[stage]}

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(load).result()


def app(args: dict[str, Any] | None = None) -> Any:
    """The application; ``args`` are `Arguments`."""
    arguments = Arguments.model_validate(args or {})
    detect, classify = (_deployed(name, arguments).bind(name, arguments) for name in STAGES)
    router = serve.deployment(
        name="router",
        max_ongoing_requests=10_000,
        ray_actor_options={"num_cpus": _LOGICAL_CPUS},
    )(Router)
    return router.bind(detect, classify, arguments)


def _deployed(stage: str, arguments: Arguments) -> Any:
    """A stage's deployment: its smallest variant, unbatched, once."""
    routing = RequestRouterConfig(
        request_router_class="ipa_rl.demo.digits.routing:FillFirst",  # type: ignore[arg-type]
        request_router_kwargs={"batch_timeout_s": arguments.batch_timeout_s},
        initial_backoff_s=_ASK_AGAIN_S,  # type: ignore[arg-type]
        max_backoff_s=_ASK_AGAIN_S,  # type: ignore[arg-type]
    )
    return serve.deployment(
        name=stage,
        num_replicas=1,
        max_ongoing_requests=1,
        user_config={"variant": next(iter(SIZES[stage])), "batch_size": 1, "cores": 1},
        request_router_config=routing,
        graceful_shutdown_wait_loop_s=0.2,
        rolling_update_percentage=1.0,  # else changes in place wait for replicas that start
        health_check_period_s=1.0,
        ray_actor_options={"num_cpus": _LOGICAL_CPUS},
    )(StageReplica)
