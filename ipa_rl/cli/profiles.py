"""``ipa-rl profiles``: show what is measured and what is modelled, check a folder, import benchmarks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ipa_rl.cli.arguments import PipelineName
from ipa_rl.cli.tables import Columns, JsonFlag, figure, out, print_items, print_json, save_note, say
from ipa_rl.errors import InputError, one_a_cause, quoted
from ipa_rl.pipeline import CORES
from ipa_rl.profiles import StageProfile, check_folder, load_profile
from ipa_rl.result_files import output_file

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measured profiles: show them, check them, import them."
)


@app.command("show")
def show(
    pipeline: PipelineName,
    stage: Annotated[str | None, typer.Option(help="Only this stage.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG to draw points and fits into.")] = None,
    json: JsonFlag = False,
) -> None:
    """Every cell of every variant, measured or modelled, with the fits and base allocations.

    Example: [bold]ipa-rl profiles show video --plot video.png[/bold]
    """
    profile = load_profile(pipeline)
    target = None if plot is None else output_file(plot)
    stages = [one for one in profile.stages if stage in (None, one.name)]
    if not stages:
        fix = f"use one of {', '.join(one.name for one in profile.stages)}"
        raise InputError(f"no stage {quoted(stage)}", field="--stage", fix=fix)
    if json:
        print_json({"pipeline": pipeline, "stages": [_stage_json(one) for one in stages]})
    else:
        out.print("figures as profiled, before derating; * modelled, others measured")
        derating = profile.description.derating
        if derating.latency_pct or derating.throughput_pct:
            changes = f"latency {derating.latency_pct:+g} %, throughput {derating.throughput_pct:+g} %"
            out.print(f"derating before use: {changes}")
        for one in stages:
            has_threshold = profile.description.threshold_rps is not None
            _print_stage(one, has_threshold)
    if target is not None:
        from ipa_rl.report.profile_picture import draw_profiles

        draw_profiles(stages, target)
        save_note([target])


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of pipeline.yaml and its CSV files.")],
    json: JsonFlag = False,
) -> None:
    """Every fault of a pipeline's files: file, line, field and fix. Exit status 2 where there is one.

    Example: [bold]ipa-rl profiles check profiles/video[/bold]
    """
    faults = one_a_cause(check_folder(folder))
    if json:
        shown = ("line", "field", "problem", "fix")
        print_json([{"file": str(one.file)} | {name: getattr(one, name) for name in shown} for one in faults])
    else:
        lines = [str(fault) for fault in faults] or [f"{folder}: no faults"]
        out.print("\n".join(lines), soft_wrap=True)
    if faults:
        raise typer.Exit(2)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What a benchmark wrote.")],
    folder: Annotated[
        Path, typer.Option("--out", help="Folder of the pipeline: a new one, or one that gets another stage.")
    ],
    kind: Annotated[
        Literal["triton", "perf_analyzer", "guidellm", "inference-perf", "timm"] | None,
        typer.Option("--format", help="What wrote the files; found by looking."),
    ] = None,
    stage: Annotated[str, typer.Option(help="Name of the stage.")] = "model",
    name: Annotated[
        list[str] | None, typer.Option(help="Model of a file that names none; once for each, or for all.")
    ] = None,
    accuracy: Annotated[
        list[str] | None, typer.Option(help="0.76 or 76%; NAME=0.76,NAME=... where variants differ.")
    ] = None,
    start_up: Annotated[
        list[str] | None, typer.Option(help="Seconds until a new replica is ready, likewise.")
    ] = None,
    cores: Annotated[
        list[str] | None, typer.Option(help="Cores of the replica that was measured, likewise.")
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(help="Device that it ran on: l4, or l4=2 for two; once for each file, or for all."),
    ] = None,
    variants: Annotated[str | None, typer.Option(help="Only these: NAME,NAME.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Only readings with so many requests in flight.")
    ] = None,
    request_batch: Annotated[
        int | None, typer.Option(min=1, help="Items of a request, where the file does not say.")
    ] = None,
    batches: Annotated[
        str | None, typer.Option(help="Batch sizes to offer: 1,4,16. Otherwise those measured.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """A stage of a pipeline from what Triton's tools, GuideLLM, inference-perf or timm measured.

    Requests in flight count as a batch. What the files do not say is asked for in one message.

    Example: [bold]ipa-rl profiles import perf.csv --name small --out mine[/bold]
    """
    from ipa_rl.profiles.benchmarks import Selection, Told, import_benchmarks, placement_of

    told = Told.parse(accuracy or [], start_up or [], cores or [])
    placements = [placement_of(text) for text in resource or []]
    choice = Selection(name or [], _listed(variants), concurrency, request_batch, placements)
    sizes = [_size(text) for text in _listed(batches)]
    imported = import_benchmarks(files, folder, stage, told, choice, kind, sizes)
    rows = imported.stage.rows
    if json:
        print_json({"stage": stage, "points": rows, "left_out": imported.left_out})
    else:
        _print_imported(stage, rows)
    for why in imported.left_out:
        say(f"left out: {why}")
    save_note(imported.files)
    faults = one_a_cause(check_folder(folder))
    if faults:
        out.print("\n".join(map(str, faults)), soft_wrap=True)
        raise typer.Exit(1)


def _listed(text: str | None) -> list[str]:
    return [] if text is None else [part.strip() for part in text.split(",")]


def _size(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise InputError(f"is {quoted(text)}", field="--batches", fix="list whole numbers: 1,4,16")
    return int(text)


def _print_imported(stage: str, rows: list[dict[str, Any]]) -> None:
    columns: Columns = {
        "variant": "variant",
        "cores": "cores",
        "batch": "batch",
        "mean s": lambda row: _known(row["latency_mean_s"]),
        "p99 s": lambda row: _known(row["latency_p99_s"]),
        "rps": lambda row: _known(row["throughput_rps"]),
    }
    print_items(f"{stage}: what was measured, - unknown", columns, rows)


def _known(text: str) -> str:
    return figure(float(text)) if text else "-"


def _print_stage(stage: StageProfile, has_threshold: bool) -> None:
    """Its cells: where no rule chose among core counts, those of the allocation only."""
    columns: Columns = {
        "batch": "batch",
        "mean s": lambda cell: _marked(cell.latency_mean_s, cell.mean_is_measured),
        "p99 s": lambda cell: _marked(cell.latency_p99_s, cell.p99_is_measured),
        "rps a replica": lambda cell: _marked(cell.throughput_rps, cell.throughput_is_measured),
    }
    for name, table in stage.tables.items():
        units, what = stage.units[name], "core" if table.resource == CORES else "unit"
        on = "" if table.resource == CORES else f" of {table.resource}"
        title = f"{stage.name}: {name}, base allocation {units} {what}{'s' * (units != 1)}{on}"
        shown = [
            one for one in table.cells if one.batch in stage.batches and (has_threshold or one.cores == units)
        ]
        print_items(title, {f"{what}s": "cores", **columns}, shown, left=0)
        out.print(f"mean: {table.mean_fit}\np99:  {table.p99_fit}")


def _marked(value: float, is_measured: bool) -> str:
    return figure(value) + (" " if is_measured else "*")


def _stage_json(stage: StageProfile) -> dict[str, Any]:
    variants = [
        {
            "variant": table.variant,
            "resource": table.resource,
            "units": stage.units[table.variant],
            "mean_fit": str(table.mean_fit),
            "p99_fit": str(table.p99_fit),
            "cells": [asdict(cell) for cell in table.cells],
        }
        for table in stage.tables.values()
    ]
    return {"stage": stage.name, "variants": variants}
