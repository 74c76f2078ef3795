"""Real HTTP servers on loopback addresses that take values while they run."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlparse


class ModelServers:
    """Servers on 127.0.1.1, 127.0.1.2 and so on, all on one port: ``GET /name``, ``PUT /name?value=x``.

    ``refuses``: every PUT is answered with 409. ``deaf``: with 200, and nothing changes.
    """

    def __init__(self, count: int) -> None:
        self.addresses = [f"127.0.1.{i + 1}" for i in range(count)]
        self.refuses = self.deaf = False
        self._values = [{"batch": "1", "variant": "small"} for _ in range(count)]
        self._servers: list[ThreadingHTTPServer] = []
        self.port = 0

    def values(self, name: str) -> list[str]:
        """What each server runs with."""
        return [values[name] for values in self._values]

    def set(self, server: int, name: str, value: str) -> None:
        """A server has begun with another value."""
        self._values[server][name] = value

    def __enter__(self) -> ModelServers:
        for address, values in zip(self.addresses, self._values, strict=True):
            server = ThreadingHTTPServer((address, self.port), self._handler(values))
            self.port = server.server_port
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _handler(self, values: dict[str, str]) -> type[BaseHTTPRequestHandler]:
        servers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, values[urlparse(self.path).path[1:]])

            def do_PUT(self) -> None:
                if servers.refuses:
                    self._answer(409, "no")
                    return
                place = urlparse(self.path)
                if not servers.deaf:
                    values[place.path[1:]] = parse_qs(place.query)["value"][0]
                self._answer(200, "")

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
