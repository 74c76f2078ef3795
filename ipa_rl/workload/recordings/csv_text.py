"""Text in columns: what separates them, which decimal mark, whether the first line names them."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ipa_rl.errors import InputError

_SAMPLE_BYTES, _SAMPLE_LINES = 1_000_000, 200
_DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "spaces"}
_ABSENT = "\x1f"
"""A character that is in no text: what separates the columns of a file that has one."""

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|nan|NaN|")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+")
DATE = re.compile(
    r"\[?(\d{4}[-/]\d\d?[-/]\d\d?|\d\d?[-/](\d\d?|[A-Za-z]{3})[-/]\d{2,4}|\d\d?\.\d\d?\.\d{4}(?!\.))"
)
"""A date at the begin of a text; no address of the internet."""
_SPACED_TIME = re.compile(r"\d[ ]+\d\d?:\d\d|:\d\d(\.\d+)? [+-]\d\d:?\d\d")
_WIDE = 10
"""So many numbers that count up make a line of names."""


def read_csv(path: Path, content: bytes, decimal: str | None) -> tuple[Any, bool, str]:
    """The table, its index the lines' numbers; whether the columns have names; its form in words."""
    content = _in_utf8(path, content)
    sample = content[:_SAMPLE_BYTES].decode("utf-8", "replace").splitlines()
    if len(content) > _SAMPLE_BYTES:
        del sample[-1]
    skipped = next((k for k, line in enumerate(sample) if line.strip() and line[:1] != "#"), 0)
    lines = [line for line in sample[skipped : skipped + _SAMPLE_LINES] if line.strip()] or [""]
    if re.fullmatch("sep=.", lines[0]):
        del lines[0]
        skipped += 1
    delimiter = _delimiter(lines, decimal)
    rows = _cells(lines, delimiter)
    has_comma = decimal == "," or (decimal is None and _has_decimal_comma(rows))
    has_names = _has_names(rows)
    skipped += has_names
    names = _names(rows[0] if has_names else ["" for _ in rows[0]])
    frame = _parsed(path, content, delimiter, "," if has_comma else ".", skipped, names)
    frame.index = pd.RangeIndex(skipped + 1, skipped + 1 + len(frame))
    form = "one value a line" if delimiter == _ABSENT else f"CSV with {_DELIMITERS[delimiter]}"
    return frame, has_names, form + (", decimal comma" if has_comma else "")


def _in_utf8(path: Path, content: bytes) -> bytes:
    """Without a byte order mark. Raises InputError for what is not text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise InputError("is not text", file=path, line=line, fix="give CSV, JSON lines, Parquet or npz")
    return content


def _delimiter(lines: Sequence[str], decimal: str | None) -> str:
    """What splits the first line, and nearly all others, into as many cells."""
    for delimiter in _DELIMITERS:
        if delimiter == decimal or (delimiter == " " and any(_SPACED_TIME.search(one) for one in lines)):
            continue
        widths = [len(row) for row in _cells(lines, delimiter)]
        if widths[0] > 1 and Counter(widths)[widths[0]] >= min(0.9 * len(widths), len(widths) - 1):
            return delimiter
    return _ABSENT


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        return [line.split() for line in lines]
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:  # a cell of 128 kB
        rows = []
    return [row for row in rows if row] or [[""]]


def _has_decimal_comma(rows: Sequence[Sequence[str]]) -> bool:
    cells = [cell for row in rows for cell in row]
    has_commas = any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    return has_commas and not any(_DECIMAL_POINT.fullmatch(cell) for cell in cells)


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or DATE.match(cell) or re.match(r"\d\d?:\d\d", cell))


def _has_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: a text above values, or what a wide table counts up."""
    first = rows[0]
    if len(rows) == 1:
        return not any(_is_value(name) for name in first)
    for k, name in enumerate(first):
        below = next((row[k] for row in rows[1:] if k < len(row) and row[k]), "")
        if not _is_value(name) and below and _is_value(below):
            return True
    numbers = [int(name) for name in first if name.isdecimal() and len(name) < 10]
    dates = [name for name in first if DATE.match(name)]
    counts_up = all(b - a == 1 for a, b in itertools.pairwise(numbers))
    return (counts_up and len(numbers) >= _WIDE) or len(dates) >= 3


def _names(found: Sequence[str]) -> list[str]:
    """A name for each column, none twice."""
    names: list[str] = []
    for k, name in enumerate(found, start=1):
        wanted = name or f"column {k}"
        names.append(wanted if wanted not in names else f"{wanted} ({k})")
    return names


def _parsed(path: Path, content: bytes, delimiter: str, decimal: str, skipped: int, names: list[str]) -> Any:
    try:
        return pd.read_csv(
            io.BytesIO(content),
            sep=r"\s+" if delimiter == " " else delimiter,
            header=None, names=names, index_col=False, skiprows=skipped, decimal=decimal,
            skip_blank_lines=False, skipinitialspace=True, low_memory=False, encoding_errors="replace",
        )  # fmt: skip
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if found is None:
            problem = "has a quote that does not end" if "EOF" in str(error) else "is not a table"
            raise InputError(problem, file=path, fix="give a value, or as many, in each line") from error
        problem = f"has {found[3]} cells, where others have {found[1]}"
        raise InputError(problem, file=path, line=int(found[2]), fix="correct the line") from error
