"""A real inference server on loopback with known service times: V2 protocol, JSON and raw bytes.

``python -m tests.inference_server PORT VARIANT``. One batch is served at a time and takes a + b x its size.
Raw bytes are single items, of which it forms batches itself. The variants of `TROUBLES` misbehave.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web

FIRST_S, EACH_S = 0.02, 0.005
BATCH = 4
"""Batch size that it forms of single items."""
TROUBLES = ("answers-500", "short-answer", "large-answer", "never-answers", "ends-at-once", "never-ready")

_SERVING = asyncio.Semaphore(1)


def service_s(batch: int) -> float:
    """Seconds that a batch takes."""
    return FIRST_S + EACH_S * batch


class InferenceServer:
    """The routes of one variant."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self._waiting: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    def app(self) -> web.Application:
        """Routes; batches are formed beside them."""
        app = web.Application()
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/v2/models/{model}/ready", self._ready)
        app.router.add_post("/v2/models/{model}/infer", self._infer)
        app.router.add_post("/predict", self._predict)
        app.router.add_post("/{model}/predict", self._predict)
        app.router.add_post("/bytes", self._bytes)
        app.cleanup_ctx.append(self._forming)
        return app

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.variant == "never-ready" else 200)

    async def _infer(self, request: web.Request) -> web.Response:
        if request.match_info["model"] != self.variant:
            return web.json_response({"error": "no such model"}, status=404)
        count = (await request.json())["inputs"][0]["shape"][0]
        await self._serve(count)
        output = {"name": "class", "shape": [self._answered(count)], "datatype": "INT64"}
        return web.json_response({"outputs": [{**output, "data": [0] * count}]})

    async def _predict(self, request: web.Request) -> web.Response:
        if request.match_info.get("model", self.variant) != self.variant:
            return web.json_response({"error": "no such model"}, status=404)
        items = (await request.json())["instances"]
        await self._serve(len(items))
        return web.json_response({"predictions": items[: self._answered(len(items))]})

    async def _bytes(self, request: web.Request) -> web.Response:
        await request.read()
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(answered)
        await answered
        return web.Response(text="done")

    def _answered(self, count: int) -> int:
        return count - 1 if self.variant == "short-answer" else count

    async def _serve(self, count: int) -> None:
        if self.variant == "answers-500":
            raise web.HTTPInternalServerError(text="no weights for this model")
        if self.variant == "large-answer":
            raise web.HTTPOk(body=bytes(65 * 2**20))
        if self.variant == "never-answers":
            await asyncio.sleep(3600)
        async with _SERVING:
            await asyncio.sleep(service_s(count))

    async def _forming(self, _: web.Application) -> Any:
        task = asyncio.create_task(self._form())
        yield
        task.cancel()

    async def _form(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH:
                try:
                    batch.append(await asyncio.wait_for(self._waiting.get(), 0.1))
                except TimeoutError:
                    break
            await asyncio.sleep(service_s(len(batch)))
            for answered in batch:
                answered.set_result(None)


if __name__ == "__main__":
    if sys.argv[2] == "ends-at-once":
        sys.exit("error: weights.bin is missing")
    web.run_app(InferenceServer(sys.argv[2]).app(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
