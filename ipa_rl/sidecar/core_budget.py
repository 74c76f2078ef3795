"""What a decision becomes where it takes more cores than there are: the exact optimum under the budget.

First the observed load that all stages carry, as far as the budget lets; then the decision's own variants and
batch sizes, or else those that run, where they carry as much; then the objective of the integer program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Problem, capped, cost_cores, fill_s, scores
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.model_estimate import ROUNDING, capacity_rps, rate_rps, replicas_for
from ipa_rl.solvers import merge as kernel


@dataclass(frozen=True, slots=True)
class _Pair:
    """A variant at a batch size: what one replica takes and gives, and how long a request takes in it.

    ``most``: replicas.
    """

    variant: str
    batch: int
    cores: int
    rate_rps: float
    latency_s: float
    score: float
    most: int

    def replicas(self, rate_rps: float) -> int:
        """The fewest that carry a rate."""
        return replicas_for(rate_rps, self.rate_rps)


_BEAM, _MOST = 64, 2000
"""Partial choices that are kept: for a first answer, and for the exact one, of very long pipelines only."""

_Offered = list[list[_Pair]]
"""Pairs to choose from, by stage."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A budget of cores, and at most so many replicas a stage; caps of the problem hold too."""

    problem: Problem
    budget: int
    most_replicas: int

    def of(
        self,
        wanted: Configuration,
        present: Sequence[StageConfig | None],
        held: Sequence[bool],
        load_rps: float,
    ) -> Configuration:
        """The decision where it is within the budget; else the optimum, or the cheapest where nothing is.

        ``present``: what runs, None where it is not known. ``held``: whether the variant of a stage is to
        stay, which is lifted where the budget cannot be kept otherwise. ``load_rps``: observed, NaN where it
        is not known; then what the decision would carry counts.
        """
        stages = self.problem.pipeline.stages
        if cost_cores(self.problem.pipeline, wanted) <= self.budget:
            return wanted
        each = list(zip(stages, wanted.stages, strict=True))
        planned_rps = min(capacity_rps(stage, one) for stage, one in each)
        goal_rps = load_rps if load_rps > 0 else planned_rps
        offered = self._offered(wanted, held, goal_rps)
        if self._highest_rps(offered, goal_rps) is None:
            offered = self._offered(wanted, [False] * len(held), goal_rps)
        best_rps = self._highest_rps(offered, goal_rps)
        if best_rps is None:
            cheapest = [[min(pairs, key=lambda pair: pair.cores)] for pairs in offered]
            return _least(cheapest, 0.0)
        running = [own if one is None else one for own, one in zip(wanted.stages, present, strict=True)]
        for kept in (wanted.stages, running):
            own = [[self._pair_of(stage, one)] for stage, one in zip(stages, kept, strict=True)]
            if (self._highest_rps(own, goal_rps) or 0.0) >= best_rps:
                return _least(own, self._highest_rps(own, max(goal_rps, planned_rps)) or 0.0)
        return _least(self._best(offered, best_rps), best_rps)

    def _offered(self, wanted: Configuration, held: Sequence[bool], load_rps: float) -> _Offered:
        """All pairs of every stage, only those of the wanted variant where it is held, that meet the SLA.

        Where no choice of them meets it, latency does not count.
        """
        stages, weights = self.problem.pipeline.stages, self.problem.weights
        offered = [
            [
                _Pair(
                    variant.name,
                    batch,
                    variant.cores,
                    rate,
                    latency_s + float(fill_s(batch, load_rps)),
                    score,
                    most,
                )
                for variant, score in zip(stage.variants, scores(stage, weights), strict=True)
                if not stays or variant.name == one.variant
                for batch, rate, latency_s in zip(
                    variant.batches, variant.throughput_rps, variant.latency_p99_s, strict=True
                )
                if (most := self._most(stage, variant.name, batch)) > 0
            ]
            for stage, one, stays in zip(stages, wanted.stages, held, strict=True)
        ]
        fastest_s = sum(min(pair.latency_s for pair in pairs) for pairs in offered)
        if fastest_s > self.problem.sla_s:
            return [[replace(pair, latency_s=0.0) for pair in pairs] for pairs in offered]
        return offered

    def _highest_rps(self, offered: _Offered, goal_rps: float) -> float | None:
        """The highest rate up to a goal that fits; None where not even one replica a stage does."""
        if not self._fits(offered, 0.0):
            return None
        counts = np.arange(1, self.most_replicas + 1)
        reached = [counts * pair.rate_rps for pairs in offered for pair in pairs]
        rates = np.unique(np.minimum(np.concatenate(reached), goal_rps))
        low, high = -1, len(rates) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(offered, float(rates[middle])) else (low, middle - 1)
        return 0.0 if low < 0 else float(rates[low])

    def _fits(self, offered: _Offered, rate_rps: float) -> bool:
        able = self._able(offered, rate_rps)
        cheapest = [_cheapest(pairs, rate_rps) for pairs in able if pairs]
        cores = sum(pair.replicas(rate_rps) * pair.cores for pair in cheapest)
        if len(cheapest) < len(able) or cores > self.budget:
            return False
        if sum(pair.latency_s for pair in cheapest) <= self.problem.sla_s:
            return True
        # Cores and latency alone count.
        alike = [[replace(pair, score=1.0) for pair in pairs] for pairs in able]
        return self._search(_columns(alike, rate_rps, 0.0, 0.0), -math.inf, _MOST) is not None

    def _able(self, offered: _Offered, rate_rps: float) -> _Offered:
        return [[one for one in pairs if one.replicas(rate_rps) <= one.most] for pairs in offered]

    def _pair_of(self, stage: Stage, one: StageConfig) -> _Pair:
        """What a stage is asked for, whatever its latency."""
        cores, most = stage.variant(one.variant).cores, self._most(stage, one.variant, one.batch)
        return _Pair(one.variant, one.batch, cores, rate_rps(stage, one), 0.0, 0.0, most)

    def _most(self, stage: Stage, variant: str, batch: int) -> int:
        return capped(self.problem.caps, stage.name, variant, batch, self.most_replicas)

    def _best(self, offered: _Offered, rate_rps: float) -> _Offered:
        """The pair of each stage with the highest objective within budget and SLA, at a rate that fits."""
        weights = self.problem.weights
        able = self._able(offered, rate_rps)
        columns = _columns(able, rate_rps, weights.beta, weights.delta)
        known = self._search(columns, -math.inf, _BEAM)
        floor = -math.inf if known is None else known[0] - 1e-9 * max(1.0, abs(known[0]))
        found = self._search(columns, floor, _MOST)
        if found is None:
            return [[_cheapest(pairs, rate_rps)] for pairs in able]
        return [[pairs[pick]] for pairs, pick in zip(able, found[1], strict=True)]

    def _search(self, columns: list[FloatArray], floor: float, most: int) -> tuple[float, IntArray] | None:
        """The highest objective and the choice of each stage; None where nothing reaches ``floor``.

        Stage after stage the choices are kept that no other one beats in cores, latency, penalty and score,
        and that may still reach the floor; where there are more than ``most``, those that promise most, are
        cheapest and quickest.
        """
        alpha, limits = self.problem.weights.alpha, np.array([self.budget, self.problem.sla_s]) + ROUNDING
        sums, score, picks = np.zeros((3, 1)), np.ones(1), np.zeros((0, 1), dtype=np.int64)
        for column, (least, slope, offset) in zip(columns, _rests(columns, alpha), strict=True):
            count = column.shape[1]
            sums = (sums[:, :, None] + column[:3, None, :]).reshape(3, -1)
            score = (score[:, None] * column[3]).ravel()
            picks = np.vstack([np.repeat(picks, count, axis=1), np.tile(np.arange(count), picks.shape[1])])
            promise = (np.outer(score, slope) + offset).max(axis=1) - sums[2]
            within = (sums[:2] + least[:, None] <= limits[:, None]).all(axis=0) & (promise >= floor)
            kept = np.flatnonzero(within)
            kept = kept[_unbeaten(sums[:, kept], score[kept])]
            if len(kept) > most:
                orders = (-promise[kept], sums[0, kept], sums[1, kept])
                kept = kept[np.unique(np.concatenate([np.argsort(one)[:most] for one in orders]))]
            sums, score, picks = sums[:, kept], score[kept], picks[:, kept]
        if not len(score):
            return None
        values = alpha * score - sums[2]
        best = int(np.lexsort((sums[0], -values))[0])
        return float(values[best]), picks[:, best]


def _rests(columns: list[FloatArray], alpha: float) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """What those after each stage can add: least cores and latency; slope and offset of the best gains."""
    least, penalty, score = np.zeros(2), np.zeros(1), np.ones(1)
    rests = []
    for column in reversed(columns):
        rests.append((least, *kernel.envelope(penalty, score, alpha)))
        least = least + column[:2].min(axis=1)
        penalty, score = (penalty[:, None] + column[2]).ravel(), (score[:, None] * column[3]).ravel()
        kept = kernel.pareto(np.zeros(len(penalty)), penalty, score)
        penalty, score = penalty[kept], score[kept]
    return rests[::-1]


def _cheapest(pairs: list[_Pair], rate_rps: float) -> _Pair:
    return min(pairs, key=lambda pair: pair.replicas(rate_rps) * pair.cores)


def _least(chosen: _Offered, rate_rps: float) -> Configuration:
    """The fewest replicas of the chosen pairs that carry a rate."""
    return Configuration(
        tuple(StageConfig(pair.variant, pair.batch, pair.replicas(rate_rps)) for (pair,) in chosen)
    )


def _columns(offered: _Offered, rate_rps: float, beta: float, delta: float) -> list[FloatArray]:
    """Cores, latency, penalty and score of the pairs of each stage at a rate, (4, pairs)."""
    found = []
    for pairs in offered:
        cores = [pair.replicas(rate_rps) * pair.cores for pair in pairs]
        penalty = [beta * own + delta * pair.batch for own, pair in zip(cores, pairs, strict=True)]
        latency_s, score = [pair.latency_s for pair in pairs], [pair.score for pair in pairs]
        found.append(np.array([cores, latency_s, penalty, score], dtype=np.float64))
    return found


def _unbeaten(sums: FloatArray, score: FloatArray) -> IntArray:
    """Positions of the choices that no other one equals or beats in all."""
    rows = np.vstack([sums, -score])
    kept = np.zeros((4, 0))
    positions: list[int] = []
    for position in np.lexsort(rows[::-1]):
        own = rows[:, position, None]
        if not (kept <= own).all(axis=0).any():
            kept = np.hstack([kept, own])
            positions.append(int(position))
    return np.array(positions, dtype=np.int64)
