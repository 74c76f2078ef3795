"""Where results go, and as what: CSV for spreadsheets, JSON for programs, data frames for Python."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.files import write_text


def output_folder(path: Path) -> Path:
    """The folder, made where it is missing. Raises InputError where nothing can be written into it.

    Asked for before the work begins, so that none is lost at its end.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written to: {reason}", file=path, fix="give another folder") from error


def output_file(path: Path) -> Path:
    """A file that is to be written, its folder made where it is missing. Raises InputError."""
    output_folder(path.parent)
    if path.is_dir():
        raise InputError("is a folder", file=path, fix="give the name of a file")
    return path


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The table as CSV, intervals as two columns; written whole or not at all."""
    table, text = [flat(row) for row in rows], io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    write_text(text.getvalue(), path)


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """The row with a tuple of two as two columns, ``_low`` and ``_high``."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, tuple):
            found[f"{name}_low"], found[f"{name}_high"] = value
        else:
            found[name] = value
    return found


def data_frame(table: Sequence[dict[str, Any]] | dict[str, Any]) -> Any:
    """Rows or columns as a pandas.DataFrame."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "data") from error
    return pandas.DataFrame(table)


def write_json(content: Any, path: Path) -> None:
    """Anything of numbers, names and lists, as JSON; written whole or not at all."""
    write_text(json.dumps(content, indent=1) + "\n", path)
