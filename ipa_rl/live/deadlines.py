"""Until when outside calls may go on: a deadline for all that is asked within it, together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Deadline:
    """An end in ``seconds`` from now. It may be moved from any thread, and from a signal's handler.

    >>> with Deadline(20.0).holds():
    ...     left_s() <= 20.0
    True
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._last = math.inf
        self.ends_at = time.monotonic() + seconds

    def restart(self, seconds: float) -> None:
        """It ends in ``seconds`` from now, or sooner if it was hurried."""
        self.ends_at = min(time.monotonic() + seconds, self._last)

    def hurry(self, seconds: float) -> None:
        """It ends in ``seconds`` at the latest, and no restart moves that."""
        self._last = min(self._last, time.monotonic() + seconds)
        self.ends_at = min(self.ends_at, self._last)

    @contextmanager
    def holds(self) -> Iterator[None]:
        """Everything that this thread asks in here ends by then, and by the deadlines around."""
        before = _HOLDING.set((*_HOLDING.get(), self))
        try:
            yield
        finally:
            _HOLDING.reset(before)


_HOLDING: ContextVar[tuple[Deadline, ...]] = ContextVar("holding", default=())


def left_s() -> float:
    """Seconds until the first of the deadlines that hold here; infinite where none does."""
    return min((one.ends_at for one in _HOLDING.get()), default=math.inf) - time.monotonic()
