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
from ipa_rl.fleet.choices import in_order
from ipa_rl.fleet.ledger import Grant, Ledger, Need, need_of, needed_rps
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Allotment
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.observed import Observed
from ipa_rl.solvers.transition import units_there

LOG = logging.getLogger(__name__)

MOST_NAMED = 3
"""Pipelines that are named where some are waited for."""


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
        self._granted = np.zeros((count, resources))

    def ask(self, member: int, observed: Observed, decided: Configuration | None, stays: bool) -> Shared:
        """What a pipeline, by its position, may occupy until it asks again.

        ``decided``: by its agent last, None where nothing was yet. ``stays``: nobody changes what it runs, so
        that it gets nothing more. Where the load is not known the last one counts that was; where a stage
        cannot be read, what it was seen to occupy.
        """
        definition, before = self.ledger.members[member].definition, self._needs[member]
        load_rps = before.load_rps if before is not None else math.nan
        if not observed.stale:
            load_rps = needed_rps(definition, observed.state.history_rps)
        need = need_of(
            definition, load_rps, observed.seen.state.fleet, observed.occupied(definition.problem), decided
        )
        there = in_order(units_there(definition.pipeline, need.occupied), self.ledger.resources)
        is_hidden = any(one.problem and one.asked[0] is None for one in observed.seen.stages)
        if is_hidden:
            there = np.maximum(there, self._there[member])
        self._there[member] = there
        is_known = not math.isnan(load_rps) and not (is_hidden and before is None)
        kept = there if stays or is_hidden else None
        self._needs[member] = replace(need, kept=kept) if is_known else None
        grant = self._grant(member)
        if isinstance(grant, str):
            may, told = there, grant
            allotment = Allotment(self.ledger.named(there))
        else:
            most = there if kept is not None else np.maximum(self._free(member), there)
            may, told = np.minimum(grant.may, most), grant.told
            settled = self.ledger.named(np.minimum([units for _, units in grant.allotment.units], may))
            allotment = replace(grant.allotment, units=settled, room=self.ledger.named(may))
        self._granted[member] = may
        return Shared(allotment, told)

    def _grant(self, member: int) -> Grant | str:
        """Where somebody's need is not known, or floors do not fit, nothing grows: then that, in words."""
        needs = [one for one in self._needs if one is not None]
        if len(needs) < len(self._needs):
            each = zip(self.ledger.members, self._needs, strict=True)
            names = [one.name for one, need in each if need is None]
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            return f"nothing grows until it is known what {', '.join(names[:MOST_NAMED])}{more} needs"
        try:
            return self.ledger.grants(needs)[member]
        except InputError as error:
            LOG.error("no joint optimum: %s", error)
            return f"nothing grows, as there is no joint optimum: {error}"

    def _free(self, member: int) -> FloatArray:
        """What the others neither occupy nor may grow to."""
        taken = np.delete(np.maximum(self._there, self._granted), member, axis=0)
        return np.asarray(self.ledger.limits - taken.sum(axis=0))


def under(observed: Observed, shared: Shared | None) -> Observed:
    """What agents see who decide within an allotment."""
    if shared is None:
        return observed
    return replace(observed, state=replace(observed.state, allotted=shared.allotment))
