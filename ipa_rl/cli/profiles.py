"""``ipa-rl profiles``: show what is measured and what is modelled, check a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.outputs import output_file
from ipa_rl.cli.tables import JsonFlag, figure, out, print_json, print_table, save_note
from ipa_rl.errors import InputError, one_a_cause, quoted
from ipa_rl.profiles import StageProfile, check_folder, load_profile
from ipa_rl.profiles.table import Cell, VariantTable

app = typer.Typer(no_args_is_help=True, help="Measured profiles: show them, check them.")


@app.command("show")
def show(
    pipeline: Annotated[str, typer.Argument(help="Shipped name (video) or folder.")],
    stage: Annotated[str | None, typer.Option(help="Only this stage.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG to draw points and fits into.")] = None,
    json: JsonFlag = False,
) -> None:
    """Every cell of every variant, measured or modelled, with the fits and base allocations.

    Example: [bold]ipa-rl profiles show video --plot video.png[/bold]
    """
    profile = load_profile(pipeline)
    description, stages = profile.description, list(profile.stages)
    target = None if plot is None else output_file(plot)
    if stage is not None:
        known = [one.name for one in stages]
        if stage not in known:
            raise InputError(
                f"no stage {quoted(stage)}", field="--stage", fix=f"use one of {', '.join(known)}"
            )
        stages = [one for one in stages if one.name == stage]
    if json:
        print_json({"pipeline": pipeline, "stages": [_stage_json(one) for one in stages]})
    else:
        out.print("figures as profiled, before derating; * modelled, others measured")
        if description.derating.latency_pct or description.derating.throughput_pct:
            out.print(
                f"derating before use: latency {description.derating.latency_pct:+g} %, "
                f"throughput {description.derating.throughput_pct:+g} %"
            )
        for one in stages:
            _print_stage(one, tuple(description.batches))
    if target is not None:
        from ipa_rl.cli.profile_plot import draw_profiles

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
        print_json([_fault_json(fault) for fault in faults])
    else:
        for fault in faults:
            out.print(str(fault), soft_wrap=True)
        if not faults:
            out.print(f"{folder}: no faults", soft_wrap=True)
    if faults:
        raise typer.Exit(2)


def _fault_json(fault: InputError) -> dict[str, Any]:
    return {
        "file": str(fault.file),
        "line": fault.line,
        "field": fault.field,
        "problem": fault.problem,
        "fix": fault.fix,
    }


def _print_stage(stage: StageProfile, batches: tuple[int, ...]) -> None:
    for name, table in stage.tables.items():
        cells = [cell for cell in table.cells if cell.batch in batches]
        print_table(
            f"{stage.name}: {name}, base allocation {stage.base_cores[name]} cores",
            ["cores", "batch", "mean s", "p99 s", "rps a replica"],
            [
                [
                    str(cell.cores),
                    str(cell.batch),
                    _marked(cell.latency_mean_s, cell.mean_is_measured),
                    _marked(cell.latency_p99_s, cell.p99_is_measured),
                    _marked(cell.throughput_rps, cell.throughput_is_measured),
                ]
                for cell in cells
            ],
            left=0,
        )
        out.print(f"mean: {table.mean_fit}", soft_wrap=False)
        out.print(f"p99:  {table.p99_fit}", soft_wrap=False)


def _marked(value: float, is_measured: bool) -> str:
    return figure(value) + (" " if is_measured else "*")


def _stage_json(stage: StageProfile) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "variants": [_table_json(stage, table) for table in stage.tables.values()],
    }


def _table_json(stage: StageProfile, table: VariantTable) -> dict[str, Any]:
    return {
        "variant": table.variant,
        "base_cores": stage.base_cores[table.variant],
        "mean_fit": str(table.mean_fit),
        "p99_fit": str(table.p99_fit),
        "cells": [_cell_json(cell) for cell in table.cells],
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {field: getattr(cell, field) for field in Cell.__dataclass_fields__}
