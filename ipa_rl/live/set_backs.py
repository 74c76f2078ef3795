"""How often another sets back what was written here, and when that is left to them.

Two who write the same field undo each other for ever, and each time what one has started dies. So the first
set-back is told and written back, as a person may have meant it once; from the second on the stage is left
alone, until nobody has written for a while or a person resumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

LEFT_ALONE_FROM = 2
"""The set-back from which on a stage is left alone."""

QUIET_S = 1800.0
"""Seconds without a set-back after which a stage is written again. Each further set-back doubles them."""

LONGEST_S = 86_400.0
"""Most seconds for which a stage is left alone without another set-back."""


@dataclass(frozen=True, slots=True)
class SetBack:
    """The last of ``count`` set-backs of a stage: when (seconds since 1970), by whom, what, in words.

    ``by``: the field manager, empty where none is recorded.
    """

    count: int
    at_s: float
    by: str
    what: str

    @property
    def wait_s(self) -> float:
        """Seconds for which the stage is left alone after it; after twice as many it is forgotten."""
        return min(QUIET_S * 2.0 ** min(max(self.count - LEFT_ALONE_FROM, 0), 30), LONGEST_S)


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What an object of a stage asked for after the last write: its uid, and values by path."""

    uid: str
    values: Mapping[str, Any]


_FOUND, _ASKED = TypeAdapter(dict[str, SetBack]), TypeAdapter(dict[str, AskedFor])


@dataclass
class SetBacks:
    """By stage: the last set-back, and what was ``asked`` for last, with which the next look is compared."""

    found: dict[str, SetBack] = field(default_factory=dict)
    asked: dict[str, AskedFor] = field(default_factory=dict)

    def note(self, stage: str, by: str, what: str, now_s: float) -> SetBack:
        """Another changed what was asked for. While the stage is left alone that only makes it longer."""
        before = self._known(stage, now_s)
        count = 1 if before is None else before.count + (not self.left_alone(stage, now_s))
        self.found[stage] = SetBack(count, now_s, by, what)
        return self.found[stage]

    def left_alone(self, stage: str, now_s: float) -> str:
        """Why nothing of a stage is to be written; empty where it may be."""
        one = self._known(stage, now_s)
        if one is None or one.count < LEFT_ALONE_FROM or now_s >= one.at_s + one.wait_s:
            return ""
        until = datetime.fromtimestamp(one.at_s + one.wait_s, UTC).isoformat(timespec="seconds")
        return (
            f"set back {one.count} times by another writer, last: {one.what}; left alone until "
            f"{until.replace('+00:00', 'Z')}, unless it is set back again or a person resumes; "
            f"fix: {remedy(one.by)}, then press resume on the dashboard, or set the annotation "
            "ipa-rl.dev/paused and take it away again"
        )

    def forget(self) -> None:
        """Start fresh: a person has paused or resumed."""
        self.found.clear()
        self.asked.clear()

    def remembered(self) -> dict[str, Any]:
        """What must survive a restart or a change of leaders, as JSON holds it."""
        return asdict(self)

    def remember(self, kept: Mapping[str, Any], asked: bool) -> None:
        """Go on from what survived; ``asked``: nobody else of us can have written since.

        Raises KeyError, TypeError or ValueError where it is no such thing.
        """
        try:
            found, known = _FOUND.validate_python(kept["found"]), _ASKED.validate_python(kept["asked"])
        except ValidationError as error:
            raise ValueError("they are not set-backs") from error
        self.found, self.asked = found, known if asked else {}

    def _known(self, stage: str, now_s: float) -> SetBack | None:
        """The last set-back of a stage, None where it is so long ago that it does not count any more.

        A clock that was set back makes no wait longer than it is.
        """
        one = self.found.get(stage)
        if one is None:
            return None
        if one.at_s > now_s:
            one = self.found[stage] = replace(one, at_s=now_s)
        if now_s > one.at_s + 2.0 * one.wait_s:
            del self.found[stage]
            return None
        return one


def remedy(by: str) -> str:
    """What a person can do about two writers; ``by``: the other one's name, empty where it is not known."""
    if not by:
        return "find out who writes it (kubectl get -o yaml --show-managed-fields)"
    return f"leave the field out of what {by} writes (Argo CD: ignoreDifferences)"
