"""Output: tables that fit the terminal, or JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.cells import cell_len, chop_cells
from rich.table import Table

from ipa_rl.consoles import plain_console
from ipa_rl.json_text import plain

Columns = Mapping[str, str | Callable[[Any], Any]]
"""Heads of columns, each with the field that it shows of an item, or with what it makes of the item."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

out = plain_console()
err = plain_console(stderr=True)


def print_json(content: Any) -> None:
    """Pure JSON on stdout; NaN becomes null."""
    typer.echo(json.dumps(plain(content), indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1) -> None:
    """A table whose first ``left`` columns are text and whose others are figures, as wide as the terminal.

    Nothing is cut: text is folded where the terminal is narrow, and where the figures need more than one
    line has, the table goes on below with the others, the text repeated.
    """
    cells = [[value if isinstance(value, str) else figure(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    texts, figures = list(range(left)), list(range(left, len(columns)))
    gap = 2 if sum(width + 2 for width in widths) < out.width else 1
    least = sum(gap + min(widths[k], _LEAST_TEXT) for k in texts)
    out.print(title)
    for group in _groups(figures, [gap + width for width in widths], out.width - 1 - least):
        room = out.width - 1 - sum(gap + widths[k] for k in group) - gap * left
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0))
        shares = _shares([widths[k] for k in texts], room)
        for k, share in zip(texts, shares, strict=True):
            table.add_column(folded(columns[k], share), no_wrap=True, min_width=min(share, widths[k]))
        for k in group:
            table.add_column(columns[k], justify="right", no_wrap=True, min_width=widths[k])
        for row in cells:
            named = [folded(row[k], share) for k, share in zip(texts, shares, strict=True)]
            table.add_row(*named, *(row[k] for k in group))
        out.print(table)


def print_items(title: str, columns: Columns, items: Iterable[Any], left: int = 1) -> None:
    """A table of one row an item. Items are mappings, or objects with attributes."""

    def shown(item: Any, what: str | Callable[[Any], Any]) -> Any:
        if callable(what):
            return what(item)
        return item[what] if isinstance(item, Mapping) else getattr(item, what)

    print_table(
        title, list(columns), [[shown(item, what) for what in columns.values()] for item in items], left
    )


_LEAST_TEXT = 12
"""Text is folded to no less, as long as figures can go below."""


def _groups(figures: Sequence[int], taken: Sequence[int], room: int) -> list[list[int]]:
    """Columns of figures, which take so much each, in groups that fit into the room side by side."""
    groups: list[list[int]] = [[]]
    for k in figures:
        if groups[-1] and sum(taken[one] for one in [*groups[-1], k]) > room:
            groups.append([])
        groups[-1].append(k)
    return groups


def _shares(widths: Sequence[int], room: int) -> list[int]:
    """Widths of the text columns: what is narrow has all that it needs, the others share what is left."""
    shares, left = list(widths), max(room, len(widths))
    for done, k in enumerate(sorted(range(len(widths)), key=lambda one: widths[one])):
        shares[k] = max(min(widths[k], left // (len(widths) - done)), 1)
        left -= shares[k]
    return shares


def folded(text: str, width: int) -> str:
    """Text in lines of so many columns, broken behind spaces and marks where it can be, not before digits."""
    lines = [""]
    for word in re.split(r"(?<= )|(?<=[-/_])(?!\d)", text):
        parts = chop_cells(word, width)
        if "".join(parts) != word:  # it loses a modifier that has nothing to modify
            parts = list(word)
        for part in parts:
            if cell_len((lines[-1] + part).rstrip()) <= width:
                lines[-1] += part
            else:
                lines.append(part)
    return "\n".join(line.rstrip() for line in lines)


def figure(value: float | int | None) -> str:
    """A number in four figures at most; a dash for none.

    >>> [figure(x) for x in (3, 0.01234, 123.456, float("nan"))]
    ['3', '0.0123', '123.5', '-']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int):
        return str(value)
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def print_words(lines: Sequence[tuple[str, str]]) -> None:
    """A name and what is said of it, a line each, folded under itself where it is long."""
    width = max([7, *(len(name) for name, _ in lines)])
    for name, words in lines:
        first, *others = folded(words, out.width - width - 1).split("\n")
        out.print(f"{name:<{width}} {first}")
        for line in others:
            out.print(f"{'':<{width}} {line}")


def say(text: str) -> None:
    """A line on stderr, which the terminal folds."""
    err.print(text, soft_wrap=True)


def save_note(paths: Sequence[Path]) -> None:
    """Say on stderr what was written."""
    for path in paths:
        say(f"wrote {path}")
