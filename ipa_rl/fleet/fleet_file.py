"""The file of a fleet: its pipelines, their priorities and floors, and what they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ipa_rl import documents
from ipa_rl.documents import Beside, Name, NonNegative, Positive, Share, StrictModel
from ipa_rl.environment.definition_file import load_beside
from ipa_rl.errors import InputError
from ipa_rl.fleet.choices import Member
from ipa_rl.fleet.ledger import Ledger

SEE = "docs/reference/fleet.md"


class MemberModel(StrictModel):
    """One pipeline: its ``environment``, a shipped name or a path relative to the file, and who comes first.

    ``priority``: so many times its utility counts beside that of others. ``floor_rps``: of its load so much
    is carried, whatever others want; ``floor_pas``: the least PAS, likewise, a fraction. ``sidecar``: its
    file of settings for `ipa-rl fleet sidecar`.
    """

    environment: Name
    priority: Positive = 1.0
    floor_rps: NonNegative = 0.0
    floor_pas: Share = 0.0
    sidecar: Beside | None = None


class FleetModel(StrictModel):
    """The file as a whole.

    ``limits``: units by resource that all pipelines together occupy at most. ``reserve``: share of these that
    stays free for replicas that start while those that they replace still serve.
    """

    limits: Annotated[dict[Name, Positive], Field(min_length=1)]
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pipelines: Annotated[dict[Name, MemberModel], Field(min_length=1)]


@dataclass(frozen=True)
class Fleet:
    """What the file says. ``sidecars``: files of settings, one a pipeline, None where none is given."""

    file: Path
    members: tuple[Member, ...]
    limits: dict[str, float]
    reserve: float
    sidecars: tuple[Path | None, ...]

    def ledger(self) -> Ledger:
        """A new ledger."""
        return Ledger(self.members, self.limits, self.reserve)


def load_fleet(path: Path) -> Fleet:
    """Read and check a fleet's file. Raises InputError: file, field, fix."""
    said = documents.load(path, FleetModel, see=SEE)
    members = []
    for name, one in said.pipelines.items():
        definition = load_beside(path, one.environment)
        members.append(Member(name, definition, one.priority, one.floor_rps, one.floor_pas))
    used = {name for one in members for name in one.definition.pipeline.resources}
    for name in said.limits:
        if name not in used:
            fix = f"use {', '.join(sorted(used))}"
            raise InputError("no pipeline occupies it", file=path, field=f"limits.{name}", fix=fix)
    sidecars = tuple(one.sidecar for one in said.pipelines.values())
    fleet = Fleet(path, tuple(members), dict(said.limits), said.reserve, sidecars)
    _check(fleet)
    return fleet


def _check(fleet: Fleet) -> None:
    """Without any load a replica of each stage must fit, and what floors ask for. Raises InputError."""
    ledger = fleet.ledger()
    try:
        ledger.joint([one.floor_rps for one in fleet.members])
    except InputError as fault:
        raise InputError(fault.problem, file=fleet.file, field=fault.field, fix=fault.fix) from fault
