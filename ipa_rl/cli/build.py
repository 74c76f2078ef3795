"""``ipa-rl build``: from an environment to its agent and the agent's card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl import resources
from ipa_rl.cli.arguments import Ppo, refuse_ppo
from ipa_rl.cli.judging import DRAWS, Draws, Most, RayAddress, Workers
from ipa_rl.cli.tables import save_note
from ipa_rl.interrupts import hinted


def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Environments, with --ppo also agents' folders; all that ship by default."),
    ] = None,
    windows: Most = None,
    draws: Draws = DRAWS,
    front_windows: Annotated[
        int, typer.Option(min=0, help="Also test windows for each of some other preferences; 0 for none.")
    ] = 0,
    ppo: Ppo = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="With --ppo: runs of each agent, else 5.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="With --ppo: steps of each run, instead of the file's total.")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="With --ppo: checkpoints of each seed that are judged, else 1.")
    ] = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out: Annotated[Path, typer.Option(help="Folder of the agents that are built.")] = Path("runs/agents"),
    ship: Annotated[bool, typer.Option("--ship", help="Put them where the shipped agents are.")] = False,
) -> None:
    """Fit forecasters, tune opponents, fit the policy that ships, evaluate it on test and stress; its card.

    All on the environment's own workload. The agent's folder is that of the environment's name in --out.

    With --ppo seeds of a policy of its own are trained, for an hour or more, and one of them is chosen.

    After an interruption the same command goes on.

    Examples: [bold]ipa-rl build mine.yaml[/bold]
    [bold]ipa-rl build mine.yaml --ppo --seeds 2 --steps 300000[/bold]
    """
    from ipa_rl.build import PpoBuild
    from ipa_rl.build import build as run
    from ipa_rl.judge.pools import make_pool

    given = {"--seeds": seeds, "--steps": steps, "--candidates": candidates}
    wanted = names or resources.shipped_names("envs")
    for name in () if ppo else wanted:
        refuse_ppo(name, given)
    training = PpoBuild(seeds or 5, candidates or 1, steps) if ppo else None
    with hinted("the same command goes on"):
        for card in run(
            wanted,
            out,
            make_pool(workers, ray_address),
            draws=draws,
            windows=windows,
            front_windows=front_windows,
            ship=ship,
            ppo=training,
        ):
            save_note([card])
