"""A file's content as a table, whatever wrote it: found by looking at its first bytes."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pandas as pd

from ipa_rl.errors import InputError, quoted
from ipa_rl.files import read_bytes, read_most
from ipa_rl.workload.recordings.csv_text import read_csv

_MOST_BYTES = 2_000_000_000
_FIX = "give CSV, JSON lines, Parquet, npz, or one number a line; gzip and xz are unpacked"


@dataclass(frozen=True)
class Sheet:
    """Rows of a file. ``frame``: pandas.DataFrame, its index the number of each line or row, from 1.

    ``has_names``: whether the file names its columns. ``form``: what the file is, in words. ``faults``: what
    was found to be wrong.
    """

    file: Path
    frame: Any
    has_names: bool
    form: str
    faults: list[InputError] = field(default_factory=list)

    def fault(self, where: Any, problem: Callable[[Any], str], values: Any, column: str, fix: str) -> None:
        """Note what is wrong with the values at ``where`` (a mask by row), if anything is."""
        rows = np.flatnonzero(np.asarray(where, dtype=bool))
        if not len(rows):
            return
        lines = [int(self.frame.index[row]) for row in rows[:6]]
        rest = f" and {len(rows) - 6} more" if len(rows) > 6 else ""
        others = f", also in line{'s' * (len(rows) > 2)} {', '.join(map(str, lines[1:]))}{rest}"
        hints = problem(np.asarray(values, dtype=object)[rows[0]]) + (others if len(rows) > 1 else "")
        self.faults.append(InputError(hints, file=self.file, line=lines[0], field=column, fix=fix))

    def column(self, name: str, option: str) -> str:
        """A column that was asked for by its name. Raises InputError with the known ones."""
        if name in self.frame.columns:
            return name
        known = ", ".join(map(str, self.frame.columns[:12]))
        raise InputError(f"has no column {quoted(name)}", file=self.file, field=option, fix=f"use {known}")

    def only(self, chosen: tuple[str, str] | None) -> Sheet:
        """The rows that have a value in a column. Raises InputError where none has."""
        if chosen is None:
            return self
        name, value = chosen
        rows = self.frame[self.frame[self.column(name, "--only")].astype(str) == value]
        if not len(rows):
            fix = f"{name} is {', '.join(map(str, self.frame[name].unique()[:5]))}"
            raise InputError(f"no row has {name} {quoted(value)}", file=self.file, field="--only", fix=fix)
        return Sheet(self.file, rows, self.has_names, self.form, self.faults)


def read_sheet(path: Path, decimal: str | None) -> Sheet:
    """The file's rows. Raises InputError where it cannot be read."""
    content, packing = _unpacked(path, read_bytes(path, _MOST_BYTES, "give the file that holds the requests"))
    if not content.strip():
        raise InputError("is empty", file=path, fix=_FIX)
    if content[:4] == b"PAR1":
        frame, has_names, form = *_parquet(path, content), "Parquet"
    elif content[:4] == b"PK\x03\x04" or content[:6] == b"\x93NUMPY":
        frame, has_names, form = *_arrays(path, content), "NumPy"
    elif content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in b"[{" and not _is_log(content):
        frame, has_names, form = *_json(path, content), "JSON"
    else:
        frame, has_names, form = read_csv(path, content, decimal)
    frame = frame.dropna(how="all").dropna(how="all", axis="columns")
    if not len(frame):
        raise InputError("has no rows", file=path, fix=_FIX)
    return Sheet(path, frame, has_names, form + packing)


def _unpacked(path: Path, content: bytes) -> tuple[bytes, str]:
    """What gzip or xz packed, and which of them."""
    for name, mark, opened in (("gzip", b"\x1f\x8b", gzip.open), ("xz", b"\xfd7zXZ\x00", lzma.open)):
        if not content.startswith(mark):
            continue
        try:
            with opened(io.BytesIO(content)) as file:
                unpacked = read_most(cast(BinaryIO, file), _MOST_BYTES)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise InputError(f"is not whole {name}", file=path, fix="pack it again") from error
        if len(unpacked) > _MOST_BYTES:
            raise InputError(f"holds more than {_MOST_BYTES / 1e9:g} GB", file=path, fix="give a part of it")
        return unpacked, f", {name}"
    return content, ""


def _is_log(content: bytes) -> bool:
    """Whether lines begin with a time in brackets, as a web server writes it, not with a list."""
    return content[:1] == b"[" and b"]" in content[1:40] and content[1:2].isdigit() and b":" in content[1:20]


def _parquet(path: Path, content: bytes) -> tuple[Any, bool]:
    try:
        import pyarrow
    except ImportError as error:
        raise InputError("needs pyarrow", file=path, fix="pip install 'ipa-rl[data]'") from error
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (pyarrow.ArrowException, ValueError, OSError, KeyError, NotImplementedError) as error:
        raise InputError("is not a readable Parquet file", file=path, fix="write it again") from error
    frame = frame.reset_index() if frame.index.name else frame
    firsts = {name: next(iter(frame[name].dropna()), None) for name in frame}
    nested = [name for name, first in firsts.items() if isinstance(first, list | dict | np.ndarray)]
    frame = frame.drop(columns=nested)
    frame.columns = [str(name) for name in frame.columns]
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame, True


def _arrays(path: Path, content: bytes) -> tuple[Any, bool]:
    """One array: a row of numbers, or columns; several: a column each."""
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        named = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        arrays = {name: one for name, one in named.items() if isinstance(one, np.ndarray)}
    except Exception as error:  # numpy and zipfile raise whatever a broken header makes them
        raise InputError("is not a readable NumPy file", file=path, fix="write it again") from error
    longest = max((len(one) for one in arrays.values() if one.ndim), default=0)
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 2 and len(array) == longest and array.shape[1] <= 100:
            columns |= {f"{name or 'column'} {k + 1}": array[:, k] for k in range(array.shape[1])}
        elif array.ndim == 1 and len(array) == longest:
            columns[name or "column 1"] = array
    plain = {
        name: one.astype(one.dtype.newbyteorder("="))
        for name, one in columns.items()
        if one.dtype.kind in "iufMU"
    }
    if not plain:
        raise InputError("holds no rows of numbers", file=path, fix="give an array (n,) or (n, columns)")
    frame = pd.DataFrame(plain, index=pd.RangeIndex(1, longest + 1))
    return frame, "" not in arrays


def _json(path: Path, content: bytes) -> tuple[Any, bool]:
    """An object a line, or one list of objects."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        records = list(enumerate(_parsed(path, content, None), start=1))
    else:
        lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
        records = [(n, _parsed(path, line, n)) for n, line in enumerate(lines, start=1) if line.strip()]
    for n, record in records:
        if not isinstance(record, dict):
            fix = 'give an object a line, as {"time": 12.5}'
            raise InputError(f"is not an object: {quoted(record)}", file=path, line=n, fix=fix)
    rows = [
        {_plain(key): _plain(one) for key, one in row.items() if not isinstance(one, dict | list)}
        for _, row in records
    ]
    return pd.DataFrame(rows, index=[n for n, _ in records]), True


def _plain(value: Any) -> Any:
    """A value that a table can hold: texts without half pairs, no integers of hundreds of digits."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return float("inf") if isinstance(value, int) and value.bit_length() > 1000 else value


def _parsed(path: Path, text: bytes, line: int | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON", file=path, line=line, fix="write an object a line") from error


_LONGEST_NUMBER = 300
"""Digits of a cell; pandas fails at whole numbers that no float holds."""


def as_numbers(column: Any) -> Any:
    """A column's cells as numbers, NaN for those that are none, or of more digits than a number has."""
    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:
        return pd.to_numeric(column.where(column.astype(str).str.len() <= _LONGEST_NUMBER), errors="coerce")
