"""The live dashboard over HTTP: the page, its JSON, and its buttons. Nothing comes from elsewhere.

A button is pressed by a POST of JSON with a bearer token. Browsers send JSON to another site only after
asking it, and this one never agrees, so that no foreign page can press; the token is compared in constant
time.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from email.message import Message
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import StringConstraints

from ipa_rl.documents import Beside, StrictModel
from ipa_rl.errors import InputError
from ipa_rl.files import read_text
from ipa_rl.sidecar.dashboard import Dashboard
from ipa_rl.sidecar.http_server import AnsweringHandler, Port, Served
from ipa_rl.sidecar.orders import LONGEST_NAME, Orders, Wish

LOG = logging.getLogger(__name__)

LARGEST_BODY = 1000
SHORTEST_TOKEN, LONGEST_TOKEN_FILE = 16, 10_000
TOKEN_VARIABLE = "IPA_RL_DASHBOARD_TOKEN"

GUESSES, GUESSES_S = 5, 60.0
"""An address that sends this many wrong tokens within this many seconds has to wait."""

_ADDRESSES = 1000
"""Most addresses whose wrong tokens are remembered."""

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


class DashboardSettings(StrictModel):
    """Where the dashboard is served. ``hosts``: names, beside localhost, under which browsers ask for it.

    ``token_file``: what pressing a button takes; by default TOKEN_VARIABLE says it.
    """

    host: str = "127.0.0.1"
    port: Port = 9405
    token_file: Beside | None = None
    hosts: tuple[Annotated[str, StringConstraints(to_lower=True)], ...] = ()


def read_token(path: Path, named: Path | None) -> str | None:
    """The token of the settings in ``path``; None where nobody may press a button. Raises InputError."""
    if named is None:
        given, source = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not given:
            return None
    else:
        source = str(named)
        fix = "name a file that holds one word of ASCII"
        try:
            given = read_text(source, LONGEST_TOKEN_FILE, fix).strip()
        except InputError as error:
            problem = f"{source} {error.problem}"
            raise InputError(problem, file=path, field="dashboard.token_file", fix=fix) from error
    if len(given) < SHORTEST_TOKEN or not given.isascii() or not given.isprintable() or " " in given:
        fix = f"one word of {SHORTEST_TOKEN} characters or more, as `openssl rand -hex 24` gives"
        raise InputError(f"the token of {source} is too easy to guess", file=path, field="dashboard", fix=fix)
    return given


class RefusedError(Exception):
    """A request that is not served: the status, and why in words for the page."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status, self.problem = status, problem


def check_host(headers: Message, hosts: Sequence[str]) -> None:
    """Raise RefusedError for a request by a name that is not ours.

    Localhost, plain addresses and ``hosts`` are. A foreign name that was bent to this address (DNS rebinding)
    would let its page read ours.
    """
    try:
        name = urlsplit(f"//{headers.get('Host', '')}").hostname or ""
        if name not in ("localhost", *hosts):
            ipaddress.ip_address(name)
    except ValueError as error:  # not a host, or not an address
        problem = "the host is not localhost, an address or one of dashboard.hosts"
        raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, problem) from error


class Buttons:
    """Pause, hold and resume behind a token; None: nobody may press. ``now``: monotonic seconds."""

    def __init__(self, orders: Orders, token: str | None, now: Callable[[], float] = time.monotonic) -> None:
        self._orders, self._token, self._now = orders, token, now
        self._wrong_at: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def press(self, headers: Message, body: bytes, client: str) -> dict[str, bool]:
        """Give the order of a request; whether a restart will know of it. Raises RefusedError."""
        if self._token is None:
            raise RefusedError(HTTPStatus.FORBIDDEN, "no token is set, so there are no buttons")
        origin, host = headers.get("Origin", ""), headers.get("Host", "")
        if origin and urlsplit(origin).netloc != host:
            raise RefusedError(HTTPStatus.FORBIDDEN, "pressed on a page of another origin")
        if headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        # The right token always presses, whoever guesses beside it; it is long enough not to be guessed.
        right, given = f"Bearer {self._token}", headers.get("Authorization", "")
        if not hmac.compare_digest(right.encode(), given.encode("utf-8", "replace")):
            wait_s = self._wait_s(client)
            if wait_s > 0:
                problem = f"too many wrong tokens; try again in {wait_s:.0f} s"
                raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, problem)
            LOG.warning("a wrong token", extra={"client": client})
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "the token is wrong")
        wish, by = _order(body)
        return {"saved": self._orders.give(wish, by)}

    def _wait_s(self, client: str) -> float:
        """Note a wrong token; for how long the address has had too many."""
        with self._lock:
            wrong_at = self._wrong_at.setdefault(client, deque(maxlen=GUESSES))
            self._wrong_at.move_to_end(client)
            if len(self._wrong_at) > _ADDRESSES:
                self._wrong_at.popitem(last=False)
            now = self._now()
            if len(wrong_at) == GUESSES and wrong_at[0] + GUESSES_S > now:
                return wrong_at[0] + GUESSES_S - now
            wrong_at.append(now)
            return 0.0


def _order(body: bytes) -> tuple[Wish, str]:
    """What is asked for, and by whom. Raises RefusedError."""
    try:
        content = json.loads(body)
        wish, by = Wish(content["order"]), content["by"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = 'send {"order": "pause", "hold" or "resume", "by": name}'
        raise RefusedError(HTTPStatus.BAD_REQUEST, problem) from error
    if not isinstance(by, str) or not by.strip() or len(by) > LONGEST_NAME or not by.isprintable():
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"give a name of 1 to {LONGEST_NAME} printable characters")
    return wish, by.strip()


class DashboardServer(Served):
    """Serves the page on a port until closed. Raises InputError where the port cannot be had.

    ``GET /data?have=TAG`` answers `Dashboard.content`; ``POST /order`` presses a button. ``page``: the media
    type and the content of its files by path.
    """

    def __init__(self, settings: DashboardSettings, dashboard: Dashboard, buttons: Buttons) -> None:
        self.hosts, self.dashboard, self.buttons = settings.hosts, dashboard, buttons
        shipped = (files("ipa_rl.sidecar") / "page").iterdir()
        self.page = {f"/{one.name}": (_KINDS[one.name.rsplit(".")[-1]], one.read_bytes()) for one in shipped}
        self.page["/"] = self.page["/index.html"]
        super().__init__((settings.host, settings.port), partial(_Handler, self), "dashboard")


class _Handler(AnsweringHandler):
    server_version, sys_version = "ipa-rl", ""
    error_content_type, error_message_format = "text/plain; charset=utf-8", "%(message)s\n"

    def __init__(self, shown: DashboardServer, *of_the_server: Any) -> None:
        self._shown = shown
        super().__init__(*of_the_server)

    def do_GET(self) -> None:  # noqa: N802 - by this name it is called
        """The page, or its JSON."""
        self._serve(self._read)

    def do_POST(self) -> None:  # noqa: N802 - likewise
        """A button."""
        self._serve(self._press)

    def _serve(self, answer: Callable[[], tuple[str, bytes]]) -> None:
        try:
            check_host(self.headers, self._shown.hosts)
            kind, body = answer()
            self.answer(HTTPStatus.OK, kind, body)
        except RefusedError as error:
            body = json.dumps({"problem": error.problem}).encode()
            self.answer(error.status, _JSON, body)

    def _read(self) -> tuple[str, bytes]:
        asked = urlsplit(self.path)
        if asked.path == "/data":
            return _JSON, self._shown.dashboard.content(parse_qs(asked.query).get("have", [""])[0])
        if asked.path not in self._shown.page:
            raise RefusedError(HTTPStatus.NOT_FOUND, "not found")
        return self._shown.page[asked.path]

    def _press(self) -> tuple[str, bytes]:
        if self.path != "/order":
            raise RefusedError(HTTPStatus.NOT_FOUND, "not found")
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > LARGEST_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send {LARGEST_BODY} bytes or less")
        saved = self._shown.buttons.press(self.headers, self.rfile.read(int(size)), self.client_address[0])
        return _JSON, json.dumps(saved).encode()

    def end_headers(self) -> None:
        """With what every answer says to browsers."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()
