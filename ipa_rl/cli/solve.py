"""``ipa-rl solve``: the exact optimum for one load."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from ipa_rl import resources
from ipa_rl.cli.arguments import Environment
from ipa_rl.cli.tables import JsonFlag, out, print_json, print_table
from ipa_rl.environment.definition import load_problem
from ipa_rl.errors import InputError
from ipa_rl.objective import Problem, StageLatency, capacity_rps, cost_cores, latency_s, objective, pas
from ipa_rl.solvers import Answer, FrontSolver, Infeasible, Optimum


class Solver(StrEnum):
    """The two exact solvers."""

    front = "front"
    program = "program"


def solve(
    environment: Environment,
    load: Annotated[float, typer.Option(help="Requests per second.")],
    solver: Annotated[Solver, typer.Option(help="Pareto front, or integer program.")] = Solver.front,
    sla: Annotated[float | None, typer.Option(help="Another SLA, in seconds.")] = None,
    as_released: Annotated[
        bool, typer.Option(help="Queue term of the authors' released code, to replay its runs.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """The exact optimum for a load: variant, batch size and replicas of every stage.

    Exit status 1 where no configuration serves the load; then why, and what would.

    Example: [bold]ipa-rl solve video --load 20[/bold]
    """
    _check("--load", load, at_least=0.0)
    problem = load_problem(environment)
    if sla is not None:
        _check("--sla", sla, at_least=1e-3)
        problem = replace(problem, sla_s=sla)
    if solver is Solver.front:
        answer = FrontSolver(problem, as_released=as_released).solve(load)
    else:
        from ipa_rl.solvers import solve_program

        answer = solve_program(problem, load, as_released=as_released)
    name = resources.find(environment, "envs").stem
    if json:
        print_json(_as_json(name, problem, answer))
    else:
        _print(name, problem, answer)
    if isinstance(answer, Infeasible):
        raise typer.Exit(1)


def _check(field: str, value: float, at_least: float) -> None:
    if not math.isfinite(value) or value < at_least:
        raise InputError(f"is {value}", field=field, fix=f"give a number of at least {at_least:g}")


def _stage_rows(problem: Problem, answer: Answer) -> list[dict[str, Any]]:
    chosen, pipeline = answer.to_run, problem.pipeline
    return [
        {
            "stage": stage.name,
            "variant": config.variant,
            "batch": config.batch,
            "replicas": config.replicas,
            "cores": config.replicas * stage.variant(config.variant).cores,
            "capacity_rps": capacity,
            "service_p99_s": budget.service_s,
            "fill_s": budget.fill_s,
            "share_of_sla": (budget.service_s + budget.fill_s) / problem.sla_s,
        }
        for stage, config, capacity, budget in zip(
            pipeline.stages, chosen.stages, capacity_rps(pipeline, chosen), answer.budget, strict=True
        )
    ]


def _totals(problem: Problem, answer: Answer) -> dict[str, Any]:
    return {
        "objective": objective(problem, answer.to_run),
        "pas_x100": 100 * pas(problem.pipeline, answer.to_run),
        "cores": cost_cores(problem.pipeline, answer.to_run),
        "latency_s": latency_s(answer.budget),
        "sla_s": problem.sla_s,
    }


def _as_json(name: str, problem: Problem, answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {
        "environment": name,
        "load_rps": answer.load_rps,
        "feasible": isinstance(answer, Optimum),
        "stages": _stage_rows(problem, answer),
        **_totals(problem, answer),
    }
    if isinstance(answer, Infeasible):
        content["binding"] = answer.binding
        content["served_rps"] = answer.served_rps
        content["repair"] = asdict(answer.repair) | {"extra_cores": dict(answer.repair.extra_cores)}
    return content


def _print(name: str, problem: Problem, answer: Answer) -> None:
    title = f"{name} at {answer.load_rps:g} requests/s"
    if isinstance(answer, Infeasible):
        _print_why(problem, answer)
        title = f"what serves the most: {answer.served_rps:.4g} requests/s"
    shown = ("stage", "variant", "batch", "replicas", "cores", "capacity_rps", "service_p99_s", "fill_s")
    print_table(
        title,
        ["stage", "variant", "batch", "repl.", "cores", "cap. rps", "p99 s", "fill s", "of SLA"],
        [
            [*(row[column] for column in shown), f"{100 * row['share_of_sla']:.1f} %"]
            for row in _stage_rows(problem, answer)
        ],
        left=2,
    )
    _print_totals(_totals(problem, answer), _latency(answer.budget))


def _latency(budget: tuple[StageLatency, ...]) -> str:
    service_s = sum(stage.service_s for stage in budget)
    fill_s = sum(stage.fill_s for stage in budget)
    return f"{service_s:.3f} s service p99 + {fill_s:.3f} s batch fill"


def _print_totals(totals: dict[str, Any], latency: str) -> None:
    out.print(
        f"PAS x 100 {totals['pas_x100']:.2f}, {totals['cores']} cores, objective {totals['objective']:.4f}"
    )
    out.print(f"latency {totals['latency_s']:.3f} s of {totals['sla_s']:.3f} s: {latency}")


def _print_why(problem: Problem, answer: Infeasible) -> None:
    limit = problem.max_replicas
    if answer.binding == ("SLA",):
        why = f"the SLA of {problem.sla_s:.4g} s binds"
    else:
        lacks = "lacks" if len(answer.binding) == 1 else "lack"
        why = f"{' and '.join(answer.binding)} {lacks} capacity at {limit} replicas"
    out.print(f"infeasible: no configuration serves {answer.load_rps:g} requests/s, as {why}")
    out.print(f"cheapest repair: {answer.repair}")
