"""``ipa-rl evaluate``: an agent on a whole part of the trace and under stress, and its card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.cli.compare import Part
from ipa_rl.cli.judging import (
    DRAWS,
    AgentFolder,
    Alpha,
    Beta,
    Draws,
    Environment,
    Fluid,
    Most,
    OutFolder,
    RayAddress,
    Task,
    Workers,
    judge,
    make_setup,
    paired_rows,
    part_scenarios,
    print_paired,
    print_ranking,
    print_rows,
    print_stress,
    run_folder,
    say_notes,
)
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import JsonFlag, print_json, save_note
from ipa_rl.judge.comparison import Comparison
from ipa_rl.judge.jobs import Setup, make_jobs
from ipa_rl.judge.pools import Pool, make_pool
from ipa_rl.judge.ranking import rank
from ipa_rl.judge.regret import bounds, regret
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.stress import Endured, endured, stress_jobs, stress_rows
from ipa_rl.progress import Bars
from ipa_rl.report.card import write_card
from ipa_rl.result_files import write_json, write_rows


def evaluate(
    environment: Environment,
    part: Annotated[Part, typer.Option(help="Part of the trace; test only to report.")] = Part.test,
    windows: Most = None,
    draws: Draws = DRAWS,
    fluid: Fluid = False,
    agent: AgentFolder = None,
    alpha: Alpha = None,
    beta: Beta = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """All controllers on all 20-minute windows of a part, with 95 % intervals, and under stress; the card.

    Example: [bold]ipa-rl evaluate video --part test[/bold]
    """
    setup = make_setup(environment, agent, fluid, alpha, beta)
    known = setup.controllers()
    default = Path("runs") / f"evaluate-{known.definition.name}-{part.value}"
    folder = run_folder(out_folder, default, _tasks(setup, part, windows, draws))
    pool = make_pool(workers, ray_address)
    content, comparison, stress = assess(setup, part, windows, draws, folder, pool)
    write_card(setup, content, stress, folder / "card.md")
    if json:
        print_json(content)
    else:
        title = (
            f"{known.definition.name}, {part.value} part, {content['windows']} windows, {setup.kind.value}"
        )
        print_rows(title, content["rows"])
        print_ranking(rank(comparison), comparison.unit)
        print_paired(content["paired"], comparison.unit)
        print_stress(stress, known.shown)
    say_notes(setup, known)
    save_note([folder / name for name in ("evaluation.csv", "evaluation.json", "card.md")])


def assess(
    setup: Setup, part: Part, windows: int | None, draws: int, folder: Path, pool: Pool
) -> tuple[dict[str, Any], Comparison, list[Endured]]:
    """An evaluation's content, written to ``folder`` as evaluation.csv and evaluation.json.

    ``draws``: of each scenario of the stress suite.
    """
    known = setup.controllers()
    played = {
        name: judge(task.subject, task.setup, task.jobs, output_folder(folder / name), pool)
        for name, task in _tasks(setup, part, windows, draws).items()
    }
    comparison, stress = played[""], endured(played["stress"])
    content: dict[str, Any] = {
        "part": part.value,
        "simulator": setup.kind.value,
        "windows": len(comparison.played),
        "rows": comparison.rows(),
        "ranking": [one.__dict__ for one in rank(comparison)],
        "paired": paired_rows(comparison, known),
        "stress_draws": draws,
        "stress": stress_rows(stress),
        "opponents_tuned": known.tuned,
    }
    if known.policy is not None and known.tuned:
        with Bars() as bars:
            scenarios = part_scenarios(part.value, windows, known.definition.workload.scale)
            bound = bounds(setup, [one.window for one in scenarios], pool, bars)
        ours = comparison.units(AGENT_NAME, "utility")
        content["regret"] = asdict(regret(ours, comparison.units(known.best_program.name, "utility"), bound))
    write_rows(content["rows"], folder / "evaluation.csv")
    write_json(content, folder / "evaluation.json")
    return content, comparison, stress


def _tasks(setup: Setup, part: Part, windows: int | None, draws: int) -> dict[str, Task]:
    """What is judged, by the folder within that of the run: the part's windows, and the stress suite."""
    definition = setup.definition()
    scenarios = part_scenarios(part.value, windows, definition.workload.scale)
    single = Setup(setup.environment, setup.agent, SimulatorKind.request_level, preference=setup.preference)
    return {
        "": Task(f"{part.value} part", setup, make_jobs(scenarios, 1)),
        "stress": Task("stress suite", single, stress_jobs(definition, draws)),
    }
