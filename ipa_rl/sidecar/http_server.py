"""A server in a thread of its own, for the telemetry and the dashboard."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from ipa_rl.errors import InputError

LOG = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Any, Any, socketserver.BaseServer], BaseHTTPRequestHandler]

Port = Annotated[int, Field(ge=0, le=65_535)]


class AnsweringHandler(BaseHTTPRequestHandler):
    """A request and its whole answer."""

    def answer(self, status: int, kind: str, body: bytes) -> None:
        """Send the answer; ``kind``: its media type."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Told only where everything is."""
        LOG.debug(format, *args)


_LOOKS_S = 0.1
"""A server that was told to stop does within this."""


class Served:
    """A server in a thread of its own until closed. ``port``: the one that was had; ``address``: with it.

    ``field``: of the settings, for the message of the InputError that is raised where the port cannot be had.
    """

    def __init__(self, address: tuple[str, int], handler: Handler, field: str) -> None:
        host, port = address
        try:
            self._server = SideBySide(address, handler)
        except OSError as error:
            problem = f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}"
            raise InputError(problem, field=f"{field}.port", fix="give another port") from error
        self.port = int(self._server.server_address[1])
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOKS_S,), name=field, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5.0)


class SideBySide(socketserver.ThreadingMixIn, HTTPServer):
    """Answers ``at_once`` requests at a time, each within ``request_s`` from its connection to its last byte.

    Where more come the oldest is hung up on, as a good one is over within milliseconds: so neither slow nor
    many clients keep a probe waiting. Those hung up on need a moment to end, on a busy machine a longer one:
    where as many again have not, the next waits up to ``room_s`` for them.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    at_once = 16
    request_s = 10.0
    room_s = 1.0

    def __init__(self, address: tuple[str, int], handler: Handler) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._ended = threading.Condition()
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own."""
        with self._ended:
            waiting = [one for one, ends_at in self._open.items() if ends_at > 0]
            if len(waiting) >= self.at_once:
                self._hang_up(waiting[0])
            room = self._ended.wait_for(lambda: len(self._open) < 2 * self.at_once, self.room_s)
            if room:
                self._open[request] = time.monotonic() + self.request_s
        if not room:
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread is to be had
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What the thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def service_actions(self) -> None:
        """Every half second: hang up on requests whose time is over."""
        now = time.monotonic()
        with self._ended:
            for one in [one for one, ends_at in self._open.items() if 0 < ends_at <= now]:
                self._hang_up(one)

    def _hang_up(self, request: socket.socket) -> None:
        """End the wait of its thread, whatever it waits for."""
        self._open[request] = 0.0
        with suppress(OSError):  # it ended by itself
            request.shutdown(socket.SHUT_RDWR)

    def _forget(self, request: socket.socket) -> None:
        with self._ended:
            self._open.pop(request, None)
            self._ended.notify()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up does not matter."""
        LOG.debug("a request failed", exc_info=True)
