"""The live dashboard over HTTP: the page, its JSON, and its buttons. Nothing comes from elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ipa_rl.sidecar.buttons import Buttons, RefusedError, check_host
from ipa_rl.sidecar.dashboard import Dashboard
from ipa_rl.sidecar.http_server import DashboardSettings, Served

LOG = logging.getLogger(__name__)

LARGEST_BODY = 1000

_JSON = "application/json"
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class DashboardServer(Served):
    """Serves the page on a port until closed. Raises InputError where the port cannot be had.

    ``GET /data?have=TAG`` answers `Dashboard.content`; ``POST /order`` presses a button.
    """

    def __init__(self, settings: DashboardSettings, dashboard: Dashboard, buttons: Buttons) -> None:
        handler = partial(_Handler, settings.hosts, dashboard, buttons, _page())
        super().__init__((settings.host, settings.port), handler, "dashboard")


def _page() -> dict[str, tuple[str, bytes]]:
    """The files of the page by path: media type and content."""
    found = {
        f"/{one.name}": (_KINDS[one.name.rsplit(".")[-1]], one.read_bytes())
        for one in (files("ipa_rl.sidecar") / "page").iterdir()
    }
    return {"/": found["/index.html"], **found}


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "ipa-rl", ""
    error_content_type, error_message_format = "text/plain; charset=utf-8", "%(message)s\n"

    def __init__(
        self,
        hosts: tuple[str, ...],
        dashboard: Dashboard,
        buttons: Buttons,
        page: dict[str, tuple[str, bytes]],
        *of_the_server: Any,
    ) -> None:
        self._hosts, self._dashboard, self._buttons, self._page = hosts, dashboard, buttons, page
        super().__init__(*of_the_server)

    def do_GET(self) -> None:
        """The page, or its JSON."""
        self._serve(self._read)

    def do_POST(self) -> None:
        """A button."""
        self._serve(self._press)

    def _serve(self, answer: Callable[[], tuple[str, bytes]]) -> None:
        try:
            check_host(self.headers, self._hosts)
            kind, body = answer()
            self._answer(HTTPStatus.OK, kind, body)
        except RefusedError as error:
            body = json.dumps({"problem": error.problem}).encode()
            self._answer(error.status, _JSON, body)

    def _read(self) -> tuple[str, bytes]:
        asked = urlsplit(self.path)
        if asked.path == "/data":
            return _JSON, self._dashboard.content(parse_qs(asked.query).get("have", [""])[0])
        if asked.path not in self._page:
            raise RefusedError(HTTPStatus.NOT_FOUND, "not found")
        return self._page[asked.path]

    def _press(self) -> tuple[str, bytes]:
        if self.path != "/order":
            raise RefusedError(HTTPStatus.NOT_FOUND, "not found")
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > LARGEST_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send {LARGEST_BODY} bytes or less")
        saved = self._buttons.press(self.headers, self.rfile.read(int(size)), self.client_address[0])
        return _JSON, json.dumps(saved).encode()

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """With what every answer says to browsers."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        LOG.debug(format, *args)
