"""``ipa-rl compare``: controllers on the same arrivals."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.agents.opponents import PROGRAM
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.cli.judging import (
    AgentFolder,
    Alpha,
    Beta,
    Environment,
    Fluid,
    Most,
    OutFolder,
    RayAddress,
    Seeds,
    Task,
    Workers,
    judge,
    make_setup,
    part_scenarios,
    print_ranking,
    print_rows,
    print_stress,
    run_folder,
    say_notes,
)
from ipa_rl.cli.tables import JsonFlag, err, print_json, save_note
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import Comparison
from ipa_rl.judge.controllers import Controllers
from ipa_rl.judge.jobs import Job, make_jobs
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.ranking import rank
from ipa_rl.judge.runs import RunFolder
from ipa_rl.judge.scenario import Scenario, check_fluid
from ipa_rl.judge.stress import endured, stress_jobs, stress_rows
from ipa_rl.report.colours import controller_styles
from ipa_rl.result_files import write_json, write_rows
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.times import read_times
from ipa_rl.workload.trace import paper_window, scaled

_SEEDS = 5
"""Runs of a single window, so that there is a spread to judge by."""


class PaperWindow(StrEnum):
    """The paper's windows."""

    bursty = "bursty"
    steady_low = "steady-low"
    steady_high = "steady-high"
    fluctuating = "fluctuating"


class Part(StrEnum):
    """Parts of the trace that may be judged on."""

    validation = "validation"
    test = "test"


class Suite(StrEnum):
    """Suites of scenarios."""

    stress = "stress"


def compare(
    environment: Environment,
    window: Annotated[PaperWindow | None, typer.Option(help="The paper's window; bursty by default.")] = None,
    part: Annotated[Part | None, typer.Option(help="All 20-minute windows of a part instead.")] = None,
    suite: Annotated[Suite | None, typer.Option(help="Loads and faults that the trace lacks.")] = None,
    arrivals: Annotated[
        Path | None, typer.Option(help="File of exact arrival times: seconds, one a line.")
    ] = None,
    windows: Most = None,
    seeds: Seeds = None,
    fluid: Fluid = False,
    agent: AgentFolder = None,
    alpha: Alpha = None,
    beta: Beta = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """All controllers side by side, every request accounted for: table, ranking, CSV, JSON and pictures.

    Examples: [bold]ipa-rl compare video[/bold], [bold]ipa-rl compare video --part validation --windows
    50[/bold], [bold]ipa-rl compare video --suite stress[/bold]
    """
    setup = make_setup(environment, agent, fluid, alpha, beta)
    known = setup.controllers()
    subject, jobs = _jobs(known.definition, window, part, suite, arrivals, windows, seeds)
    if fluid:
        for job in jobs:
            check_fluid(job.scenario)
    default = Path("runs") / f"compare-{known.definition.name}-{_short(subject)}"
    folder = run_folder(out_folder, default, {"": Task(subject, setup, jobs)})
    comparison = judge(subject, setup, jobs, folder, make_pool(workers, ray_address))
    content = _content(comparison, known, suite)
    paths = _write(comparison, content, known, folder)
    if json:
        print_json(content)
    else:
        _print(comparison, content, known, suite)
    say_notes(setup, known)
    save_note(paths)
    err.print(f"a page to look at: ipa-rl report {folder}", soft_wrap=True)


def _jobs(
    definition: Definition,
    window: PaperWindow | None,
    part: Part | None,
    suite: Suite | None,
    arrivals: Path | None,
    most: int | None,
    seeds: int | None,
) -> tuple[str, list[Job]]:
    """What is compared, in words, and its jobs."""
    scale = definition.workload.scale
    given = [
        option
        for option, value in (
            ("--window", window),
            ("--part", part),
            ("--suite", suite),
            ("--arrivals", arrivals),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise InputError("exclude each other", field=" and ".join(given), fix="give one of them")
    if most is not None and part is None:
        raise InputError("goes with --part only", field="--windows", fix="leave it out, or give --part")
    if part is not None:
        return f"{part.value} part", make_jobs(part_scenarios(part.value, most, scale), seeds or 1)
    if suite is not None:
        return f"{suite.value} suite", stress_jobs(definition, seeds or _SEEDS)
    if arrivals is not None:
        exact = read_times(arrivals, HISTORY_S, definition.timing.interval_s)
        return f"arrivals {exact.name}", make_jobs([Scenario(exact)], seeds or _SEEDS)
    wanted = (window or PaperWindow.bursty).value
    scenario = Scenario(scaled(paper_window(wanted, HISTORY_S), scale))
    return f"{wanted} window", make_jobs([scenario], seeds or _SEEDS)


def _short(subject: str) -> str:
    """The subject as part of a folder's name: "bursty" of "bursty window"."""
    return re.sub(r"\W+", "-", re.sub(" (window|part|suite)$", "", subject))


def _content(comparison: Comparison, known: Controllers, suite: Suite | None) -> dict[str, Any]:
    """All results as plain values."""
    description = comparison.description
    content: dict[str, Any] = {
        "environment": comparison.definition.name,
        "subject": description.subject,
        "simulator": description.kind.value,
        "scenarios": len(description.scenarios),
        "seeds": description.seeds,
        "opponents_tuned": known.tuned,
    }
    if suite is not None:
        return content | {"stress": stress_rows(endured(comparison))}
    return content | {
        "intervals_over": comparison.unit,
        "rows": comparison.rows(),
        "ranking": [one.__dict__ for one in rank(comparison)],
    }


def _print(comparison: Comparison, content: dict[str, Any], known: Controllers, suite: Suite | None) -> None:
    if suite is not None:
        print_stress(endured(comparison), known.shown)
        return
    description = comparison.description
    size = f"{len(description.scenarios)} windows" if len(description.scenarios) > 1 else description.subject
    if description.seeds > 1:
        size += f" x {description.seeds} seeds"
    print_rows(f"{comparison.definition.name}, {size}, {description.kind.value} simulator", content["rows"])
    print_ranking(rank(comparison), comparison.unit)


def _write(comparison: Comparison, content: dict[str, Any], known: Controllers, folder: Path) -> list[Path]:
    """CSV, JSON and, of a single window, both pictures, which without matplotlib are left out with a note."""
    paths = [folder / "comparison.csv", folder / "comparison.json"]
    write_rows(content.get("rows") or content["stress"], paths[0])
    write_json(content, paths[1])
    if len(comparison.played) == 1:
        paths += _pictures(comparison, content["rows"], known, folder)
    return paths


def _pictures(
    comparison: Comparison, rows: list[dict[str, Any]], known: Controllers, folder: Path
) -> list[Path]:
    from ipa_rl.errors import MissingExtraError
    from ipa_rl.report.pictures import draw_timeline, draw_trade_offs

    wanted = {AGENT_NAME, known.program.name, "fa2-low", "rim"}
    shown = [one for one in comparison.played[0][0] if one.name in wanted]
    others = {one.name for one in known.opponents if one.system == PROGRAM and not one.foresees}
    others -= {known.program.name}
    styles = controller_styles(comparison.description.controllers, known.program.name)
    pictures = [folder / "timeline.png", folder / "trade-offs.png"]
    try:
        draw_timeline(comparison.definition, RunFolder(folder).loads(0), shown, styles, pictures[0])
        draw_trade_offs(comparison.definition, rows, others, styles, pictures[1])
    except MissingExtraError as error:
        err.print(f"note: no pictures: {error}", soft_wrap=True)
        return []
    return pictures
