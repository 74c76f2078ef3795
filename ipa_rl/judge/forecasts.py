"""Errors of the forecasters on a part of a workload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.progress import Report
from ipa_rl.workload.forecasters import AUTOREGRESSIVE, LSTM, forecast_series, is_available, make_forecaster
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZON_STEPS, maxima_ahead
from ipa_rl.workload.workload import Part, Workload

NAMES = (
    "last", "window-max:10", "window-max:30", "window-max:60", "window-max:120", "moving-average:30",
    "clock:20", AUTOREGRESSIVE, "quantile:50@20", "quantile:90@20", LSTM, "perfect",
)  # fmt: skip
_EVERY = 10
_WINDOW = 1200


def forecast_errors(workload: Workload, step_s: int, part: Part, report: Report) -> list[dict[str, Any]]:
    """One row a forecaster, lowest SMAPE first; forecasts every 10 steps of all whole windows."""
    every_s, ahead_s, history_s = (step_s * steps for steps in (_EVERY, HORIZON_STEPS, HISTORY_STEPS))
    begin, end = workload.parts[part]
    longest_s = (end - begin - history_s - ahead_s) // every_s * every_s
    length_s = min(_WINDOW * step_s, longest_s)
    stretches = workload.windows(part, length_s + ahead_s, history_s) if length_s > 0 else []
    if not stretches:
        problem = f"its {part} part is too short or has too many gaps for steps of {step_s} s"
        raise InputError(problem, file=workload.name, field=part, fix="give shorter steps")
    rows = []
    names = [name for name in NAMES if is_available(name, workload, step_s)]
    for count, name in enumerate(names, start=1):
        expected, true = [], []
        for window in stretches:
            seen = replace(window, arrivals=window.arrivals[:-ahead_s])
            forecaster = make_forecaster(name, workload, step_s, window.arrivals)
            expected.append(forecast_series(forecaster, seen, every_s))
            times = np.arange(history_s, len(seen.arrivals) - every_s + 1, every_s)
            true.append(maxima_ahead(window.arrivals, times, HORIZON_STEPS, step_s))
        rows.append(_errors(name, np.concatenate(expected), np.concatenate(true)))
        report.advance("forecast", count, len(names))
    return sorted(rows, key=lambda row: float(row["smape_pct"]))


def _errors(name: str, expected: FloatArray, true: FloatArray) -> dict[str, Any]:
    """SMAPE as 2 |f - y| / (|f| + |y|), 0 where both are 0 (Makridakis, 1993)."""
    size = np.abs(expected) + np.abs(true)
    apart = np.abs(expected - true)
    relative = np.divide(2 * apart, size, out=np.zeros_like(apart), where=size > 0)
    return {
        "forecaster": name,
        "smape_pct": 100 * float(relative.mean()),
        "mae_rps": float(apart.mean()),
        "bias_rps": float((expected - true).mean()),
        "too_low_pct": 100 * float((expected < true).mean()),
        "forecasts": len(true),
    }
