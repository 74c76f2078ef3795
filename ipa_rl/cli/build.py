"""``ipa-rl build``: from an environment, or an agent's hyperparameters, to the agent and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl import resources
from ipa_rl.cli.judging import DRAWS, Draws, Most, RayAddress, Workers
from ipa_rl.cli.tables import save_note
from ipa_rl.interrupts import hinted


def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Files of environments, agents or their folders; all that ship by default."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each agent.")] = 5,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of each run, instead of the file's total.")
    ] = None,
    windows: Most = None,
    draws: Draws = DRAWS,
    candidates: Annotated[int, typer.Option(min=1, help="Checkpoints of each seed that are judged.")] = 1,
    front_windows: Annotated[int, typer.Option(min=1, help="Test windows for each preference.")] = 60,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out: Annotated[Path, typer.Option(help="Folder of the agents that are built.")] = Path("runs/agents"),
    ship: Annotated[bool, typer.Option("--ship", help="Put them where the shipped agents are.")] = False,
) -> None:
    """Fit forecasters, tune opponents, train seeds, choose one, evaluate it on test and stress; its card.

    All on the environment's own workload. The agent's folder is that of the environment's name in --out.
    Less effort: --seeds 2 --steps 300000. After an interruption the same command goes on.

    Examples: [bold]ipa-rl build mine.yaml[/bold]
    [bold]ipa-rl build video[/bold]
    """
    from ipa_rl.build import build as run
    from ipa_rl.judge.pools import make_pool

    with hinted("the same command goes on"):
        for card in run(
            names or resources.shipped_names("agents"),
            out,
            make_pool(workers, ray_address),
            seeds=seeds,
            candidates=candidates,
            draws=draws,
            windows=windows,
            front_windows=front_windows,
            ship=ship,
            steps=steps,
        ):
            save_note([card])
