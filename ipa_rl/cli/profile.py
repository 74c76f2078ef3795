"""``ipa-rl profile``: measure models and write the folder of a pipeline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.tables import JsonFlag, figure, out, print_json, print_table, save_note, say
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.interrupts import hinted
from ipa_rl.profiler import Job, Outcome, read_job
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


def _print(job: Job, outcome: Outcome) -> None:
    for stage in job.stages:
        cells = [cell for cell in outcome.cells if cell.stage == stage.name]
        print_table(
            f"{stage.name}: +- half of the 95 % interval, ! too wide when time was over",
            ["variant", "cores", "batch", "mean s", "p99 s", "rps", "+- %"],
            [
                [
                    cell.variant,
                    cell.cores,
                    cell.batch,
                    cell.latency_mean_s,
                    cell.latency_p99_s,
                    cell.throughput_rps,
                    _worst(cell.latency_pct, cell.throughput_pct) + (" " if cell.is_tight else "!"),
                ]
                for cell in cells
            ],
        )
        starts = [start for start in outcome.starts if start.stage == stage.name]
        if starts:
            print_table(
                f"{stage.name}: starts",
                ["variant", "cores", "start-up s", "load s", "memory MB"],
                [
                    [one.variant, one.cores, *map(figure, (one.start_up_s, one.load_s, one.memory_mb))]
                    for one in starts
                ],
            )


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
