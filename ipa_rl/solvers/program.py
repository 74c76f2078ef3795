"""The integer program of the paper (arXiv 2308.12871, section 4), with PuLP: the reference.

Variables: x[s, v, b] binary, variant and batch chosen; n[s, v, b] integer, replicas, zero unless chosen. The
product of accuracies is kept exact for any number of stages: with y the product up to a stage and x a
choice, z = y x is linear for a binary x and a bounded y (McCormick, 1976, exact at binary points).
HiGHS solves it through highspy, CBC where that is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pulp

from ipa_rl.border import MOST_RPS, number
from ipa_rl.objective import Problem, latency_budget, objective, scores
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.solvers.answers import Answer, Optimum
from ipa_rl.solvers.front import SLA_SLACK_S, best_picks
from ipa_rl.solvers.infeasible import explain
from ipa_rl.solvers.options import Pairs, fills, stage_pairs

_LOAD_SLACK = 1e-9


@dataclass(frozen=True)
class _StageVariables:
    """Choice and replicas of each (variant, batch) pair of a stage."""

    pairs: Pairs
    chosen: list[Any]
    replicas: list[Any]


def solve_program(problem: Problem, load_rps: float, *, as_released: bool = False) -> Answer:
    """The optimum for a load, or why there is none.

    ``as_released``: the queue term of the authors' released code, (indicator - 1) / lambda summed over
    every variant and batch of a stage, in place of (b - 1) / lambda. It is never positive, so it hands out
    free latency; for replaying their runs only.
    """
    load_rps = number(load_rps, "load_rps", most=MOST_RPS)
    program = pulp.LpProblem("ipa", pulp.LpMaximize)
    stages = [_stage_variables(program, s, pairs, load_rps) for s, pairs in enumerate(stage_pairs(problem))]
    _within_sla(program, problem, stages, load_rps, as_released)
    weights = problem.weights
    product = _product(program, problem, stages)
    cost = pulp.lpSum(
        n * int(cores) for stage in stages for n, cores in zip(stage.replicas, stage.pairs.cores, strict=True)
    )
    batches = pulp.lpSum(
        x * int(b) for stage in stages for x, b in zip(stage.chosen, stage.pairs.batch, strict=True)
    )
    program += weights.alpha * product - weights.beta * cost - weights.delta * batches
    program.solve(_backend())
    if program.status != pulp.LpStatusOptimal:
        pairs_by_stage = [stage.pairs for stage in stages]
        return explain(problem, pairs_by_stage, load_rps, as_released, best_picks)
    return _read(problem, stages, load_rps)


def _backend() -> Any:
    highs = pulp.HiGHS(msg=False, gapRel=0.0, gapAbs=1e-9)
    return highs if highs.available() else pulp.PULP_CBC_CMD(msg=False, gapRel=0.0, gapAbs=1e-9)


def _stage_variables(program: Any, s: int, pairs: Pairs, load_rps: float) -> _StageVariables:
    """One pair is chosen; its replicas carry the load within the limit."""
    count = range(len(pairs.batch))
    chosen = [program.add_variable(f"x_{s}_{i}", cat=pulp.LpBinary) for i in count]
    limit = pairs.limit.tolist()
    replicas = [program.add_variable(f"n_{s}_{i}", 0, limit[i], pulp.LpInteger) for i in count]
    program += pulp.lpSum(chosen) == 1
    for i in count:
        least = limit[i] if pairs.fixed else 1
        program += replicas[i] <= limit[i] * chosen[i]
        program += replicas[i] >= least * chosen[i]
        carried = load_rps / float(pairs.rate_rps[i]) - _LOAD_SLACK
        program += replicas[i] >= min(carried, limit[i] + 1.0) * chosen[i]
    return _StageVariables(pairs, chosen, replicas)


def _within_sla(
    program: Any,
    problem: Problem,
    stages: list[_StageVariables],
    load_rps: float,
    as_released: bool,
) -> None:
    """Sum of service and fill of the chosen pairs within the SLA; endless fills are ruled out."""
    total = []
    for stage in stages:
        latency_s = stage.pairs.service_s + fills(stage.pairs, load_rps, as_released)
        for x, one in zip(stage.chosen, latency_s.tolist(), strict=True):
            if math.isinf(one):
                program += x == 0
            else:
                total.append(one * x)
    program += pulp.lpSum(total) <= problem.sla_s + SLA_SLACK_S


def _product(program: Any, problem: Problem, stages: list[_StageVariables]) -> Any:
    """The product of the chosen variants' scores, stage after stage; y stays within low..high."""
    product: Any = 1.0
    low = high = 1.0
    for s, (stage, task) in enumerate(zip(stages, problem.pipeline.stages, strict=True)):
        factors = scores(task, problem.weights)
        is_variant = [
            pulp.lpSum(x for x, of in zip(stage.chosen, stage.pairs.variant.tolist(), strict=True) if of == v)
            for v in range(len(factors))
        ]
        if s == 0:
            product = pulp.lpSum(a * x for a, x in zip(factors, is_variant, strict=True))
        else:
            parts = [program.add_variable(f"z_{s}_{v}", 0) for v in range(len(factors))]
            program += pulp.lpSum(parts) == product
            for z, x in zip(parts, is_variant, strict=True):
                program += z <= high * x
                program += z >= low * x
            product = pulp.lpSum(a * z for a, z in zip(factors, parts, strict=True))
        low, high = low * min(factors), high * max(factors)
    return product


def _read(problem: Problem, stages: list[_StageVariables], load_rps: float) -> Optimum:
    configs = []
    for stage, task in zip(stages, problem.pipeline.stages, strict=True):
        pair = max(range(len(stage.chosen)), key=lambda i: stage.chosen[i].value() or 0.0)
        name = task.variants[int(stage.pairs.variant[pair])].name
        replicas = round(stage.replicas[pair].value())
        configs.append(StageConfig(name, int(stage.pairs.batch[pair]), replicas))
    chosen = Configuration(tuple(configs))
    budget = latency_budget(problem.pipeline, chosen, load_rps)
    return Optimum(chosen, objective(problem, chosen), load_rps, budget)
