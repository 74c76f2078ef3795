"""What the sidecars of a fleet share: each asks, in its own step, what its pipeline may occupy.

Whoever asks is answered by what is known of all: of itself now, of the others as they last asked. What the
others occupy, or may grow to, is never given away, so that all together stay within the limits whoever is
late, paused or cannot be reached.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.fleet.ledger import Grant, Ledger, Need, needed_rps
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Allotment
from ipa_rl.sidecar.observed import Observed
from ipa_rl.simulation.tables import decode, ready_rows, replicas_there
from ipa_rl.solvers.cut import carried_rps
from ipa_rl.solvers.transition import units_there

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """What a pipeline may occupy, and in words where it gives way or waits."""

    allotment: Allotment
    told: str

    def entry(self) -> dict[str, object]:
        """For the decision log."""
        own = self.allotment
        return {"units": dict(own.units), "room": dict(own.room), "told": self.told}


class SharedResources:
    """Answers the sidecars of a fleet; one thread asks."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        count, resources = len(ledger.members), len(ledger.resources)
        self._needs: list[Need | None] = [None] * count
        self._there = np.zeros((count, resources))
        self._granted = np.full((count, resources), math.inf)

    def ask(self, member: int, observed: Observed) -> Shared:
        """What a pipeline, by its position, may occupy until it asks again.

        Where the load is not known the last one counts that was.
        """
        definition = self.ledger.members[member].definition
        occupied = replicas_there(definition.problem, observed.seen.state.fleet)
        units = units_there(definition.pipeline, occupied)
        there = np.array([units.get(name, 0.0) for name in self.ledger.resources])
        self._there[member] = there
        before = self._needs[member]
        if not observed.stale or before is not None:
            load_rps = before.load_rps if before is not None else 0.0
            if not observed.stale:
                load_rps = needed_rps(definition, observed.state.history_rps)
            ready = decode(definition.problem, ready_rows(observed.seen.state.fleet))
            self._needs[member] = Need(load_rps, occupied, carried_rps(definition.pipeline, ready))
        grant = self._grant(member)
        if grant is None:
            may, told = there, "what the others need is not known yet"
            allotment = Allotment(self.ledger.named(there))
        else:
            may, told = np.minimum(grant.may, np.maximum(self._free(member), there)), grant.told
            settled = self.ledger.named(np.minimum([most for _, most in grant.allotment.units], may))
            allotment = replace(grant.allotment, units=settled, room=self.ledger.named(may))
        self._granted[member] = may
        return Shared(allotment, told)

    def _grant(self, member: int) -> Grant | None:
        """None where somebody's need is not known, or floors do not fit: then nothing grows."""
        needs = [one for one in self._needs if one is not None]
        if len(needs) < len(self._needs):
            return None
        try:
            return self.ledger.grants(needs)[member]
        except InputError as error:
            LOG.error("no joint optimum: %s", error)
            return None

    def _free(self, member: int) -> FloatArray:
        """What the others neither occupy nor may grow to."""
        taken = np.maximum(self._there, np.where(np.isinf(self._granted), self._there, self._granted))
        return np.asarray(self.ledger.limits - np.delete(taken, member, axis=0).sum(axis=0))


def under(observed: Observed, shared: Shared | None) -> Observed:
    """What agents see who decide within an allotment."""
    if shared is None:
        return observed
    return replace(observed, state=replace(observed.state, allotted=shared.allotment))
