"""Where text is printed."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints names and values as they are: no markup, no emoji, no colours of its own."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
