"""A utility that no controller can exceed on a window: all loads known, changes free, replicas divisible.

A linear program, solved by HiGHS. The window is cut into buckets of BUCKET_S. In each bucket and stage any
mixture of replicas of all variants may run, at the best throughput of any batch size, one replica at least;
requests are served as work that flows, not before they arrive, and unless they count as violations within
the SLA; the stages' accuracies are combined in the mixture that scores highest. What a controller really does
is one feasible point of this, up to the luck of drawn service times, so the program's optimum bounds its
utility from above. Requests that may still wait at the end of the window need not be served.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import lil_matrix

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.objective import scores
from ipa_rl.workload.trace import Window

BUCKET_S = 5


@dataclass(frozen=True)
class _Choice:
    """One variant of one stage: cores, and requests a second of one replica at its best batch size."""

    stage: int
    cores: int
    rate_rps: float


def utility_bound(definition: Definition, window: Window) -> float:
    """The bound for one window; its history has passed."""
    choices = [
        _Choice(s, variant.cores, max(variant.throughput_rps))
        for s, stage in enumerate(definition.pipeline.stages)
        for variant in stage.variants
    ]
    each = [scores(stage, definition.weights) for stage in definition.pipeline.stages]
    combinations = list(product(*(range(len(one)) for one in each)))
    gains = [float(np.prod([each[s][v] for s, v in enumerate(one)])) for one in combinations]
    layout = _Layout(choices, len(each), combinations, _buckets(window))
    weights = definition.weights
    cost = np.zeros(layout.size)
    for c, choice in enumerate(choices):
        cost[layout.replicas(c)] = weights.beta * choice.cores / layout.buckets
    requests = max(float(window.arrivals[window.history_s :].sum()), 1.0)
    cost[layout.violated] = weights.rho / requests
    cost[layout.mixture] = -weights.alpha * np.array(gains)
    upper, limits = _constraints(definition, window, layout)
    whole = lil_matrix((1, layout.size))
    whole[0, layout.mixture] = 1.0
    ones: Any = whole.tocsr()
    found = linprog(cost, A_ub=upper, b_ub=limits, A_eq=ones, b_eq=[1.0], method="highs")
    if found.fun is None:
        raise RuntimeError(f"no bound for {window.name}: {found.message}")
    return -float(found.fun)


def _buckets(window: Window) -> int:
    return (len(window.arrivals) - window.history_s) // BUCKET_S


@dataclass(frozen=True)
class _Layout:
    """Where the variables stand: replicas by choice and bucket, work by stage and bucket, the rest."""

    choices: list[_Choice]
    stages: int
    combinations: list[tuple[int, ...]]
    buckets: int

    @property
    def size(self) -> int:
        return (len(self.choices) + self.stages + 1) * self.buckets + len(self.combinations)

    def replicas(self, choice: int) -> slice:
        """Mean replicas of one choice in each bucket."""
        return slice(choice * self.buckets, (choice + 1) * self.buckets)

    def served(self, stage: int) -> slice:
        """Requests that the stage serves in time in each bucket."""
        return self.replicas(len(self.choices) + stage)

    @property
    def violated(self) -> slice:
        """Requests that begin to be violations in each bucket."""
        return self.replicas(len(self.choices) + self.stages)

    @property
    def mixture(self) -> slice:
        """Share of the requests that each combination of variants serves."""
        return slice(self.size - len(self.combinations), self.size)


def _constraints(definition: Definition, window: Window, layout: _Layout) -> tuple[Any, FloatArray]:
    """A, sparse, and b of A x <= b."""
    arrived = np.concatenate([[0.0], np.cumsum(window.arrivals[window.history_s :])])
    ends = BUCKET_S * np.arange(1, layout.buckets + 1)
    due = arrived[np.maximum(ends - int(np.ceil(definition.problem.sla_s)), 0)]
    may_wait_s = int(2 * definition.timing.drop_limit_s + definition.problem.sla_s)
    surely = float(arrived[max(len(arrived) - 1 - may_wait_s, 0)])
    count = layout.stages * 4 * layout.buckets + len(layout.choices)
    rows, limits = lil_matrix((count, layout.size)), np.zeros(count)
    r = 0
    for s in range(layout.stages):
        mine = [c for c, choice in enumerate(layout.choices) if choice.stage == s]
        served, violated = layout.served(s).start, layout.violated.start
        for k in range(layout.buckets):
            for c in mine:  # work needs replicas, and one replica there always is
                rows[r, layout.replicas(c).start + k] = -layout.choices[c].rate_rps * BUCKET_S
                rows[r + 1, layout.replicas(c).start + k] = -1.0
            rows[r, served + k] = 1.0
            limits[r + 1] = -1.0
            rows[r + 2, served : served + k + 1] = 1.0  # not before arrival
            limits[r + 2] = arrived[ends[k]]
            rows[r + 3, served : served + k + 1] = -1.0  # in time, or violated
            rows[r + 3, violated : violated + k + 1] = -1.0
            limits[r + 3] = -due[k]
            r += 4
        for v, c in enumerate(mine):  # each variant can serve its share of the mixture
            rows[r, layout.replicas(c)] = -layout.choices[c].rate_rps * BUCKET_S
            rows[r, layout.violated] = -1.0
            for m, combination in enumerate(layout.combinations):
                if combination[s] == v:
                    rows[r, layout.mixture.start + m] = surely
            r += 1
    return rows.tocsr(), limits
