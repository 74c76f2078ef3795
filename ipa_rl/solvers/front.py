"""The exact optimum by merging stages along their Pareto front.

For a given load the least number of replicas of each (variant, batch) is known, and what requests wait with
that and with more. So a stage is a short list of options, and the program's optimum lies on the front of
(latency, penalty, score) of their combinations. `solve_program` is the reference; property tests hold the two
equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.border import MOST_RPS, number
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, latency_budget, objective
from ipa_rl.pipeline import Configuration
from ipa_rl.solvers import merge as kernel
from ipa_rl.solvers.answers import Answer, Infeasible, Optimum, Repair
from ipa_rl.solvers.options import Options, configuration, options, stage_pairs

SLA_SLACK_S = 1e-9
BUSY = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.35, 0.2)
"""Of its capacity, how busy a pipeline is tried that shall serve the most with all that requests wait."""
_ANY_SLA_S = 1e12
_BEAMS = (2, 16)
"""So many of each front are kept in searches for an answer that the exact one has to beat."""
_MOST_KEPT = 100_000


@dataclass(frozen=True)
class _Rest:
    """What the stages after a point can add: least latency, and the envelope of their gains."""

    fastest_s: float
    slope: FloatArray
    offset: FloatArray


class FrontSolver:
    """Solves one problem for any load; answers are kept by load."""

    def __init__(self, problem: Problem, *, as_released: bool = False) -> None:
        self.problem = problem
        self.as_released = as_released
        self._pairs = stage_pairs(problem)
        self._answers: dict[float, Answer] = {}
        self._at_capacities: dict[float, Configuration | None] = {}

    def solve(self, load_rps: float) -> Answer:
        """The optimum for a load (requests a second), or why there is none. Raises InputError."""
        load_rps = number(load_rps, "load_rps", most=MOST_RPS)
        if load_rps not in self._answers:
            if len(self._answers) >= _MOST_KEPT:
                self._answers.clear()
            self._answers[load_rps] = self.solve_anew(load_rps)
        return self._answers[load_rps]

    def solve_anew(self, load_rps: float) -> Answer:
        """As `solve`, without looking up what was solved before."""
        load_rps = number(load_rps, "load_rps", most=MOST_RPS)
        chosen = self._best_at(load_rps)
        if chosen is None:
            return self.explain(load_rps)
        budget = latency_budget(self.problem, chosen, load_rps)
        return Optimum(chosen, objective(self.problem, chosen), load_rps, budget)

    def explain(self, load_rps: float) -> Infeasible:
        """The answer for a load that cannot be served: why, what serves the most, the cheapest repair."""
        within = self._offered(load_rps)
        stages = zip(self.problem.pipeline.stages, within, strict=True)
        binding = tuple(stage.name for stage, offered in stages if len(offered.pair) == 0)
        served_rps, chosen = self._serves_most(load_rps)
        budget = latency_budget(self.problem, chosen, served_rps)
        repair = self._repair(within, self._offered(load_rps, lift_limit=True))
        return Infeasible(load_rps, binding or ("SLA",), chosen, served_rps, budget, repair)

    def _offered(self, load_rps: float, lift_limit: bool = False) -> list[Options]:
        """What each stage can run at a load."""
        return [options(self.problem, one, load_rps, self.as_released, lift_limit) for one in self._pairs]

    def _best_at(self, load_rps: float) -> Configuration | None:
        offered = self._offered(load_rps)
        picks = best_picks(self.problem, offered)
        return None if picks is None else configuration(self.problem, self._pairs, offered, picks)

    def _serves_most(self, load_rps: float) -> tuple[float, Configuration]:
        """The highest load that can be served, and the best configuration for it.

        Between two capacities the latency falls with the load, so the highest load is one of them; where
        waits count, of BUSY shares of these. Where the SLA is out of reach at any load: what serves the most,
        with the least latency at that.
        """
        shares = BUSY if self.problem.waits else (1.0,)
        each = [np.outer(pairs.rate_rps * pairs.limit, shares) for pairs in self._pairs]
        capacities = np.unique(np.concatenate([one.ravel() for one in each]))
        for candidate in (*capacities[capacities < load_rps][::-1].tolist(), 0.0):
            if candidate not in self._at_capacities:  # the same ones for every load
                self._at_capacities[candidate] = self._best_at(candidate)
            chosen = self._at_capacities[candidate]
            if chosen is not None:
                return candidate, chosen
        most = min(load_rps, *(float(capacity.max()) for capacity in each))
        offered = self._offered(most)
        picks = [int(np.lexsort((stage.penalty, -stage.score, stage.latency_s))[0]) for stage in offered]
        return most, configuration(self.problem, self._pairs, offered, picks)

    def _repair(self, within: list[Options], lifted: list[Options]) -> Repair:
        """The least SLA within the limit, the fewest extra cores within the SLA; failing both, both."""
        sla_s = None
        if all(len(stage.pair) for stage in within):
            sla_s = sum(float(stage.latency_s.min()) for stage in within)
        extra = self._fewest_extra_cores(self.problem, lifted)
        if extra is not None or sla_s is not None:
            return Repair(extra or (), sla_s, either=extra is not None and sla_s is not None)
        cores = self._fewest_extra_cores(replace(self.problem, sla_s=_ANY_SLA_S), lifted)
        least = [stage.latency_s[stage.extra_cores == stage.extra_cores.min()].min() for stage in lifted]
        return Repair(cores or (), sum(float(one) for one in least))

    def _fewest_extra_cores(
        self, problem: Problem, lifted: list[Options]
    ) -> tuple[tuple[str, int], ...] | None:
        """Cores beyond the limit by stage, the fewest in all that meet the SLA; None where none do."""
        counted = [
            replace(stage, penalty=stage.extra_cores.astype(np.float64), score=np.ones(len(stage.pair)))
            for stage in lifted
        ]
        picks = best_picks(problem, counted)
        if picks is None:
            return None
        names = [stage.name for stage in problem.pipeline.stages]
        extra = [int(stage.extra_cores[pick]) for stage, pick in zip(lifted, picks, strict=True)]
        return tuple((name, cores) for name, cores in zip(names, extra, strict=True) if cores > 0)


def best_picks(problem: Problem, offered: list[Options]) -> list[int] | None:
    """Position of the best option of each stage; None where no combination meets the SLA."""
    if any(len(stage.pair) == 0 for stage in offered):
        return None
    kept = [kernel.pareto(stage.latency_s, stage.penalty, stage.score) for stage in offered]
    lists = [
        replace(stage, **{name: getattr(stage, name)[positions] for name in stage.__dataclass_fields__})
        for stage, positions in zip(offered, kept, strict=True)
    ]
    rests = _rests(problem, lists)
    if rests[0].fastest_s > problem.sla_s + SLA_SLACK_S:
        return None
    floor = -np.inf
    for beam in (*_BEAMS, None):
        best = _search(problem, lists, rests, floor, beam)
        floor = floor if best is None else best[0] - 1e-9 * max(1.0, abs(best[0]))
    if best is None:
        return None
    return [int(positions[pick]) for positions, pick in zip(kept, best[1], strict=True)]


def _rests(problem: Problem, lists: list[Options]) -> list[_Rest]:
    """For each stage, what it and those after it can add; the last entry adds nothing."""
    rests = [_Rest(0.0, np.array([problem.weights.alpha]), np.zeros(1))]
    for stage in reversed(lists):
        rest = rests[-1]
        fastest_s = rest.fastest_s + float(stage.latency_s.min())
        rests.append(_Rest(fastest_s, *kernel.before(stage.penalty, stage.score, rest.slope, rest.offset)))
    return rests[::-1]


def _search(
    problem: Problem, lists: list[Options], rests: list[_Rest], known: float, beam: int | None
) -> tuple[float, list[int]] | None:
    """Merge stage after stage; with a beam only the most promising of each front are kept."""
    latency_s, penalty, score = np.zeros(1), np.zeros(1), np.ones(1)
    trail = []
    for stage, rest in zip(lists, rests[1:], strict=True):
        latest_s = problem.sla_s + SLA_SLACK_S - rest.fastest_s
        latency_s, penalty, score, came_from, option = kernel.merge(
            latency_s, penalty, score, stage.latency_s, stage.penalty, stage.score,
            latest_s, rest.slope, rest.offset, known,
        )  # fmt: skip
        if beam is not None and len(latency_s) > beam:
            reach = kernel.highest(rest.slope, rest.offset, score) - penalty
            quickest, promising = np.argsort(latency_s)[:4], np.argsort(-reach)[:beam]
            top = np.unique(np.concatenate([quickest, promising]))
            latency_s, penalty, score = latency_s[top], penalty[top], score[top]
            came_from, option = came_from[top], option[top]
        if len(latency_s) == 0:
            return None
        trail.append((came_from, option))
    values = problem.weights.alpha * score - penalty
    position = int(np.lexsort((latency_s, -values))[0])
    best = float(values[position])
    picks: list[int] = []
    for came_from, option in reversed(trail):
        picks.append(int(option[position]))
        position = int(came_from[position])
    return best, picks[::-1]
