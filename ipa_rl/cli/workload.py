"""``ipa-rl workload``: your own load, from a file to a workload's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.tables import JsonFlag, out, print_json, print_words, save_note, say
from ipa_rl.cli.workload_fit import fit
from ipa_rl.cli.workload_pull import pull
from ipa_rl.errors import one_a_cause

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Your own load: import, check, fit it.")
app.command("pull")(pull)
app.command("fit")(fit)

Time = Annotated[str | None, typer.Option(help="Column of times, where a look is not enough.")]
Count = Annotated[str | None, typer.Option(help="Column of counts, likewise.")]
Rate = Annotated[str | None, typer.Option(help="Column of requests a second, likewise.")]
Cv = Annotated[str | None, typer.Option(help="Column of the gaps' coefficient of variation, likewise.")]
Unit = Annotated[str | None, typer.Option(help="Of times that are numbers: s, ms, us or ns.")]
Dates = Annotated[str | None, typer.Option(help="Form of dates that are not ISO 8601: '%d/%m/%Y %H:%M'.")]
Zone = Annotated[str | None, typer.Option(help="Zone of times that name none: Europe/Berlin.")]
Interval = Annotated[str | None, typer.Option(help="Time between counts: 1s, 5min, 1h.")]
Start = Annotated[str | None, typer.Option(help="When it began, where the file has no dates.")]
Only = Annotated[str | None, typer.Option(help="COLUMN=VALUE: only these rows.")]
Decimal = Annotated[str | None, typer.Option(help="Decimal mark, where a look is not enough.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What you have: CSV, JSON lines, Parquet, npz.")],
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
    json: JsonFlag = False,
) -> None:
    """A workload from a file of requests, counts or rates: what it holds is found by looking, and said.

    Example: [bold]ipa-rl workload import requests.csv --out mine[/bold]
    """
    from ipa_rl.result_files import output_folder
    from ipa_rl.workload.importing import look
    from ipa_rl.workload.workload import save_workload

    told = _told(time, count, rate, cv, unit, dates, zone, interval, start, only, decimal)
    looked = look(file, told)
    if looked.imported is None:
        for fault in one_a_cause(looked.faults):
            say(f"error: {fault}")
        raise typer.Exit(2)
    saved = save_workload(output_folder(folder), looked.imported.description, looked.imported.recorded)
    _ = saved.recorded  # it is what can be read
    if json:
        print_json({"taken": looked.imported.taken, "doubts": looked.imported.doubts})
    else:
        out.print(str(file), soft_wrap=True)
        doubts = [("note", doubt) for doubt in looked.imported.doubts]
        print_words([*looked.imported.taken.items(), *doubts])
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
    from ipa_rl.files import is_folder
    from ipa_rl.workload.faults import doubts
    from ipa_rl.workload.workload import load_workload

    faults: list[Any] = []
    if is_folder(source):
        found = load_workload(source)
        notes = doubts(found.description, found.recorded)
    else:
        from ipa_rl.workload.importing import look

        told = _told(time, count, rate, cv, unit, dates, zone, interval, start, only, decimal)
        looked = look(source, told)
        faults = one_a_cause(looked.faults)
        notes = looked.imported.doubts if looked.imported is not None else []
    if json:
        shown = ("line", "field", "problem", "fix")
        rows = [{"file": str(one.file)} | {name: getattr(one, name) for name in shown} for one in faults]
        print_json({"faults": rows, "doubts": notes})
    else:
        lines = [str(fault) for fault in faults] or [f"{source}: no faults"]
        out.print("\n".join(lines + [f"note: {note}" for note in notes]), soft_wrap=True)
    if faults:
        raise typer.Exit(2)


def _told(
    time: str | None, count: str | None, rate: str | None, cv: str | None, unit: Any, dates: str | None,
    zone: str | None, interval: str | None, start: str | None, only: str | None, decimal: str | None,
) -> Any:  # fmt: skip
    from ipa_rl.workload.importing import told

    return told.Told(
        time, count, rate, cv, unit, dates, zone,
        None if interval is None else told.interval_s(interval),
        None if start is None else told.start(start),
        None if only is None else told.only(only),
        decimal,
    )  # fmt: skip
