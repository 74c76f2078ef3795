"""``ipa-rl train`` and ``ipa-rl tune``: the agent, and fair opponents for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.outputs import output_file, output_folder
from ipa_rl.cli.tables import JsonFlag, err, print_json, print_table, save_note
from ipa_rl.progress import Bars


def train(
    agent: Annotated[str, typer.Argument(help="Shipped agent (video) or its folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run, runs/NAME by default.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's seed.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the file's total.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    validation_windows: Annotated[
        int | None, typer.Option(min=2, help="Fewer windows, for a quick try.")
    ] = None,
) -> None:
    """Train an agent with PPO; writes the chosen policy, all checkpoints and TensorBoard events.

    The folder of the run is then an agent's folder: give it to --agent, or copy its small files to ship it.

    Example: [bold]ipa-rl train video --out runs/video[/bold]
    """
    from ipa_rl.training.run import find_agent
    from ipa_rl.training.run import train as run

    folder = find_agent(agent)
    work = output_folder(out or Path("runs") / folder.name)
    try:
        with Bars() as bars:
            run(
                folder,
                work,
                bars,
                lambda text: err.print(text, soft_wrap=True),
                seed=seed,
                total_steps=steps,
                resume=resume,
                validation_windows=validation_windows,
            )
    except KeyboardInterrupt:
        err.print(f"interrupted; go on: ipa-rl train {agent} --out {work} --resume", soft_wrap=True)
        raise
    save_note([work / "policy.npz", work / "opponents.json", work / "training.json"])


def tune(
    environment: Annotated[str, typer.Argument(help="Shipped name (video) or YAML file.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("opponents.json"),
    validation_windows: Annotated[
        int | None, typer.Option(min=2, help="Fewer windows, for a quick try.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Give every opponent the forecaster and margin that serve it best on the validation part.

    Example: [bold]ipa-rl tune video --out agents/video/opponents.json[/bold]
    """
    from dataclasses import asdict

    from ipa_rl.agents.tuning import tune as run
    from ipa_rl.agents.tuning import validation_arrivals, write_opponents
    from ipa_rl.environment.definition import load_definition

    definition = load_definition(environment)
    output_file(out)
    with Bars() as bars:
        opponents = run(definition, validation_arrivals(validation_windows), bars)
    write_opponents(opponents, out)
    if json:
        print_json([asdict(opponent) for opponent in opponents])
    else:
        print_table(
            f"{definition.name}: opponents at their best on validation",
            ["controller", "forecaster", "margin", "utility", "PAS", "cores", "viol. %"],
            [
                [
                    opponent.system,
                    opponent.forecaster,
                    f"{100 * opponent.margin:.0f} %",
                    opponent.validation["utility"],
                    opponent.validation["pas_x100"],
                    opponent.validation["cores"],
                    100 * opponent.validation["violations"],
                ]
                for opponent in opponents
            ],
            left=2,
        )
    save_note([out])
