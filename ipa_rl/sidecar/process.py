"""The sidecar as a process: ticks without drift, signals that end it in order, logs as JSON lines."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ipa_rl.live.deadlines import Deadline
from ipa_rl.sidecar.decision_log import loggable, timestamp

_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}

HURRY_S = 8.0
"""Once the end is asked for, the outside calls of the step in progress end within this time.

Another 12 s at most are for the lease; Kubernetes gives 30 s by default."""


class Stop:
    """Set by SIGTERM or SIGINT: the step in progress is finished, then the process ends.

    A second signal ends it at once, with the exit status that a shell gives for the signal. The handler only
    moves the ``deadline`` of the step's outside calls, so that a slow answer does not outlast the grace, and
    writes to a pipe: anything with a lock could be interrupted by it while holding that lock.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self._deadline = deadline or Deadline()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self.requested = False

    def listen(self) -> None:
        """Take the signals from now on; from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested:
            os._exit(128 + number)
        self.request()

    def request(self) -> None:
        """Ask for the end, from any thread."""
        self.requested = True
        self._deadline.hurry(HURRY_S)
        os.write(self._write, b".")

    def wait(self, seconds: float) -> bool:
        """Wait, or less where the end is asked for; whether it is."""
        if not self.requested and seconds > 0:
            select.select([self._read], [], [], seconds)
        return self.requested


@dataclass
class Ticks:
    """Moments start + k interval on a clock, whatever the steps between them take.

    ``wait``: waits so many seconds, answers whether to stop. ``skipped``: moments that passed during a step.
    """

    interval_s: float
    wait: Callable[[float], bool]
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._start, self._tick, self.skipped = self.now(), 0, 0

    def next(self) -> bool:
        """Wait for the next moment that is still to come; False where the end is asked for instead."""
        passed = (self.now() - self._start) / self.interval_s
        following = max(self._tick + 1, math.ceil(passed - 1e-9))
        self.skipped += following - self._tick - 1
        self._tick = following
        return not self.wait(self._start + following * self.interval_s - self.now())


class Pulse:
    """Whether the loop turns, for the probes and the election.

    ``patience_s``: how long no step may end before the loop counts as stuck.
    """

    def __init__(self, patience_s: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._now = patience_s, now
        self._beat_s = now()
        self._succeeded = False

    def beat(self, success: bool) -> None:
        """A step has ended."""
        self._beat_s = self._now()
        self._succeeded |= success

    def healthy(self) -> bool:
        """Whether steps end, with or without success."""
        return self._now() - self._beat_s < self._patience_s

    def ready(self) -> bool:
        """Whether a step has succeeded."""
        return self._succeeded


class JsonLines(logging.Formatter):
    """One object a record: time, level, logger, message, what was given as extra, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        content: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        content = loggable(content)
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str, ensure_ascii=False)


def log_to_stderr(level: int = logging.INFO) -> None:
    """All logs of the process as JSON lines on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
