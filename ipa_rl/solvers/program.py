"""The integer program of the paper (arXiv 2308.12871, section 4), with PuLP: the reference.

Variables: x[s, v, b] binary, variant and batch chosen; n[s, v, b] integer, replicas, zero unless chosen. The
product of accuracies is kept exact for any number of stages: with y <= 1 the product up to a stage,
z[v] <= x[v] and sum z[v] = y make z = y x for the one variant that is chosen (McCormick, 1976, exact at
binary points).
Where waits count, a pair is spelled out by its numbers of replicas, as the wait is no linear function of
them: x is then a choice of all three.
HiGHS solves it through highspy, CBC where that is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pulp

from ipa_rl.border import MOST_RPS, number
from ipa_rl.errors import InputError
from ipa_rl.objective import Problem, latency_budget, objective, score, scores
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.solvers.answers import Answer, Optimum
from ipa_rl.solvers.front import SLA_SLACK_S, FrontSolver
from ipa_rl.solvers.options import Pairs, by_replicas, fills, stage_pairs

_LOAD_SLACK = 1e-9

LARGEST_WEIGHT = 1e6
"""Heavier objectives are scaled to this: HiGHS's presolve writes beyond its memory at some 1e11."""

LEAST_SCORE = 1e-5
"""A product of accuracies that is a smaller share of the best one's is lost in the backend's tolerance."""


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

    Raises InputError where the accuracies of the answer are so far below the best that HiGHS may have missed
    a better one.
    """
    load_rps = number(load_rps, "load_rps", most=MOST_RPS)
    offered = [by_replicas(problem, pairs, load_rps) for pairs in stage_pairs(problem)]
    if not all(len(pairs.batch) for pairs in offered):
        return FrontSolver(problem, as_released=as_released).explain(load_rps)
    program = pulp.LpProblem("ipa", pulp.LpMaximize)
    stages = [_stage_variables(program, s, pairs, load_rps) for s, pairs in enumerate(offered)]
    # Service and fill of the chosen pairs are within the SLA; endless fills are ruled out.
    latency_s = []
    for stage in stages:
        each_s = stage.pairs.service_s + fills(stage.pairs, load_rps, as_released)
        for x, one_s in zip(stage.chosen, each_s.tolist(), strict=True):
            if math.isinf(one_s):
                program += x == 0
            else:
                latency_s.append(one_s * x)
    program += pulp.lpSum(latency_s) <= problem.sla_s + SLA_SLACK_S
    # The objective.
    weights = problem.weights
    product, unit = _product(program, problem, stages)
    cost = pulp.lpSum(n * int(k) for s in stages for n, k in zip(s.replicas, s.pairs.cores, strict=True))
    batches = pulp.lpSum(x * int(b) for s in stages for x, b in zip(s.chosen, s.pairs.batch, strict=True))
    largest = max(weights.alpha * unit, weights.beta, weights.delta)
    scale = min(1.0, LARGEST_WEIGHT / largest) if largest > 0 else 1.0
    program += scale * (weights.alpha * unit * product - weights.beta * cost - weights.delta * batches)
    highs = pulp.HiGHS(msg=False, gapRel=0.0, gapAbs=1e-9)
    program.solve(highs if highs.available() else pulp.PULP_CBC_CMD(msg=False, gapRel=0.0, gapAbs=1e-9))
    if program.status != pulp.LpStatusOptimal:
        return FrontSolver(problem, as_released=as_released).explain(load_rps)
    found = _read(problem, stages, load_rps)
    if weights.alpha > 0 and score(problem, found.configuration) < LEAST_SCORE * unit:
        problem_is = f"the program cannot tell products of accuracies below {LEAST_SCORE:g} of the best apart"
        raise InputError(problem_is, field="accuracy", fix="solve by the front")
    return found


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


def _product(program: Any, problem: Problem, stages: list[_StageVariables]) -> tuple[Any, float]:
    """The product of the chosen variants' scores, stage after stage, and its unit.

    Each stage's scores are relative to its best, as the backend takes what is below its tolerance for 0.
    """
    product: Any = 1.0
    unit = 1.0
    for s, (stage, task) in enumerate(zip(stages, problem.pipeline.stages, strict=True)):
        own = scores(task, problem.weights)
        best = max(own) or 1.0
        unit *= best
        factors = [one / best for one in own]
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
                program += z <= x
            product = pulp.lpSum(a * z for a, z in zip(factors, parts, strict=True))
    return product, unit


def _read(problem: Problem, stages: list[_StageVariables], load_rps: float) -> Optimum:
    configs = []
    for stage, task in zip(stages, problem.pipeline.stages, strict=True):
        pair = max(range(len(stage.chosen)), key=lambda i: stage.chosen[i].value() or 0.0)
        name = task.variants[int(stage.pairs.variant[pair])].name
        replicas = round(stage.replicas[pair].value())
        configs.append(StageConfig(name, int(stage.pairs.batch[pair]), replicas))
    chosen = Configuration(tuple(configs))
    budget = latency_budget(problem, chosen, load_rps)
    return Optimum(chosen, objective(problem, chosen), load_rps, budget)
