"""``ipa-rl workload show``: what a workload looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.arguments import WorkloadName
from ipa_rl.cli.tables import JsonFlag, folded, out, print_items, print_json, print_words, save_note, say


def show(
    workload: WorkloadName,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into; runs/workload-NAME by default.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """What a workload looks like: a summary, a page, a picture, and the figures as JSON.

    Load over time, usual day and week, bursts, dispersion, growth, gaps and parts, beside the shipped
    workloads.

    Example: [bold]ipa-rl workload show mine[/bold]
    """
    from ipa_rl.report.workload_facts import COLUMNS, as_json, beside_shipped, compared, facts
    from ipa_rl.report.workload_files import show_folder, write_files
    from ipa_rl.workload.portrait import portrait
    from ipa_rl.workload.workload import load_workload

    loaded = load_workload(workload)
    _ = loaded.recorded  # read before a folder is made
    target = show_folder(folder, loaded)
    seen = portrait(loaded)
    rows = beside_shipped(seen)
    paths = write_files(seen, rows, target, say)
    if json:
        print_json(as_json(seen, rows))
    else:
        out.print(f"{loaded.name}: {loaded.description.title}".removesuffix(": "), soft_wrap=True)
        print_words(facts(seen))
        out.print()
        table = compared(rows)
        print_items("beside the shipped workloads", {name: name for name in table[0]}, table)
        out.print(folded(COLUMNS, out.width))
    save_note(paths)
