"""Progress with time left, on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ipa_rl.consoles import plain_console

_FIRST_S, _MOST_S = 10.0, 60.0


class Report(Protocol):
    """Is told how far a named part of the work is."""

    def advance(self, part: str, done: int, total: int) -> None:
        """``done`` of ``total`` steps of ``part`` are behind us."""
        ...


class Silent:
    """Says nothing."""

    def advance(self, part: str, done: int, total: int) -> None:
        """Nothing."""


class Bars:
    """A bar for each part, with time elapsed and left; without a terminal a line now and then instead."""

    def __init__(self, console: Console | None = None, first_s: float = _FIRST_S) -> None:
        self._console = console or plain_console(stderr=True)
        self._lines = None if self._console.is_terminal else _Lines(self.say, first_s)
        self._progress = Progress(
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        (self._lines or self._progress).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        (self._lines or self._progress).stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(text, soft_wrap=True)

    def advance(self, part: str, done: int, total: int) -> None:
        """Draw how far the part is."""
        if self._lines is not None:
            self._lines.advance(part, done, total)
            return
        if part not in self._tasks:
            self._tasks[part] = self._progress.add_task(part, total=total)
        self._progress.update(self._tasks[part], completed=done)


class _Lines(threading.Thread):
    """How far the latest part is, in a line now and then: from a thread, as a step may take minutes.

    The first line comes after ``first_s`` seconds, the others ever more rarely, up to one in a minute.
    """

    def __init__(self, say: Callable[[str], None], first_s: float) -> None:
        super().__init__(daemon=True)
        self._say, self._pause_s = say, first_s
        self._at = ("", 0, 0, time.monotonic())  # part, done, total, and when the part began
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def advance(self, part: str, done: int, total: int) -> None:
        self._at = (part, done, total, self._at[3] if part == self._at[0] else time.monotonic())

    def run(self) -> None:
        while not self._over.wait(self._pause_s):
            self._pause_s = min(2.0 * self._pause_s, _MOST_S)
            part, done, total, began_s = self._at
            passed_s = time.monotonic() - began_s
            left = f", about {_duration(passed_s * (total - done) / done)} left" if 0 < done < total else ""
            told = f"{part}: {done} of {total} after" if part else "at work for"
            self._say(f"{told} {_duration(passed_s)}{left}")


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> [_duration(s) for s in (7.4, 125, 4000)]
    ['7 s', '2 min 5 s', '1 h 7 min']
    """
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes >= 60:
        return "{} h {} min".format(*divmod(round(seconds / 60), 60))
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
