"""``ipa-rl demo``: profile, train, serve and compare on this machine, by one command."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipa_rl.cli.tables import Columns, JsonFlag, print_items, print_json, print_table, save_note, say
from ipa_rl.errors import MissingExtraError
from ipa_rl.interrupts import hinted
from ipa_rl.live.cluster import ClusterError
from ipa_rl.result_files import output_folder

if TYPE_CHECKING:
    from ipa_rl.demo.session import Demonstration


def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for everything; what is still fresh there is reused.")
    ] = Path("runs/demo"),
    seconds: Annotated[
        int, typer.Option(min=20, max=1200, help="Length of the window that each controller serves.")
    ] = 70,
    runs: Annotated[int, typer.Option(min=1, help="How often each controller serves it.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Reuse nothing: profile and train again.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals, and of training.")] = 0,
    workload: Annotated[
        str, typer.Option(help="Whose load is served, scaled to this machine: a shipped name or a folder.")
    ] = "twitter",
    json: JsonFlag = False,
) -> None:
    """Real models on a Ray Serve of this machine: profile them, train an agent, let it control them.

    Next to it the integer program and Ray Serve's own autoscaler, on the same load.
    Ten to fifteen minutes on two cores; five to six if profile and agent can be reused.

    Example: [bold]ipa-rl demo --out runs/demo[/bold]
    """
    _check_extras()
    from ipa_rl.demo.session import demonstrate
    from ipa_rl.demo.settings import DemoSettings

    settings = DemoSettings(output_folder(folder).resolve(), seconds, runs, seed, workload=workload)
    settings.window()  # a load that cannot be served is told before minutes of measuring
    if fresh:
        settings.forget()
    try:
        with hinted(f"the same command with --out {folder} goes on"):
            done = demonstrate(settings, say)
    except ClusterError as error:
        say(f"error: {error}")
        raise typer.Exit(1) from error
    if json:
        print_json(_as_json(done))
    else:
        _print(done)
    save_note([settings.report])


def _as_json(done: Demonstration) -> dict[str, Any]:
    turns = [
        {
            "controller": one.served.turn.controller.value,
            "run": one.served.turn.run,
            "measured": one.served.figures,
            "predicted": one.predicted,
            "replayed": one.replayed,
        }
        for one in done.judged
    ]
    promises = [{**asdict(one), "off": one.off, "holds": one.holds} for one in done.promises]
    return {"turns": turns, "promises": promises}


def _print(done: Demonstration) -> None:
    from ipa_rl.demo.outcomes import SHOWN

    turns = [one.served for one in done.judged]
    print_table(
        "measured, PAS x 100 by labels",
        ["controller", "run", "utility", "PAS", "cores", "viol. %", "mean s", "p99 s"],
        [[one.turn.controller.value, one.turn.run, *(one.figures[name] for name in SHOWN)] for one in turns],
    )
    columns: Columns = {
        "what": "what",
        "measured": "measured",
        "predicted": "predicted",
        "off": lambda one: f"{one.off:+.1f}" + " %" * one.is_relative,
        "bound": lambda one: f"{one.bound:g}" + " %" * one.is_relative,
        "holds": lambda one: "yes" if one.holds else "no",
    }
    print_items("the simulator's prediction against the measurement", columns, done.promises)


def _check_extras() -> None:
    """Raise MissingExtraError before anything is begun."""
    for module in ("ray.serve", "torch", "stable_baselines3", "aiohttp", "sklearn", "plotly", "jinja2"):
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtraError(module.partition(".")[0], "demo") from error
