"""Named arrays in a ``.npz`` file, checked against what they should be before any is read.

The directory of the archive and the arrays' headers say names, types, shapes and sizes; only then is memory
taken. Nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from ipa_rl.errors import InputError
from ipa_rl.files import read_bytes, replacing

MOST_BYTES = 64_000_000
_MOST_ARRAYS = 1000
_PLAIN = "biufU"
_FORMATS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
    KeyError, ValueError, TypeError, OverflowError, MemoryError, SyntaxError, TokenError, Warning,
)  # fmt: skip
"""What zipfile raises on a file that is not an archive, was cut off, is encrypted or of another version, and
numpy on a header that it cannot parse, which is Python in its eyes."""


@dataclass(frozen=True)
class Header:
    """What an array will be. ``shape``: entries by axis."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

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


def read_arrays(
    path: Path, check: Check, what: str, fix: str, most_bytes: int = MOST_BYTES
) -> dict[str, NDArray[Any]]:
    """The arrays of a file. Raises InputError.

    ``what``: the file should be, as "policy"; ``fix``: how it is made; ``most_bytes``: of file and of arrays.
    """
    content = read_bytes(path, most_bytes, fix)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            headers = _headers(archive, most_bytes)
            problem = check(headers)
            if not problem:
                entries = zip(headers, archive.infolist(), strict=True)
                arrays = {name: _read(archive, entry) for name, entry in entries}
    except _BROKEN as error:
        raise InputError(f"is not a readable {what}", file=path, fix=fix) from error
    if problem:
        raise InputError(f"is not a {what}: {problem}", file=path, fix=fix)
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


def check_finite(arrays: Mapping[str, NDArray[Any]], path: Path | None, fix: str) -> None:
    """Raise InputError where an array holds a number that is not finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("holds numbers that are not finite", file=path, field=name, fix=fix)


def _headers(archive: zipfile.ZipFile, most_bytes: int) -> dict[str, Header]:
    entries = archive.infolist()
    names = {entry.filename.removesuffix(".npy") for entry in entries}
    if len(entries) > _MOST_ARRAYS or len(names) < len(entries):
        raise ValueError("too many arrays, or two of a name")
    if sum(entry.file_size for entry in entries) > most_bytes:
        raise ValueError("too large")
    found = {}
    for entry in entries:
        with archive.open(entry) as file:
            read_header = _FORMATS[npy.read_magic(file)]
            with warnings.catch_warnings(action="error"):  # at a header of Python 2, which nobody here wrote
                shape, _, dtype = read_header(file)
            if dtype.kind not in _PLAIN:
                raise ValueError("no array of plain numbers or texts")
            if file.tell() + dtype.itemsize * math.prod(shape) != entry.file_size:
                raise ValueError("an array of another size than its header says")
        found[entry.filename.removesuffix(".npy")] = Header(dtype, shape)
    return found


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
