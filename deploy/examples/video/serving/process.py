"""A web server that ends as Kubernetes asks for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web

_CLOSE_S = 5.0


async def serve_until_terminated(
    app: web.Application, host: str, port: int, drain: Callable[[], Awaitable[None]]
) -> None:
    """Serve until SIGTERM or SIGINT, then drain while still answering, then close."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
    await runner.setup()
    await web.TCPSite(runner, host, port, shutdown_timeout=_CLOSE_S, reuse_address=True).start()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()
    await drain()
    await runner.cleanup()
