"""``ipa-rl profiles``: show what is measured and what is modelled, check a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.arguments import PipelineName
from ipa_rl.cli.tables import Columns, JsonFlag, figure, out, print_items, print_json, save_note
from ipa_rl.errors import InputError, one_a_cause, quoted
from ipa_rl.profiles import StageProfile, check_folder, load_profile
from ipa_rl.result_files import output_file

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measured profiles: show them, check them."
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
            _print_stage(one, profile.description.batches, has_threshold)
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


def _print_stage(stage: StageProfile, batches: tuple[int, ...], has_threshold: bool) -> None:
    """Its cells: where no rule chose among core counts, those of the allocation only."""
    columns: Columns = {
        "cores": "cores",
        "batch": "batch",
        "mean s": lambda cell: _marked(cell.latency_mean_s, cell.mean_is_measured),
        "p99 s": lambda cell: _marked(cell.latency_p99_s, cell.p99_is_measured),
        "rps a replica": lambda cell: _marked(cell.throughput_rps, cell.throughput_is_measured),
    }
    for name, table in stage.tables.items():
        cores = stage.base_cores[name]
        title = f"{stage.name}: {name}, base allocation {cores} core{'s' * (cores != 1)}"
        shown = [one for one in table.cells if one.batch in batches and (has_threshold or one.cores == cores)]
        print_items(title, columns, shown, left=0)
        out.print(f"mean: {table.mean_fit}\np99:  {table.p99_fit}")


def _marked(value: float, is_measured: bool) -> str:
    return figure(value) + (" " if is_measured else "*")


def _stage_json(stage: StageProfile) -> dict[str, Any]:
    variants = [
        {
            "variant": table.variant,
            "base_cores": stage.base_cores[table.variant],
            "mean_fit": str(table.mean_fit),
            "p99_fit": str(table.p99_fit),
            "cells": [asdict(cell) for cell in table.cells],
        }
        for table in stage.tables.values()
    ]
    return {"stage": stage.name, "variants": variants}
