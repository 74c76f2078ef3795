"""PAS and mean cores that no controller can exceed together, whatever it knows of the loads to come.

What serves a load must be served by one variant in each stage, at most at its best throughput, and one
replica of each stage is always there. So of a stage whose variants v serve shares x_v of a load lambda, the
mean cores are no fewer than each of

    sum x_v lambda c_v / h_v    and    c + sum x_v lambda (c_v - c) / h_v,    c the least of the c_v,

with divisible replicas, changes for free and queues of any length. Both are linear in the shares; of which of
the two is counted in which stage, any choice bounds the pipeline. PAS is the mean over the combinations of
variants that served. For every price of a core the bound is thus reached by one combination, and what no
price allows is out of reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.pipeline import Pipeline, Stage

_PRICES = 400
_POINTS = 120


def frontier(pipeline: Pipeline, served_rps: Sequence[float], most_cores: float) -> FloatArray:
    """The highest PAS x 100 for mean cores up to ``most_cores``: (points, 2), cores and PAS x 100.

    ``served_rps``: the load that was served in each window; PAS and cores are means over windows.
    """
    least = float(sum(min(one.cores for one in stage.variants) for stage in pipeline.stages))
    prices = np.concatenate([[0.0], np.logspace(-6, 1, _PRICES) / least])
    reached = np.full((len(served_rps), len(prices)), np.inf)
    for floored in _choices(pipeline, float(np.mean(served_rps))):
        each = zip(pipeline.stages, floored, strict=True)
        fixed = float(
            sum(min(one.cores for one in stage.variants) for stage, is_floored in each if is_floored)
        )
        cores, scores = _hull(pipeline, floored)
        spent = np.multiply.outer(np.asarray(served_rps), cores)[:, :, None] * prices
        best = (scores[None, :, None] - spent).max(axis=1) - fixed * prices
        reached = np.minimum(reached, best)
    found = np.linspace(least, max(most_cores, least), _POINTS)
    highest = (reached.mean(axis=0) + np.multiply.outer(found, prices)).min(axis=1)
    return np.column_stack([found, 100.0 * highest])


def _choices(pipeline: Pipeline, load_rps: float) -> list[tuple[bool, ...]]:
    """In which stages the one replica that is always there is counted: from none to all, lightest first."""
    work = [min(load_rps / max(one.throughput_rps) for one in stage.variants) for stage in pipeline.stages]
    order = np.argsort(work).tolist()
    return [tuple(s in order[:count] for s in range(len(work))) for count in range(len(work) + 1)]


def _hull(pipeline: Pipeline, floored: Sequence[bool]) -> tuple[FloatArray, FloatArray]:
    """Cores for each request a second, and accuracy, of the combinations that are best at some price.

    Stage by stage only these are kept: whatever the other stages add, the best is among them.
    """
    cores, scores = np.zeros(1), np.ones(1)
    for stage, is_floored in zip(pipeline.stages, floored, strict=True):
        own_cores, own_scores = _stage(stage, is_floored)
        cores = np.add.outer(cores, own_cores).ravel()
        scores = np.multiply.outer(scores, own_scores).ravel()
        kept = _upper_hull(cores, scores)
        cores, scores = cores[kept], scores[kept]
    return cores, scores


def _stage(stage: Stage, is_floored: bool) -> tuple[FloatArray, FloatArray]:
    least = min(one.cores for one in stage.variants) if is_floored else 0
    cores = [(one.cores - least) / max(one.throughput_rps) for one in stage.variants]
    return np.array(cores), np.array([one.accuracy for one in stage.variants])


def _upper_hull(cores: FloatArray, scores: FloatArray) -> list[int]:
    """Which points are on the concave front of most accuracy for few cores, cheapest first."""
    kept: list[int] = []
    for k in np.lexsort((-scores, cores)).tolist():
        if kept and scores[k] <= scores[kept[-1]]:
            continue
        while len(kept) > 1 and _is_below(kept[-1], kept[-2], k, cores, scores):
            kept.pop()
        kept.append(k)
    return kept


def _is_below(middle: int, low: int, high: int, cores: FloatArray, scores: FloatArray) -> bool:
    """Whether a point is on or below the line between its neighbours."""
    rise = (scores[high] - scores[low]) * (cores[middle] - cores[low])
    return bool((scores[middle] - scores[low]) * (cores[high] - cores[low]) <= rise)
