"""Errors that the person who wrote the input can mend; the command line prints them in one line."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Bad input: names the file, the line, the field and the fix.

    The command line prints ``str(error)`` and ends with exit status 2.

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
        self.problem, self.file, self.line, self.field, self.fix = problem, file, line, field, fix
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        subject = f"{field}: " if field else ""
        remedy = f"; fix: {fix}" if fix else ""
        super().__init__(f"{place}{subject}{problem}{remedy}")


class MissingExtraError(InputError):
    """An optional part of the package is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed", fix=f"pip install 'ipa-rl[{extra}]'")
