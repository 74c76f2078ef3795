"""Steers: the ways to ask the exact optimum, and its answers, between which planner and policy choose.

The integer program answers for one moment. It is asked for several loads to plan for, among all variants
and among those that run now, without and with what requests wait for a replica. What was decided last is one
more answer. So whoever chooses needs to know nothing of stages, variants and replicas: to it pipelines of any
shape are alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ipa_rl.environment.definition import Definition, make_room
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.objective import units_of
from ipa_rl.simulation.tables import build_variants, decode

FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5)
"""On the reference load: what the optimum is asked for."""
GRID = 1.03
"""Loads that the optimum is asked for are this factor apart, so that its answers are found again."""
MOST_KINDS, MOST_KEPT = 100, 1000
"""In so many ways the optimum is asked, for so many loads each: answers that are kept at most."""
LEAST_RPS = 1e-6
"""No load counts as less."""

Variants = tuple[int, ...]
"""A variant of each stage."""
Question = tuple[Variants | None, int, bool]
"""What the optimum is asked: among all variants (None) or one a stage, for what load, with waits or not."""


@dataclass(frozen=True)
class Steer:
    """How the optimum is asked: for what load, and whether among the variants that run now only.

    ``factor``: on the reference load; None asks nothing, and what was decided last goes on.
    ``counts_waits``: whether its latency counts what requests wait for a replica.
    """

    factor: float | None
    keeps_variants: bool = False
    counts_waits: bool = False


@dataclass(frozen=True)
class Answers:
    """Every steer with an answer of its own: ``rows`` (steers, stages, 3), as `decode` takes them.

    ``planned_rps``: the load that was planned for; of what was decided last, what this can carry. ``held``:
    that, (stages, 3).
    """

    steers: tuple[Steer, ...]
    rows: IntArray
    planned_rps: FloatArray
    held: IntArray

    def where(self, kept: NDArray[np.bool_]) -> Answers:
        """Some of them, (steers,)."""
        steers = tuple(one for one, is_kept in zip(self.steers, kept, strict=True) if is_kept)
        return Answers(steers, self.rows[kept], self.planned_rps[kept], self.held)

    @cached_property
    def keep_variants(self) -> NDArray[np.bool_]:
        """Which were asked among the variants that run now."""
        return np.array([one.keeps_variants for one in self.steers])

    @cached_property
    def count_waits(self) -> NDArray[np.bool_]:
        """Which were asked with the waits for a replica."""
        return np.array([one.counts_waits for one in self.steers])

    @cached_property
    def go_on(self) -> NDArray[np.bool_]:
        """Which were not asked for: what was decided last, where no other steer has it as its answer."""
        return np.array([one.factor is None for one in self.steers])

    @cached_property
    def are_held(self) -> NDArray[np.bool_]:
        """Which are what was decided last, whether asked for or not."""
        return np.asarray((self.rows == self.held).all(axis=(1, 2)))


def on_grid(loads_rps: FloatArray) -> IntArray:
    """The loads of the grid that are not below these, as powers of GRID."""
    exponents = np.log(np.maximum(loads_rps, LEAST_RPS)) / math.log(GRID)
    return np.asarray(np.ceil(exponents - 1e-9), dtype=np.int64)


@dataclass
class Optima:
    """The exact optimum of an environment, asked in several ways; its answers are kept.

    ``until_s``: when the thread has used so many seconds of the processor, it is asked for nothing new; what
    was left out is asked for by `catch_up`.
    """

    definition: Definition
    until_s: float = math.inf
    _asked: list[int] = field(default_factory=list, init=False, repr=False)
    _missed: dict[Question, None] = field(default_factory=dict, init=False, repr=False)

    def answers(
        self, held: IntArray, reference_rps: float, loads_rps: Sequence[float], first_rps: float
    ) -> Answers:
        """All answers for these loads, sorted, and what was ``held`` (stages, 3).

        ``first_rps`` is asked for first, should there be no time for others.
        """
        running: Variants = tuple(held[:, 0].tolist())
        found: dict[tuple[bool, bytes], tuple[Steer, float]] = {}
        usual, *powers = on_grid(np.array([first_rps, *loads_rps])).tolist()
        asked: dict[int, float] = {}
        for power, load_rps in zip(powers, loads_rps, strict=True):
            asked.setdefault(power, load_rps)
        self._asked, held_rps = [usual, *asked], self.capacity_rps(held)
        for waits, variants in product((False, True), (None, running)):
            keeps = variants is not None
            self.rows(variants, usual, waits)
            for power, load_rps in asked.items():
                rows = self.rows(variants, power, waits)
                if (key := (keeps, rows.tobytes())) not in found:
                    found[key] = Steer(load_rps / reference_rps, keeps, waits), load_rps
            if self._is_within(held):
                found.setdefault((keeps, held.tobytes()), (Steer(None, keeps), held_rps))
        steers, planned_rps = zip(*found.values(), strict=True)
        answers = np.frombuffer(bytearray().join(rows for _, rows in found), dtype=held.dtype)
        return Answers(steers, answers.reshape(-1, *held.shape), np.array(planned_rps), held)

    def rows(self, variants: Variants | None, power: int, waits: bool = False) -> IntArray:
        """The optimum for a load on the grid, (stages, 3): of all variants, or of one a stage.

        ``waits``: whether it counts what requests wait for a replica. Where it is too late to ask (`until_s`)
        it is the answer for the nearest load above that is known, or for the highest.
        """
        if (variants, waits) not in self._known:
            make_room(self._known, MOST_KINDS)
            self._known[variants, waits] = {}
        known = self._known[variants, waits]
        if power not in known:
            if known and self.until_s < math.inf and time.thread_time() > self.until_s:
                make_room(self._missed, MOST_KEPT)
                self._missed[variants, power, waits] = None
                return known[min((one for one in known if one > power), default=max(known))]
            load_rps = float(f"{GRID**power:.6g}")
            asked = self._with_waits if waits else self.definition
            kept = asked if variants is None else asked.keeping(variants)
            rows = kept.rows_for(load_rps).copy()
            rows[:, 0] = rows[:, 0] if variants is None else variants
            make_room(known, MOST_KEPT)
            known[power] = rows
        return known[power]

    def catch_up(self, variants: Variants, within_s: float) -> None:
        """Ask what there was no time for, and the last loads among ``variants``, which run from now on.

        Until the thread has used so many seconds of the processor more.
        """
        later = ((variants, power, waits) for waits in (False, True) for power in self._asked)
        wanted, self.until_s = [*self._missed, *later], math.inf
        ends_s = time.thread_time() + within_s
        for one in wanted:
            if time.thread_time() > ends_s:
                return
            self.rows(*one)
            self._missed.pop(one, None)

    def _is_within(self, rows: IntArray) -> bool:
        """Whether (stages, 3) keeps the limits of resources, as what was decided before may not."""
        problem = self.definition.problem
        if not problem.limits:
            return True
        used = units_of(problem.pipeline, decode(problem, rows))
        return all(used.get(name, 0.0) <= units * (1.0 + 1e-9) for name, units in problem.limits)

    def capacity_rps(self, rows: IntArray) -> float:
        """The load of the pipeline that (stages, 3) can carry."""
        rates = self.variants["rate_rps"][np.arange(len(rows)), rows[:, 0], rows[:, 1]]
        visits = self.definition.pipeline.graph.each_visits(rows[:, 0])
        return float((rows[:, 2] * rates / visits).min())

    @cached_property
    def variants(self) -> Records:
        """Of all stages, as the simulators know them."""
        return build_variants(self.definition.problem, self.definition.timing)

    @cached_property
    def _known(self) -> dict[tuple[Variants | None, bool], dict[int, IntArray]]:
        return {}

    @cached_property
    def _with_waits(self) -> Definition:
        return self.definition.with_problem(waits=True)
