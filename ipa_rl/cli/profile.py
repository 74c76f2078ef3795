"""``ipa-rl profile``: measure models and write the folder of a pipeline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.tables import Columns, JsonFlag, out, print_items, print_json, save_note, say
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.interrupts import hinted
from ipa_rl.profiler import Outcome, ProfilingJob, read_job
from ipa_rl.profiler import profile as run_profile
from ipa_rl.profiles import check_folder, load_profile
from ipa_rl.progress import Bars
from ipa_rl.result_files import output_folder


def profile(
    job_file: Annotated[Path, typer.Argument(help="YAML of what to measure.", metavar="FILE")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the profile; goes on after a kill.")],
    json: JsonFlag = False,
) -> None:
    """Measure every variant of a Python callable or an HTTP endpoint, at each batch size and core count.

    Example: [bold]ipa-rl profile job.yaml --out profiles/mine[/bold]
    """
    job = read_job(job_file)
    folder = output_folder(out_folder)
    with hinted(f"the same command with --out {folder} goes on"), Bars() as bars:
        outcome = run_profile(job, folder, bars, job_file)
    if json:
        print_json(
            {
                "cells": [asdict(cell) for cell in outcome.cells],
                "starts": [asdict(start) for start in outcome.starts],
                "faults": [str(fault) for fault in outcome.faults],
            }
        )
    else:
        _print(job, outcome)
    save_note([*outcome.files, *_draw(folder, outcome)])
    if outcome.faults:
        *others, last = outcome.faults
        for fault in others:
            say(f"error: {fault}")
        raise last
    unfit = check_folder(folder)  # an SLA that no core count keeps, latency that falls
    if unfit:
        out.print("\n".join(map(str, unfit)), soft_wrap=True)
        raise typer.Exit(1)


def _print(job: ProfilingJob, outcome: Outcome) -> None:
    cells: Columns = {
        "variant": "variant",
        "cores": "cores",
        "batch": "batch",
        "mean s": "latency_mean_s",
        "p99 s": "latency_p99_s",
        "rps": "throughput_rps",
        "+- %": lambda one: _worst(one.latency_pct, one.throughput_pct) + (" " if one.is_tight else "!"),
    }
    starts: Columns = {
        "variant": "variant",
        "cores": "cores",
        "start-up s": "start_up_s",
        "load s": "load_s",
        "memory MB": "memory_mb",
    }
    for stage in job.stages:
        measured = [one for one in outcome.cells if one.stage == stage.name]
        print_items(
            f"{stage.name}: +- half of the 95 % interval, ! too wide when time was over", cells, measured
        )
        started = [one for one in outcome.starts if one.stage == stage.name]
        if started:
            print_items(f"{stage.name}: starts", starts, started)


def _worst(*percents: float | None) -> str:
    known = [percent for percent in percents if percent is not None]
    return f"{max(known):.1f}" if len(known) == len(percents) else "-"


def _draw(folder: Path, outcome: Outcome) -> list[Path]:
    """The picture of points and fits, where the profile is whole enough and matplotlib is there."""
    from ipa_rl.report.profile_picture import draw_profiles

    path = folder / "fits.png"
    try:
        if outcome.files:
            draw_profiles(load_profile(folder).stages, path)
    except MissingExtraError as error:
        say(f"note: no picture: {error}")
    except InputError:
        return []
    return [path] if path.is_file() else []
