"""Who may press the dashboard's buttons, and what pressing does.

A press is a POST of JSON with a bearer token. Browsers send JSON to another site only after asking it, and
this one never agrees, so that no foreign page can press; the token is compared in constant time.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlsplit

from ipa_rl.sidecar.orders import LONGEST_NAME, Orders, Wish

LOG = logging.getLogger(__name__)

GUESSES, GUESSES_S = 5, 60.0
"""So many wrong tokens in so many seconds are told one by one, from each address; then it is too many."""

_ADDRESSES = 1000
"""So many are remembered."""


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
    except ValueError:
        name = ""
    if name not in ("localhost", *hosts) and not _is_address(name):
        raise RefusedError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "asked by another name than localhost, an address or dashboard.hosts",
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
        self._check_origin(headers)
        self._check_token(self._token, headers.get("Authorization", ""), client)
        wish, by = _order(body)
        return {"saved": self._orders.give(wish, by)}

    def _check_origin(self, headers: Message) -> None:
        origin, host = headers.get("Origin", ""), headers.get("Host", "")
        if origin and urlsplit(origin).netloc != host:
            raise RefusedError(HTTPStatus.FORBIDDEN, "pressed on a page of another origin")
        if headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")

    def _check_token(self, token: str, given: str, client: str) -> None:
        """The right token always presses, whoever guesses beside it; it is long enough not to be guessed."""
        if hmac.compare_digest(f"Bearer {token}".encode(), given.encode("utf-8", "replace")):
            return
        wait_s = self._wait_s(client)
        if wait_s > 0:
            problem = f"too many wrong tokens; try again in {wait_s:.0f} s"
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, problem)
        LOG.warning("a wrong token", extra={"client": client})
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "the token is wrong")

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
