"""The joint optimum of several pipelines: a choice each, within what they share.

That is a multiple-choice knapsack with a limit for each resource. Of few pipelines an integer program (HiGHS)
solves it exactly. Of many its linear relaxation tells prices of the resources, at which each pipeline takes
what is worth most to it (Everett, 1963). What that takes too much of is given back where it loses the least,
and what is left is given where it gains the most. The relaxation's optimum is that of the Lagrangian dual,
and bounds what any answer can be worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.fleet.choices import Choices
from ipa_rl.jit import FloatArray, IntArray

EXACT_UP_TO = 100
"""Fleets of more pipelines are solved by prices."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Joint:
    """A choice of each pipeline, (pipelines,), and what they are worth together, in cores.

    ``bound``: what nothing can exceed; ``worth`` itself where the answer is exact. ``prices``: worth in cores
    that a unit more of each resource would add, (resources,).
    """

    picks: IntArray
    worth: float
    bound: float
    prices: FloatArray


def joint_optimum(
    choices: Sequence[Choices], limits: FloatArray, exact_up_to: int = EXACT_UP_TO
) -> Joint | None:
    """The best choice of each pipeline within limits (resources,); None where nothing is within them.

    Exact of up to ``exact_up_to`` pipelines.
    """
    program = _Program(choices, limits)
    relaxed = program.relaxed()
    if relaxed is None:
        return None
    bound, prices = relaxed
    if len(choices) <= exact_up_to:
        picks = program.exact()
        if picks is None:
            return None
        worth = program.worth_of(picks)
        return Joint(picks, worth, worth, prices)
    picks = program.at_prices(prices)
    if picks is None:  # what the relaxation mixes may be more than choices can keep to
        return joint_optimum(choices, limits, exact_up_to=len(choices))
    return Joint(picks, program.worth_of(picks), bound, prices)


def needed(choices: Sequence[Choices], resources: Sequence[str], limits: FloatArray) -> InputError:
    """Why nothing is within the limits."""
    least = np.sum([one.units.min(axis=0) for one in choices], axis=0)
    lacking = [i for i, (own, most) in enumerate(zip(least, limits, strict=True)) if own > most + _ROUNDING]
    told = ", ".join(f"{limits[i]:g} of {resources[i]}, {least[i]:g} are needed" for i in lacking)
    problem = told or "no choice of each pipeline is within them"
    return InputError(problem, field="limits", fix="raise them, or lower floors")


class _Program:
    """The choices of all pipelines one after the other, arrays (choices,)."""

    def __init__(self, choices: Sequence[Choices], limits: FloatArray) -> None:
        self.worth = np.concatenate([one.worth for one in choices])
        self.units = np.concatenate([one.units for one in choices])
        counts = np.array([len(one.worth) for one in choices])
        self.first = np.cumsum(counts) - counts
        self.whose = np.repeat(np.arange(len(choices)), counts)
        self.limits = limits * (1.0 + _ROUNDING) + _ROUNDING

    def relaxed(self) -> tuple[float, FloatArray] | None:
        """The optimum of mixtures, and the prices of resources; None where nothing is within the limits."""
        solver = self._solved(whole=False)
        if solver is None:
            return None
        duals = np.array(solver.getSolution().row_dual)[len(self.first) :]
        return -float(solver.getInfo().objective_function_value), np.maximum(-duals, 0.0)

    def exact(self) -> IntArray | None:
        """The integer program's choices; None where nothing is within the limits."""
        solver = self._solved(whole=True)
        return None if solver is None else self._best_of(np.array(solver.getSolution().col_value))

    def _solved(self, whole: bool) -> Any:
        """HiGHS with an answer; None where there is none. ``whole``: choices are not mixed."""
        from ipa_rl.solvers.highs import Columns, has_optimum, program_of  # which takes long to import

        pipelines, resources = len(self.first), len(self.limits)
        # Of each choice, a column: one of its pipeline, and its units.
        entries = np.column_stack([np.ones(len(self.worth)), self.units])
        rows = np.broadcast_to(pipelines + np.arange(-1, resources), entries.shape).copy()
        rows[:, 0], is_there = self.whose, entries != 0.0
        starts = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))])
        columns = Columns(starts, rows[is_there], entries[is_there])
        least = np.concatenate([np.ones(pipelines), np.full(resources, -np.inf)])
        most = np.concatenate([np.ones(pipelines), self.limits])
        solver = program_of(-self.worth, np.ones(len(self.worth)), columns, least, most, whole)
        solver.setOptionValue("mip_rel_gap", 0.0)
        solver.run()
        return solver if has_optimum(solver) else None

    def at_prices(self, prices: FloatArray) -> IntArray | None:
        """What each pipeline takes at these prices, brought within the limits and filled up."""
        picks = self._best_of(self.worth - self.units @ prices - _ROUNDING * self.units.sum(axis=1))
        for best_step in (self._given_back, partial(self._given, prices=prices)):
            while (step := best_step(picks)) is not None:
                picks[self.whose[step]] = step - self.first[self.whose[step]]
        return picks if (self._taken(picks) <= self.limits).all() else None

    def worth_of(self, picks: IntArray) -> float:
        """Of a choice of each pipeline."""
        return float(self.worth[self.first + picks].sum())

    def _taken(self, picks: IntArray) -> FloatArray:
        return np.asarray(self.units[self.first + picks].sum(axis=0), dtype=np.float64)

    def _best_of(self, values: FloatArray) -> IntArray:
        """The position of the highest among each pipeline's choices."""
        highest = np.maximum.reduceat(values, self.first)
        order = np.flatnonzero(values >= highest[self.whose])
        owners, at = np.unique(self.whose[order], return_index=True)
        return np.asarray(order[at] - self.first[owners])

    def _given_back(self, picks: IntArray) -> int | None:
        """A choice that takes less of what is exceeded, at the least loss; None where there is none."""
        taken, now = self._taken(picks), self.first + picks
        over = np.maximum(taken - self.limits, 0.0)
        if not over.any():
            return None
        then = taken + self.units - self.units[now][self.whose]
        eased = ((over - np.maximum(then - self.limits, 0.0)) / self.limits).sum(axis=1)
        able = eased > _ROUNDING  # each step comes nearer, so that there are not many
        if not able.any():
            return None
        lost = self.worth[now][self.whose] - self.worth
        return int(np.flatnonzero(able)[np.argmin(lost[able] / eased[able])])

    def _given(self, picks: IntArray, prices: FloatArray) -> int | None:
        """A choice that is worth more and fits, worth the most for its price; None where there is none."""
        left = self.limits - self._taken(picks)
        now = self.first + picks
        more = self.units - self.units[now][self.whose]
        gained = self.worth - self.worth[now][self.whose]
        able = (gained > _ROUNDING) & (more <= left).all(axis=1)
        if not able.any():
            return None
        return int(np.flatnonzero(able)[np.argmax(gained[able] - more[able] @ prices)])
