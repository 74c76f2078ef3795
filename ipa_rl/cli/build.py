"""``ipa-rl build``: agents from nothing to their cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl import resources
from ipa_rl.cli.judging import DRAWS, Draws, Most, Workers
from ipa_rl.cli.tables import save_note
from ipa_rl.interrupts import hinted


def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Agents or their folders; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each agent.")] = 5,
    windows: Most = None,
    draws: Draws = DRAWS,
    candidates: Annotated[int, typer.Option(min=1, help="Checkpoints of each seed that are judged.")] = 1,
    front_windows: Annotated[int, typer.Option(min=2, help="Test windows for each preference.")] = 60,
    workers: Workers = None,
    out: Annotated[Path, typer.Option(help="Folder of the agents that are built.")] = Path("runs/agents"),
    ship: Annotated[bool, typer.Option("--ship", help="Put them where the shipped agents are.")] = False,
) -> None:
    """Tune opponents, train seeds, choose on validation, evaluate on test and under stress, write the cards.

    After an interruption the same command goes on; what is done is not done again.

    Example: [bold]ipa-rl build video[/bold]
    """
    from ipa_rl.build import build as run
    from ipa_rl.judge.pools import make_pool

    with hinted("the same command goes on"):
        for card in run(
            names or resources.shipped_names("agents"),
            out,
            make_pool(workers, None),
            seeds=seeds,
            candidates=candidates,
            draws=draws,
            windows=windows,
            front_windows=front_windows,
            ship=ship,
        ):
            save_note([card])
