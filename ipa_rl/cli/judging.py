"""What the verbs that judge share: their options, and how results look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.tables import Columns, out, print_items, say
from ipa_rl.judge.comparison import Ranked
from ipa_rl.judge.evaluation import Evaluation, Findings
from ipa_rl.judge.experiment import Setup
from ipa_rl.judge.stress import Endured
from ipa_rl.report.commands import tune_command

AgentFolder = Annotated[
    Path | None, typer.Option(help="Folder of the agent; by default the shipped one of that name.")
]
Fluid = Annotated[bool, typer.Option("--fluid", help="The fast fluid simulator instead of single requests.")]
Most = Annotated[
    int | None, typer.Option("--windows", min=1, help="At most N windows of the part, evenly spread.")
]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="Runs of each window, each with other arrival and service times.")
]
Draws = Annotated[int, typer.Option(min=1, help="Draws of each scenario of the stress suite.")]
DRAWS = 5
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each core.")]
RayAddress = Annotated[
    str | None, typer.Option("--ray", help='Ray cluster to run on instead; "local" starts one.')
]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Folder of the run.")]
Alpha = Annotated[
    float | None, typer.Option(help="Weight of accuracy instead of the environment's: what to prefer.")
]
Beta = Annotated[float | None, typer.Option(help="Weight of a core instead of the environment's.")]


OwnControllers = Annotated[
    list[str] | None,
    typer.Option(
        "--controller",
        metavar="MODULE:NAME",
        help="Your own beside the others: my_module:MyController, or my_file.py:MyController; repeatable.",
    ),
]


def print_findings(findings: Findings, title: str, shown: Sequence[str]) -> None:
    """All tables of what a comparison or an evaluation came to; ``shown``: controllers under stress."""
    if findings.rows:
        print_rows(f"{findings.environment}, {title}", findings.rows)
        print_ranking(findings.ranking, findings.intervals_over)
    if isinstance(findings, Evaluation):
        print_paired(findings)
    if findings.stress:
        print_stress(findings.stress, shown)


def print_paired(evaluation: Evaluation) -> None:
    """The agent's differences to each rival."""
    for one in evaluation.paired:
        out.print(f"{evaluation.agent} minus {one['rival']}, paired by {evaluation.intervals_over}:")
        for figure in one["figures"]:
            low, high = figure["interval_95"]
            out.print(f"  {figure['figure']:<10} {figure['difference']:+.4f}, 95 % {low:+.4f} to {high:+.4f}")


def print_rows(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """The table of a comparison."""
    columns: Columns = {
        "controller": "controller",
        "utility": "utility",
        "PAS": "pas_x100",
        "cores": "cores",
        "viol.%": lambda row: f"{100 * row['violations']:.2f}",
        "p99 s": "p99_s",
        "ms p50": "decide_p50_ms",
        "p99": "decide_p99_ms",
    }
    print_items(title, columns, rows)


def print_ranking(ranking: Sequence[Ranked], unit: str) -> None:
    """Places, with who cannot be told apart."""
    if not ranking:
        out.print("no ranking: one window and one seed show no spread; give --seeds or --part")
        return
    title = (
        f"Ranking by utility; controllers that share a place cannot be told apart (95 %, paired by {unit})"
    )
    columns: Columns = {
        "controller": "controller",
        "place": "place",
        "utility": "utility",
        "best of the place is above by": lambda one: (
            "-" if one.interval_95 is None else "{:.3f} to {:.3f}".format(*one.interval_95)
        ),
    }
    print_items(title, columns, ranking)


def print_stress(rows: Sequence[Endured], shown: Sequence[str]) -> None:
    """Scenarios down, the controllers that matter below each."""
    columns: Columns = {
        "scenario": lambda row: row.scenario if row.controller == shown[0] else "",
        "controller": "controller",
        "viol.%": lambda row: f"{100 * row.violations:.2f}",
        "recovery s": lambda row: f"{row.recovery_s:.0f}",
        "cores": "cores",
        "utility": "utility",
    }
    title = "Stress suite; recovery: longest stretch with more than 1 % of requests violated"
    print_items(title, columns, [row for row in rows if row.controller in shown], left=2)


def say_notes(setup: Setup) -> None:
    """What is missing of agent and opponents, and the command that tunes these."""
    known = setup.controllers()
    if known.note:
        say(f"note: {known.note}")
    if not known.tuned:
        beside = "" if known.folder.is_dir() else f", then --agent agents/{known.definition.name}"
        say(f"to tune them: {tune_command(setup, known)}{beside}")
