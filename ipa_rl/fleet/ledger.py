"""The way to a joint optimum: what each pipeline may occupy in the next interval.

Who is to have less lets go of it first; who is to have more gets what is free by then. So all together never
occupy more than there is, not while old and new replicas run beside each other either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ipa_rl.environment.definition import Definition
from ipa_rl.fleet.choices import Choices, Chooser, Member, in_order
from ipa_rl.fleet.joint import EXACT_UP_TO, Joint, joint_optimum, needed
from ipa_rl.jit import FloatArray, Records
from ipa_rl.objective import Allotment, units_of
from ipa_rl.objective import carried_rps as model_rps
from ipa_rl.pipeline import Configuration, Pipeline
from ipa_rl.simulation.tables import decode, ready_rows
from ipa_rl.solvers.transition import ENDING, LEAVING, Occupied, most_on_the_way, units_there

SPARE, REFERENCES = 1.2, 3
"""A pipeline is given units for so many times the mean load that came, over so many times as long as the
reference load is the highest of. On validation windows of the five pipelines on 75 to 110 cores that was
better than what the program plans for: where each is given its peak, all make do with less accurate
models for it, and the peaks do not come together. Over a shorter time what a planner starts is taken away
before it serves."""

GAIN = 0.1
"""Of what it could carry, what a pipeline must lack before it lets go of what runs for other variants."""


@dataclass(frozen=True)
class Need:
    """What a pipeline needs: for a load, beside the replicas that exist; ``carried_rps``: by those ready.

    ``decided``: what its agent decided last, whatever came of it; None where that is not known. ``kept``: of
    who is left alone the units, (resources,), that it keeps, no more and no less.
    """

    load_rps: float
    occupied: Occupied
    carried_rps: float = 0.0
    decided: Configuration | None = None
    kept: FloatArray | None = None


@dataclass(frozen=True)
class Grant:
    """What a pipeline gets, arrays (resources,).

    ``there``: what it occupies; ``may``: what it may occupy until the next grant. ``allotment``: that, and
    what of it in the end. ``told``: in words where it gives way or waits, else empty.
    """

    member: Member
    load_rps: float
    there: FloatArray
    may: FloatArray
    allotment: Allotment
    told: str


def need_of(
    definition: Definition,
    load_rps: float,
    fleet: Records,
    occupied: Occupied,
    decided: Configuration | None,
) -> Need:
    """For a load, beside what a cluster has; ``fleet``: FLEET records (stages,)."""
    problem = definition.problem
    ready = decode(problem, ready_rows(fleet))
    return Need(load_rps, occupied, model_rps(problem.pipeline, ready), decided)


def needed_rps(definition: Definition, history_rps: FloatArray) -> float:
    """The load that a pipeline is given units for, of what came, one a second, newest last."""
    seconds = REFERENCES * definition.reference_steps * definition.step_s
    return SPARE * float(history_rps[-seconds:].mean())


@dataclass(frozen=True)
class _Moves:
    """Of all pipelines, (pipelines, resources): what exists, what is wanted in the end, and the most between.

    (pipelines,): what is carried, what could be, whether replicas of other variants are in the way, and who
    keeps what it has.
    """

    there: FloatArray
    wanted: FloatArray
    on_the_way: FloatArray
    carried_rps: FloatArray
    could_rps: FloatArray
    changes: NDArray[np.bool_]
    stays: NDArray[np.bool_]


class Ledger:
    """Keeps what the pipelines of a fleet share.

    ``limits``: units by resource. ``reserve``: share of these that the joint optimum leaves free, for
    replicas that start while old ones still serve.
    """

    def __init__(self, members: Sequence[Member], limits: dict[str, float], reserve: float = 0.0) -> None:
        self.members, self.resources = tuple(members), tuple(limits)
        self.limits, self.reserve = np.array(list(limits.values()), dtype=np.float64), reserve
        self.choosers = [Chooser(member, self.resources) for member in members]

    def joint(
        self,
        loads_rps: Sequence[float],
        on_grid: bool = True,
        kept: Mapping[int, FloatArray] = MappingProxyType({}),
    ) -> tuple[list[Choices], Joint]:
        """Choices of all pipelines and the joint optimum at these loads. Raises InputError.

        ``on_grid``: for a little more, as it may be known already. ``kept``: what some keep, by position,
        (resources,); then the reserve may be theirs.
        """
        asks = [one.choices if on_grid else one.choices_at for one in self.choosers]
        pairs = list(zip(asks, loads_rps, strict=True))
        most = self.limits if kept else self.limits * (1.0 - self.reserve)
        for every_share in (False, True):
            choices = [ask(load_rps, every_share) for ask, load_rps in pairs]
            choices = [one.keeping(kept[i]) if i in kept else one for i, one in enumerate(choices)]
            found = joint_optimum(choices, most)
            if found is not None:
                is_finer = every_share and len(pairs) <= EXACT_UP_TO
                return _finer(pairs, choices, found, most) if is_finer else (choices, found)
        raise needed(choices, self.resources, most)

    def grants(self, needs: Sequence[Need]) -> list[Grant]:
        """What each pipeline may occupy until the next grant. Raises InputError if floors do not fit."""
        kept = {i: one.kept for i, one in enumerate(needs) if one.kept is not None}
        choices, joint = self.joint([one.load_rps for one in needs], kept=kept)
        picks = joint.picks.tolist()
        moves = self._moves(choices, picks, needs)
        may = self._making_room(moves, self._granted(moves))
        grants = []
        for i, (member, one, pick) in enumerate(zip(self.members, choices, picks, strict=True)):
            wanted, alone, share = moves.wanted[i], one.units[0], float(one.shares[pick])
            # Who gives way is held to that in the end; others may have what is free.
            most = np.where(wanted < alone, np.minimum(wanted, may[i]), may[i])
            allotment = Allotment(self.named(most), self.named(may[i]))
            told = self._words(wanted, may[i], moves.on_the_way[i], alone, share)
            grants.append(Grant(member, one.load_rps, moves.there[i], may[i], allotment, told))
        return grants

    def _moves(self, choices: Sequence[Choices], picks: Sequence[int], needs: Sequence[Need]) -> _Moves:
        """From what exists to what is expected of each within its part of the joint optimum."""
        rows = []
        for one, pick, need in zip(choices, picks, needs, strict=True):
            pipeline, wanted = one.member.definition.pipeline, one.units[pick]
            target = _target(pipeline, need, one.configurations[pick], dict(self.named(wanted)))
            there = units_there(pipeline, need.occupied)
            on_the_way = most_on_the_way(pipeline, target, _of_any_batch(need.occupied, target))
            units = in_order(there, self.resources), wanted, in_order(on_the_way, self.resources)
            if need.kept is not None:
                units = wanted, wanted, wanted
            could_rps = min(model_rps(pipeline, target), one.load_rps)
            changes, stays = _changes(target, need.occupied), need.kept is not None
            rows.append((*units, need.carried_rps, could_rps, changes, stays))
        return _Moves(*(np.array(column) for column in zip(*rows, strict=True)))

    def named(self, units: FloatArray) -> tuple[tuple[str, float], ...]:
        """Units (resources,) with the names of their resources."""
        return tuple(zip(self.resources, units.tolist(), strict=True))

    def _granted(self, moves: _Moves) -> FloatArray:
        """(pipelines, resources): what is free goes to who is to grow, the rest to all by their wants.

        Who needs room only to have less in the end comes first, the others by priority.
        """
        there, wanted, on_the_way = moves.there, moves.wanted, moves.on_the_way
        free = np.maximum(self.limits - there.sum(axis=0), 0.0)
        grows = on_the_way > there
        may = np.where(grows, there, np.minimum(there, wanted))
        has_less = (wanted <= there).all(axis=1) & (wanted < there).any(axis=1)
        first = np.where(has_less, 0, 1).tolist()
        for i in sorted(range(len(may)), key=lambda i: (first[i], -self.members[i].priority, i)):
            more = np.where(grows[i], np.minimum(on_the_way[i] - there[i], free), 0.0)
            may[i] += more
            free -= more
        # Who cannot change beside what runs, and holds what others wait for, lets go of it nevertheless.
        waits = may < on_the_way - 1e-9
        may = np.where(waits & (wanted < there) & (waits.sum(axis=0) > 1), wanted, may)
        unasked = np.maximum(free - self.reserve * self.limits, 0.0)
        wants = np.where(moves.stays[:, None], 0.0, wanted)
        spare = np.floor(unasked * wants / np.maximum(wants.sum(axis=0), 1e-12) + 1e-9)
        return np.asarray(np.where(may >= there, may + spare, may))

    def _making_room(self, moves: _Moves, may: FloatArray) -> FloatArray:
        """The same, but who carries far less than other variants could lets go of half, if these lack room.

        That is where what may start beside what runs would carry no more than that.
        """
        there, on_the_way, carried_rps = moves.there, moves.on_the_way, moves.carried_rps
        lacks = on_the_way > may + 1e-9
        room = np.divide(may - there, on_the_way - there, out=np.ones_like(may), where=on_the_way > there)
        started_rps = moves.could_rps * np.clip(room.min(axis=1), 0.0, 1.0)
        overloaded = moves.changes & (started_rps <= carried_rps)
        overloaded &= carried_rps < (1.0 - GAIN) * moves.could_rps
        return np.where(
            overloaded[:, None] & lacks & (may >= there), np.minimum(np.ceil(there / 2.0), there), may
        )

    def _words(
        self, wanted: FloatArray, may: FloatArray, on_the_way: FloatArray, alone: FloatArray, share: float
    ) -> str:
        """Where it gives way or waits."""
        lines = []
        for r, name in enumerate(self.resources):
            if wanted[r] < alone[r]:
                lines.append(f"gives way: {wanted[r]:g} of {alone[r]:g} {name}")
            if on_the_way[r] > may[r] + 1e-9:
                lines.append(f"no room for {on_the_way[r] - may[r]:g} {name} beside what runs")
        if share < 1.0:
            lines.append(f"carries {100.0 * share:.0f} % of its load")
        return "; ".join(lines)


def _finer(
    pairs: Sequence[tuple[Callable[[float, bool, float], Choices], float]],
    choices: list[Choices],
    found: Joint,
    most: FloatArray,
) -> tuple[list[Choices], Joint]:
    """The same, with more parts of the loads beside those that were chosen, if any is better.

    ``pairs``: who tells choices, and for what load.
    """
    more = []
    for (ask, load_rps), own, pick in zip(pairs, choices, found.picks.tolist(), strict=True):
        share = float(own.shares[pick])
        is_whole = share >= 1.0 - 1e-9 or len(own.worth) == 1
        more.append(own if is_whole else ask(load_rps, True, share))
    better = joint_optimum(more, most)
    if better is None or better.worth <= found.worth:
        return choices, found
    return more, better


def _target(
    pipeline: Pipeline, need: Need, chosen: Configuration, units: Mapping[str, float]
) -> Configuration:
    """What a pipeline is expected to make of units.

    What its agent decided, fewer replicas of it where it takes more; where that would carry far less than
    what was ``chosen`` for it, the guard comes to something like this.
    """
    if need.decided is None:
        return chosen
    taken = units_of(pipeline, need.decided)
    share = min((units.get(name, 0.0) / own for name, own in taken.items() if own > 0), default=1.0)
    counts = [math.floor(one.replicas * min(share, 1.0) + 1e-9) for one in need.decided.stages]
    if not all(counts):
        return chosen
    pairs = zip(need.decided.stages, counts, strict=True)
    fewer = Configuration(tuple(replace(one, replicas=count) for one, count in pairs))
    enough_rps = (1.0 - GAIN) * min(need.load_rps, model_rps(pipeline, chosen))
    return fewer if model_rps(pipeline, fewer) >= enough_rps else chosen


def _changes(wanted: Configuration, occupied: Occupied) -> bool:
    """Whether replicas of other variants than the wanted ones stand, without those that end."""
    pairs = zip(wanted.stages, occupied, strict=False)
    each = ((one, key, count) for one, own in pairs for key, count in own.items())
    return any(count and name != one.variant and size != ENDING for one, (name, size), count in each)


def _of_any_batch(occupied: Occupied, wanted: Configuration) -> Occupied:
    """The same, as if replicas of a wanted variant had its batch size, which is left to the guard."""
    found = []
    for own, one in zip(occupied, wanted.stages, strict=False):
        counts: dict[tuple[str, int], int] = {}
        for (name, size), count in own.items():
            key = name, one.batch if name == one.variant and size not in (ENDING, LEAVING) else size
            counts[key] = counts.get(key, 0) + count
        found.append(counts)
    return found
