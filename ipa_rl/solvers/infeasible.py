"""Why a load cannot be served, what serves the most, and the cheapest repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ipa_rl.objective import Problem, latency_budget
from ipa_rl.pipeline import Configuration
from ipa_rl.solvers.answers import Infeasible, Repair
from ipa_rl.solvers.options import Options, Pairs, configuration, options

BestPicks = Callable[[Problem, list[Options]], list[int] | None]
_ANY_SLA_S = 1e12


def explain(
    problem: Problem, stages: list[Pairs], load_rps: float, as_released: bool, best_picks: BestPicks
) -> Infeasible:
    """The answer for a load that cannot be served."""
    binding = tuple(
        stage.name
        for stage, pairs in zip(problem.pipeline.stages, stages, strict=True)
        if len(options(problem, pairs, load_rps, as_released).pair) == 0
    )
    served_rps, chosen = _serves_most(problem, stages, load_rps, as_released, best_picks)
    budget = latency_budget(problem.pipeline, chosen, served_rps)
    repair = _repair(problem, stages, load_rps, as_released, best_picks)
    return Infeasible(load_rps, binding or ("SLA",), chosen, served_rps, budget, repair)


def _solve_at(
    problem: Problem, stages: list[Pairs], load_rps: float, as_released: bool, best_picks: BestPicks
) -> Configuration | None:
    offered = [options(problem, pairs, load_rps, as_released) for pairs in stages]
    picks = best_picks(problem, offered)
    return None if picks is None else configuration(problem, stages, offered, picks)


def _serves_most(
    problem: Problem, stages: list[Pairs], load_rps: float, as_released: bool, best_picks: BestPicks
) -> tuple[float, Configuration]:
    """The highest load that can be served, and the best configuration for it.

    Between two capacities the latency falls with the load, so the highest load is one of them.
    """
    capacities = np.unique(np.concatenate([pairs.rate_rps * pairs.limit for pairs in stages]))
    candidates = [*capacities[capacities < load_rps][::-1].tolist(), 0.0]
    for candidate in candidates:
        chosen = _solve_at(problem, stages, candidate, as_released, best_picks)
        if chosen is not None:
            return candidate, chosen
    return _least_latency(problem, stages, load_rps, as_released)


def _least_latency(
    problem: Problem, stages: list[Pairs], load_rps: float, as_released: bool
) -> tuple[float, Configuration]:
    """The SLA is out of reach at any load: serve the most, with the least latency at that."""
    most = min(load_rps, *(float((pairs.rate_rps * pairs.limit).max()) for pairs in stages))
    offered = [options(problem, pairs, most, as_released) for pairs in stages]
    picks = [int(np.lexsort((stage.penalty, -stage.score, stage.latency_s))[0]) for stage in offered]
    return most, configuration(problem, stages, offered, picks)


def _repair(
    problem: Problem, stages: list[Pairs], load_rps: float, as_released: bool, best_picks: BestPicks
) -> Repair:
    """The least SLA within the limit, the fewest extra cores within the SLA; failing both, both."""
    within = [options(problem, pairs, load_rps, as_released) for pairs in stages]
    lifted = [options(problem, pairs, load_rps, as_released, lift_limit=True) for pairs in stages]
    sla_s = None
    if all(len(stage.pair) for stage in within):
        sla_s = sum(float(stage.latency_s.min()) for stage in within)
    extra = _fewest_extra_cores(problem, lifted, best_picks)
    if extra is not None and sla_s is not None:
        return Repair(extra, sla_s, either=True)
    if extra is not None or sla_s is not None:
        return Repair(extra or (), sla_s)
    lifted_sla_s = _fewest_extra_cores(replace(problem, sla_s=_ANY_SLA_S), lifted, best_picks)
    least = [stage.extra_cores == stage.extra_cores.min() for stage in lifted]
    needed_s = sum(
        float(stage.latency_s[cheapest].min()) for stage, cheapest in zip(lifted, least, strict=True)
    )
    return Repair(lifted_sla_s or (), needed_s)


def _fewest_extra_cores(
    problem: Problem, lifted: list[Options], best_picks: BestPicks
) -> tuple[tuple[str, int], ...] | None:
    """Cores beyond the limit by stage, the fewest in all that meet the SLA; None where none do."""
    counted = [
        replace(
            stage,
            penalty=stage.extra_cores.astype(np.float64),
            score=np.ones(len(stage.pair)),
        )
        for stage in lifted
    ]
    picks = best_picks(problem, counted)
    if picks is None:
        return None
    names = [stage.name for stage in problem.pipeline.stages]
    extra = [int(stage.extra_cores[pick]) for stage, pick in zip(lifted, picks, strict=True)]
    return tuple((name, cores) for name, cores in zip(names, extra, strict=True) if cores > 0)
