"""Fair opponents: every forecaster with the margin that serves it best on the validation windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ipa_rl.environment.batch import Figures, play_windows
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.environment.observation import HISTORY_S
from ipa_rl.progress import Report
from ipa_rl.simulation.compiled import FloatArray, IntArray
from ipa_rl.workload.forecasters import Forecaster, forecast_series

MARGINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
"""Margins that are tried for every forecaster."""


@dataclass(frozen=True)
class Tuned:
    """A forecaster, the margin that gave it the highest utility, and its figures with it."""

    forecaster: str
    margin: float
    figures: Figures


def forecasts(definition: Definition, forecaster: Forecaster, arrivals: FloatArray) -> FloatArray:
    """Forecasts at every decision of every window, (windows, steps)."""
    interval_s = definition.settings.interval_s
    return np.stack([forecast_series(forecaster, one, HISTORY_S, interval_s) for one in arrivals])


def play_program(
    definition: Definition, planned: FloatArray, arrivals: FloatArray, judged_by: Definition
) -> Figures:
    """The program of ``definition``, solved for planned loads (windows, steps), in ``judged_by``."""

    def decide(episodes: Episodes, step: int) -> IntArray:
        del episodes
        return np.stack([definition.rows_for(load) for load in planned[:, step].tolist()])

    return play_windows(judged_by, arrivals, decide)


def tune(
    definition: Definition,
    forecasters: Mapping[str, Forecaster],
    arrivals: FloatArray,
    report: Report,
    margins: Iterable[float] = MARGINS,
) -> list[Tuned]:
    """The best margin of each forecaster by mean utility over the windows, best forecaster first."""
    tried = list(margins)
    tuned = []
    for count, (name, forecaster) in enumerate(forecasters.items(), start=1):
        expected = forecasts(definition, forecaster, arrivals)
        results = [
            (margin, play_program(definition, np.round(expected * (1 + margin), 3), arrivals, definition))
            for margin in tried
        ]
        margin, figures = max(results, key=lambda result: result[1].utility.mean())
        tuned.append(Tuned(name, margin, figures))
        report.advance("tune", count, len(forecasters))
    return sorted(tuned, key=lambda one: -one.figures.utility.mean())
