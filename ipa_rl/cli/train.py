"""``ipa-rl train`` and ``ipa-rl tune``: the agent, and fair opponents for it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.agents import windows
from ipa_rl.agents.opponents import Opponent, are_tuned, read_opponents, write_opponents
from ipa_rl.cli.arguments import AgentName, Environment
from ipa_rl.cli.judging import Alpha, Beta, Workers
from ipa_rl.cli.tables import Columns, JsonFlag, print_items, print_json, save_note, say
from ipa_rl.interrupts import hinted
from ipa_rl.judge.experiment import make_setup
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.tuning import Validation
from ipa_rl.judge.tuning import tune as run_tuning
from ipa_rl.progress import Bars
from ipa_rl.report.commands import environment_argument, typed
from ipa_rl.result_files import output_file, output_folder


def train(
    agent: AgentName,
    out: Annotated[Path | None, typer.Option(help="Folder of the run, runs/NAME by default.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's seed.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the file's total.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint, as if never cut off.")
    ] = False,
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
    opponents = _opponents(folder)
    beside = ["opponents.json"] if opponents else []
    given = {"seed": seed, "ppo.total_steps": steps}
    changes = {name: value for name, value in given.items() if value is not None}
    work = output_folder(out or Path("runs") / folder.name)
    with hinted(f"go on: ipa-rl train {agent} --out {work} --resume"), Bars() as bars:
        run(
            folder,
            work,
            opponents,
            bars,
            say,
            changes=changes,
            resume=resume,
            validation=partial(windows.validation_windows, most=validation_windows),
        )
    save_note([work / name for name in ("policy.npz", *beside, "training.json")])


def _opponents(folder: Path) -> list[Opponent]:
    """Those tuned for the agent; none, and said so, where nobody did."""
    from ipa_rl.training.hyperparameters import load_hyperparameters

    path = folder / "opponents.json"
    found = read_opponents(path) if path.is_file() else []
    if are_tuned(found):
        return found
    environment = environment_argument(load_hyperparameters(folder / "hyperparameters.yaml").environment)
    command = f"ipa-rl tune {environment} --out {typed(path)}"
    say(f"note: no opponents are tuned, so the highest utility is chosen: {command}")
    return []


def tune(
    environment: Environment,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("opponents.json"),
    validation_windows: Annotated[
        int | None, typer.Option(min=2, help="Fewer windows, for a quick try.")
    ] = None,
    alpha: Alpha = None,
    beta: Beta = None,
    workers: Workers = None,
    json: JsonFlag = False,
) -> None:
    """Give every opponent the settings that serve it best on the validation part, request by request.

    Example: [bold]ipa-rl tune video --out agents/video/opponents.json[/bold]
    """
    setup = make_setup(environment, alpha=alpha, beta=beta)
    definition = setup.definition()
    output_file(out)
    with Bars() as bars:
        opponents = run_tuning(Validation(setup, validation_windows), make_pool(workers, None), bars)
    write_opponents(opponents, out)
    if json:
        print_json([asdict(opponent) for opponent in opponents])
    else:
        columns: Columns = {
            "controller": "name",
            "forecaster": "basis",
            "margin": lambda one: f"{100 * one.margin:.0f} %",
            "utility": lambda one: one.validation["utility"],
            "PAS": lambda one: one.validation["pas_x100"],
            "cores": lambda one: one.validation["cores"],
            "viol. %": lambda one: 100 * one.validation["violations"],
        }
        print_items(f"{definition.name}: opponents at their best on validation", columns, opponents, left=2)
    save_note([out])
