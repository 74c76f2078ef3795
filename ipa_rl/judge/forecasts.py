"""Errors of the forecasters on a part of the trace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.progress import Report
from ipa_rl.workload.forecasters import LONGEST_WINDOW_S, LSTM, forecast_series, is_available, make_forecaster
from ipa_rl.workload.trace import HORIZON_S, Part, true_maxima, windows

NAMES = (
    "last", "window-max:10", "window-max:30", "window-max:60", "window-max:120",
    "moving-average:30", "clock:20", "autoregressive", "quantile:50@20", "quantile:90@20", LSTM, "perfect",
)  # fmt: skip
_EVERY_S = 10
_WINDOW_S = 1200


def forecast_errors(part: Part, report: Report) -> list[dict[str, Any]]:
    """One row a forecaster, lowest SMAPE first; forecasts every 10 s of all whole windows."""
    stretches = windows(part, _WINDOW_S + HORIZON_S, LONGEST_WINDOW_S)
    rows = []
    names = [name for name in NAMES if is_available(name)]
    for count, name in enumerate(names, start=1):
        expected, true = [], []
        for window in stretches:
            seen = replace(window, arrivals=window.arrivals[:-HORIZON_S])
            forecaster = make_forecaster(name, window.arrivals)
            expected.append(forecast_series(forecaster, seen, _EVERY_S))
            times = np.arange(LONGEST_WINDOW_S, len(seen.arrivals) - _EVERY_S + 1, _EVERY_S)
            true.append(true_maxima(window.arrivals, times))
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
