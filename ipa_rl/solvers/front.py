"""The exact optimum by merging stages along their Pareto front.

For a given load the least number of replicas of each (variant, batch) is known, so a stage is a short list
of options, and the program's optimum lies on the front of (latency, penalty, score) of their
combinations. `solve_program` is the reference; property tests hold the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipa_rl.border import MOST_RPS, number
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, latency_budget, objective
from ipa_rl.solvers import merge as kernel
from ipa_rl.solvers.answers import Answer, Optimum
from ipa_rl.solvers.infeasible import explain
from ipa_rl.solvers.options import Options, configuration, only, options, stage_pairs

SLA_SLACK_S = 1e-9
_BEAM = 32
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

    def solve(self, load_rps: float) -> Answer:
        """The optimum for a load (requests a second), or why there is none. Raises InputError on no load."""
        load_rps = number(load_rps, "load_rps", most=MOST_RPS)
        if load_rps not in self._answers:
            if len(self._answers) >= _MOST_KEPT:
                self._answers.clear()
            self._answers[load_rps] = self.solve_anew(load_rps)
        return self._answers[load_rps]

    def solve_anew(self, load_rps: float) -> Answer:
        """As `solve`, only looking up what was solved before."""
        load_rps = number(load_rps, "load_rps", most=MOST_RPS)
        offered = [options(self.problem, pairs, load_rps, self.as_released) for pairs in self._pairs]
        picks = best_picks(self.problem, offered)
        if picks is None:
            return explain(self.problem, self._pairs, load_rps, self.as_released, best_picks)
        chosen = configuration(self.problem, self._pairs, offered, picks)
        budget = latency_budget(self.problem.pipeline, chosen, load_rps)
        return Optimum(chosen, objective(self.problem, chosen), load_rps, budget)


def best_picks(problem: Problem, offered: list[Options]) -> list[int] | None:
    """Position of the best option of each stage; None where no combination meets the SLA."""
    if any(len(stage.pair) == 0 for stage in offered):
        return None
    kept = [kernel.pareto(stage.latency_s, stage.penalty, stage.score) for stage in offered]
    lists = [only(stage, positions) for stage, positions in zip(offered, kept, strict=True)]
    rests = _rests(problem, lists)
    if rests[0].fastest_s > problem.sla_s + SLA_SLACK_S:
        return None
    known = _search(problem, lists, rests, -np.inf, beam=_BEAM)
    floor = -np.inf if known is None else known[0] - 1e-9 * max(1.0, abs(known[0]))
    best = _search(problem, lists, rests, floor, beam=None)
    if best is None:
        return None
    return [int(positions[pick]) for positions, pick in zip(kept, best[1], strict=True)]


def _rests(problem: Problem, lists: list[Options]) -> list[_Rest]:
    """For each stage, what it and those after it can add; the last entry adds nothing."""
    alpha = problem.weights.alpha
    penalty, score, fastest_s = np.zeros(1), np.ones(1), 0.0
    rests = [_Rest(0.0, *kernel.envelope(penalty, score, alpha))]
    for stage in reversed(lists):
        fastest_s += float(stage.latency_s.min())
        penalty = (penalty[:, None] + stage.penalty).ravel()
        score = (score[:, None] * stage.score).ravel()
        kept = kernel.pareto(np.zeros(len(penalty)), penalty, score)
        penalty, score = penalty[kept], score[kept]
        rests.append(_Rest(fastest_s, *kernel.envelope(penalty, score, alpha)))
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
            reach = (np.outer(score, rest.slope) + rest.offset).max(axis=1) - penalty
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
