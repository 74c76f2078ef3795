"""What people ask of the controller while it runs: pause, hold, resume; remembered across restarts.

An order holds until the next one. It is taken from any thread, and the loop asks for it at every step, right
before anything is written.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from ipa_rl.documents import load_json
from ipa_rl.errors import InputError
from ipa_rl.files import exists, write_text
from ipa_rl.sidecar.decision_log import timestamp

LOG = logging.getLogger(__name__)

LONGEST_NAME = 60


class Wish(StrEnum):
    """What is asked for.

    ``pause``: nothing is written. ``hold``: the last decision stays, and is applied again. ``resume``: the
    agent decides again.
    """

    pause = "pause"
    hold = "hold"
    resume = "resume"


_DONE = {Wish.pause: "paused", Wish.hold: "held", Wish.resume: "resumed"}


@dataclass(frozen=True, slots=True)
class Order:
    """A wish, by whom (a name that nobody checked), and when (UTC)."""

    wish: Wish
    by: str
    at: str

    @property
    def reason(self) -> str:
        """In words, for the decision log and Events; what stands before the colon stays the same.

        >>> Order(Wish.pause, "Ada", "2026-05-04T20:42:03.188Z").reason
        'paused on the dashboard: by Ada at 2026-05-04T20:42:03.188Z'
        """
        return f"{_DONE[self.wish]} on the dashboard: by {self.by} at {self.at}"

    @property
    def event(self) -> str:
        """The one word that names its Event: Paused, Held or Resumed."""
        return _DONE[self.wish].capitalize()


class Orders:
    """The order in force. ``path``: the file that keeps it; None: a restart forgets it.

    A file that cannot be read pauses: it may have said so.
    """

    def __init__(self, path: Path | None = None, wall: Callable[[], float] = time.time) -> None:
        self._path, self._wall = path, wall
        self._giving = threading.Lock()
        self.current: Order | None = self._restored()
        if self.current is not None and self.current.wish is not Wish.resume:
            LOG.warning("an order is in force", extra={"order": self.current.reason, "file": str(path)})

    def give(self, wish: Wish, by: str) -> bool:
        """From now on this holds; whether a restart will know of it."""
        with self._giving:
            order = self.current = Order(wish, by, timestamp(self._wall()))
            LOG.warning("an order was given", extra={"order": order.reason})
            if self._path is None:
                return False
            try:
                write_text(json.dumps(asdict(order)), self._path)
            except OSError as error:
                LOG.warning("the order was not saved: %s", error, extra={"file": str(self._path)})
                return False
            return True

    def why(self, wish: Wish) -> str:
        """Why the pipeline is paused, or held, now; empty where the order in force is another or none."""
        order = self.current
        return order.reason if order is not None and order.wish is wish else ""

    def _restored(self) -> Order | None:
        if self._path is None or not exists(self._path):
            return None
        try:
            return load_json(self._path, Order, "give the order again")
        except InputError as error:
            LOG.warning("the order is unreadable; pausing: %s", error, extra={"file": str(self._path)})
            return Order(Wish.pause, f"{self._path.name}, which cannot be read", timestamp(self._wall()))
