"""``ipa-rl evaluate``: an agent on a whole part of the workload and under stress, and its card."""

from __future__ import annotations

from typing import Annotated

import typer

from ipa_rl.cli.arguments import Environment
from ipa_rl.cli.judging import (
    DRAWS,
    AgentFolder,
    Alpha,
    Beta,
    Draws,
    Fluid,
    Most,
    OutFolder,
    OwnControllers,
    RayAddress,
    Workers,
    print_findings,
    say_notes,
)
from ipa_rl.cli.tables import JsonFlag, print_json, save_note, say
from ipa_rl.judge.evaluation import evaluate as judge
from ipa_rl.judge.evaluation import evaluation_experiments
from ipa_rl.judge.experiment import make_setup
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.runs import default_folder, run_folder
from ipa_rl.judge.simulated_cluster import JudgedPart
from ipa_rl.progress import Bars
from ipa_rl.report.card import write_card


def evaluate(
    environment: Environment,
    part: Annotated[JudgedPart, typer.Option(help="Part of the workload; test only to report.")] = "test",
    windows: Most = None,
    draws: Draws = DRAWS,
    fluid: Fluid = False,
    agent: AgentFolder = None,
    controller: OwnControllers = None,
    alpha: Alpha = None,
    beta: Beta = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """All controllers on all windows of a part, with 95 % intervals, and under stress; the card.

    Example: [bold]ipa-rl evaluate video --part test[/bold]
    """
    setup = make_setup(environment, agent, fluid, alpha, beta, controller or ())
    known = setup.controllers()
    other_draws = None if draws == DRAWS else draws
    default = default_folder("evaluate", setup, part, windows=windows, draws=other_draws)
    folder = run_folder(out_folder, default, evaluation_experiments(setup, part, windows, draws), say)
    with Bars() as bars:
        findings = judge(setup, part, windows, draws, folder, make_pool(workers, ray_address), bars)
    write_card(setup, findings, folder / "card.md")
    if json:
        print_json(findings.as_json())
    else:
        title = f"{part} part, {findings.windows} windows, {findings.simulator}"
        print_findings(findings, title, known.shown)
    say_notes(setup)
    save_note([folder / name for name in ("evaluation.csv", "evaluation.json", "card.md")])
