"""``ipa-rl workload fit``: season and forecasters of a workload."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.tables import Columns, JsonFlag, out, print_items, print_json, print_table, save_note


def fit(
    workload: Annotated[Path, typer.Argument(help="A workload's folder, or the name of a shipped one.")],
    step: Annotated[list[int] | None, typer.Option(help="Seconds of a step (repeatable).")] = None,
    lstm: Annotated[bool, typer.Option("--lstm", help="The LSTM as well, which takes longest.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the train part, at most.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is random.")] = 0,
    ship: Annotated[bool, typer.Option("--ship", help="Also where it is a shipped workload.")] = False,
    json: JsonFlag = False,
) -> None:
    """What forecasters need: season, quantiles, autoregressive, LSTM; errors and coverage on the test part.

    It is kept in the workload's folder. Without --step, the step that pipelines need whose replicas start
    within 20 s.

    Example: [bold]ipa-rl workload fit mine --lstm[/bold]
    """
    from ipa_rl.cli.forecast import print_errors
    from ipa_rl.judge.forecasts import forecast_errors
    from ipa_rl.progress import Bars
    from ipa_rl.workload import fit as fitting
    from ipa_rl.workload.quantiles import QUANTILES
    from ipa_rl.workload.steps import HORIZONS_STEPS
    from ipa_rl.workload.workload import load_workload

    found = load_workload(workload)
    if not ship:
        fitting.check_own(found)
    steps_s = step or [fitting.usual_step_s(found)]
    with Bars() as bars:
        fitted = fitting.fit(found, steps_s, bars, lstm=lstm, seed=seed, epochs=epochs)
        errors = {one.step_s: forecast_errors(found, one.step_s, "test", bars) for one in fitted.steps}
    if json:
        print_json(fitted.summary() | {"errors": errors})
        return
    columns: Columns = {
        "season": "name",
        "growth explained %": lambda one: 100.0 * one.explained,
        "in standard errors": "errors",
    }
    if fitted.found.tried:
        title = "seasons that were tried, on the last third of the train part"
        print_items(title, columns, fitted.found.tried)
    out.print(f"season: {fitted.found.in_words}\n")
    for one in fitted.steps:
        print_errors(found, one.step_s, "test", errors[one.step_s])
        print_table(
            f"share of the test part's maxima that each quantile covers, %; {one.quantiles_in_words}",
            ["steps ahead", *(f"{100 * level:g} %" for level in QUANTILES)],
            [[f"{n}", *(100.0 * row).tolist()] for n, row in zip(HORIZONS_STEPS, one.covered, strict=True)],
        )
    save_note(fitted.files)
