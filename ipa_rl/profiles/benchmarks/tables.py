"""CSV files of benchmark tools: rows by the names of their columns, with their lines."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipa_rl.errors import InputError, quoted
from ipa_rl.files import read_lines, read_text

MOST_BYTES = 200_000_000
_THOUSANDS = re.compile(r",(?=\d{3}(?:\D|$))")


@dataclass(frozen=True)
class Row:
    """One row; fields without the blanks around them. ``has_decimal_commas``: as where ; or tabs separate."""

    path: Path
    line: int
    fields: dict[str, str]
    has_decimal_commas: bool

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.path.name}:{self.line}"

    def text(self, *columns: str) -> str:
        """What stands in the first of these columns that the file has; none: nothing."""
        return next((self.fields[name] for name in columns if name in self.fields), "")

    def number(self, column: str, least: float = 0.0) -> float:
        """A number above ``least``. Raises InputError."""
        text = self.text(column)
        plain = text.replace(",", ".") if self.has_decimal_commas else _THOUSANDS.sub("", text)
        try:
            value = float(plain)
        except ValueError:
            value = math.nan
        if not least < value < math.inf:
            fix = "correct the number, or remove the row"
            raise InputError(f"is {quoted(text)}", file=self.path, line=self.line, field=column, fix=fix)
        return value

    def known(self, column: str) -> float | None:
        """Likewise; None where the file has no such column, or nothing in it."""
        return self.number(column) if self.text(column) else None

    def count(self, *columns: str) -> int | None:
        """A whole number; None where the file has no such column, or none or 0 in it. Raises InputError."""
        text = self.text(*columns)
        if text in ("", "0"):
            return None
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            fix, field = "give a whole number", next(name for name in columns if name in self.fields)
            raise InputError(f"is {quoted(text)}", file=self.path, line=self.line, field=field, fix=fix)
        return int(text)


_MOST_DIGITS = 18
"""Of a count; Python refuses to convert some thousands of digits."""


@dataclass(frozen=True)
class Table:
    """The first table of a file: what follows a blank line is another's."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def need(self, columns: Sequence[str], tool: str) -> None:
        """Raise InputError where one of the columns is missing."""
        for column in columns:
            if column not in self.columns:
                fix = f"give the CSV that {tool} writes, as it is"
                raise InputError("column is missing", file=self.path, line=1, field=column, fix=fix)


def read_table(path: Path) -> Table:
    """A file's table. Raises InputError."""
    text = read_text(path, MOST_BYTES, "give the file of a benchmark").strip("\r\n")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        lines = list(_until_blank(csv.reader(io.StringIO(text, newline=""), delimiter=separator)))
    except csv.Error as error:
        raise InputError(f"cannot be read as CSV: {error}", file=path, fix="save it as plain CSV") from error
    if len(lines) < 2:
        raise InputError("has no rows", file=path, fix="give the file of a benchmark")
    columns = tuple(name.strip() for name in lines[0][1])
    rows = []
    for line, values in lines[1:]:
        if len(values) != len(columns):
            problem = f"{len(values)} fields for {len(columns)} columns"
            raise InputError(problem, file=path, line=line, fix="quote fields that hold the separator")
        fields = dict(zip(columns, map(str.strip, values), strict=True))
        rows.append(Row(path, line, fields, separator != ","))
    return Table(path, columns, tuple(rows))


def read_start(path: Path) -> str:
    """The first line of a file in which something stands. Raises InputError."""
    lines = read_lines(path, 20_000, "give the file of a benchmark")
    texts = (line.decode("utf-8-sig", "replace").strip() for line in lines)
    return next(filter(None, texts), "")


def _until_blank(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for values in reader:
        if not any(map(str.strip, values)):
            return
        yield reader.line_num, values  # type: ignore[attr-defined]
