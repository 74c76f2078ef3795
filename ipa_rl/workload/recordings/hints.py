"""What a user says of a file where a look is not enough."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ipa_rl.errors import InputError, quoted

Unit = Literal["s", "ms", "us", "ns"]
US: dict[str, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Microseconds of each unit."""

UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_SECONDS = {
    "ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0,
}  # fmt: skip


@dataclass(frozen=True)
class Hints:
    """Options of an import; what is left out is found by looking.

    ``time``, ``count``, ``rate``, ``cv``: names of columns; ``unit``: of times that are numbers; ``dates``:
    their form, as ``strptime`` has it; ``zone``: of times that name none; ``interval_s``: length of a slot;
    ``start``: when the first slot begins, where the file has no dates; ``only``: a column and the value that
    rows must have there; ``decimal``: the decimal mark.
    """

    time: str | None = None
    count: str | None = None
    rate: str | None = None
    cv: str | None = None
    unit: Unit | None = None
    dates: str | None = None
    zone: str | None = None
    interval_s: float | None = None
    start: datetime.datetime | None = None
    only: tuple[str, str] | None = None
    decimal: str | None = None

    @staticmethod
    def of_texts(interval: str | None, start: str | None, only: str | None, **others: Any) -> Hints:
        """The same as they are written on the command line. Raises InputError."""
        return Hints(
            interval_s=None if interval is None else interval_s(interval),
            start=None if start is None else _start(start),
            only=None if only is None else _only(only),
            **others,
        )

    def __post_init__(self) -> None:
        if self.zone is not None:
            try:
                ZoneInfo(self.zone)
            except (KeyError, ValueError, OSError) as error:
                problem = f"no time zone {quoted(self.zone)}"
                raise InputError(problem, field="--zone", fix="write it as Europe/Berlin or UTC") from error


def interval_s(text: str) -> float:
    """Seconds of an interval. Raises InputError.

    >>> interval_s("5min"), interval_s("0.5 s"), interval_s("90")
    (300.0, 0.5, 90.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h|d|)\s*", text)
    seconds = 0.0 if found is None else float(found[1]) * _SECONDS[found[2] or "s"]
    if not 0.001 <= seconds <= 366 * 86_400:
        raise InputError(f"is {quoted(text)}", field="--interval", fix="write it as 1s, 5min, 1h or 1d")
    return seconds


def _only(text: str) -> tuple[str, str]:
    """A column and the value that is asked for. Raises InputError."""
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise InputError(f"is {quoted(text)}", field="--only", fix="write it as COLUMN=VALUE")
    return column, value


def _start(text: str) -> datetime.datetime:
    """A moment. Raises InputError."""
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"is {quoted(text)}", field="--start", fix="write it as 2024-05-01T00:00") from error
