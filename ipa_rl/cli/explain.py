"""``ipa-rl explain``: the decision log of the sidecar, to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.tables import JsonFlag, out, print_json, say

_NAMED = 5


def explain(
    log: Annotated[Path, typer.Argument(help="The decision log; older rotated files are read too.")],
    last: Annotated[int, typer.Option(min=0, help="At most N steps; 0 for all.")] = 10,
    json: JsonFlag = False,
) -> None:
    """What the sidecar saw, chose and did, and what the integer program would have chosen.

    Lines that cannot be read are named on stderr and left out; exit status 1 where none can.

    Example: [bold]ipa-rl explain decisions.jsonl --last 3[/bold]
    """
    from ipa_rl.sidecar.explain import account, read_log, summary, summary_lines

    found = read_log(log)
    shown = found.entries[-last:] if last else found.entries
    if json:
        faults = [fault.__dict__ for fault in found.faults]
        print_json({"steps": list(shown), "summary": summary(found.entries), "skipped": faults})
    else:
        for entry in shown:
            out.print("\n".join(account(entry)) + "\n", soft_wrap=True)
        out.print("\n".join(summary_lines(summary(found.entries))), soft_wrap=True)
    for fault in found.faults[:_NAMED]:
        say(f"skipped: {fault}")
    if found.faults:
        say(f"{len(found.faults)} of {len(found.faults) + len(found.entries)} lines skipped")
    if found.faults and not found.entries:
        raise typer.Exit(1)
