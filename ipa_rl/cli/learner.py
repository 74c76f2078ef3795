"""``ipa-rl search`` and ``ipa-rl ablate``: the learner's hyperparameters, and what its parts are worth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.agents.opponents import read_tuned
from ipa_rl.cli.arguments import AgentName
from ipa_rl.cli.judging import Workers
from ipa_rl.cli.tables import print_items, print_table, save_note, say
from ipa_rl.interrupts import hinted
from ipa_rl.judge.pools import make_pool
from ipa_rl.progress import Bars
from ipa_rl.result_files import output_folder, write_json


def search(
    agent: AgentName,
    trials: Annotated[int, typer.Option(min=1, help="How many settings are tried.")] = 24,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each.")] = 400_000,
    out: Annotated[Path | None, typer.Option(help="Folder, runs/search/NAME by default.")] = None,
) -> None:
    """Search hyperparameters by Optuna on the validation part; writes search.json beside the agent.

    The values to keep go into the agent's hyperparameters.yaml by hand.

    Example: [bold]ipa-rl search video --trials 24[/bold]
    """
    from ipa_rl.training.run import find_agent
    from ipa_rl.training.search import search as run

    folder = find_agent(agent)
    work = output_folder(out or Path("runs") / "search" / folder.name)
    with Bars() as bars:
        tried = run(folder, read_tuned(folder / "opponents.json"), work, trials, steps, bars)
    write_json({"steps": steps, "trials": [asdict(one) for one in tried]}, folder / "search.json")
    print_items(
        f"{folder.name}: utility on validation, less violations beyond the best opponent's",
        {"trial": lambda one: str(one.number), "score": lambda one: f"{one.score:.4f}"},
        tried,
    )
    given = [item for item in tried[0].changes.items() if item[0] not in ("seed", "ppo.total_steps")]
    print_table(f"trial {tried[0].number} has", ["hyperparameter", "value"], given, left=2)
    save_note([folder / "search.json"])


def ablate(
    agent: AgentName,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each change.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each.")] = 600_000,
    workers: Workers = None,
    out: Annotated[Path | None, typer.Option(help="Folder, runs/ablation/NAME by default.")] = None,
) -> None:
    """Train with one part of the learner changed at a time; writes ablation.json beside the agent.

    After a kill the same command goes on.

    Example: [bold]ipa-rl ablate video[/bold]
    """
    from ipa_rl.training import ablation
    from ipa_rl.training.run import find_agent

    folder = find_agent(agent)
    work = output_folder(out or Path("runs") / "ablation" / folder.name)
    runs = ablation.runs(folder.resolve(), work.resolve(), seeds, steps)
    found: dict[int, dict[str, float]] = {}
    with hinted("the same command goes on"), Bars() as bars:
        for i, figures in make_pool(workers, None).each(ablation.play, runs):
            found[i] = figures
            bars.advance("train", len(found), len(runs))
    rows = ablation.rows(folder, seeds, [found[i] for i in range(len(runs))])
    write_json({"seeds": seeds, "steps": steps, "rows": rows}, folder / "ablation.json")
    print_items(
        f"{folder.name}: one change a row, validation part, fluid simulator",
        {
            "change": "change",
            "utility": lambda row: f"{row['utility']:.4f}",
            "lowest": lambda row: f"{row['lowest']:.4f}",
            "highest": lambda row: f"{row['highest']:.4f}",
            "PAS": "pas_x100",
            "cores": "cores",
            "viol.%": lambda row: f"{100 * row['violations']:.2f}",
        },
        rows,
    )
    say("the card shows it: ipa-rl build NAME")
    save_note([folder / "ablation.json"])
