"""``ipa-rl workload``: your own load, from a file to a workload's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ipa_rl.cli.tables import JsonFlag, out, print_json, print_words, save_note, say
from ipa_rl.cli.workload_fit import fit
from ipa_rl.cli.workload_pull import pull
from ipa_rl.cli.workload_show import show
from ipa_rl.errors import InputError, one_a_cause
from ipa_rl.files import is_file, is_folder

if TYPE_CHECKING:
    from ipa_rl.workload.recordings import Looked

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Your own load: import, pull, check, show, fit it."
)
app.command("pull")(pull)
app.command("fit")(fit)
app.command("show")(show)

Time = Annotated[str | None, typer.Option(help="Column of times, where a look is not enough.")]
Count = Annotated[str | None, typer.Option(help="Column of counts, likewise.")]
Rate = Annotated[str | None, typer.Option(help="Column of requests a second, likewise.")]
Cv = Annotated[str | None, typer.Option(help="Column of the gaps' coefficient of variation, likewise.")]
Unit = Annotated[Literal["s", "ms", "us", "ns"] | None, typer.Option(help="Of times that are numbers.")]
Dates = Annotated[str | None, typer.Option(help="Form of dates that are not ISO 8601: '%d/%m/%Y %H:%M'.")]
Zone = Annotated[str | None, typer.Option(help="Zone of times that name none: Europe/Berlin.")]
Interval = Annotated[str | None, typer.Option(help="Length of an interval of counts: 1s, 5min, 1h.")]
Start = Annotated[str | None, typer.Option(help="When a file without dates began: 2024-05-01T00:00.")]
Only = Annotated[str | None, typer.Option(metavar="COLUMN=VALUE", help="Only the rows that say so.")]
Decimal = Annotated[Literal[".", ","] | None, typer.Option(help="Decimal mark.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines, Parquet, npz, or a number a line.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the workload.")],
    time: Time = None,
    count: Count = None,
    rate: Rate = None,
    cv: Cv = None,
    unit: Unit = None,
    dates: Dates = None,
    zone: Zone = None,
    interval: Interval = None,
    start: Start = None,
    only: Only = None,
    decimal: Decimal = None,
    replaces: Annotated[bool, typer.Option("--replace", help="Replace the workload that is there.")] = False,
    json: JsonFlag = False,
) -> None:
    """A workload from a file of requests, counts or rates: what it holds is found by looking, and said.

    Example: [bold]ipa-rl workload import requests.csv --out mine[/bold]
    """
    from ipa_rl.workload.fit import keep_workload

    said = {"time": time, "count": count, "rate": rate, "cv": cv, "unit": unit, "dates": dates, "zone": zone}
    said |= {"interval": interval, "start": start, "only": only, "decimal": decimal}
    looked = _look(file, said)
    taken = looked.taken
    if taken is None:
        for fault in one_a_cause(looked.faults):
            say(f"error: {fault}")
        raise typer.Exit(2)
    if not replaces and is_file(folder / "workload.yaml"):
        fix = "give another --out, or --replace, which also forgets what was added to workload.yaml by hand"
        raise InputError("holds a workload already", file=folder, field="--out", fix=fix)
    found = keep_workload(folder, taken.description, taken.recorded)[1]
    words = taken.words | {"season": found.in_words}
    if json:
        print_json({"taken": words, "doubts": taken.doubts})
    else:
        out.print(str(file), soft_wrap=True)
        print_words([*words.items(), *(("note", doubt) for doubt in taken.doubts)])
    save_note([folder / "workload.yaml", folder / "recorded.npz"])


@app.command("check")
def check(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file to import, or a workload's folder.")],
    time: Time = None,
    count: Count = None,
    rate: Rate = None,
    cv: Cv = None,
    unit: Unit = None,
    dates: Dates = None,
    zone: Zone = None,
    interval: Interval = None,
    start: Start = None,
    only: Only = None,
    decimal: Decimal = None,
    json: JsonFlag = False,
) -> None:
    """Every fault of a file or of a workload's folder, with line and fix; status 2 where there is one.

    Example: [bold]ipa-rl workload check requests.csv[/bold]
    """
    said = {"time": time, "count": count, "rate": rate, "cv": cv, "unit": unit, "dates": dates, "zone": zone}
    said |= {"interval": interval, "start": start, "only": only, "decimal": decimal}
    faults, doubts = _check_folder(source) if is_folder(source) else _check_file(source, said)
    if json:
        shown = ("line", "field", "problem", "fix")
        rows = [{"file": str(one.file)} | {name: getattr(one, name) for name in shown} for one in faults]
        print_json({"faults": rows, "doubts": doubts})
    else:
        lines = [str(fault) for fault in faults] or [f"{source}: no faults"]
        out.print("\n".join(lines), soft_wrap=True)
        print_words([("note", doubt) for doubt in doubts])
    if faults:
        raise typer.Exit(2)


def _look(file: Path, said: dict[str, Any]) -> Looked:
    from ipa_rl.workload.recordings import look
    from ipa_rl.workload.recordings.hints import Hints

    return look(file, Hints.of_texts(**said))


def _check_file(file: Path, said: dict[str, Any]) -> tuple[list[InputError], list[str]]:
    looked = _look(file, said)
    return one_a_cause(looked.faults), [] if looked.taken is None else looked.taken.doubts


def _check_folder(folder: Path) -> tuple[list[InputError], list[str]]:
    from ipa_rl.workload.faults import doubts
    from ipa_rl.workload.workload import load_workload

    try:
        found = load_workload(folder)
        return [], doubts(found.description, found.recorded)
    except InputError as error:
        return [error], []
