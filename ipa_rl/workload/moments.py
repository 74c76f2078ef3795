"""Moments of a workload as people give them: seconds from its begin, or times where it has a clock."""

from __future__ import annotations

import datetime
import math

from ipa_rl.errors import InputError, quoted
from ipa_rl.workload.workload import Workload


def second_of(workload: Workload, moment: str, option: str) -> int:
    """The second of a workload that somebody means by 86400, 2026-03-01 or 2026-03-01T08:00.

    A time without a zone is in that of the workload. Raises InputError, which names the ``option``.
    """
    last = len(workload.loads)
    fix = f"give seconds from its begin, 0 to {last}"
    if workload.begin is not None:
        fix += f", or a time, {said(workload, 0)} to {said(workload, last)}"
    try:
        second = _second(workload, moment)
    except (ValueError, OverflowError) as error:
        problem = "is neither a number nor a time"
        if workload.begin is None:
            problem = f"is not a number, and {workload.name} has no clock"
        raise InputError(f"{quoted(moment)} {problem}", field=option, fix=fix) from error
    if not 0 <= second <= last:
        raise InputError(f"{quoted(moment)} lies outside of {workload.name}", field=option, fix=fix)
    return round(second)


def _second(workload: Workload, moment: str) -> float:
    """By number or ISO 8601. Raises ValueError."""
    try:
        second = float(moment)
    except ValueError:
        if workload.begin is None:
            raise
        at = datetime.datetime.fromisoformat(moment)
        second = ((at if at.tzinfo else at.replace(tzinfo=workload.zone)) - workload.begin).total_seconds()
    return second if math.isfinite(second) else -1.0


def said(workload: Workload, second: int) -> str:
    """A second as people read it: local date and time of a workload that has a clock, else the number."""
    if workload.begin is None:
        return str(second)
    at = (workload.begin + datetime.timedelta(seconds=second)).astimezone(workload.zone).replace(tzinfo=None)
    return at.isoformat(timespec="seconds" if at.second else "minutes")
