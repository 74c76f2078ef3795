"""A utility that no controller can exceed on a window: all loads known, changes free, replicas divisible.

A linear program, solved by HiGHS. The window is cut into buckets (`bucket_s`). In each bucket and stage any
mixture of replicas of all variants may run, at the best throughput of any batch size, one replica at least;
requests are served as work that flows, not before they arrive, and unless they count as violations within
the SLA; the stages' accuracies are combined in the mixture of combinations of variants that scores highest.
What a controller really does is one feasible point of this, up to the luck of drawn service times, so the
program's optimum bounds its utility from above. Requests that may still wait at the end of the window need
not be served.

There are too many combinations to list them all (20 variants in 12 stages make 4e15). The program begins with
a few; its prices of each variant's work then tell, stage by stage, which others would gain most, until none
gains anything (column generation).

In a graph a combination says how many requests come to each stage; in time a stage has the fewest of all
combinations. Where the first of several arms is awaited nobody need serve the others: their work is free, and
the most accurate counts. A stage that may have less than one request of each counts as always right, as the
others' answers do not depend on it. The combinations of a graph are all listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.judge.frontier import combinations_of
from ipa_rl.objective import corrections, scores
from ipa_rl.solvers.highs import Columns, has_optimum, program_of
from ipa_rl.workload.workload import Window

BUCKETS = 240
"""So many buckets has a window of the usual length."""

_TOLERANCE = 1e-6
"""How far below the bound that is returned the program's optimum may be, relative."""


_FEWEST = 1e-6
"""Requests of a stage for each one of the pipeline: of one that need not serve any."""


def bucket_s(definition: Definition) -> int:
    """Seconds of a bucket: 5 where a window lasts 20 minutes, as the paper's."""
    return max(1, definition.window_s // BUCKETS)


def utility_bound(definition: Definition, window: Window) -> float:
    """The bound for one window; its history has passed.

    Raises InputError where a graph has too many combinations of variants.
    """
    pipeline, weights = definition.pipeline, definition.weights
    gains = [np.array(scores(stage, weights)) for stage in pipeline.stages]
    gains[pipeline.graph.source] *= weights.alpha  # a combination's gain is alpha times the product
    known = combinations_of(pipeline, gains, corrections(pipeline, weights), weights.alpha)
    program = _program(definition, window, known.fewest)
    mixed: dict[tuple[int, ...], float] = {}
    bound, prices = np.inf, program.first_prices
    while True:
        count = len(mixed)
        _, found, combinations = known.best(prices)
        mixed |= zip(map(tuple, combinations.tolist()), found.tolist(), strict=True)
        value, level, prices = program.solve(mixed, known.visits_of(np.array(list(mixed))))
        # At these prices no mixture is worth more than the best combination alone.
        spent, gained, _ = known.best(prices)
        bound = min(bound, value - level + float((gained - spent).max()))
        if bound - value <= _TOLERANCE * max(1.0, abs(bound)) or len(mixed) == count:
            return bound


@dataclass(frozen=True)
class _Program:
    """A x <= b without the mixture. x: replicas by variant and bucket; by stage the requests that were served
    up to each bucket's end; the requests that were violated up to it. The last rows are the variants' shares.

    ``requests``: how many must be served. ``variants``: the first row of each stage's shares.
    """

    cost: FloatArray
    most: FloatArray
    rows: Any
    limits: FloatArray
    requests: float
    variants: IntArray
    first_prices: list[FloatArray]

    def solve(
        self, mixed: dict[tuple[int, ...], float], visits: FloatArray
    ) -> tuple[float, float, list[FloatArray]]:
        """For combinations and what each gains: the optimum, the mixture's worth, the variants' prices.

        ``visits``: requests of each stage for each one of the pipeline, (combinations, stages).

        By the interior-point method, whose prices are in the middle of all optimal ones: from a corner of
        these the search for combinations takes far longer.
        """
        many = len(mixed)
        shares = (np.array(list(mixed), dtype=np.int64) + self.variants).ravel()
        columns = np.repeat(np.arange(many), len(self.variants))
        work = sparse.coo_matrix(
            (self.requests * visits.ravel(), (shares, columns)), (self.rows.shape[0], many)
        )
        whole = sparse.csr_matrix(np.concatenate([np.zeros(len(self.cost)), np.ones(many)]))
        matrix = sparse.vstack([sparse.hstack([self.rows, work]), whole]).tocsc()
        entries = Columns(matrix.indptr, matrix.indices, matrix.data)
        costs = np.concatenate([self.cost, [-gain for gain in mixed.values()]])
        most = np.concatenate([self.most, np.full(many, np.inf)])
        least_rows = np.append(np.full(len(self.limits), -np.inf), 1.0)
        solver = program_of(costs, most, entries, least_rows, np.append(self.limits, 1.0))
        solver.setOptionValue("solver", "ipm")
        for crossover in ("off", "on"):  # slower, for where the other is not precise enough
            solver.setOptionValue("run_crossover", crossover)
            solver.run()
            if has_optimum(solver):
                break
        else:
            raise RuntimeError(f"HiGHS found no bound: {solver.getModelStatus()}")
        duals = -np.array(solver.getSolution().row_dual)
        prices = np.split(self.requests * duals[:-1], self.variants)[1:]
        return -solver.getInfo().objective_function_value, float(duals[-1]), prices


def _program(definition: Definition, window: Window, fewest: FloatArray) -> _Program:
    """``fewest``: requests of each stage for each one of the pipeline, at least, (stages,)."""
    stages, weights = definition.pipeline.stages, definition.weights
    arrivals = window.arrivals[window.history_s :]
    each_s, many = min(bucket_s(definition), len(arrivals)), len(stages)
    buckets = len(arrivals) // each_s
    arrived = np.concatenate([[0.0], np.cumsum(arrivals)])
    ends = each_s * np.arange(1, buckets + 1)
    due = arrived[np.maximum(ends - int(np.ceil(definition.problem.sla_s)), 0)]
    may_wait_s = int(2 * definition.timing.drop_limit_s + definition.problem.sla_s)
    requests = float(arrived[max(len(arrived) - 1 - may_wait_s, 0)])

    cores = [np.array([one.cost_cores for one in stage.variants]) for stage in stages]
    served = [each_s * np.array([max(one.throughput_rps) for one in stage.variants]) for stage in stages]
    carried = [one / max(few, _FEWEST) for one, few in zip(served, fewest, strict=True)]
    each, steps = sparse.identity(buckets), sparse.diags([1.0, -1.0], [0, -1], (buckets, buckets))
    last = sparse.csr_matrix(np.arange(buckets) == buckets - 1, dtype=np.float64)
    flow, every = sparse.kron(np.eye(many), steps), sparse.identity(many * buckets)
    blocks: Any = [
        # work needs replicas
        [-sparse.block_diag([sparse.kron(one, each) for one in carried]), flow, None],
        # one replica there always is
        [-sparse.block_diag([sparse.kron(np.ones(len(one)), each) for one in served]), None, None],
        # what was served stays served
        [None, -flow, None],
        # in time, or violated
        [None, -every, -sparse.kron(np.ones((many, 1)), each)],
        [None, None, -steps],
        # each variant can serve its share of the mixture
        [
            -sparse.block_diag([sparse.kron(np.diag(one), np.ones(buckets)) for one in served]),
            None,
            -sparse.vstack([last] * sum(map(len, served))),
        ],
    ]
    variants = sum(map(len, served))
    rows: Any = sparse.bmat(blocks).tocsr()
    limits = np.zeros(rows.shape[0])
    limits[many * buckets : 2 * many * buckets] = -1.0
    limits[3 * many * buckets : 4 * many * buckets] = -np.tile(due, many)
    cost = np.zeros(rows.shape[1])
    cost[: variants * buckets] = np.repeat(weights.beta * np.concatenate(cores) / buckets, buckets)
    cost[-1] = weights.rho / max(float(arrivals.sum()), 1.0)
    most = np.full(len(cost), np.inf)
    most[variants * buckets : -buckets] = np.tile(arrived[ends], many)  # nothing before it arrived
    first = rows.shape[0] - variants + np.cumsum([0, *map(len, served)])[:-1]
    prices = [weights.beta * requests * one / work for one, work in zip(cores, served, strict=True)]
    return _Program(cost, most, rows, limits, requests, first, prices)
