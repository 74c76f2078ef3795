"""The decision log: one line of JSON a step, in files that rotate.

Every line can be read alone, so that a file cut anywhere loses one line at most. `ipa_rl.sidecar.explain`
reads it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ipa_rl.errors import InputError, printable
from ipa_rl.files import append

LOG = logging.getLogger(__name__)

VERSION = 1

Entry: TypeAlias = Mapping[str, Any]
"""A step, made or failed; docs/reference/sidecar.md lists the fields."""


class EntryLog(Protocol):
    """Where the entries of all steps go."""

    def write(self, entry: Entry) -> None:
        """One step, made or failed; floats may be NaN."""
        ...


class DecisionLog:
    """A file of JSON lines; at ``size_bytes`` a new one begins, and ``backups`` old ones are kept.

    Opened for every line, so that a file that was moved or deleted meanwhile is started again. What cannot be
    written, on a full disk say, is told once and left out; what was written stays whole. Raises InputError
    where the file cannot be written at first.
    """

    def __init__(self, path: Path, size_bytes: int, backups: int) -> None:
        self._path, self._size_bytes, self._backups = path, size_bytes, backups
        self._trouble = Trouble("the decision log", path)
        try:
            append(path, b"")
        except OSError as error:
            problem, fix = (
                f"cannot be written to: {(error.strerror or str(error)).lower()}",
                "give another path",
            )
            raise InputError(problem, file=path, field="decision_log.path", fix=fix) from error

    def write(self, entry: Entry) -> None:
        """One line."""
        text = json.dumps(loggable(entry), ensure_ascii=False, separators=(",", ":"))
        line = text.encode(errors="backslashreplace") + b"\n"
        with self._trouble.told():
            if self._path.exists() and self._path.stat().st_size + len(line) > self._size_bytes:
                self._rotate()
            append(self._path, line)

    def _rotate(self) -> None:
        files = [self._path, *(Path(f"{self._path}.{k + 1}") for k in range(self._backups))]
        for older, newer in reversed(list(zip(files[1:], files, strict=False))):
            if newer.exists():
                newer.replace(older)
        self._path.unlink(missing_ok=True)  # where none is kept


class Trouble:
    """That a file cannot be written, told once, and that it can be again. ``what``: in words."""

    def __init__(self, what: str, file: Path) -> None:
        self._what, self._file = what, str(file)
        self._lost = 0

    @contextmanager
    def told(self) -> Iterator[None]:
        """Around the writing; an OSError ends here."""
        try:
            yield
        except OSError as error:
            if not self._lost:
                reason = error.strerror or str(error)
                LOG.warning("%s cannot be written: %s", self._what, reason, extra={"file": self._file})
            self._lost += 1
            return
        if self._lost:
            lost = {"file": self._file, "lost": self._lost}
            LOG.warning("%s can be written again", self._what, extra=lost)
            self._lost = 0


def loggable(value: Any) -> Any:
    r"""The value as JSON and every terminal take it.

    None for what JSON has no number for, floats to six digits; what cannot be printed is escaped.

    >>> loggable({"load": float("nan"), "said": "\x1b[2J"})
    {'load': None, 'said': '\\x1b[2J'}
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {loggable(key): loggable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [loggable(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def timestamp(epoch_s: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
