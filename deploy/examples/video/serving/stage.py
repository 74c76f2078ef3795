"""One replica of a stage: ``python -m serving.stage``.

It takes the profiled time of its variant for each batch and computes nothing. It is ready (``/readyz``) once
the variant's start-up delay has passed since its process began; after SIGTERM it is not ready any more,
takes what still comes for ``IPA_LINGER_S``, then answers 503, serves what it has and ends.

    POST /infer   {"items": [...], "whole": true}   whole: they are a batch already
    POST /batch   {"batch": 4}                      another batch size, at once
    PUT  /batch/4                                   the same, as ipa-rl sets a hot knob
    GET  /batch                                     the batch size, as text
    GET  /status, /readyz, /healthz, /metrics
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from aiohttp import web
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

from ipa_rl.demo.digits.pace import process_age_s
from ipa_rl.errors import InputError
from ipa_rl.pipeline import Variant
from ipa_rl.profiles import load_pipeline
from serving.batcher import Batcher
from serving.process import serve_until_terminated
from serving.service import ServiceTimes
from serving.settings import StageSettings, stage_settings

BATCHES = Histogram("ipa_stage_batch_size", "Requests in a batch", buckets=(1, 2, 4, 8, 16, 32, 64))
ITEMS = Counter("ipa_stage_items", "Requests served")
READY = Gauge("ipa_stage_ready", "1 while this replica takes requests")
BUSY_S = Counter("ipa_stage_busy_seconds", "Time in which the replica was taken")


class StageServer:
    """The HTTP face of a replica."""

    def __init__(self, settings: StageSettings, variant: Variant, age_s: float) -> None:
        """``age_s``: of the process, which counts as a part of the start-up."""
        self.settings = settings
        self.variant = variant
        self.batcher = Batcher(
            ServiceTimes(variant, settings.seed),
            settings.batch,
            settings.batch_timeout_s,
            settings.time_scale,
        )
        left_s = max(variant.start_up_s - settings.scheduled_s, 0.0)
        self._ready_s = time.monotonic() - age_s + left_s * settings.time_scale
        self._draining = self._closed = False

    def app(self) -> web.Application:
        """Routes; the batcher runs with it."""
        app = web.Application()
        app.router.add_post("/infer", self._infer)
        app.router.add_post("/batch", self._post_batch)
        app.router.add_put("/batch/{batch}", self._put_batch)
        app.router.add_get("/batch", self._get_batch)
        app.router.add_get("/status", self._status)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    def is_ready(self) -> bool:
        """Whether the start-up delay has passed and nobody has asked it to end."""
        return not self._draining and time.monotonic() >= self._ready_s

    async def drain(self) -> None:
        """Not ready any more; after lingering refuse what comes, and serve what is here."""
        self._draining = True
        await asyncio.sleep(self.settings.linger_s)
        self._closed = True
        while not self.batcher.is_idle():
            await asyncio.sleep(0.01)

    async def _infer(self, request: web.Request) -> web.Response:
        if self._closed or (not self._draining and not self.is_ready()):
            return web.json_response({"error": "not ready"}, status=503)
        asked = await request.json()
        items = asked["items"]
        served = await self.batcher.submit(len(items), bool(asked.get("whole", False)))
        ITEMS.inc(len(items))
        BATCHES.observe(served.size)
        BUSY_S.inc(served.service_s + served.taken_s)
        answer = {"outputs": items, "served": served.size, "taken_s": served.taken_s, **self._facts()}
        return web.json_response(answer)

    async def _post_batch(self, request: web.Request) -> web.Response:
        return self._set_batch(str((await request.json()).get("batch")))

    async def _put_batch(self, request: web.Request) -> web.Response:
        return self._set_batch(request.match_info["batch"])

    async def _get_batch(self, _: web.Request) -> web.Response:
        return web.Response(text=str(self.batcher.batch))

    def _set_batch(self, asked: str) -> web.Response:
        known = [str(batch) for batch in self.variant.batches]
        if asked not in known:
            return web.json_response({"error": f"batch is none of {', '.join(known)}"}, status=400)
        self.batcher.set_batch(int(asked))
        return web.json_response(self._facts())

    def _facts(self) -> dict[str, object]:
        return {
            "stage": self.settings.stage,
            "variant": self.variant.name,
            "accuracy": self.variant.accuracy,
            "batch": self.batcher.batch,
            "ready": self.is_ready(),
        }

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._facts())

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_ready() else 503)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        READY.set(self.is_ready())
        return web.Response(body=generate_latest(REGISTRY), content_type="text/plain")


def find_variant(settings: StageSettings) -> Variant:
    """The profiled variant. Raises InputError on names and batch sizes that the profile does not know."""
    pipeline = load_pipeline(settings.pipeline)
    stages = {stage.name: stage for stage in pipeline.stages}
    if settings.stage not in stages:
        raise InputError(f"no stage {settings.stage}", field="IPA_STAGE", fix=f"one of {', '.join(stages)}")
    variants = {variant.name: variant for variant in stages[settings.stage].variants}
    name = settings.variant or next(iter(variants))
    if name not in variants:
        fix = f"one of {', '.join(variants)}"
        raise InputError(f"no variant {name}", field="IPA_VARIANT", fix=fix)
    variant = variants[name]
    if settings.batch not in variant.batches:
        fix = f"one of {', '.join(str(batch) for batch in variant.batches)}"
        raise InputError(f"no batch size {settings.batch}", field="IPA_BATCH_SIZE", fix=fix)
    return variant


async def serve(settings: StageSettings) -> None:
    """Serve until SIGTERM, drain, end."""
    server = StageServer(settings, find_variant(settings), process_age_s())
    running = asyncio.create_task(server.batcher.run())
    await serve_until_terminated(server.app(), settings.host, settings.port, server.drain)
    running.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(serve(stage_settings(os.environ)))
    except InputError as error:
        sys.exit(f"error: {error}")
