"""Named arrays in a ``.npz`` file, checked against what they should be before any is read.

The directory of the archive and the arrays' headers say names, types, shapes and sizes; only then is memory
taken. Nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ipa_rl.errors import InputError
from ipa_rl.files import read_bytes, replacing

MOST_BYTES = 64_000_000
_MOST_ARRAYS, _LONGEST_HEADER = 1000, 10_000
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '([<>|=][biufU]\d{1,9})', 'fortran_order': (True|False), "
    r"'shape': \(([\d, ]{0,200})\), \} *\n"
)
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError,
    KeyError, ValueError, OverflowError, MemoryError,
)  # fmt: skip
"""What the zip reader raises on a file that is none, was cut off, is encrypted or of another version."""


@dataclass(frozen=True)
class Header:
    """What an array will be. ``shape``: entries by axis."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool = False

    def rows(self) -> int | None:
        """Entries of the first axis; None where there is none."""
        return self.shape[0] if self.shape else None

    def columns(self) -> int | None:
        """Entries of the last axis; None where there is none."""
        return self.shape[-1] if self.shape else None

    def __str__(self) -> str:
        return f"{self.dtype.name} {self.shape}"


Headers = Mapping[str, Header]
Wanted = dict[str, tuple[str, tuple[int | None, ...]]]
"""By name: type ("f4", or "U" for texts) and shape, None for any number of entries."""
Check = Callable[[Headers], str]
"""Says what is wrong with the arrays of a file before they are read; empty where they fit."""


def read_arrays(path: Path, check: Check, what: str, fix: str) -> dict[str, NDArray[Any]]:
    """The arrays of a file. Raises InputError.

    ``what``: the file should be, as "policy"; ``fix``: how it is made.
    """
    content = read_bytes(path, MOST_BYTES, fix)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            headers = _headers(archive)
            problem = check(headers)
            if not problem:
                arrays = {name: _read(archive, name, header) for name, header in headers.items()}
    except _BROKEN as error:
        raise InputError(f"is no readable {what}", file=path, fix=fix) from error
    if problem:
        raise InputError(f"is no {what}: {problem}", file=path, fix=fix)
    return arrays


def write_arrays(arrays: Mapping[str, ArrayLike], path: Path, *, compressed: bool = False) -> None:
    """Write named arrays, whole or not at all; nothing in the file runs on loading."""
    with replacing(path) as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]


def misfit(headers: Headers, wanted: Wanted) -> str:
    """What is wrong where each of ``wanted`` should be there; empty where they all are."""
    for name, (kind, shape) in wanted.items():
        if name not in headers:
            return f"lacks the array {name}"
        found = headers[name]
        fits = len(found.shape) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, found.shape, strict=True)
        )
        is_kind = found.dtype.kind == kind if len(kind) == 1 else found.dtype == np.dtype(kind)
        if not (fits and is_kind):
            axes = ", ".join("any" if one is None else str(one) for one in shape)
            return f"the array {name} is {found}, not {np.dtype(kind).name} ({axes})"
    return ""


def check_finite(arrays: Mapping[str, NDArray[Any]], path: Path, fix: str) -> None:
    """Raise InputError where an array holds a number that is not finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("holds numbers that are not finite", file=path, field=name, fix=fix)


def _headers(archive: zipfile.ZipFile) -> dict[str, Header]:
    entries = archive.infolist()
    names = {entry.filename.removesuffix(".npy") for entry in entries}
    if len(entries) > _MOST_ARRAYS or len(names) < len(entries):
        raise ValueError("too many arrays, or two of a name")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise ValueError("too large")
    found = {}
    for entry in entries:
        with archive.open(entry) as file:
            header, begins = _header(file.read(_LONGEST_HEADER + 12))
        if begins + header.dtype.itemsize * math.prod(header.shape) != entry.file_size:
            raise ValueError("an array of another size than its header says")
        found[entry.filename.removesuffix(".npy")] = header
    return found


def _header(begin: bytes) -> tuple[Header, int]:
    """The header of an ``.npy`` file, and where its numbers begin. Raises ValueError."""
    if begin[:6] != _MAGIC or begin[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise ValueError("no array")
    form, start = ("<H", 10) if begin[6] == 1 else ("<I", 12)
    (length,) = struct.unpack_from(form, begin, 8)
    text = begin[start : start + length].decode("latin-1")
    matched = _HEADER.fullmatch(text)
    if matched is None or len(text) < length:
        raise ValueError("no array of plain numbers or texts")
    axes = [one.strip() for one in matched[3].split(",")]
    shape = tuple(int(one) for one in axes if one)
    return Header(np.dtype(matched[1]), shape, matched[2] == "True"), start + length


def _read(archive: zipfile.ZipFile, name: str, header: Header) -> NDArray[Any]:
    entry = next(one for one in archive.infolist() if one.filename.removesuffix(".npy") == name)
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    size = header.dtype.itemsize * math.prod(header.shape)
    if len(content) != entry.file_size:
        raise ValueError("an array of another size than the archive says")
    flat = np.frombuffer(content, dtype=header.dtype, offset=len(content) - size)
    array = flat.reshape(header.shape, order="F" if header.is_fortran else "C").copy(order="K")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
