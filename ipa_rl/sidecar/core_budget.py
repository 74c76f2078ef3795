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
from ipa_rl.objective import Problem, cost_cores, fill_s, stage_loads_rps
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.model_estimate import ROUNDING, capacities_rps, rate_rps, replicas_for
from ipa_rl.solvers import merge as kernel
from ipa_rl.solvers.options import Pairs, only, stage_pairs

_BEAM, _MOST = 64, 2000
"""Partial choices that are kept: for a first answer, and for the exact one, of very long pipelines only."""


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
        if not self.problem.pipeline.graph.is_chain:
            return self._thinned(wanted)
        planned_rps = min(capacities_rps(self.problem.pipeline, wanted))
        goal_rps = load_rps if load_rps > 0 else planned_rps
        whole = stage_pairs(replace(self.problem, max_replicas=self.most_replicas, fixed_replicas=None))
        for stays in (held, [False] * len(held)):
            offered = self._offered(whole, wanted, stays, goal_rps)
            best_rps = self._highest_rps(offered, goal_rps)
            if best_rps is not None:
                break
        else:
            return self._least([only(pairs, [pairs.cores.argmin()]) for pairs in offered], 0.0)
        running = [own if one is None else one for own, one in zip(wanted.stages, present, strict=True)]
        for kept in (wanted.stages, running):
            own = []
            for stage, pairs, one in zip(stages, whole, kept, strict=True):
                same = (pairs.variant == stage.index(one.variant)) & (pairs.batch == one.batch)
                own.append(only(_unhurried(pairs), same))
            own_rps = self._highest_rps(own, goal_rps)
            if own_rps is not None and own_rps >= best_rps:
                return self._least(own, self._highest_rps(own, max(goal_rps, planned_rps)) or 0.0)
        return self._least(self._best(offered, best_rps), best_rps)

    def _thinned(self, wanted: Configuration) -> Configuration:
        """Of a graph the same with fewer replicas, so that all stages carry the same share of the load.

        Where one replica of each is too much, one of each stage's smallest variant.
        """
        pipeline = self.problem.pipeline
        visits = stage_loads_rps(pipeline, wanted, 1.0)
        rates = [
            rate_rps(stage, one) / own
            for stage, one, own in zip(pipeline.stages, wanted.stages, visits, strict=True)
        ]
        loads_rps = sorted(
            {
                0.0,
                *(
                    count * rate
                    for one, rate in zip(wanted.stages, rates, strict=True)
                    for count in range(1, one.replicas + 1)
                ),
            }
        )
        low, high = -1, len(loads_rps) - 1
        while low < high:
            middle = (low + high + 1) // 2
            fits = cost_cores(pipeline, _carrying(wanted, rates, loads_rps[middle])) <= self.budget
            low, high = (middle, high) if fits else (low, middle - 1)
        if low >= 0:
            return _carrying(wanted, rates, loads_rps[low])
        smallest = [min(stage.variants, key=lambda one: one.cores) for stage in pipeline.stages]
        return Configuration(tuple(StageConfig(one.name, one.batches[0], 1) for one in smallest))

    def _offered(
        self, whole: list[Pairs], wanted: Configuration, held: Sequence[bool], load_rps: float
    ) -> list[Pairs]:
        """All pairs of every stage, only those of the wanted variant where it is held, that meet the SLA.

        ``service_s`` is with the batch fill. Where no choice of them meets the SLA, latency does not count.
        """
        offered = []
        stages = self.problem.pipeline.stages
        for stage, pairs, one, stays in zip(stages, whole, wanted.stages, held, strict=True):
            filled = replace(pairs, service_s=pairs.service_s + fill_s(pairs.batch, load_rps))
            offered.append(only(filled, (pairs.variant == stage.index(one.variant)) | (not stays)))
        fastest_s = sum(float(pairs.service_s.min()) for pairs in offered)
        return [_unhurried(pairs) for pairs in offered] if fastest_s > self.problem.sla_s else offered

    def _highest_rps(self, offered: list[Pairs], goal_rps: float) -> float | None:
        """The highest rate up to a goal that fits; None where not even one replica a stage does."""
        if not self._fits(offered, 0.0):
            return None
        counts = np.arange(1, self.most_replicas + 1)
        reached = [np.outer(counts, pairs.rate_rps).ravel() for pairs in offered]
        rates = np.unique(np.minimum(np.concatenate(reached), goal_rps))
        low, high = -1, len(rates) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(offered, float(rates[middle])) else (low, middle - 1)
        return 0.0 if low < 0 else float(rates[low])

    def _fits(self, offered: list[Pairs], rate_rps: float) -> bool:
        columns = [self._columns(pairs, rate_rps) for pairs in _able(offered, rate_rps)]
        cheapest = [column[:2, column[0].argmin()] for column in columns if column.size]
        cores, latency_s = np.sum(cheapest, axis=0) if cheapest else (0.0, 0.0)
        if len(cheapest) < len(columns) or cores > self.budget:
            return False
        if latency_s <= self.problem.sla_s:
            return True
        for column in columns:  # cores and latency alone count
            column[2], column[3] = 0.0, 1.0
        return self._search(columns, -math.inf, _MOST) is not None

    def _columns(self, pairs: Pairs, rate_rps: float) -> FloatArray:
        """Cores, latency, penalty and score of the pairs of a stage at a rate, (4, pairs)."""
        cores, weights = _replicas(pairs, rate_rps) * pairs.cores, self.problem.weights
        penalty = weights.beta * cores + weights.delta * pairs.batch
        return np.array([cores, pairs.service_s, penalty, pairs.score], dtype=np.float64)

    def _best(self, offered: list[Pairs], rate_rps: float) -> list[Pairs]:
        """The pair of each stage with the highest objective within budget and SLA, at a rate that fits."""
        able = _able(offered, rate_rps)
        columns = [self._columns(pairs, rate_rps) for pairs in able]
        known = self._search(columns, -math.inf, _BEAM)
        floor = -math.inf if known is None else known[0] - 1e-9 * max(1.0, abs(known[0]))
        found = self._search(columns, floor, _MOST)
        picks = [column[0].argmin() for column in columns] if found is None else found[1]
        return [only(pairs, [pick]) for pairs, pick in zip(able, picks, strict=True)]

    def _least(self, chosen: list[Pairs], rate_rps: float) -> Configuration:
        """The fewest replicas of the one pair of each stage that carry a rate."""
        found = []
        for stage, one in zip(self.problem.pipeline.stages, chosen, strict=True):
            count = int(_replicas(one, rate_rps)[0])
            found.append(StageConfig(stage.variants[one.variant[0]].name, int(one.batch[0]), count))
        return Configuration(tuple(found))

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
            promise = kernel.highest(slope, offset, score) - sums[2]
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


def _carrying(wanted: Configuration, rates: Sequence[float], load_rps: float) -> Configuration:
    """The same with as many replicas as carry a load of the pipeline, no more than are wanted."""
    pairs = zip(wanted.stages, rates, strict=True)
    counts = (min(one.replicas, replicas_for(load_rps, rate)) for one, rate in pairs)
    return Configuration(
        tuple(replace(one, replicas=n) for one, n in zip(wanted.stages, counts, strict=True))
    )


def _rests(columns: list[FloatArray], alpha: float) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """What those after each stage can add: least cores and latency; slope and offset of the best gains."""
    least, slope, offset = np.zeros(2), np.array([alpha]), np.zeros(1)
    rests = []
    for column in reversed(columns):
        rests.append((least, slope, offset))
        least = least + column[:2].min(axis=1)
        slope, offset = kernel.before(column[2], column[3], slope, offset)
    return rests[::-1]


def _unhurried(pairs: Pairs) -> Pairs:
    """The pairs of a stage where latency does not count."""
    return replace(pairs, service_s=np.zeros(len(pairs.batch)))


def _able(offered: list[Pairs], rate_rps: float) -> list[Pairs]:
    """The pairs of each stage that carry a rate within their limit of replicas."""
    return [only(pairs, _replicas(pairs, rate_rps) <= pairs.limit) for pairs in offered]


def _replicas(pairs: Pairs, rate_rps: float) -> FloatArray:
    """The fewest replicas of each pair that carry a rate."""
    return np.maximum(np.ceil(rate_rps / pairs.rate_rps - ROUNDING), 1.0)


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
