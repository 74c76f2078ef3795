"""The router before the pipeline, with a central queue for each stage: ``python -m serving.router``.

    POST /infer   any JSON; answers 200, or 503 where the request was dropped. The reply's headers tell
                  X-IPA-PAS (product of the accuracies of the variants that served it), X-IPA-Variants,
                  X-IPA-Latency-S (real seconds).
    GET  /status, /readyz, /healthz, /metrics

A request is never failed because a replica goes: its batch returns to the queue's front.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

import aiohttp
from aiohttp import web
from prometheus_client import REGISTRY, generate_latest

from ipa_rl.errors import InputError
from serving import figures
from serving.process import serve_until_terminated
from serving.queues import CentralQueue, Replica, ReplicaGone, Reply, Request, finish
from serving.replicas import Finder, finder
from serving.settings import RouterSettings, router_settings

_LOG = logging.getLogger("router")
_LOOK_AGAIN_S = 2.0
"""How often a replica that is ready and idle is asked for its state, real seconds."""


class Router:
    """Queues in a chain; each request that passed one stage joins the next one's queue."""

    def __init__(self, settings: RouterSettings, session: aiohttp.ClientSession, find: Finder) -> None:
        self.settings = settings
        self._session, self._find = session, find
        self._reply_s = aiohttp.ClientTimeout(total=max(settings.drop_limit_s * settings.time_scale, 1.0))
        self._in_flight: set[Request] = set()
        self._draining = False
        self.queues: list[CentralQueue] = []
        for stage in reversed(settings.stages):
            served = self.queues[0].put if self.queues else finish
            queue = CentralQueue(
                stage,
                self._send,
                served,
                settings.batch_timeout_s * settings.time_scale,
                settings.drop_limit_s * settings.time_scale,
            )
            self.queues.insert(0, queue)
        self.figures = figures.Figures(settings.sla_s * settings.time_scale)

    def app(self) -> web.Application:
        """Routes."""
        app = web.Application()
        app.router.add_post("/infer", self._infer)
        app.router.add_get("/status", self._status)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def drain(self) -> None:
        """Not ready any more; answer all that is here."""
        self._draining = True
        await asyncio.sleep(self.settings.linger_s)
        while self._in_flight:
            await asyncio.sleep(0.05)

    async def watch(self) -> None:
        """Look for replicas until cancelled; where a look fails the last one holds."""
        while True:
            try:
                found = await self._find()
            except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _LOG.warning("replicas are not known, the last ones hold: %s", error)
            else:
                for queue in self.queues:
                    queue.update(found.get(queue.stage, []))
            await asyncio.gather(*(self._ask_all(queue) for queue in self.queues))
            await asyncio.sleep(self.settings.poll_s)

    async def _ask_all(self, queue: CentralQueue) -> None:
        now_s = asyncio.get_running_loop().time()
        await asyncio.gather(
            *(
                self._ask(replica)
                for replica in list(queue.replicas.values())
                if not replica.busy and (not replica.ready or now_s - replica.seen_s > _LOOK_AGAIN_S)
            )
        )
        queue.pull()

    async def _ask(self, replica: Replica) -> None:
        """Ask a replica whether it is ready, and for its variant and batch size."""
        try:
            url = f"http://{replica.address}/status"
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=2.0)) as answer:
                facts = await answer.json()
            replica.variant, replica.batch = str(facts["variant"]), int(facts["batch"])
            replica.ready = bool(facts["ready"])
            replica.seen_s = asyncio.get_running_loop().time()
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, KeyError):
            replica.ready = False

    async def _send(self, replica: Replica, batch: list[Request]) -> Reply:
        body = {"items": [request.payload for request in batch], "whole": True}
        try:
            url = f"http://{replica.address}/infer"
            async with self._session.post(url, json=body, timeout=self._reply_s) as answer:
                answer.raise_for_status()
                said = await answer.json()
            variant, accuracy = str(said["variant"]), float(said["accuracy"])
            return Reply(variant, accuracy, int(said["batch"]), bool(said["ready"]), float(said["taken_s"]))
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            _LOG.warning("%s did not serve its batch of %d: %s", replica.address, len(batch), error)
            raise ReplicaGone from error

    async def _infer(self, http: web.Request) -> web.Response:
        try:
            payload = await http.json()
        except ValueError:
            return web.json_response({"error": "the body is not JSON"}, status=400)
        loop = asyncio.get_running_loop()
        request = Request(payload, loop.time(), loop.create_future())
        self._in_flight.add(request)
        self.figures.arrive()
        try:
            self.queues[0].put(request)
            served = await request.done
        finally:
            self._in_flight.discard(request)
        latency_s = loop.time() - request.arrival_s
        self.figures.end(latency_s, request.accuracy if served else None)
        if not served:
            return web.json_response({"error": "dropped"}, status=503, headers={"X-IPA-Dropped": "1"})
        headers = {
            "X-IPA-PAS": f"{request.accuracy:.6f}",
            "X-IPA-Variants": ",".join(request.variants),
            "X-IPA-Latency-S": f"{latency_s:.6f}",
        }
        return web.json_response({"output": payload}, headers=headers)

    def facts(self) -> dict[str, object]:
        """Queues and replicas by stage."""
        return {
            queue.stage: {
                "waiting": len(queue),
                "replicas": [
                    {"address": r.address, "variant": r.variant, "batch": r.batch, "ready": r.ready}
                    for r in queue.replicas.values()
                ],
            }
            for queue in self.queues
        }

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self.facts())

    async def _readyz(self, _: web.Request) -> web.Response:
        served = all(any(r.ready for r in queue.replicas.values()) for queue in self.queues)
        return web.Response(status=200 if served and not self._draining else 503)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        self.figures.show(self.queues, len(self._in_flight))
        return web.Response(body=generate_latest(REGISTRY), content_type="text/plain")


async def serve(settings: RouterSettings) -> None:
    """Serve until SIGTERM, answer what is here, end."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, json_serialize=json.dumps) as session:
        router = Router(settings, session, finder(settings.replicas, session))
        watching = asyncio.create_task(router.watch())
        await serve_until_terminated(router.app(), settings.host, settings.port, router.drain)
        watching.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(serve(router_settings(os.environ)))
    except InputError as error:
        sys.exit(f"error: {error}")
