"""Progress with time left, on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

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
    """A bar for each part, with time elapsed and left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=plain_console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, soft_wrap=True)

    def advance(self, part: str, done: int, total: int) -> None:
        """Draw how far the part is."""
        if part not in self._tasks:
            self._tasks[part] = self._progress.add_task(part, total=total)
        self._progress.update(self._tasks[part], completed=done)
