"""``ipa-rl compare`` and ``ipa-rl evaluate``: controllers on the same arrivals."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.agents.tuning import PERFECT, PROGRAM, WINDOW_S, rivals
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import JsonFlag, err, out, print_json, print_table, save_note
from ipa_rl.environment.definition import load_definition
from ipa_rl.environment.observation import HISTORY_S
from ipa_rl.evaluation.compare import FIGURES, Comparison, write_json, write_rows
from ipa_rl.evaluation.compare import compare as run
from ipa_rl.evaluation.controllers import AGENT_NAME, Controllers, controllers
from ipa_rl.progress import Bars
from ipa_rl.workload.forecasters import LSTM
from ipa_rl.workload.trace import Window, paper_window, windows

COLUMNS = ["controller", "utility", "PAS", "cores", "viol.%", "p99 s", "ms p50", "p99"]

Environment = Annotated[str, typer.Argument(help="Shipped name (video) or YAML file.")]
AgentFolder = Annotated[
    Path | None, typer.Option(help="Folder of the agent; by default the shipped one of that name.")
]


class PaperWindow(StrEnum):
    """The paper's windows."""

    bursty = "bursty"
    steady_low = "steady-low"
    steady_high = "steady-high"
    fluctuating = "fluctuating"


class Part(StrEnum):
    """Parts of the trace that may be judged on."""

    validation = "validation"
    test = "test"


def compare(
    environment: Environment,
    window: Annotated[PaperWindow, typer.Option(help="The paper's window.")] = PaperWindow.bursty,
    agent: AgentFolder = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    json: JsonFlag = False,
) -> None:
    """All controllers on one of the paper's windows: table, CSV, JSON and pictures.

    Example: [bold]ipa-rl compare video --window bursty[/bold]
    """
    definition = load_definition(environment)
    known = controllers(definition, agent)
    folder = output_folder(out_folder or Path("runs") / f"compare-{definition.name}-{window.value}")
    stretch = paper_window(window.value, HISTORY_S)
    comparison = _run(known, [stretch])
    rows = comparison.rows()
    paths = _write(comparison, known, folder)
    if json:
        print_json(rows)
    else:
        requests = int(stretch.arrivals[HISTORY_S:].sum())
        _print(f"{definition.name}, {window.value} window, {requests:,} requests", rows)
    if known.note:
        err.print(f"note: {known.note}", soft_wrap=True)
    save_note(paths)


def evaluate(
    environment: Environment,
    part: Annotated[Part, typer.Option(help="Part of the trace; test only to report.")] = Part.test,
    most: Annotated[
        int | None, typer.Option("--windows", min=2, help="Fewer windows, for a quick try.")
    ] = None,
    agent: AgentFolder = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    json: JsonFlag = False,
) -> None:
    """All controllers on all 20-minute windows of a part, with 95 % intervals; writes the card.

    Example: [bold]ipa-rl evaluate video --part test[/bold]
    """
    from ipa_rl.evaluation.card import write_card

    definition = load_definition(environment)
    known = controllers(definition, agent)
    folder = output_folder(out_folder or Path("runs") / f"evaluate-{definition.name}-{part.value}")
    comparison = _run(known, windows(part.value, WINDOW_S, HISTORY_S)[:most])
    rows, paired = comparison.rows(), _paired(comparison, known)
    content = {"part": part.value, "windows": len(comparison.windows), "rows": rows, "paired": paired}
    write_rows(rows, folder / "evaluation.csv")
    write_json(content, folder / "evaluation.json")
    write_card(known, content, folder / "card.md")
    if json:
        print_json(content)
    else:
        _print(f"{definition.name}, {part.value} part, {len(comparison.windows)} windows", rows)
        _print_paired(paired)
    if known.note:
        err.print(f"note: {known.note}", soft_wrap=True)
    save_note([folder / name for name in ("evaluation.csv", "evaluation.json", "card.md")])


def _run(known: Controllers, stretches: Sequence[Window]) -> Comparison:
    """Play all; torch, where a forecaster needs it, on one thread: waiting for a second costs more."""
    if any(one.forecaster == LSTM for one in known.opponents):
        import torch

        torch.set_num_threads(1)
    with Bars() as bars:
        return run(known, stretches, bars)


def _paired(comparison: Comparison, known: Controllers) -> list[dict[str, Any]]:
    """The agent's differences to each rival."""
    if known.policy is None:
        return []
    return [
        {
            "rival": one.name,
            "margin": one.margin,
            "figures": [comparison.paired(AGENT_NAME, one.name, figure) for figure in FIGURES],
        }
        for one in rivals(known.opponents)
    ]


def _write(comparison: Comparison, known: Controllers, folder: Path) -> list[Path]:
    """CSV, JSON and both pictures; without matplotlib the pictures are left out, and that is said."""
    from ipa_rl.errors import MissingExtraError
    from ipa_rl.evaluation.pictures import draw_timeline, draw_trade_offs

    rows = comparison.rows()
    paths = [folder / "comparison.csv", folder / "comparison.json"]
    write_rows(rows, paths[0])
    write_json(rows, paths[1])
    window = comparison.windows[0]
    wanted = {AGENT_NAME, known.best_program.name, "fa2-low", "rim"}
    shown = [one for one in comparison.played[0] if one.name in wanted]
    try:
        pictures = [folder / "timeline.png", folder / "trade-offs.png"]
        draw_timeline(comparison.definition, window.arrivals, window.history_s, shown, pictures[0])
        others = {one.name for one in known.opponents if one.system == PROGRAM}
        others -= {known.best_program.name, f"{PROGRAM} {PERFECT}"}
        draw_trade_offs(comparison.definition, rows, others, pictures[1])
        paths += pictures
    except MissingExtraError as error:
        err.print(f"note: no pictures: {error}", soft_wrap=True)
    return paths


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    print_table(
        title,
        COLUMNS,
        [
            [
                row["controller"],
                row["utility"],
                row["pas_x100"],
                row["cores"],
                f"{100 * row['violations']:.2f}",
                row["p99_s"],
                row["decide_p50_ms"],
                row["decide_p99_ms"],
            ]
            for row in rows
        ],
    )


def _print_paired(paired: list[dict[str, Any]]) -> None:
    for one in paired:
        out.print(f"{AGENT_NAME} less {one['rival']}, paired by window:")
        for figure in one["figures"]:
            low, high = figure["interval_95"]
            out.print(f"  {figure['figure']:<10} {figure['difference']:+.4f}, 95 % {low:+.4f} to {high:+.4f}")
