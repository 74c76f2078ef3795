"""``ipa-rl forecast``: errors of the forecasters, and training of the LSTM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.tables import JsonFlag, print_items, print_json, print_table, save_note, say
from ipa_rl.progress import Bars
from ipa_rl.result_files import output_file
from ipa_rl.workload.forecasters import LSTM, is_available, not_available
from ipa_rl.workload.workload import Part, load_workload

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Forecasters: compare them, train them.")


@app.command("compare")
def compare(
    part: Annotated[Part, typer.Option(help="Part of the trace to judge on.")] = "test",
    json: JsonFlag = False,
) -> None:
    """SMAPE of all forecasters against the true maximum of the next 20 s.

    Example: [bold]ipa-rl forecast compare --part test[/bold]
    """
    from ipa_rl.judge.forecasts import forecast_errors

    with Bars() as bars:
        rows = forecast_errors(twitter := load_workload("twitter"), 1, part, bars)
    if not is_available(LSTM, twitter, 1):
        say(f"note: {not_available([LSTM], twitter, 1)}")
    if json:
        print_json(rows)
        return
    columns = {
        "forecaster": "forecaster",
        "SMAPE %": "smape_pct",
        "MAE rps": "mae_rps",
        "bias rps": "bias_rps",
        "too low %": "too_low_pct",
    }
    print_items(f"errors against the maximum of the next 20 s, {part} part", columns, rows)


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
        lstm = train_lstm(load_workload("twitter"), 1, seed, epochs, bars)
    save_lstm(lstm, out)
    save_note([out])


@app.command("quantiles")
def quantiles(
    out: Annotated[Path, typer.Option(help="File to write, .npz.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    json: JsonFlag = False,
) -> None:
    """Fit the quantile forecasters on the train part, calibrate them on validation; shares that they cover.

    Example: [bold]ipa-rl forecast quantiles --out profiles/trace/quantiles.npz[/bold]
    """
    from ipa_rl.workload.fit_quantiles import coverage, fit_quantiles
    from ipa_rl.workload.quantiles import QUANTILES, save_table
    from ipa_rl.workload.steps import HORIZONS_STEPS as HORIZONS_S

    output_file(out)
    with Bars() as bars:
        coefficients = fit_quantiles(twitter := load_workload("twitter"), 1, seed, epochs, bars)
    save_table(coefficients, out)
    covered = coverage(coefficients, twitter, 1, "test")
    if json:
        print_json({"horizons_s": HORIZONS_S, "quantiles": QUANTILES, "covered": covered.tolist()})
    else:
        print_table(
            "share of the test part's maxima that each quantile covers, %",
            ["horizon s", *(f"{100 * q:g} %" for q in QUANTILES)],
            [[f"{h}", *(100.0 * covered[i]).tolist()] for i, h in enumerate(HORIZONS_S)],
        )
    save_note([out])
