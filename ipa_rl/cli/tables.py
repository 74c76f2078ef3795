"""Output: tables that fit 80 columns, or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ipa_rl.consoles import plain_console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

out = plain_console()
err = plain_console(stderr=True)


def print_json(content: Any) -> None:
    """Pure JSON on stdout; NaN becomes null."""
    typer.echo(json.dumps(_plain(content), indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1) -> None:
    """A table whose first ``left`` columns are text, cut where the terminal is narrow; figures never are."""
    cells = [[value if isinstance(value, str) else figure(value) for value in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for position, column in enumerate(columns):
        width = max(len(row[position]) for row in [list(columns), *cells])
        if position < left:
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        else:
            table.add_column(column, justify="right", no_wrap=True, min_width=width)
    for row in cells:
        table.add_row(*row)
    out.print(title)
    out.print(table)


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


def save_note(paths: Sequence[Path]) -> None:
    """Say on stderr what was written."""
    for path in paths:
        err.print(f"wrote {path}", soft_wrap=True)


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
