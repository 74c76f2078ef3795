"""Requests over HTTP that end: within a time as a whole, with an answer of limited size.

A time-out of an HTTP library is one of each read: a server that sends one byte a second holds its caller for
ever, be it in the headers or in the body. Here a request runs in a thread of its own, which covers all of it,
the look-up of the name and the handshake too. Its caller waits until the deadline, shuts the socket and goes
on.

    answer = ask(connections(), "GET", url, within_s=2.0)

Where an `ipa_rl.live.deadlines.Deadline` holds, a call ends by then also.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ipa_rl.errors import MissingExtraError, one_line
from ipa_rl.live.deadlines import left_s

try:
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import HTTPError
except ImportError as error:  # pragma: no cover - the tests run with the extra
    raise MissingExtraError("urllib3", "kubernetes") from error

LARGEST_BYTES = 8 * 2**20
"""Largest answer; a document of JSON takes about ten times as much memory once it is read."""

_PIECE_BYTES = 64 * 2**10

_LIBRARY_LATER_S = 1.0
"""The library's own time-outs, which end a handshake too, come so much after ours, whose reason is told."""

_LOOKS_EVERY_S = 0.5
"""A Deadline may be moved while a call waits."""


class UnansweredError(Exception):
    """There is no whole answer; the text is the reason, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, its body read whole; ``headers`` by any case of their names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode(errors="replace")

    def document(self) -> Any:
        """The body as JSON, its texts such as can be written anywhere. Raises UnansweredError."""
        try:
            content = json.loads(self.text)
            if b"\\ud" in self.body.lower():  # half of a surrogate pair, which no encoding takes
                content = json.loads(json.dumps(content, ensure_ascii=False).encode(errors="replace"))
        except (ValueError, RecursionError) as error:
            raise UnansweredError(f"no JSON, HTTP status {self.status}") from error
        return content


def connections(**options: Any) -> urllib3.PoolManager:
    """Kept connections that can be cut; ``options``: of `urllib3.PoolManager`."""
    return cuttable(urllib3.PoolManager(**options))


def cuttable(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    """The same, its connections such that a call can be cut before headers have come."""
    pool.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return pool


def ask(pool: urllib3.PoolManager, method: str, url: str, **options: Any) -> Answer:
    """One request, waited for; see `Call`. Raises UnansweredError."""
    return Call(pool, method, url, **options).answer()


class Call(threading.Thread):
    """A request that is under way, in a thread of its own; several may be side by side.

    ``within_s``: seconds until the end of the answer, fewer where a Deadline holds. ``at_most``: bytes of the
    body. ``options``: of `urllib3.PoolManager.request`.
    """

    def __init__(
        self,
        pool: urllib3.PoolManager,
        method: str,
        url: str,
        *,
        within_s: float,
        at_most: int = LARGEST_BYTES,
        **options: Any,
    ) -> None:
        super().__init__(name="call", daemon=True)
        self._pool, self._method, self._url, self._options = pool, method, url, options
        self._at_most, self._given_s = at_most, max(min(within_s, left_s()), 0.0)
        self._deadline = time.monotonic() + self._given_s
        self._lock, self._over = threading.Lock(), False
        self._socket: socket.socket | None = None
        self._answer: Answer | None = None
        self._fault: Exception | None = None
        if self._given_s > 0:
            self.start()

    def answer(self) -> Answer:
        """Wait for the answer. Raises UnansweredError where there is no whole one in time."""
        while self.is_alive() and (wait_s := min(self._deadline - time.monotonic(), left_s())) > 0:
            self.join(min(wait_s, _LOOKS_EVERY_S))
        if self._given_s <= 0 or self.is_alive():
            self._cut()
            raise UnansweredError(f"no whole answer within {self._given_s:.3g} s")
        if self._fault is not None:
            raise UnansweredError(_reason(self._fault)) from self._fault
        assert self._answer is not None
        return self._answer

    def run(self) -> None:
        """What the thread does."""
        try:
            self._answer = self._ask()
        except (UnansweredError, HTTPError, OSError, ValueError) as error:
            self._fault = error

    def holds(self, socket_: socket.socket | None) -> None:
        """From now on this is the socket that a cut shuts."""
        with self._lock:
            self._socket = socket_
        if self._over:
            self._cut()

    def _cut(self) -> None:
        """End the thread's wait, whatever it waits for."""
        with self._lock:
            self._over = True
            if self._socket is not None:
                with suppress(OSError):  # it is closed already
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _ask(self) -> Answer:
        library_s = self._given_s + _LIBRARY_LATER_S
        answer = self._pool.request(
            self._method,
            self._url,
            preload_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=library_s, read=library_s),
            **self._options,
        )
        body = bytearray()
        try:
            # Not decoded: no coding was asked for, and a small answer may unfold to a large one.
            while piece := answer.read(_PIECE_BYTES, decode_content=False):
                body += piece
                if len(body) > self._at_most:
                    raise UnansweredError(f"the answer is larger than {self._at_most} bytes")
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return Answer(answer.status, answer.headers, bytes(body))


class _Connection(HTTPConnection):
    """Tells the call that uses it its socket, new or kept."""

    def connect(self) -> None:
        super().connect()
        self._tell()

    def putrequest(self, *line: Any, **options: Any) -> None:
        self._tell()
        super().putrequest(*line, **options)

    def _tell(self) -> None:
        thread = threading.current_thread()
        if isinstance(thread, Call):
            thread.holds(self.sock)


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _reason(error: Exception) -> str:
    """The innermost text of an error of the HTTP library."""
    text = str(getattr(error, "reason", None) or error)
    return text.split(": ", 1)[1] if text.startswith("<") and ": " in text else text
