"""Fair opponents: every system with the forecaster and margin that serve it best on validation.

The integer program is tuned once for each forecaster; FA2-low, FA2-high and RIM over all forecasters,
as is the load that the static configuration is planned for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.program import fixed_replicas, fixed_variants
from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.environment.batch import Figures, play_windows
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.environment.observation import HISTORY_S
from ipa_rl.errors import InputError
from ipa_rl.progress import Report
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import LSTM, forecast_series, make_forecaster
from ipa_rl.workload.trace import windows

WINDOW_S = 1200
"""Length of the windows that agents are tuned and judged on: that of the paper's."""

MARGINS = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
FORECASTERS = (
    "last", "window-max:10", "window-max:30", "window-max:60", "window-max:120",
    "moving-average:10", "moving-average:30", "moving-average:60", "autoregressive", LSTM,
)  # fmt: skip
STATIC_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
PAS_TOLERANCE = 0.1
"""Points of PAS x 100 that count as no loss: a fifth of the half point that an agent may lose at all."""

PROGRAM, STATIC, PERFECT = "ip", "static", "perfect"


@dataclass(frozen=True)
class Opponent:
    """A tuned system: ``system`` is "ip", "fa2-low", "fa2-high", "rim" or "static".

    ``forecaster`` is the planned-for load (requests a second) for the static one. ``validation``: its
    means over the validation windows.
    """

    system: str
    forecaster: str
    margin: float
    validation: dict[str, float]

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.system} {self.forecaster}" if self.system == PROGRAM else self.system


def validation_arrivals(part_windows: int | None = None) -> FloatArray:
    """The validation windows, (windows, HISTORY_S + WINDOW_S) requests in each second."""
    whole = windows("validation", WINDOW_S, HISTORY_S)[:part_windows]
    return np.stack([window.arrivals for window in whole]).astype(np.float64)


def system_definition(definition: Definition, system: str) -> Definition:
    """The environment as a system's solver sees it: FA2 and RIM choose among less."""
    if system == "fa2-low":
        return fixed_variants(definition, definition.baselines.fa2_low)
    if system == "fa2-high":
        return fixed_variants(definition, definition.baselines.fa2_high)
    return fixed_replicas(definition) if system == "rim" else definition


def play_planned(
    definition: Definition, solver: Definition, planned: FloatArray, arrivals: FloatArray
) -> Figures:
    """A system that plans for loads (windows, steps): solved in ``solver``, served in ``definition``."""
    kept: dict[float, IntArray] = {}

    def rows(load: float) -> IntArray:
        if load not in kept:
            kept[load] = encode(definition.problem, solver.best_for(load))
        return kept[load]

    def decide(episodes: Episodes, step: int) -> IntArray:
        del episodes
        return np.stack([rows(load) for load in planned[:, step].tolist()])

    return play_windows(definition, arrivals, decide)


def forecasts(definition: Definition, name: str, arrivals: FloatArray) -> FloatArray:
    """Forecasts of that name at every decision of every window, (windows, steps)."""
    every_s = definition.settings.interval_s
    return np.stack(
        [forecast_series(make_forecaster(name, one), one, HISTORY_S, every_s) for one in arrivals]
    )


def tune(definition: Definition, arrivals: FloatArray, report: Report) -> list[Opponent]:
    """All opponents, each at its best by mean utility over the windows."""
    expected: dict[str, NDArray[np.float64]] = {}
    names = (*FORECASTERS, PERFECT)
    total = len(names) + len(names) + 3
    for count, name in enumerate(names, start=1):
        expected[name] = forecasts(definition, name, arrivals)
        report.advance("tune", count, total)
    found = []
    systems: list[tuple[str, tuple[str, ...]]] = [(PROGRAM, (name,)) for name in names]
    systems += [(system, FORECASTERS) for system in ("fa2-low", "fa2-high", "rim")]
    for count, (system, allowed) in enumerate(systems, start=1):
        found.append(_best(_trials(definition, system, allowed, expected, arrivals)))
        report.advance("tune", len(names) + count, total)
    found.append(_best(_static_trials(definition, arrivals)))
    return found


def _trials(
    definition: Definition,
    system: str,
    allowed: Sequence[str],
    expected: dict[str, FloatArray],
    arrivals: FloatArray,
) -> Iterator[Opponent]:
    solver = system_definition(definition, system)
    for name in allowed:
        for margin in MARGINS:
            planned = np.round(expected[name] * (1.0 + margin), 3)
            figures = play_planned(definition, solver, planned, arrivals)
            yield Opponent(system, name, margin, figures.means())


def _static_trials(definition: Definition, arrivals: FloatArray) -> Iterator[Opponent]:
    steps = WINDOW_S // definition.settings.interval_s
    for load in np.unique(np.quantile(arrivals, STATIC_QUANTILES)).tolist():
        planned = np.full((len(arrivals), steps), float(load))
        figures = play_planned(definition, definition, planned, arrivals)
        yield Opponent(STATIC, f"{load:g}", 0.0, figures.means())


def _best(trials: Iterator[Opponent]) -> Opponent:
    return max(trials, key=lambda trial: trial.validation["utility"])


def rivals(opponents: Sequence[Opponent]) -> tuple[Opponent, ...]:
    """Whom an agent is paired with: the best program, and the best of the other systems, on validation."""
    others = [o for o in opponents if o.system != PROGRAM]
    return best_program(opponents), max(others, key=lambda opponent: opponent.validation["utility"])


def best_program(opponents: Sequence[Opponent]) -> Opponent:
    """The integer program whose forecaster and margin did best, the perfect forecast aside."""
    real = [o for o in opponents if o.system == PROGRAM and o.forecaster != PERFECT]
    return max(real, key=lambda opponent: opponent.validation["utility"])


def write_opponents(opponents: Sequence[Opponent], path: Path) -> None:
    """Keep them as JSON."""
    path.write_text(json.dumps([asdict(o) for o in opponents], indent=1) + "\n", encoding="utf-8")


def read_opponents(path: Path) -> list[Opponent]:
    """Opponents tuned before. Raises InputError where the file is broken."""
    try:
        return [Opponent(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        fix = "tune again: ipa-rl tune NAME"
        raise InputError("holds no tuned opponents", file=path, fix=fix) from error
