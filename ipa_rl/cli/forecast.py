"""``ipa-rl forecast``: errors of the forecasters, and training of the LSTM."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.outputs import output_file
from ipa_rl.cli.tables import JsonFlag, err, print_json, print_table
from ipa_rl.progress import Bars
from ipa_rl.workload.forecasters import LSTM, NO_LSTM, is_available

app = typer.Typer(no_args_is_help=True, help="Forecasters: compare them, train the LSTM.")


class Part(StrEnum):
    """Parts of the trace."""

    train = "train"
    validation = "validation"
    test = "test"


@app.command("compare")
def compare(
    part: Annotated[Part, typer.Option(help="Part of the trace to judge on.")] = Part.test,
    json: JsonFlag = False,
) -> None:
    """SMAPE of all forecasters against the true maximum of the next 20 s.

    Example: [bold]ipa-rl forecast compare --part test[/bold]
    """
    from ipa_rl.evaluation.forecasts import forecast_errors

    with Bars() as bars:
        rows = forecast_errors(part.value, bars)
    if not is_available(LSTM):
        err.print(f"note: {NO_LSTM}", soft_wrap=True)
    if json:
        print_json(rows)
        return
    print_table(
        f"errors against the maximum of the next 20 s, {part.value} part",
        ["forecaster", "SMAPE %", "MAE rps", "bias rps", "too low %"],
        [[r["forecaster"], r["smape_pct"], r["mae_rps"], r["bias_rps"], r["too_low_pct"]] for r in rows],
    )


@app.command("train")
def train(
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the train part.")] = 8,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("lstm.npz"),
) -> None:
    """Train the LSTM on the train part; the epoch that is best on validation is kept.

    Example: [bold]ipa-rl forecast train --out profiles/trace/lstm.npz[/bold]
    """
    from ipa_rl.workload.lstm import save_lstm, train_lstm

    output_file(out)
    with Bars() as bars:
        lstm = train_lstm(seed, epochs, bars)
    save_lstm(lstm, out)
    err.print(f"wrote {out}")
