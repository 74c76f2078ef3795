"""The integer program of the paper (arXiv 2308.12871, section 4), with PuLP: the reference.

Beside what a stage runs (`ipa_rl.solvers.formulation`) n[s, i] are its replicas, zero unless chosen. Where
waits count, a row is a number of replicas as well, as the wait is no linear function of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pulp

from ipa_rl.border import MOST_RPS, number
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, each_apart, objective, score, scores
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.solvers.answers import Answer, Optimum
from ipa_rl.solvers.formulation import Runnable, StageVariables, check_told_apart, formulated, limit, solved
from ipa_rl.solvers.front import FrontSolver
from ipa_rl.solvers.options import Pairs, by_replicas, fills, stage_pairs

_LOAD_SLACK = 1e-9


@dataclass(frozen=True)
class _Pair:
    """A (variant, batch) pair, and what a replica costs and occupies of each limited resource.

    ``carried``: replicas that its load takes, within ``least`` and ``limit``.
    """

    batch: int
    cores: float
    units: list[float]
    limit: int
    least: int
    carried: float


def solve_program(problem: Problem, load_rps: float, *, as_released: bool = False) -> Answer:
    """The optimum for a load, or why there is none.

    ``as_released``: the queue term of the authors' released code, (indicator - 1) / lambda summed over
    every variant and batch of a stage, in place of (b - 1) / lambda. It is never positive, so it hands out
    free latency; for replaying their runs only.

    Raises InputError where the accuracies of the answer are so far below the best that HiGHS may have missed
    a better one.
    """
    load_rps = number(load_rps, "load_rps", most=MOST_RPS)
    rows = [_pairs(problem, s, pairs, load_rps, as_released) for s, pairs in enumerate(stage_pairs(problem))]
    if not all(rows):
        return FrontSolver(problem, as_released=as_released).explain(load_rps)
    found = []
    for fixed, factors in each_apart(problem):
        kept = [
            [row for row in own if row.variant == fixed.get(s, row.variant)] for s, own in enumerate(rows)
        ]
        scored = [np.array(scores(task, problem.weights)) for task in problem.pipeline.stages]
        chosen = _chosen(problem, kept, [one * factors.get(s, 1.0) for s, one in enumerate(scored)])
        if chosen is not None:
            found.append((objective(problem, chosen), chosen))
    if not found:
        return FrontSolver(problem, as_released=as_released).explain(load_rps)
    value, best = max(found, key=lambda one: one[0])
    return Optimum(best, value, load_rps)


def _chosen(problem: Problem, rows: list[list[Runnable]], own: list[FloatArray]) -> Configuration | None:
    """The best of these rows with these scores of variants; None where none is within SLA and limits."""
    if not all(rows):
        return None
    program, stages, product, unit = formulated(problem, rows, own)
    replicas = [_replicas(program, s, stage) for s, stage in enumerate(stages)]
    weights, penalties = problem.weights, []
    used: list[list[Any]] = [[] for _ in problem.limits]
    for stage, counts in zip(stages, replicas, strict=True):
        for row, x, n in zip(stage.rows, stage.chosen, counts, strict=True):
            penalties.append(weights.beta * row.item.cores * n + weights.delta * row.item.batch * x)
            for terms, units in zip(used, row.item.units, strict=True):
                terms.append(units * n)
    limit(program, problem, used)
    if not solved(program, problem, unit * product, penalties, max(weights.alpha * unit, weights.beta)):
        return None
    configs = []
    for stage, counts, task in zip(stages, replicas, problem.pipeline.stages, strict=True):
        i, row = stage.chosen_row
        name, count = task.variants[row.variant].name, round(counts[i].value())
        configs.append(StageConfig(name, row.item.batch, count))
    chosen = Configuration(tuple(configs))
    check_told_apart(weights.alpha, score(problem, chosen), unit, "solve by the front")
    return chosen


def _pairs(problem: Problem, s: int, pairs: Pairs, load_rps: float, as_released: bool) -> list[Runnable]:
    """The (variant, batch) pairs of a stage, by the requests that come to it."""
    found = []
    for one in problem.pipeline.graph.classes_of(s):
        own_rps = load_rps * one.visits
        offered = by_replicas(problem, pairs, own_rps)
        if not len(offered.batch):
            continue
        latency_s = offered.service_s + fills(offered, own_rps, as_released)
        for i in np.flatnonzero(np.isfinite(latency_s)).tolist():  # no endless fills
            most, carried = int(offered.limit[i]), own_rps / float(offered.rate_rps[i]) - _LOAD_SLACK
            least = most if offered.fixed else 1
            pair = _Pair(
                int(offered.batch[i]),
                float(offered.cores[i]),
                offered.units[i].tolist(),
                most,
                least,
                carried,
            )
            found.append(Runnable(int(offered.variant[i]), float(latency_s[i]), one, pair))
    return found


def _replicas(program: Any, s: int, stage: StageVariables) -> list[Any]:
    """Of each row: as many as carry the load within the limit, none where it is not chosen."""
    found = []
    for i, (row, x) in enumerate(zip(stage.rows, stage.chosen, strict=True)):
        n = program.add_variable(f"n_{s}_{i}", 0, row.item.limit, pulp.LpInteger)
        program.addConstraint(n <= row.item.limit * x)
        program.addConstraint(n >= row.item.least * x)
        program.addConstraint(n >= min(row.item.carried, row.item.limit + 1.0) * x)
        found.append(n)
    return found
