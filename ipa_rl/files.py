"""Files: read whole, if they are files and of a size that such a file has; written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ipa_rl.errors import InputError

_CHUNK_BYTES = 16_000_000

_OTHERS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a named pipe, not a file",
    stat.S_IFSOCK: "is a socket, not a file",
    stat.S_IFCHR: "is a device, not a file",
    stat.S_IFBLK: "is a device, not a file",
}


def read_bytes(path: str | Path, most_bytes: int, fix: str) -> bytes:
    """What a file holds. Raises InputError where it is none, is too large or cannot be read.

    A named pipe or a device is not waited for.
    """
    with _opened(path, fix) as file:
        content = read_most(file, most_bytes)
    if len(content) > most_bytes:
        size = f"{most_bytes / 1e6:g} MB" if most_bytes >= 1_000_000 else f"{most_bytes / 1e3:g} kB"
        raise InputError(f"is larger than {size}", file=path, fix=fix)
    return content


def read_most(file: BinaryIO, most_bytes: int) -> bytes:
    """What an open file holds, or a little more than ``most_bytes`` of it; memory is taken as it comes."""
    content = bytearray()
    while len(content) <= most_bytes and (more := file.read(min(_CHUNK_BYTES, most_bytes + 1))):
        content += more
    return bytes(content)


def read_lines(path: str | Path, longest: int, fix: str) -> Iterator[bytes]:
    """The lines of a file one by one, so that it may be large; what is longer is cut. Raises InputError."""
    with _opened(path, fix) as file:
        while line := file.readline(longest):
            yield line
            while not line.endswith(b"\n") and (rest := file.readline(longest)):
                line = rest


def read_text(path: str | Path, most_bytes: int, fix: str) -> str:
    """Text in UTF-8, a byte order mark left out. Raises InputError as `read_bytes`, or with the line."""
    raw = read_bytes(path, most_bytes, fix)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError("is not UTF-8", file=path, line=line, fix="save it as UTF-8") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` at the end.

    A kill or a power cut leaves the old content or the new one. What goes wrong meanwhile leaves the old one.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()  # it takes room, of which a full disk has none
        raise


def write_text(text: str, path: Path) -> None:
    """Write text in UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def append(path: Path, content: bytes) -> None:
    """Add lines at the end: all of them or nothing, on lines of their own. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            content = content if file.read(1) == b"\n" else b"\n" + content  # what was cut off stays alone
        if file.write(content) < len(content):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def exists(path: str | Path) -> bool:
    """Whether something of this name is there. What cannot be a name is not there."""
    return _kind(path) != 0


def is_folder(path: str | Path) -> bool:
    """Whether a folder of this name is there, likewise."""
    return _kind(path) == stat.S_IFDIR


def is_file(path: str | Path) -> bool:
    """Whether a file of this name is there, likewise."""
    return _kind(path) == stat.S_IFREG


def _kind(path: str | Path) -> int:
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return 0


@contextmanager
def _opened(path: str | Path, fix: str) -> Iterator[BinaryIO]:
    """A file to read; what goes wrong with it meanwhile is an InputError."""
    try:
        _check_kind(os.stat(path), path, fix)  # noqa: PTH116 - the path may be one that pathlib refuses
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
            _check_kind(os.fstat(descriptor), path, fix)
            yield file
    except InputError:
        raise
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"cannot be read: {reason}", file=path, fix=fix) from error
    except ValueError as error:  # a NUL byte or half a pair in the name
        raise InputError("is not a file name", file=path, fix=fix) from error


def _check_kind(found: os.stat_result, path: str | Path, fix: str) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        raise InputError(_OTHERS.get(kind, "is not a file"), file=path, fix=fix)
