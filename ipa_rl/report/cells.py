"""Figures as text, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def factor(figure: str) -> int:
    """What a figure is multiplied by where it is shown: shares are in percent."""
    return 100 if figure == "violations" else 1


def shown(row: Mapping[str, Any], figure: str, digits: int = 2) -> str:
    """A figure of a row.

    >>> shown({"violations": 0.0123}, "violations")
    '1.23'
    """
    return f"{factor(figure) * row[figure]:.{digits}f}"


def bracketed(interval: Sequence[float], figure: str, digits: int, sign: str = "") -> str:
    """An interval of a figure.

    >>> bracketed((0.01, 0.02), "violations", 1)
    '[1.0, 2.0]'
    """
    low, high = (f"{factor(figure) * bound:{sign}.{digits}f}" for bound in interval)
    return f"[{low}, {high}]"


def with_interval(row: Mapping[str, Any], figure: str, digits: int = 2) -> str:
    """A figure of a row, its interval in brackets."""
    return f"{shown(row, figure, digits)} {bracketed(row[f'{figure}_95'], figure, digits)}"


def spoken(seconds: float) -> str:
    """A length of time.

    >>> spoken(1200), spoken(90), spoken(7200), spoken(1)
    ('20 minutes', '90 s', '2 hours', '1 s')
    """
    for unit_s, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s and seconds % unit_s == 0:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:g} s"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table.

    >>> markdown(["controller", "cores"], [["ppo", "2.1"]])
    ['| controller | cores |', '|---|---|', '| ppo | 2.1 |']
    """
    lines = (f"| {' | '.join(cells)} |" for cells in (columns, *rows))
    head = next(lines)
    return [head, "|---" * len(columns) + "|", *lines]
