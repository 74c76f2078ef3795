"""``ipa-rl solve``: the exact optimum for one load."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any

import typer

from ipa_rl.cli.tables import JsonFlag, out, print_json, print_table
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.errors import InputError
from ipa_rl.objective import StageLatency, capacity_rps, cost_cores, latency_s, objective, pas
from ipa_rl.pipeline import Configuration
from ipa_rl.solvers import Answer, FrontSolver, Infeasible, Optimum, solve_program


class Solver(StrEnum):
    """The two exact solvers."""

    front = "front"
    program = "program"


def solve(
    environment: Annotated[str, typer.Argument(help="Shipped name (video) or YAML file.")],
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
    definition = load_definition(environment)
    if sla is not None:
        _check("--sla", sla, at_least=1e-3)
        definition = definition.with_problem(sla_s=sla)
    answer = _answer(definition, load, solver, as_released)
    if json:
        print_json(_as_json(definition, answer))
    else:
        _print(definition, answer)
    if isinstance(answer, Infeasible):
        raise typer.Exit(1)


def _check(field: str, value: float, at_least: float) -> None:
    if not math.isfinite(value) or value < at_least:
        raise InputError(f"is {value}", field=field, fix=f"give a number of at least {at_least:g}")


def _answer(definition: Definition, load: float, solver: Solver, as_released: bool) -> Answer:
    if solver is Solver.program:
        return solve_program(definition.problem, load, as_released=as_released)
    return FrontSolver(definition.problem, as_released=as_released).solve(load)


def _chosen(answer: Answer) -> Configuration:
    return answer.configuration if isinstance(answer, Optimum) else answer.serves_most


def _stage_rows(definition: Definition, answer: Answer) -> list[dict[str, Any]]:
    chosen, pipeline = _chosen(answer), definition.pipeline
    capacities = capacity_rps(pipeline, chosen)
    rows = []
    for stage, config, capacity, budget in zip(
        pipeline.stages, chosen.stages, capacities, answer.budget, strict=True
    ):
        share = (budget.service_s + budget.fill_s) / definition.problem.sla_s
        rows.append(
            {
                "stage": stage.name,
                "variant": config.variant,
                "batch": config.batch,
                "replicas": config.replicas,
                "cores": config.replicas * stage.variant(config.variant).cores,
                "capacity_rps": capacity,
                "service_p99_s": budget.service_s,
                "fill_s": budget.fill_s,
                "share_of_sla": share,
            }
        )
    return rows


def _totals(definition: Definition, answer: Answer) -> dict[str, Any]:
    chosen = _chosen(answer)
    return {
        "objective": objective(definition.problem, chosen),
        "pas_x100": 100 * pas(definition.pipeline, chosen),
        "cores": cost_cores(definition.pipeline, chosen),
        "latency_s": latency_s(answer.budget),
        "sla_s": definition.problem.sla_s,
    }


def _as_json(definition: Definition, answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {
        "environment": definition.name,
        "load_rps": answer.load_rps,
        "feasible": isinstance(answer, Optimum),
        "stages": _stage_rows(definition, answer),
        **_totals(definition, answer),
    }
    if isinstance(answer, Infeasible):
        content["binding"] = answer.binding
        content["served_rps"] = answer.served_rps
        content["repair"] = {
            "extra_cores": dict(answer.repair.extra_cores),
            "sla_s": answer.repair.sla_s,
            "either": answer.repair.either,
        }
    return content


def _print(definition: Definition, answer: Answer) -> None:
    if isinstance(answer, Infeasible):
        _print_why(definition, answer)
    rows = _stage_rows(definition, answer)
    title = f"{definition.name} at {answer.load_rps:g} requests/s"
    if isinstance(answer, Infeasible):
        title = f"what serves the most: {answer.served_rps:.4g} requests/s"
    names = ("stage", "variant", "batch", "replicas", "cores", "capacity_rps", "service_p99_s", "fill_s")
    print_table(
        title,
        ["stage", "variant", "batch", "repl.", "cores", "cap. rps", "p99 s", "fill s", "of SLA"],
        [[*(row[name] for name in names), f"{100 * row['share_of_sla']:.1f} %"] for row in rows],
        left=2,
    )
    _print_totals(_totals(definition, answer), _latency(answer.budget))


def _latency(budget: tuple[StageLatency, ...]) -> str:
    service_s = sum(stage.service_s for stage in budget)
    fill_s = sum(stage.fill_s for stage in budget)
    return f"{service_s:.3f} s service p99 + {fill_s:.3f} s batch fill"


def _print_totals(totals: dict[str, Any], latency: str) -> None:
    out.print(
        f"PAS x 100 {totals['pas_x100']:.2f}, {totals['cores']} cores, objective {totals['objective']:.4f}"
    )
    out.print(f"latency {totals['latency_s']:.3f} s of {totals['sla_s']:.3f} s: {latency}")


def _print_why(definition: Definition, answer: Infeasible) -> None:
    limit = definition.problem.max_replicas
    if answer.binding == ("SLA",):
        why = f"the SLA of {definition.problem.sla_s:.4g} s binds"
    else:
        why = f"{' and '.join(answer.binding)} lacks capacity at {limit} replicas"
    out.print(f"infeasible: no configuration serves {answer.load_rps:g} requests/s, as {why}")
    out.print(f"cheapest repair: {answer.repair}")
