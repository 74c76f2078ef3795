"""The integer program for any graph: what each stage runs, within the SLA, and the product of accuracies.

Variables: x[s, i] binary, what a stage runs (a row). The product of accuracies is kept exact for any number
of stages: with y <= 1 the product up to a stage, z[v] <= x[v] and sum z[v] = y make z = y x for the one
variant that is chosen (McCormick, 1976, exact at binary points). Where requests take one of several routes,
each route has its product. Where the variants of other stages say how many requests come to a stage, there
are rows for each of their groups, of which those are chosen whose groups are. Latency: each stage is done
after those that it waits for. HiGHS solves it through highspy, CBC where that is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pulp

from ipa_rl.blocks import Block, Split, score_along, score_of, tree_of
from ipa_rl.errors import InputError
from ipa_rl.graph import StageClass
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem
from ipa_rl.solvers.options import ROUNDING, SLA_SLACK_S, Offers, Picks

LARGEST_WEIGHT = 1e6
"""Heavier objectives are scaled to this: HiGHS's presolve writes beyond its memory at some 1e11."""


LEAST_SCORE = 1e-5
"""A product of accuracies that is a smaller share of the best one's is lost in the backend's tolerance."""


@dataclass(frozen=True)
class Runnable:
    """What a stage can run where other stages run variants of these groups.

    ``latency_s``: service, fill and wait; ``item``: what tells the rest of it.
    """

    variant: int
    latency_s: float
    of: StageClass
    item: Any


@dataclass(frozen=True)
class StageVariables:
    """Runnable of each row of a stage, and seconds until the stage is done."""

    rows: list[Runnable]
    chosen: list[Any]
    done_s: Any

    def runs(self, variants: Collection[int]) -> Any:
        """1 where it runs one of these variants."""
        pairs = zip(self.rows, self.chosen, strict=True)
        return pulp.lpSum(x for row, x in pairs if row.variant in variants)

    @property
    def chosen_row(self) -> tuple[int, Runnable]:
        """Of a solved program."""
        i = max(range(len(self.chosen)), key=lambda i: self.chosen[i].value() or 0.0)
        return i, self.rows[i]


def picks_by_program(problem: Problem, offers: Offers, load_rps: float) -> Picks | None:
    """As `best_picks`, for any graph."""
    rows: list[list[Runnable]] = []
    for s in range(len(problem.pipeline.stages)):
        rows.append([])
        for one in problem.pipeline.graph.classes_of(s):
            offered = offers(s, load_rps * one.visits)
            columns = enumerate(zip(offered.variant.tolist(), offered.latency_s.tolist(), strict=True))
            rows[-1] += [Runnable(v, latency_s, one, (offered, i)) for i, (v, latency_s) in columns]
    if not all(rows):
        return None
    own = [np.zeros(len(stage.variants)) for stage in problem.pipeline.stages]
    for s, stage_rows in enumerate(rows):
        for row in stage_rows:
            offered, i = row.item
            own[s][row.variant] = offered.score[i]
    program, stages, product, unit = formulated(problem, rows, own)
    penalties, heaviest = [], 0.0
    used: list[list[Any]] = [[] for _ in problem.limits]
    for stage in stages:
        for row, x in zip(stage.rows, stage.chosen, strict=True):
            offered, i = row.item
            for terms, units in zip(used, offered.used[i].tolist(), strict=False):
                terms.append(units * x)
            heaviest = max(heaviest, float(offered.penalty[i]))
            penalties.append(float(offered.penalty[i]) * x)
    limit(program, problem, used)
    if not solved(program, problem, unit * product, penalties, max(problem.weights.alpha * unit, heaviest)):
        return None
    found: Picks = {s: stage.chosen_row[1].item for s, stage in enumerate(stages)}
    chosen = [float(offered.score[i]) for offered, i in found.values()]
    fix = "leave out variants that are hardly ever right"
    check_told_apart(problem.weights.alpha, score_along(problem.pipeline.graph, chosen), unit, fix)
    return found


def limit(program: Any, problem: Problem, used: list[list[Any]]) -> None:
    """No more units of each limited resource than there are; ``used``: terms of each."""
    for terms, (_, units) in zip(used, problem.limits, strict=True):
        program.addConstraint(pulp.lpSum(terms) <= units * (1.0 + ROUNDING) + ROUNDING)


def check_told_apart(alpha: float, found: float, best: float, fix: str) -> None:
    """Raises InputError where the program's answer is so inaccurate that it may have missed a better one."""
    if alpha > 0 and found < LEAST_SCORE * best:
        problem = f"the program cannot tell products of accuracies below {LEAST_SCORE:g} of the best apart"
        raise InputError(problem, field="accuracy", fix=fix)


def formulated(
    problem: Problem, rows: list[list[Runnable]], own: Sequence[FloatArray]
) -> tuple[Any, list[StageVariables], Any, float]:
    """A program that chooses a row a stage within the SLA; the product of scores, and its unit.

    ``own``: scores of each stage's variants.
    """
    program = pulp.LpProblem("ipa", pulp.LpMaximize)
    stages = []
    for s, some in enumerate(rows):
        chosen = [program.add_variable(f"x_{s}_{i}", cat=pulp.LpBinary) for i in range(len(some))]
        program += pulp.lpSum(chosen) == 1
        stages.append(StageVariables(some, chosen, program.add_variable(f"t_{s}")))
    _agree(program, problem, stages)
    _within_sla(program, problem, stages)
    return program, stages, *_product(program, problem, stages, own)


def solved(program: Any, problem: Problem, product: Any, penalties: list[Any], largest: float) -> bool:
    """Whether there is a best choice, which is found then; ``largest``: weight of the objective."""
    scale = min(1.0, LARGEST_WEIGHT / largest) if largest > 0 else 1.0
    program += scale * (problem.weights.alpha * product - pulp.lpSum(penalties))
    highs = pulp.HiGHS(msg=False, gapRel=0.0, gapAbs=1e-9)
    try:
        program.solve(highs if highs.available() else pulp.PULP_CBC_CMD(msg=False, gapRel=0.0, gapAbs=1e-9))
    except IndexError:  # PuLP reads the rows' values, of which HiGHS may have none where nothing is feasible
        return False
    return bool(program.status == pulp.LpStatusOptimal)


def _agree(program: Any, problem: Problem, stages: list[StageVariables]) -> None:
    """Rows of a group of another stage's variants are chosen where that stage runs one of these."""
    graph = problem.pipeline.graph
    for s, stage in enumerate(stages):
        for governor in graph.governors(s):
            for group, variants in enumerate(graph.classes(governor)):
                pairs = zip(stage.rows, stage.chosen, strict=True)
                those = pulp.lpSum(x for row, x in pairs if row.of.groups[governor] == group)
                program += those == stages[governor].runs(variants)


def _within_sla(program: Any, problem: Problem, stages: list[StageVariables]) -> None:
    """Each stage is done after those that it waits for, and the last ones within the SLA."""
    graph = problem.pipeline.graph
    longest_s = sum(max(0.0, *(row.latency_s for row in stage.rows)) for stage in stages)
    for s, stage in enumerate(stages):
        own_s = pulp.lpSum(row.latency_s * x for row, x in zip(stage.rows, stage.chosen, strict=True))
        parents = [stages[graph.ends[k][0]].done_s for k in graph.entering[s]]
        if not parents:  # nothing is done before it began, but latencies as released may be below 0
            program += stage.done_s >= own_s
        if graph.joins.get(s) == "first" and len(parents) > 1:
            awaited = [program.add_variable(f"u_{s}_{k}", cat=pulp.LpBinary) for k in range(len(parents))]
            program += pulp.lpSum(awaited) == 1
            for is_first, parent_s in zip(awaited, parents, strict=True):
                program += stage.done_s >= parent_s + own_s - 2.0 * longest_s * (1 - is_first)
        else:
            for parent_s in parents:
                program += stage.done_s >= parent_s + own_s
        if not graph.leaving[s]:
            program += stage.done_s <= min(problem.sla_s, longest_s) + SLA_SLACK_S


def _product(
    program: Any, problem: Problem, stages: list[StageVariables], own: Sequence[FloatArray]
) -> tuple[Any, float]:
    """The product of the chosen variants' scores, in the mean of all routes, and its unit.

    Each stage's scores are relative to its best, as the backend takes what is below its tolerance for 0.
    """
    graph = problem.pipeline.graph
    bests = [float(one.max()) or 1.0 for one in own]
    unit, count = score_along(graph, bests), iter(range(10**9))

    def times(product: Any, s: int) -> Any:
        """A product that goes on with a stage."""
        factors = (own[s] / bests[s]).tolist()
        parts = [program.add_variable(f"z_{next(count)}", 0) for _ in factors]
        program.addConstraint(pulp.lpSum(parts) == product)
        for v, z in enumerate(parts):
            program.addConstraint(z <= stages[s].runs((v,)))
        return pulp.lpSum(a * z for a, z in zip(factors, parts, strict=True))

    def along(block: Block, product: Any) -> Any:
        """A product that goes on with a block; of shares of it, each relative to its own best."""
        for part in block.parts:
            if isinstance(part, int):
                product = times(product, part)
            elif part.kind == "all":
                for arm in part.arms:
                    product = along(arm.block, product)
            else:
                product = beside(part, product)
        return product

    def beside(split: Split, product: Any) -> Any:
        best = [score_of(arm.block, bests) for arm in split.arms]
        arms = [along(arm.block, product) for arm in split.arms]
        if split.kind == "one":
            missed = 1.0 - sum(arm.probability for arm in split.arms)
            shares = [arm.probability * one for arm, one in zip(split.arms, best, strict=True)]
            total = sum(shares) + missed
            mean = pulp.lpSum(share * arm for share, arm in zip(shares, arms, strict=True)) + missed * product
            return mean * (1.0 / total)
        least = program.add_variable(f"least_{next(count)}", 0)
        for one, arm in zip(best, arms, strict=True):
            program.addConstraint(least <= (one / min(best)) * arm)
        return least

    tree = tree_of(graph)
    if problem.weights.alpha == 0.0:  # figures that do not count may still make the backend err; this is 1
        return pulp.lpSum(stages[0].chosen), unit
    if tree is not None:
        return along(tree, 1.0), unit
    total: Any = 0.0
    for route in graph.routes:
        product: Any = 1.0
        for s in sorted(route.stages):
            product = times(product, s)
        best = float(np.prod([bests[s] for s in route.stages]))
        total = total + route.probability * best / unit * product
    return total, unit
