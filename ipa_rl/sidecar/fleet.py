"""One process that drives the sidecars of all pipelines of a fleet."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from ipa_rl.errors import InputError
from ipa_rl.fleet.fleet_file import Fleet
from ipa_rl.live.deadlines import Deadline
from ipa_rl.sidecar.assembly import Assembled, assemble
from ipa_rl.sidecar.process import Stop, Ticks
from ipa_rl.sidecar.settings import SidecarSettings, read_settings
from ipa_rl.sidecar.sharing import SharedResources

LOG = logging.getLogger("ipa_rl.fleet")


class FleetSidecar:
    """The sidecars of a fleet, in its order; ``closing`` ends all of them."""

    def __init__(self, fleet: Fleet, deadline: Deadline | None = None) -> None:
        self.settings, self.assembled = _read(fleet), list[Assembled]()
        members = []
        with ExitStack() as begun:  # what was begun ends where the next cannot begin
            for member, own in zip(fleet.members, self.settings, strict=True):
                one = assemble(own, deadline=deadline, shares=True)
                begun.push(one.closing)
                self.assembled.append(one)
                # a sidecar's definition has the cluster's own delays
                members.append(replace(member, definition=one.sidecar.definition))
                LOG.info("drives", extra={"pipeline": member.name, "environment": own.definition.name})
            shared = SharedResources(replace(fleet, members=tuple(members)).ledger())
            self.closing = begun.pop_all()
        electors = [one.sidecar.elector for one in self.assembled]
        for i, one in enumerate(self.assembled):
            one.sidecar.share = partial(shared.ask, i)
            one.sidecar.fellows = tuple(e for e in electors if e is not None and e is not electors[i])
            if one.campaign is not None and i:
                one.campaign.follows = electors[0]

    def run(self, stop: Stop) -> None:
        """A step of each at every tick, until the end is asked for."""
        interval_s = self.settings[0].interval_s
        for one in self.assembled:
            one.begin(interval_s)
        ticks = Ticks(interval_s, stop.wait)
        self.attempt()
        while ticks.next():
            self.attempt()

    def attempt(self) -> list[bool]:
        """One step of each, and whether it succeeded; who fails keeps what it has, and others go on."""
        return [one.sidecar.attempt() is not None for one in self.assembled]


def _read(fleet: Fleet) -> list[SidecarSettings]:
    """The settings of all sidecars. Raises InputError where they do not go together."""
    found: list[SidecarSettings] = []
    leases: dict[tuple[str | None, str], str] = {}
    for member, path in zip(fleet.members, fleet.sidecars, strict=True):
        place = f"pipelines.{member.name}.sidecar"
        if path is None:
            fix = "give the path of the pipeline's sidecar.yaml"
            raise InputError("is missing", file=fleet.file, field=place, fix=fix)
        own = read_settings(path)
        if own.definition.pipeline != member.definition.pipeline:
            problem = f"is of the environment {own.definition.name}, not {member.definition.name}"
            raise InputError(problem, file=fleet.file, field=place, fix="name the same environment in both")
        if found and own.interval_s != found[0].interval_s:
            problem = f"decides every {own.interval_s:g} s, others every {found[0].interval_s:g} s"
            raise InputError(problem, file=path, field="interval_s", fix="give all the same")
        if election := own.leader_election:
            lease = election.namespace, election.name
            if lease in leases:
                problem = f"is that of {leases[lease]} as well"
                raise InputError(problem, file=path, field="leader_election.name", fix="give each its own")
            leases[lease] = member.name
        found.append(own)
    return found
