"""Rests of work that goes on beside a control loop, in a thread of its own."""

from __future__ import annotations

import time


def rest(pause_s: float) -> None:
    """Let the other threads of the process go on for so long.

    Work in the foreground gives 0, and does not stop at all: to sleep for no time takes time as well.
    """
    if pause_s:
        time.sleep(pause_s)
