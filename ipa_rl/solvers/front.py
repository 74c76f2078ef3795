"""The exact optimum by merging stages along their Pareto front.

For a given load the least number of replicas of each (variant, batch) is known, and what requests wait with
that and with more. So a stage is a short list of options, and the program's optimum lies on the front of
(latency, penalty, score) of their combinations. `solve_program` is the reference; property tests hold the two
equal.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from ipa_rl.border import MOST_RPS, number
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, objective
from ipa_rl.pipeline import Configuration
from ipa_rl.solvers.answers import Answer, Infeasible, Optimum, Repair
from ipa_rl.solvers.options import ROUNDING, Options, configuration, options, pipeline_rps, stage_pairs
from ipa_rl.solvers.search import best_picks, fastest_s, highest, least_picks, limits_of, used_by

BUSY = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.35, 0.2)
"""Of its capacity, how busy a pipeline is tried that shall serve the most with all that requests wait."""
_ANY_SLA_S = 1e12
_MOST_KEPT = 100_000
_MOST_COUNTED = 1000


class FrontSolver:
    """Solves one problem for any load; answers are kept by load."""

    def __init__(self, problem: Problem, *, as_released: bool = False) -> None:
        self.problem = problem
        self.as_released = as_released
        self._pairs = stage_pairs(problem)
        graph = problem.pipeline.graph
        self._visits = [[one.visits for one in graph.classes_of(s)] for s in range(len(graph.names))]
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
        return Optimum(chosen, objective(self.problem, chosen), load_rps)

    def explain(self, load_rps: float) -> Infeasible:
        """The answer for a load that cannot be served: why, what serves the most, the cheapest repair."""
        stages = enumerate(self.problem.pipeline.stages)
        least_rps = [load_rps * min(visits) for visits in self._visits]
        lacking = [stage.name for s, stage in stages if not len(self._offers(s, least_rps[s]).pair)]
        binding = tuple(lacking) or self._lacking_units(load_rps) or ("SLA",)
        served_rps, chosen = self._serves_most(load_rps)
        return Infeasible(load_rps, binding, chosen, served_rps, self._repair(load_rps))

    def _offers(self, stage: int, load_rps: float, lift_limit: bool = False) -> Options:
        """What a stage can run where so many requests a second come to it."""
        return options(self.problem, self._pairs[stage], load_rps, self.as_released, lift_limit)

    def _best_at(self, load_rps: float) -> Configuration | None:
        picks = best_picks(self.problem, self._offers, load_rps)
        return None if picks is None else configuration(self.problem, picks, self._pairs)

    def _serves_most(self, load_rps: float) -> tuple[float, Configuration]:
        """The highest load that can be served, and the best configuration for it.

        Between two capacities the latency falls with the load, so the highest load is one of them; where
        waits count, of BUSY shares of these. Where the SLA is out of reach at any load: what serves the most,
        with the least latency at that.
        """
        if self.problem.limits:
            return self._serves_most_within(load_rps)
        each = [np.outer(pairs.rate_rps * pairs.limit, self._shares) for pairs in self._pairs]
        capacities = pipeline_rps(self.problem, each)
        for candidate in (*capacities[capacities < load_rps][::-1].tolist(), 0.0):
            chosen = self._known_at(candidate)
            if chosen is not None:
                return candidate, chosen
        lifted = replace(self.problem, sla_s=_ANY_SLA_S)
        tried = (load_rps, *capacities[capacities < load_rps][::-1].tolist(), 0.0)
        served_rps = next(one for one in tried if best_picks(lifted, self._offers, one) is not None)
        return served_rps, self._quickest(served_rps)

    def _known_at(self, load_rps: float) -> Configuration | None:
        """The best at a capacity, which is the same for every load, and kept."""
        if load_rps not in self._at_capacities:
            self._at_capacities[load_rps] = self._best_at(load_rps)
        return self._at_capacities[load_rps]

    def _serves_most_within(self, load_rps: float) -> tuple[float, Configuration]:
        """As `_serves_most`, where resources are limited: any number of replicas may be the most there is.

        These are many, so the highest is found by halving, as if all below it could be served as well.
        """
        lifted = replace(self.problem, sla_s=_ANY_SLA_S)
        capacities = self._any_capacities[self._any_capacities < load_rps].tolist()
        served_rps = highest(capacities, lambda one: self._known_at(one) is not None)
        if served_rps is not None and (chosen := self._known_at(served_rps)) is not None:
            return served_rps, chosen
        able = highest([*capacities, load_rps], lambda one: best_picks(lifted, self._offers, one) is not None)
        if able is not None:
            return able, self._quickest(able)
        there = ", ".join(f"{units:g} of {name}" for name, units in self.problem.limits)
        problem = f"{there} are not enough for one replica of each stage"
        raise InputError(problem, field="limits", fix="raise a limit, or give a stage smaller variants")

    @cached_property
    def _any_capacities(self) -> FloatArray:
        """The capacities of any number of replicas, and none, ascending."""
        each = []
        for pairs in self._pairs:
            counts = np.arange(min(pairs.limit.max(), _MOST_COUNTED) + 1)
            each.append(np.multiply.outer(pairs.rate_rps, np.outer(counts, self._shares)))
        return pipeline_rps(self.problem, each)

    @property
    def _shares(self) -> tuple[float, ...]:
        """Of capacities, which are tried."""
        return BUSY if self.problem.waits else (1.0,)

    def _lacking_units(self, load_rps: float) -> tuple[str, ...]:
        """Resources of which the best configuration takes more than there is; none where there is none."""
        picks = best_picks(replace(self.problem, limits=()), self._offers, load_rps)
        if picks is None or not self.problem.limits:
            return ()
        exceeded = used_by(picks, self.problem) > limits_of(self.problem)
        return tuple(name for (name, _), over in zip(self.problem.limits, exceeded, strict=True) if over)

    def _quickest(self, load_rps: float) -> Configuration:
        """What carries a load with the least latencies, whatever the SLA; of these, the best."""

        def offers(stage: int, own_rps: float) -> Options:
            offered = self._offers(stage, own_rps)
            offered = offered.at(np.lexsort((offered.penalty, -offered.score, offered.latency_s)))
            return replace(offered, penalty=offered.latency_s)

        picks = least_picks(replace(self.problem, sla_s=_ANY_SLA_S), offers, load_rps)
        assert picks is not None
        return configuration(self.problem, picks, self._pairs)

    def _repair(self, load_rps: float) -> Repair:
        """What mends it, limits of resources aside, and what the cheapest takes of these then."""
        if not self.problem.limits:
            return self._own_repair(load_rps)
        lifted = replace(self.problem, limits=())
        repair = Repair((), None)
        if best_picks(lifted, self._offers, load_rps) is None:
            repair = self._own_repair(load_rps)
            sla_s = max(self.problem.sla_s, repair.sla_s or 0.0)
            lifted = replace(lifted, sla_s=sla_s)

        def cheapest(stage: int, own_rps: float) -> Options:
            offered = self._offers(stage, own_rps, lift_limit=bool(repair.extra_cores))
            return replace(offered, penalty=offered.replicas * self._pairs[stage].cores[offered.pair])

        picks = least_picks(lifted, cheapest, load_rps)
        if picks is None:
            return repair
        more = used_by(picks, self.problem) - [units for _, units in self.problem.limits]
        pairs = zip(self.problem.limits, more.tolist(), strict=True)
        return replace(repair, extra_units=tuple((name, n) for (name, _), n in pairs if n > ROUNDING))

    def _own_repair(self, load_rps: float) -> Repair:
        """The least SLA within the limit, the fewest extra cores within the SLA; failing both, both."""
        sla_s = fastest_s(self.problem, self._offers, load_rps)
        extra = self._fewest_extra_cores(self.problem, load_rps)
        if extra is not None or sla_s is not None:
            return Repair(extra or (), sla_s, either=extra is not None and sla_s is not None)
        cores = self._fewest_extra_cores(replace(self.problem, sla_s=_ANY_SLA_S), load_rps)

        def fewest(stage: int, own_rps: float) -> Options:
            offered = self._offers(stage, own_rps, lift_limit=True)
            return offered.at(np.flatnonzero(offered.extra_cores == offered.extra_cores.min()))

        return Repair(cores or (), fastest_s(self.problem, fewest, load_rps))

    def _fewest_extra_cores(self, problem: Problem, load_rps: float) -> tuple[tuple[str, float], ...] | None:
        """Cores beyond the limit by stage, the fewest in all that meet the SLA; None where none do."""

        def counted(stage: int, own_rps: float) -> Options:
            offered = self._offers(stage, own_rps, lift_limit=True)
            return replace(offered, penalty=offered.extra_cores)

        picks = least_picks(replace(problem, limits=()), counted, load_rps)
        if picks is None:
            return None
        extra = [float(picks[s][0].extra_cores[picks[s][1]]) for s in range(len(picks))]
        names = (stage.name for stage in problem.pipeline.stages)
        return tuple((name, cores) for name, cores in zip(names, extra, strict=True) if cores > 0)
