"""PAS and mean cores that no controller can exceed together, whatever it knows of the loads to come.

What serves a load must be served by one variant in each stage, at most at its best throughput, and one
replica of each stage is always there. So of a stage whose variants v serve shares x_v of a load lambda, the
mean cores are no fewer than each of

    sum x_v lambda c_v / h_v    and    c + sum x_v lambda (c_v - c) / h_v,    c the least of the c_v,

with divisible replicas, changes for free and queues of any length. Both are linear in the shares; of which of
the two is counted in which stage, any choice bounds the pipeline. PAS is the mean over the combinations of
variants that served. For every price of a core the bound is thus reached by one combination, and what no
price allows is out of reach. In a graph a stage serves so many requests for each as the combination says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipa_rl.blocks import Block, scores_along, tree_of
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Correction, corrected, corrections
from ipa_rl.pipeline import Pipeline

MOST_LISTED = 1_000_000
"""Of the combinations of a graph's variants."""

_PRICES = 400
_POINTS = 120


def frontier(pipeline: Pipeline, served_rps: Sequence[float], most_cores: float) -> FloatArray:
    """The highest PAS x 100 for mean cores up to ``most_cores``: (points, 2), cores and PAS x 100.

    ``served_rps``: the load that was served in each window; PAS and cores are means over windows. Raises
    InputError where a graph has more than MOST_LISTED combinations of variants.
    """
    cores = [np.array([one.cost_cores for one in stage.variants]) for stage in pipeline.stages]
    rates = [np.array([max(one.throughput_rps) for one in stage.variants]) for stage in pipeline.stages]
    accuracies = [np.array([one.accuracy for one in stage.variants]) for stage in pipeline.stages]
    least = np.array([one.min() for one in cores])
    prices = np.concatenate([[0.0], np.logspace(-6, 1, _PRICES) / least.sum()])
    reached = np.full((len(served_rps), len(prices)), np.inf)
    known = combinations_of(pipeline, accuracies, corrections(pipeline))
    lightest_first = np.argsort([1.0 / one.max() for one in rates])
    for count in range(len(cores) + 1):
        # Of the stages in which the one replica that is always there is counted.
        floors = np.zeros(len(cores))
        floors[lightest_first[:count]] = least[lightest_first[:count]]
        per_rps = [(c - floor) / h for c, floor, h in zip(cores, floors, rates, strict=True)]
        spent, scores, _ = known.best(per_rps)
        paid = np.multiply.outer(np.asarray(served_rps), spent)[:, :, None] * prices
        reached = np.minimum(reached, (scores[None, :, None] - paid).max(axis=1) - floors.sum() * prices)
    found = np.linspace(least.sum(), max(most_cores, least.sum()), _POINTS)
    highest = (reached.mean(axis=0) + np.multiply.outer(found, prices)).min(axis=1)
    return np.column_stack([found, 100.0 * highest])


def best_combinations(
    costs: Sequence[FloatArray], scores: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray, IntArray]:
    """The combinations of one variant a stage that are best at some price, cheapest first; not by trying all.

    ``costs``, ``scores``: of each stage's variants. A combination's cost is the sum, its score the product.
    Costs (combinations,), scores (combinations,), variants (combinations, stages).
    """
    cost, score, chosen = np.zeros(1), np.ones(1), np.zeros((1, 0), dtype=np.int64)
    for own_cost, own_score in zip(costs, scores, strict=True):
        one, variant = np.indices((len(cost), len(own_cost))).reshape(2, -1)
        cost, score = cost[one] + own_cost[variant], score[one] * own_score[variant]
        kept = upper_hull(cost, score)  # whatever the other stages add, the best is among these
        cost, score = cost[kept], score[kept]
        chosen = np.column_stack([chosen[one[kept]], variant[kept]])
    return cost, score, chosen


def combinations_of(
    pipeline: Pipeline, figures: Sequence[FloatArray], some: Sequence[Correction], unit: float = 1.0
) -> Chained | Listed:
    """The combinations of one variant a stage; ``figures``: of each stage's, whose product is the score.

    ``some``: what corrects it where stages were measured together; ``unit``: what the figures of the first
    stage are multiplied by. Raises InputError where a graph, or stages of these, have more than MOST_LISTED.
    """
    is_product = pipeline.graph.is_chain and not some
    return Chained(figures) if is_product else Listed(pipeline, figures, some, unit)


class Chained:
    """The combinations of a chain: a request for each stage. ``fewest``: of each stage for one, (stages,)."""

    def __init__(self, figures: Sequence[FloatArray]) -> None:
        self.figures, self.fewest = figures, np.ones(len(figures))

    def best(self, costs: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray, IntArray]:
        """As `best_combinations`; a stage's costs are for each of its requests."""
        return best_combinations(costs, self.figures)

    def visits_of(self, variants: IntArray) -> FloatArray:
        """Requests that must come to each stage for each one of the pipeline, (combinations, stages)."""
        return np.ones(variants.shape)


class Listed:
    """All combinations of a graph's variants: their scores, and the requests that come to each stage.

    Where the first of several arms is awaited nobody need serve the others: their work is free, and the most
    accurate counts. A stage that may have less than one request of each counts as always right, as the
    others' answers do not depend on it, and so do those that were measured together with it. ``figures``,
    ``some``, ``unit``: as `combinations_of` has them. ``variants``, ``visits``: (combinations, stages);
    ``fewest`` as of a chain. Raises InputError where they are more than MOST_LISTED.
    """

    def __init__(
        self, pipeline: Pipeline, figures: Sequence[FloatArray], some: Sequence[Correction], unit: float
    ) -> None:
        self.graph, counts = pipeline.graph, [len(one) for one in figures]
        many = math.prod(counts)
        if many > MOST_LISTED:
            problem = f"has {many:,} combinations of variants, {MOST_LISTED:,} at most are bounded"
            raise InputError(problem, field=pipeline.name, fix="leave variants out, or ask for no bound")
        tree = tree_of(self.graph)
        self.free = sorted(_awaited_first(tree)) if tree is not None else []
        self.variants: IntArray = np.indices(counts).reshape(len(counts), -1).T
        levels = self.graph.each_visits(self.variants) / self.graph.reached
        own = np.stack([one[self.variants[:, s]] for s, one in enumerate(figures)], axis=1)
        is_right: NDArray[np.bool_] = np.asarray(levels < 1.0 - 1e-9)
        for one in some:
            together = [*one.others, one.last]
            is_right[:, together] = np.any(is_right[:, together], axis=1)[:, None]
        best = np.where(np.arange(len(counts)) == self.graph.source, unit, 1.0)
        own = np.where(is_right, best, corrected(own, self.variants, some))
        self.scores, self.visits = scores_along(self.graph, own, at_best=True), self.visits_of(self.variants)
        self.fewest = self.visits.min(axis=0)

    def visits_of(self, variants: IntArray) -> FloatArray:
        """As of a chain; of stages that nobody need await none."""
        found = self.graph.each_visits(variants)
        found[:, self.free] = 0.0
        return found

    def best(self, costs: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray, IntArray]:
        """As of a chain."""
        spent = np.zeros(len(self.variants))
        for s, one in enumerate(costs):
            spent += one[self.variants[:, s]] * self.visits[:, s]
        kept = upper_hull(spent, self.scores)
        return spent[kept], self.scores[kept], self.variants[kept]


def _awaited_first(block: Block) -> set[int]:
    """The stages in arms of which the first is awaited."""
    found = set[int]()
    for part in block.parts:
        if not isinstance(part, int):
            for arm in part.arms:
                found |= set(_stages(arm.block)) if part.kind == "first" else _awaited_first(arm.block)
    return found


def _stages(block: Block) -> list[int]:
    found = []
    for part in block.parts:
        found += [part] if isinstance(part, int) else [s for arm in part.arms for s in _stages(arm.block)]
    return found


def upper_hull(costs: FloatArray, scores: FloatArray) -> list[int]:
    """Which points are on the concave front of high score at low cost, cheapest first."""
    kept: list[int] = []
    for k in np.lexsort((-scores, costs)).tolist():
        if kept and scores[k] <= scores[kept[-1]]:
            continue
        while len(kept) > 1 and _is_below(kept[-1], kept[-2], k, costs, scores):
            kept.pop()
        kept.append(k)
    return kept


def _is_below(middle: int, low: int, high: int, costs: FloatArray, scores: FloatArray) -> bool:
    """Whether a point is on or below the line between its neighbours."""
    rise = (scores[high] - scores[low]) * (costs[middle] - costs[low])
    return bool((scores[middle] - scores[low]) * (costs[high] - costs[low]) <= rise)
