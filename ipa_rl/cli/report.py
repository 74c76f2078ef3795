"""``ipa-rl report``: a run as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.tables import save_note
from ipa_rl.result_files import output_file


def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder that compare or evaluate wrote.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write; report.html in the folder by default.")
    ] = None,
) -> None:
    """One self-contained HTML page of a run: verdict, tables, interactive figures; needs no network.

    Example: [bold]ipa-rl report runs/compare-video-bursty[/bold]
    """
    from ipa_rl.judge.runs import RunFolder
    from ipa_rl.report.page import write_report

    RunFolder(run_folder).description()
    path = output_file(out_file or run_folder / "report.html")
    write_report(run_folder, path)
    save_note([path])
