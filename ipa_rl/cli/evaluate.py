"""``ipa-rl evaluate``: an agent on a whole part of the trace and under stress, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.compare import Part
from ipa_rl.cli.judging import (
    AgentFolder,
    Environment,
    Fluid,
    Most,
    OutFolder,
    RayAddress,
    Workers,
    judge,
    make_setup,
    paired_rows,
    part_scenarios,
    print_paired,
    print_ranking,
    print_rows,
    print_stress,
    shown_controllers,
)
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import JsonFlag, err, print_json, save_note
from ipa_rl.evaluation.card import write_card
from ipa_rl.evaluation.jobs import make_jobs
from ipa_rl.evaluation.ranking import rank
from ipa_rl.evaluation.stress import endured, stress_jobs, stress_rows
from ipa_rl.evaluation.tables import write_json, write_rows

_STRESS_SEEDS = 5


def evaluate(
    environment: Environment,
    part: Annotated[Part, typer.Option(help="Part of the trace; test only to report.")] = Part.test,
    windows: Most = None,
    fluid: Fluid = False,
    agent: AgentFolder = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """All controllers on all 20-minute windows of a part, with 95 % intervals, and under stress; the card.

    Example: [bold]ipa-rl evaluate video --part test[/bold]
    """
    setup = make_setup(environment, agent, fluid)
    known = setup.controllers()
    definition = known.definition
    folder = output_folder(out_folder or Path("runs") / f"evaluate-{definition.name}-{part.value}")
    stress_folder = output_folder(folder / "stress")
    jobs = make_jobs(part_scenarios(part.value, windows), 1)
    comparison = judge(f"{part.value} part", setup, jobs, folder, workers, ray_address)
    single = make_setup(environment, agent, fluid=False)
    jobs = stress_jobs(definition, _STRESS_SEEDS)
    stress = endured(judge("stress suite", single, jobs, stress_folder, workers, ray_address))
    content: dict[str, Any] = {
        "part": part.value,
        "simulator": setup.kind.value,
        "windows": len(comparison.played),
        "rows": comparison.rows(),
        "ranking": [one.__dict__ for one in rank(comparison)],
        "paired": paired_rows(comparison, known),
        "stress": stress_rows(stress),
    }
    write_rows(content["rows"], folder / "evaluation.csv")
    write_json(content, folder / "evaluation.json")
    write_card(known, content, stress, folder / "card.md")
    if json:
        print_json(content)
    else:
        title = f"{definition.name}, {part.value} part, {content['windows']} windows, {setup.kind.value}"
        print_rows(title, content["rows"])
        print_ranking(rank(comparison), comparison.unit)
        print_paired(content["paired"], comparison.unit)
        print_stress(stress, shown_controllers(known))
    if known.note:
        err.print(f"note: {known.note}", soft_wrap=True)
    save_note([folder / name for name in ("evaluation.csv", "evaluation.json", "card.md")])
