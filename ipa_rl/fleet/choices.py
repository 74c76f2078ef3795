"""What one pipeline of a fleet is worth, by the units of shared resources that it occupies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.agents.steers import GRID, LEAST_RPS, on_grid
from ipa_rl.environment.definition import Definition, make_room
from ipa_rl.jit import FloatArray
from ipa_rl.objective import carried_rps, objective, pas, units_of
from ipa_rl.pipeline import Configuration
from ipa_rl.solvers.cut import levels_rps
from ipa_rl.solvers.merge import unbeaten
from ipa_rl.solvers.options import Options, configuration, options, stage_pairs
from ipa_rl.solvers.search import every_best, limits_of

SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""Of its load, what a pipeline is tried to carry where there is not enough for all: what whole replicas do
next below that."""

_ANY_UNITS, _ACCURATE = 1e12, 1e6
MORE_LEVELS = 16
"""Levels between the shares beside one that was chosen."""
MOST_KEPT = 200
"""Loads at which the choices of a pipeline are kept."""


@dataclass(frozen=True)
class Member:
    """A pipeline of a fleet.

    ``priority``: so many times its utility counts. Floors come before what others want: ``floor_rps``: so
    much of its load is carried at least, ``floor_pas``: so high is its PAS at least, a fraction.
    """

    name: str
    definition: Definition
    priority: float = 1.0
    floor_rps: float = 0.0
    floor_pas: float = 0.0

    @property
    def unit(self) -> float:
        """Utility of a core, by which it is compared with others; 1 where cores cost nothing."""
        beta = self.definition.weights.beta
        return beta if beta > 0 else 1.0


@dataclass(frozen=True)
class Choices:
    """What a pipeline can run at a load, best first, arrays (choices,).

    ``units``: of each shared resource, (choices, resources). ``worth``: by the model its utility in cores,
    times its priority. ``shares``: of the load, carried; the rest counts as violated.
    """

    member: Member
    load_rps: float
    units: FloatArray
    worth: FloatArray
    shares: FloatArray
    configurations: tuple[Configuration, ...]

    def keeping(self, units: FloatArray) -> Choices:
        """The one choice of who keeps what it occupies, (resources,)."""
        first = slice(0, 1)
        return replace(
            self,
            units=units[None],
            worth=self.worth[first],
            shares=self.shares[first],
            configurations=self.configurations[first],
        )


def in_order(units: Mapping[str, float], resources: Sequence[str]) -> FloatArray:
    """Units of each of some resources, (resources,)."""
    return np.array([units.get(name, 0.0) for name in resources])


def _around(share: float) -> tuple[float, float]:
    """The next one of SHARES below, and the third one above, or all."""
    known = [*reversed(SHARES), 1.0]
    at = sum(one < share + 1e-9 for one in known)
    return known[max(at - 2, 0)], known[min(at + 2, len(known) - 1)]


class Chooser:
    """Finds the choices of a pipeline; ``resources`` are shared, in any order."""

    def __init__(self, member: Member, resources: Sequence[str]) -> None:
        self.member, self.resources = member, resources
        own = dict(member.definition.problem.limits)
        limits = {name: own.get(name, _ANY_UNITS) for name in resources} | own
        self.problem = replace(member.definition.problem, limits=tuple(limits.items()))
        self._pairs = stage_pairs(self.problem)
        self._known: dict[tuple[int, bool, tuple[float, float] | None], Choices] = {}

    def choices(self, load_rps: float, every_share: bool = False, near: float | None = None) -> Choices:
        """As `choices_at`, for a load or a little more, on a grid; the newest are kept."""
        power, around = int(on_grid(np.array([load_rps]))[0]), None if near is None else _around(near)
        key = power, every_share, around
        if key not in self._known:
            make_room(self._known, MOST_KEPT)
            self._known[key] = self.choices_at(float(f"{GRID**power:.6g}"), every_share, near)
        return self._known[key]

    def choices_at(self, load_rps: float, every_share: bool = False, near: float | None = None) -> Choices:
        """For a load; ``every_share``: also what carries only a part of it, more parts ``near`` one.

        What is below a floor is left out, unless nothing is above it.
        """
        found = self._carrying(load_rps)
        if every_share or not found:
            levels = levels_rps(self.problem, self._pairs, load_rps)
            below = np.maximum(np.searchsorted(levels, load_rps * np.array(SHARES), side="right") - 1, 0)
            floor = np.searchsorted(levels, min(self.member.floor_rps, load_rps) - 1e-9)
            picked = [*below.tolist(), min(int(floor), len(levels) - 1)]
            if near is not None:
                low, high = np.searchsorted(levels, load_rps * np.array(_around(near)))
                picked += np.linspace(low, max(high - 1, low), MORE_LEVELS).round().astype(int).tolist()
            for level in np.unique(levels[np.minimum(picked, len(levels) - 1)]).tolist():
                found += self._carrying(level)
        found = found or [self.member.definition.best_for(load_rps)]
        carried = np.array([carried_rps(self.problem.pipeline, one) for one in found])
        shares = np.minimum(carried / max(load_rps, LEAST_RPS), 1.0)
        kept = self._above_floors(found, shares, load_rps)
        found, shares = [found[i] for i in kept], shares[kept]
        worth = np.array([self._worth(one, share) for one, share in zip(found, shares.tolist(), strict=True)])
        units = np.array([in_order(units_of(self.problem.pipeline, one), self.resources) for one in found])
        zeros = np.zeros(len(found))
        order = unbeaten(np.array([zeros, -worth, zeros]), units)
        configurations = tuple(found[i] for i in order.tolist())
        return Choices(self.member, load_rps, units[order], worth[order], shares[order], configurations)

    def _carrying(self, load_rps: float) -> list[Configuration]:
        """The best for any units that carries a load, within the limits that are its own."""

        def offers(stage: int, own_rps: float) -> Options:
            return options(self.problem, self._pairs[stage], own_rps, as_released=False)

        asked, most = [self.problem], limits_of(self.problem)
        if self.member.floor_pas > 0:  # which may be more than accuracy is worth to it
            weights = self.problem.weights
            accurate = replace(weights, alpha=max(_ACCURATE * (weights.beta + weights.delta), 1.0))
            asked.append(replace(self.problem, weights=accurate))
        return [
            configuration(self.problem, picks, self._pairs)
            for one in asked
            for units, _, picks in every_best(one, offers, load_rps)
            if (units <= most).all()
        ]

    def _above_floors(self, found: list[Configuration], shares: FloatArray, load_rps: float) -> list[int]:
        """Which of them; all where none are."""
        member, kept = self.member, list(range(len(found)))
        least = min(member.floor_rps / max(load_rps, LEAST_RPS), 1.0) - 1e-9
        kept = [i for i in kept if shares[i] >= least] or kept
        accurate = [i for i in kept if pas(self.problem.pipeline, found[i]) >= member.floor_pas - 1e-9]
        return accurate or kept

    def _worth(self, chosen: Configuration, share: float) -> float:
        lost = self.problem.weights.rho * (1.0 - share)
        return self.member.priority * (objective(self.problem, chosen) - lost) / self.member.unit
