"""Requests sent in a thread of their own, and what came of them so far."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ipa_rl.demo.digits.load import Asked, send
from ipa_rl.jit import FloatArray

PREPARE_S = 3.0
"""From the start of a sender to its first request: canvases are drawn meanwhile."""


class Sending:
    """Sends requests at ``due_s`` after ``at_s`` (by `time.time`); ``told`` of each in that thread.

    ``asked``: all of them once `is_over`; ``problem``: why sending itself failed, else empty. It ends with
    the process, whatever is still under way.
    """

    def __init__(
        self,
        url: str,
        due_s: FloatArray,
        seed: int,
        at_s: float,
        told: Callable[[Asked], None] = lambda _: None,
    ) -> None:
        self.asked: list[Asked] = []
        self.problem = ""
        self._order = (url, due_s, seed, at_s, told)
        self._thread = threading.Thread(target=self._send, name="requests", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether every request was answered, dropped or lost."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until it is."""
        self._thread.join()

    def _send(self) -> None:
        try:
            self.asked = send(*self._order)
        except OSError as error:  # of the event loop itself; requests that fail are results
            self.problem = str(error)
