"""What makes an agent: ``ipa-rl train``, ``tune`` (fair opponents for it), ``search`` and ``ablate``."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.agents import windows
from ipa_rl.agents.opponents import Opponent
from ipa_rl.agents.opponents_file import read_opponents, read_tuned, why_untuned, write_opponents
from ipa_rl.cli.arguments import AgentName, Environment, Ppo, refuse, refuse_ppo
from ipa_rl.cli.judging import Alpha, Beta, RayAddress, Workers
from ipa_rl.cli.tables import Columns, JsonFlag, print_items, print_json, print_table, save_note, say
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.interrupts import hinted
from ipa_rl.judge.experiment import make_setup
from ipa_rl.judge.pools import Pool, in_order, make_pool
from ipa_rl.judge.tuning import Validation
from ipa_rl.judge.tuning import tune as run_tuning
from ipa_rl.progress import Bars
from ipa_rl.report.commands import environment_argument, typed
from ipa_rl.result_files import output_file, output_folder, write_json


def train(
    name: Annotated[str, typer.Argument(help="An environment; with --ppo an agent or its folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run, runs/NAME by default.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's seed.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the file's total.")] = None,
    ppo: Ppo = False,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint, as if never cut off.")
    ] = False,
    validation_windows: Annotated[
        int | None, typer.Option(min=1, help="Fewer windows, for a quick try.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds 0 to N - 1 side by side, in folders of the run's.")
    ] = 1,
    workers: Workers = None,
    ray_address: RayAddress = None,
) -> None:
    """Fit the policy for any pipeline to an environment, in minutes; or train an agent with PPO.

    The policy that ships learns from the environment's load, and is kept where it is better on the validation
    part by more than chance; else exit status 1. The same command goes on after a kill. With --ppo a new
    policy by an agent's hyperparameters, with all checkpoints and TensorBoard events; several seeds always go
    on after an interruption. The folder of the run is then an agent's folder: give it to --agent.

    Examples: [bold]ipa-rl train mine.yaml[/bold]
    [bold]ipa-rl train video --ppo --out runs/video --seeds 4[/bold]
    """
    of_one_run = {"--seed": seed, "--resume": resume or None, "--validation-windows": validation_windows}
    if not ppo:
        refuse_ppo(name, {**of_one_run, "--steps": steps, "--seeds": seeds if seeds > 1 else None})
        _fine_tune(name, out, make_pool(workers, ray_address))
        return
    from ipa_rl.training.run import find_agent
    from ipa_rl.training.run import train as run

    folder = find_agent(name)
    opponents = _opponents(folder)
    if seeds > 1:
        refuse("is of a single run", "leave it out, or leave out --seeds", of_one_run)
        _train_seeds(folder, out or Path("runs") / folder.name, seeds, steps, make_pool(workers, ray_address))
        return
    beside = ["opponents.json"] if opponents else []
    given = {"seed": seed, "ppo.total_steps": steps}
    changes = {name: value for name, value in given.items() if value is not None}
    work = output_folder(out or Path("runs") / folder.name)
    with hinted(f"go on: ipa-rl train {name} --ppo --out {work} --resume"), Bars() as bars:
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


def _fine_tune(environment: str, out: Path | None, pool: Pool) -> None:
    """What it came to on the validation part; exit status 1 where it is not better."""
    from ipa_rl.fine_tuning import fine_tune

    work = output_folder(out or Path("runs") / Path(environment).stem)
    with hinted("the same command goes on"), Bars() as bars:
        found = fine_tune(environment, work, pool, bars)
    columns: Columns = {
        "policy": "policy",
        "utility": "utility",
        "viol. %": lambda row: 100 * row["violations"],
        "cores": "cores",
        "PAS": "pas_x100",
    }
    rows = [{"policy": "as it ships", **found.before}, {"policy": "fine-tuned", **found.after}]
    print_items(f"{found.environment}: {found.windows} windows of the validation part", columns, rows)
    low, high = found.gain_95
    gain = f"utility {found.gain:+.3f}, 95 % {low:+.3f} to {high:+.3f}"
    if not found.is_better:
        say(f"not better by more than chance ({gain}): nothing is kept; run agent: universal")
        raise typer.Exit(1)
    say(f"better: {gain}")
    save_note([work / "scorer.npz", work / "fine-tuning.json"])


def _train_seeds(folder: Path, out: Path, seeds: int, steps: int | None, pool: Pool) -> None:
    """Side by side; what each came to."""
    from ipa_rl.build import train_side_by_side
    from ipa_rl.training.run import chosen_of

    with hinted("the same command goes on"):
        places = train_side_by_side(folder, out, seeds, steps, pool)
    columns: Columns = {
        "run": lambda place: place.name,
        "step": lambda place: f"{chosen_of(place).step:,}",
        "utility": lambda place: chosen_of(place).utility,
        "PAS": lambda place: chosen_of(place).pas_x100,
        "cores": lambda place: chosen_of(place).cores,
        "viol. %": lambda place: 100 * chosen_of(place).violations,
    }
    print_items(f"{folder.name}: chosen checkpoints on validation, fluid simulator", columns, places)
    save_note([place / "policy.npz" for place in places])


def _opponents(folder: Path) -> list[Opponent]:
    """Those tuned for the agent; none, and said so, where nobody did."""
    from ipa_rl.training.hyperparameters import load_hyperparameters

    path = folder / "opponents.json"
    environment = load_hyperparameters(folder / "hyperparameters.yaml").environment
    reason = why_untuned(path, load_definition(environment))
    if not reason:
        return read_opponents(path)
    command = f"ipa-rl tune {environment_argument(environment)} --out {typed(path)}"
    say(f"note: no opponents are tuned ({reason}), so the highest utility is chosen: {command}")
    return []


def tune(
    environment: Environment,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("opponents.json"),
    validation_windows: Annotated[
        int | None, typer.Option(min=1, help="Fewer windows, for a quick try.")
    ] = None,
    alpha: Alpha = None,
    beta: Beta = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    replaces: Annotated[bool, typer.Option("--replace", help="Replace opponents tuned on another.")] = False,
    json: JsonFlag = False,
) -> None:
    """Give every opponent the settings that serve it best on the validation part, request by request.

    Example: [bold]ipa-rl tune video --out agents/video/opponents.json[/bold]
    """
    setup = make_setup(environment, alpha=alpha, beta=beta)
    definition = setup.definition()
    output_file(out)
    reason = why_untuned(out, definition) if is_file(out) and not replaces else ""
    if reason:
        fix = "give another --out, or --replace"
        raise InputError(f"holds other opponents: {reason}", file=out, field="--out", fix=fix)
    with Bars() as bars:
        opponents = run_tuning(Validation(setup, validation_windows), make_pool(workers, ray_address), bars)
    write_opponents(opponents, definition, out)
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


def _tell_replaced(path: Path) -> None:
    """A file that will be written anew when the work is done: whoever wants to keep it has the time."""
    if is_file(path):
        say(f"note: {path} is replaced at the end")


def search(
    agent: AgentName,
    trials: Annotated[int, typer.Option(min=1, help="How many settings are tried.")] = 24,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each.")] = 400_000,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; by default one for each core.")
    ] = None,
    ray_address: RayAddress = None,
    out: Annotated[Path | None, typer.Option(help="Folder, runs/search/NAME by default.")] = None,
) -> None:
    """Search hyperparameters by Optuna on the validation part; writes search.json beside the agent.

    The values to keep go into the agent's hyperparameters.yaml by hand.

    Example: [bold]ipa-rl search video --trials 24[/bold]
    """
    from ipa_rl.training.hyperparameters import load_hyperparameters
    from ipa_rl.training.run import find_agent
    from ipa_rl.training.search import search as run_search

    folder = find_agent(agent)
    _tell_replaced(folder / "search.json")
    definition = load_definition(load_hyperparameters(folder / "hyperparameters.yaml").environment)
    opponents = read_tuned(folder / "opponents.json", definition)
    work = output_folder(out or Path("runs") / "search" / folder.name)
    at_once = workers or len(os.sched_getaffinity(0))
    each = make_pool(at_once, ray_address).each
    with hinted("the same command goes on"), Bars() as bars:
        tried = run_search(folder, opponents, work, trials, steps, each, at_once, bars)
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
    ray_address: RayAddress = None,
    out: Annotated[Path | None, typer.Option(help="Folder, runs/ablation/NAME by default.")] = None,
) -> None:
    """Train with one part of the learner changed at a time; writes ablation.json beside the agent.

    After a kill the same command goes on.

    Example: [bold]ipa-rl ablate video[/bold]
    """
    from ipa_rl.training import ablation
    from ipa_rl.training.run import find_agent

    folder = find_agent(agent)
    _tell_replaced(folder / "ablation.json")
    work = output_folder(out or Path("runs") / "ablation" / folder.name)
    runs = ablation.runs(folder.resolve(), work.resolve(), seeds, steps)
    with hinted("the same command goes on"), Bars() as bars:
        found = in_order(make_pool(workers, ray_address), ablation.play, runs, bars, "train")
    rows = ablation.rows(folder, seeds, found)
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
    say("the card shows it: ipa-rl build NAME --ppo")
    save_note([folder / "ablation.json"])
