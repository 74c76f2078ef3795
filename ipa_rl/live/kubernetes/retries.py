"""Trying again: which answers of the API server may pass, and how long to wait for the next try."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ipa_rl.live.deadlines import left_s

T = TypeVar("T")

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Status codes that another try may mend."""


class PassingError(Exception):
    """A failure that may be over soon; ``after_s``: how long the server asked to wait, 0 where it did not."""

    def __init__(self, problem: str, after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.after_s = after_s


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with full jitter, within a deadline.

    ``deadline_s``: no further try begins later than this after the first. The k-th pause is drawn evenly from
    0 to min(``cap_s``, ``base_s`` 2^k), and is never shorter than what the server asked for.
    """

    deadline_s: float = 8.0
    base_s: float = 0.1
    cap_s: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = field(default=random.random)

    def __call__(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` returns at last; its PassingError where the deadline leaves no other try."""
        began, tries = self.clock(), 0
        while True:
            try:
                return attempt()
            except PassingError as trouble:
                pause_s = max(trouble.after_s, self.draw() * min(self.cap_s, self.base_s * 2**tries))
                if self.clock() - began + pause_s > self.deadline_s or pause_s > left_s():
                    raise
            self.sleep(pause_s)
            tries += 1
