"""Errors that the person who wrote the input can mend; the command line prints them in one line."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

LONGEST_VALUE, _LONGEST_FIELD, _LONGEST_PART = 60, 120, 400
LONGEST_REASON = 500
_LINES_NAMED = 5


def printable(text: str) -> str:
    r"""The text in one line: what has no shape of its own (newlines, control characters, half pairs) escaped.

    >>> print(printable("two\nlines, \x1b[31mred"))
    two\nlines, \x1b[31mred
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(text: str, most: int) -> str:
    """The text where it is short enough, else its begin and its end.

    >>> shortened("abcdefghij", 6)
    'abc…ij'
    """
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def one_line(text: str) -> str:
    r"""What another program wrote, where it enters: in one line, escaped, and no longer than a reason is.

    >>> print(one_line("no\n route:  \x1b[2Jgone\ud800"))
    no route: \x1b[2Jgone\ud800
    """
    return shortened(printable(" ".join(shortened(text, 10 * LONGEST_REASON).split())), LONGEST_REASON)


def quoted(value: Any) -> str:
    r"""A value in a message: one line of some 60 characters, escaped; never a whole list or mapping.

    >>> print(quoted("root:x:0:"), quoted("a\nb"), quoted(True), quoted([1, 2]), quoted(10**5000))
    'root:x:0:' 'a\nb' true a list of 2 an integer of about 5000 digits
    """
    if isinstance(value, str):
        text = printable(value[: LONGEST_VALUE + 1])
        text = f"{text[: LONGEST_VALUE - 1]}…" if len(text) > LONGEST_VALUE else text
        return f'"{text}"' if "'" in text else f"'{text}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of about {int(value.bit_length() * 0.30103)} digits"
    if isinstance(value, (int, float, datetime.date)):
        return str(value)
    if isinstance(value, Collection) and getattr(value, "shape", None) != ():  # numpy's of one number
        kind = {dict: "mapping", bytes: "sequence of bytes"}.get(type(value), "list")
        return f"a {kind} of {len(value)}"
    return f"a {type(value).__name__}"


class InputError(ValueError):
    """Bad input: names the file, the line, the field and the fix.

    The command line prints ``str(error)`` and ends with exit status 2. It is one line, whatever stands in
    the input: the parts are escaped (`printable`) and shortened.

    >>> print(InputError("is negative: -1", file="a.csv", line=3, field="cores", fix="use 1 or more"))
    a.csv:3: cores: is negative: -1; fix: use 1 or more
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        field: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem = _part(problem, _LONGEST_PART)
        self.file, self.line = file, line
        self.field = None if field is None else _part(field, _LONGEST_FIELD)
        self.fix = None if fix is None else _part(fix, _LONGEST_PART)
        named = _part(str(file), _LONGEST_PART)
        place = "" if file is None else f"{named}: " if line is None else f"{named}:{line}: "
        subject = f"{self.field}: " if field else ""
        remedy = f"; fix: {self.fix}" if fix else ""
        super().__init__(f"{place}{subject}{self.problem}{remedy}")


def _part(text: str, most: int) -> str:
    return shortened(printable(shortened(text, 10 * most)), most)


class MissingExtraError(InputError):
    """An optional part of the package is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed", fix=f"pip install 'ipa-rl[{extra}]'")


def one_a_cause(faults: Iterable[InputError]) -> list[InputError]:
    """The faults, those of one cause in one message: the same file, field and fix at several lines.

    The first of them is told, with the lines of the others. Positions in lists do not tell fields apart;
    where there are no lines, other words are another cause.

    >>> same = [InputError(f"is {n}", file="a.csv", line=n, field="cores", fix="use 1") for n in (-3, -2, -1)]
    >>> [str(one) for one in one_a_cause(same)]
    ['a.csv:-3: cores: is -3, also in lines -2, -1; fix: use 1']
    """
    causes: dict[tuple[object, ...], list[InputError]] = {}
    for fault in faults:
        field = re.sub(r"\.\d+(?=\.|$)", ".*", fault.field or "")
        words = fault.problem if fault.line is None else None
        causes.setdefault((str(fault.file), field, fault.fix, words), []).append(fault)
    told = []
    for first, *others in causes.values():
        lines = sorted({one.line for one in others if one.line is not None} - {first.line})
        more = f" and {len(lines) - _LINES_NAMED} more" if len(lines) > _LINES_NAMED else ""
        named = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_LINES_NAMED]))}{more}"
        problem = f"{first.problem}, also in {named}"
        whole = InputError(problem, file=first.file, line=first.line, field=first.field, fix=first.fix)
        told.append(whole if lines else first)
    return told
