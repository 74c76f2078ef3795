"""``ipa-rl solve``: the exact optimum for one load."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import typer

from ipa_rl.cli.arguments import Environment
from ipa_rl.cli.tables import Columns, JsonFlag, out, print_items, print_json
from ipa_rl.environment.definition_file import environment_name, load_problem
from ipa_rl.errors import InputError
from ipa_rl.objective import (
    Problem,
    capacity_rps,
    cost_cores,
    latency_budget,
    latency_s,
    objective,
    pas,
    stage_loads_rps,
    units_of,
)
from ipa_rl.pipeline import CORES
from ipa_rl.solvers import Answer, FrontSolver, Infeasible, Optimum


def solve(
    environment: Environment,
    load: Annotated[float, typer.Option(help="Requests per second.")],
    solver: Annotated[
        Literal["front", "program"], typer.Option(help="Pareto front, or integer program.")
    ] = "front",
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
    if solver == "front":
        answer = FrontSolver(problem, as_released=as_released).solve(load)
    else:
        from ipa_rl.solvers import solve_program

        answer = solve_program(problem, load, as_released=as_released)
    content = _as_json(environment_name(environment), problem, answer)
    if json:
        print_json(content)
    else:
        _print(content, problem, answer)
    if isinstance(answer, Infeasible):
        raise typer.Exit(1)


def _check(field: str, value: float, at_least: float) -> None:
    if not math.isfinite(value) or value < at_least:
        raise InputError(f"is {value}", field=field, fix=f"give a number of at least {at_least:g}")


def _as_json(name: str, problem: Problem, answer: Answer) -> dict[str, Any]:
    """The answer; where there is no optimum, what serves the most, and why."""
    pipeline, chosen = problem.pipeline, answer.to_run
    own_rps = stage_loads_rps(pipeline, chosen, answer.served_rps)
    capacities_rps = capacity_rps(pipeline, chosen)
    budget = latency_budget(problem, chosen, answer.served_rps)
    parts = zip(pipeline.stages, chosen.stages, own_rps, capacities_rps, budget, strict=True)
    stages = [
        {
            "stage": stage.name,
            "variant": config.variant,
            "batch": config.batch,
            "replicas": config.replicas,
            "cores": config.replicas * stage.variant(config.variant).cost_cores,
            "load_rps": load_rps,
            "capacity_rps": capacity,
            "service_p99_s": share.service_s,
            "fill_s": share.fill_s,
            "share_of_sla": (share.service_s + share.fill_s) / problem.sla_s,
        }
        for stage, config, load_rps, capacity, share in parts
    ]
    graph = pipeline.graph
    done_s = dict(zip(graph.names, graph.done_s([one.total_s for one in budget]), strict=True))
    content = {
        "environment": name,
        "load_rps": answer.load_rps,
        "feasible": isinstance(answer, Optimum),
        "stages": stages,
        "objective": objective(problem, chosen),
        "pas_x100": 100 * pas(pipeline, chosen),
        "cores": cost_cores(pipeline, chosen),
        "latency_s": latency_s(pipeline, budget),
        "sla_s": problem.sla_s,
        "sinks": {name: {"latency_s": done_s[name], "sla_s": own_s} for name, own_s in problem.sink_sla_s},
    }
    if _is_mixed(problem):
        for row, stage, config in zip(stages, pipeline.stages, chosen.stages, strict=True):
            variant = stage.variant(config.variant)
            row |= {"resource": variant.resource, "units": config.replicas * variant.units}
        content |= {"units": units_of(pipeline, chosen), "limits": dict(problem.limits)}
    if isinstance(answer, Infeasible):
        repair = asdict(answer.repair)
        repair |= {name: dict(repair[name]) for name in ("extra_cores", "extra_units")}
        content |= {"binding": answer.binding, "served_rps": answer.served_rps, "repair": repair}
    return content


def _is_mixed(problem: Problem) -> bool:
    """Whether there is more to occupy than cores without end."""
    return bool(problem.limits) or problem.pipeline.resources != (CORES,)


def _print(content: dict[str, Any], problem: Problem, answer: Answer) -> None:
    title = f"{content['environment']} at {answer.load_rps:g} requests/s"
    if isinstance(answer, Infeasible):
        lack = "lacks" if len(answer.binding) == 1 else "lack"
        why = f"{' and '.join(answer.binding)} {lack} capacity at {problem.max_replicas} replicas"
        if answer.binding == ("SLA",):
            why = f"the SLA of {problem.sla_s:.4g} s binds"
        elif not set(answer.binding) & {stage.name for stage in problem.pipeline.stages}:
            there = (f"{dict(problem.limits)[name]:g} of {name}" for name in answer.binding)
            why = f"{' and '.join(there)} are not enough"
        out.print(f"infeasible: no configuration serves {answer.load_rps:g} requests/s, as {why}")
        out.print(f"cheapest repair: {answer.repair}")
        title = f"what serves the most: {answer.served_rps:.4g} requests/s"
    graph = problem.pipeline.graph
    columns: Columns = {
        "stage": "stage",
        "variant": "variant",
        "batch": "batch",
        "repl.": "replicas",
        **({"units": "units"} if "units" in content else {}),
        "cores": "cores",
        **({} if graph.is_chain else {"load rps": "load_rps"}),
        "cap. rps": "capacity_rps",
        "p99 s": "service_p99_s",
        "fill s": "fill_s",
        "of SLA": lambda row: f"{100 * row['share_of_sla']:.1f} %",
    }
    print_items(title, columns, content["stages"], left=2)
    total = f"{content['cores']:.10g} cores, objective {content['objective']:.4f}"
    out.print(f"PAS x 100 {content['pas_x100']:.2f}, {total}")
    if "units" in content:
        limits = content["limits"]
        of = {name: f" of {limits[name]:g}" if name in limits else "" for name in content["units"]}
        occupied = ", ".join(f"{name} {units:.10g}{of[name]}" for name, units in content["units"].items())
        out.print(f"occupied: {occupied}")
    slowest = graph.slowest([row["service_p99_s"] + row["fill_s"] for row in content["stages"]])
    rows = [row for row in content["stages"] if row["stage"] in slowest]
    service_s, fill_s = (sum(row[name] for row in rows) for name in ("service_p99_s", "fill_s"))
    along = "" if graph.is_chain else f", along {' '.join(slowest)}"
    parts = f"{service_s:.3f} s service p99 + {fill_s:.3f} s batch fill{along}"
    out.print(f"latency {content['latency_s']:.3f} s of {content['sla_s']:.3f} s: {parts}")
    for sink, own in content["sinks"].items():
        out.print(f"{sink} ends at {own['latency_s']:.3f} s of {own['sla_s']:.3f} s")
