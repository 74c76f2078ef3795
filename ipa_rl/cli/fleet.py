"""``ipa-rl fleet``: several pipelines that share what there is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ipa_rl.cli.tables import JsonFlag, out, print_json, print_table, print_words
from ipa_rl.errors import InputError
from ipa_rl.fleet.choices import Choices
from ipa_rl.fleet.fleet_file import Fleet, load_fleet
from ipa_rl.fleet.joint import Joint
from ipa_rl.objective import pas
from ipa_rl.pipeline import Configuration

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Several pipelines that share resources: solve, compare, drive them.",
)

FleetFile = Annotated[Path, typer.Argument(help="YAML file of the fleet.", show_default=False)]


@app.command("solve")
def solve(
    fleet: FleetFile,
    load: Annotated[
        list[str] | None, typer.Option(help="PIPELINE=RPS, once a pipeline; left out: its mean load.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """The joint optimum for loads: what each pipeline runs and occupies, and who gives way.

    Exit status 1 where somebody's load is not carried in full.

    Example: [bold]ipa-rl fleet solve fleet.yaml --load video=20 --load nlp=5[/bold]
    """
    read = load_fleet(fleet)
    choices, joint = read.ledger().joint(_loads(read, load or []), on_grid=False)
    content = _as_json(read, choices, joint)
    if json:
        print_json(content)
    else:
        picked = zip(choices, joint.picks.tolist(), strict=True)
        _print(content, [one.configurations[pick] for one, pick in picked])
    if any(one["share"] < 1.0 for one in content["pipelines"]):
        raise typer.Exit(1)


@app.command("compare")
def compare(
    fleet: FleetFile,
    controller: Annotated[
        Literal["planner", "universal", "program"], typer.Option(help="Who decides for each pipeline.")
    ] = "planner",
    part: Annotated[
        Literal["validation", "test"], typer.Option(help="Of each pipeline's workload.")
    ] = "test",
    windows: Annotated[int, typer.Option(min=1, help="Of each part so many windows, evenly spread.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals and service times.")] = 0,
    json: JsonFlag = False,
) -> None:
    """The joint optimum beside fixed parts and first come, first served, request by request.

    Example: [bold]ipa-rl fleet compare fleet.yaml --windows 8[/bold]
    """
    from ipa_rl.judge.fleet_compare import compare_fleet
    from ipa_rl.progress import Bars

    read = load_fleet(fleet)
    with Bars() as bars:
        found = compare_fleet(read, controller, part, windows, seed, bars)
    if json:
        print_json(found)
    else:
        _print_compared(found)


@app.command("sidecar")
def sidecar(
    fleet: FleetFile,
    once: Annotated[bool, typer.Option("--once", help="One step of each pipeline, then end.")] = False,
) -> None:
    """Adapt all pipelines of a fleet in one process, within what they share, until SIGTERM.

    Each has the settings that the fleet's file names for it. With --once, exit status 1 if a step failed.

    Example: [bold]ipa-rl fleet sidecar fleet.yaml[/bold]
    """
    from ipa_rl.live.deadlines import Deadline
    from ipa_rl.sidecar.fleet import FleetSidecar
    from ipa_rl.sidecar.process import Stop, log_to_stderr

    read = load_fleet(fleet)
    log_to_stderr()
    deadline = Deadline()
    stop = Stop(deadline)
    stop.listen()
    driven = FleetSidecar(read, deadline=deadline)
    with driven.closing:
        if not once:
            driven.run(stop)
        elif not all(driven.attempt()):
            raise typer.Exit(1)


def _loads(fleet: Fleet, given: list[str]) -> list[float]:
    """Requests a second of each pipeline. Raises InputError."""
    loads = {one.name: one.definition.workload.mean_rps for one in fleet.members}
    for text in given:
        name, _, figure = text.partition("=")
        if name not in loads:
            raise InputError(f"no pipeline {name}", field="--load", fix=f"name one of {', '.join(loads)}")
        try:
            loads[name] = float(figure)
        except ValueError:
            loads[name] = -1.0
        if not 0 <= loads[name] <= 1e9:
            raise InputError(f"is {text}", field="--load", fix=f"give {name}=REQUESTS_A_SECOND")
    return list(loads.values())


def _as_json(fleet: Fleet, choices: list[Choices], joint: Joint) -> dict[str, Any]:
    """What each pipeline runs, and what that is worth."""
    resources = list(fleet.limits)
    pipelines = []
    for one, pick in zip(choices, joint.picks.tolist(), strict=True):
        chosen, member = one.configurations[pick], one.member
        stages = zip(member.definition.pipeline.stages, chosen.stages, strict=True)
        pipelines.append(
            {
                "pipeline": member.name,
                "load_rps": one.load_rps,
                "priority": member.priority,
                "stages": [{"stage": stage.name, **asdict(own)} for stage, own in stages],
                "units": dict(zip(resources, one.units[pick].tolist(), strict=True)),
                "alone": dict(zip(resources, one.units[0].tolist(), strict=True)),
                "share": float(one.shares[pick]),
                "pas_x100": 100.0 * pas(member.definition.pipeline, chosen),
                "worth": float(one.worth[pick]),
            }
        )
    head = {"fleet": str(fleet.file), "limits": fleet.limits, "reserve": fleet.reserve}
    prices = dict(zip(resources, joint.prices.tolist(), strict=True))
    return {**head, "pipelines": pipelines, "worth": joint.worth, "bound": joint.bound, "prices": prices}


def _print(content: dict[str, Any], chosen: list[Configuration]) -> None:
    pipelines, rows = content["pipelines"], []
    for one in pipelines:
        units = [f"{one['units'][name]:g}" for name in content["limits"]]
        figures = f"{100.0 * one['share']:.0f} %", f"{one['pas_x100']:.1f}"
        rows.append([one["pipeline"], f"{one['load_rps']:.4g}", *units, *figures])
    columns = ["pipeline", "requests/s", *content["limits"], "carried", "PAS x 100"]
    print_table("joint optimum", columns, rows)
    print_words([(one["pipeline"], str(own)) for one, own in zip(pipelines, chosen, strict=True)])
    for name, most in content["limits"].items():
        taken, alone = (sum(one[what][name] for one in pipelines) for what in ("units", "alone"))
        told = f"{name}: {taken:g} of {most:g}"
        if content["reserve"]:
            told += f", of which {100.0 * content['reserve']:.0f} % are kept free for changes"
        if alone > taken:
            told += f"; each alone would take {alone:g} together"
        if price := content["prices"][name]:
            told += f"; one more is worth {price:.3g} cores"
        out.print(told, soft_wrap=True)
    gap = content["bound"] - content["worth"]
    if gap > 1e-9 * abs(content["worth"]):
        out.print(f"worth {content['worth']:.6g} cores, {gap:.2g} below the bound", soft_wrap=True)


def _print_compared(found: dict[str, Any]) -> None:
    rows = []
    for sharing, own in found["sharings"].items():
        for one in own["pipelines"]:
            figures = [f"{one[name]:.3f}" for name in ("utility", "pas_x100", "cores")]
            rows.append([sharing, one["pipeline"], *figures, f"{100.0 * one['violations']:.2f} %"])
    many = found["windows"]
    title = f"{found['controller']}, {many} window{'s' * (many > 1)} of the {found['part']} part"
    print_table(title, ["sharing", "pipeline", "utility", "PAS x 100", "cores", "violations"], rows, left=2)
    for sharing, own in found["sharings"].items():
        most = f"{100.0 * own['highest_share']:.0f} % of a limit at most"
        told = f"{sharing}: worth {own['worth']:.2f} cores, {most}"
        if "behind_joint" in own:
            error = f" ± {own['error']:.2f}" if many > 1 else ""
            told += f"; {own['behind_joint']:+.2f}{error} beside the joint optimum"
        out.print(told, soft_wrap=True)
