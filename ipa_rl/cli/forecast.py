"""``ipa-rl forecast``: errors of the forecasters on a workload."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.tables import JsonFlag, print_items, print_json, say
from ipa_rl.progress import Bars
from ipa_rl.workload.fit import usual_step_s
from ipa_rl.workload.forecasters import AUTOREGRESSIVE, LSTM, is_available, not_available
from ipa_rl.workload.steps import HORIZON_STEPS
from ipa_rl.workload.workload import Part, Workload, load_workload

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Forecasters: compare them.")


@app.callback()
def _group() -> None:
    """Keeps the verb's name where there is one verb."""


@app.command("compare")
def compare(
    workload: Annotated[
        Path, typer.Argument(help="A shipped workload, or a workload's folder.", show_default="twitter")
    ] = Path("twitter"),
    part: Annotated[Part, typer.Option(help="Part of the workload to judge on.")] = "test",
    step: Annotated[
        int | None, typer.Option(help="Seconds of a step. [default: what usual pipelines need]")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Errors of all forecasters against the true maximum of the next 20 steps.

    Example: [bold]ipa-rl forecast compare twitter --part test[/bold]
    """
    from ipa_rl.judge.forecasts import forecast_errors

    found = load_workload(workload)
    step_s = usual_step_s(found) if step is None else step
    with Bars() as bars:
        rows = forecast_errors(found, step_s, part, bars)
    missing = [name for name in (AUTOREGRESSIVE, LSTM) if not is_available(name, found, step_s)]
    if missing:
        say(f"note: {not_available(missing, found, step_s)}")
    if json:
        print_json(rows)
    else:
        print_errors(found, step_s, part, rows)


def print_errors(workload: Workload, step_s: int, part: Part, rows: list[dict[str, Any]]) -> None:
    """The table of `ipa_rl.judge.forecasts.forecast_errors`."""
    columns = {
        "forecaster": "forecaster",
        "SMAPE %": "smape_pct",
        "MAE rps": "mae_rps",
        "bias rps": "bias_rps",
        "too low %": "too_low_pct",
    }
    ahead = f"the next {HORIZON_STEPS} steps of {step_s} s"
    print_items(f"{workload.name}: errors against the maximum of {ahead}, {part} part", columns, rows)
