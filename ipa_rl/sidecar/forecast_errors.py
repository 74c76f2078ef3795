"""How far the program's forecasts were off, over the last hour."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ipa_rl.sidecar.load_history import LoadHistory

KEPT_S = 3600.0
_MOST_PENDING = 5000


@dataclass(frozen=True, slots=True)
class Errors:
    """Of ``compared`` forecasts: mean absolute error, bias (positive: too high), share that was too low.

    NaN where none could be compared.
    """

    mae_rps: float
    bias_rps: float
    too_low: float
    compared: int


@dataclass
class ForecastErrors:
    """Forecasts of the highest load of the next steps, and the highest that came.

    Where part of that is not known, a forecast is not compared.
    """

    history: LoadHistory
    _pending: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_PENDING))
    _errors: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_PENDING))

    def expect(self, now_s: float, forecast_rps: float, ahead_s: float) -> None:
        """What is expected from ``now_s`` on; NaN is no forecast."""
        if math.isfinite(forecast_rps):
            self._pending.append((now_s, now_s + ahead_s, forecast_rps))

    def compare(self, now_s: float) -> None:
        """Look at what came: the newest seconds may still be measured."""
        while self._pending and self._pending[0][1] <= min(self.history.newest_s, now_s):
            begin_s, end_s, forecast_rps = self._pending.popleft()
            came = self.history.between(begin_s, end_s)
            if came is not None and len(came) and np.isfinite(came).all():
                self._errors.append((begin_s, forecast_rps - float(came.max())))
        while self._errors and self._errors[0][0] < now_s - KEPT_S:
            self._errors.popleft()

    @property
    def last_hour(self) -> Errors:
        """Of the forecasts of the last hour."""
        errors = np.array([error for _, error in self._errors])
        if not len(errors):
            return Errors(math.nan, math.nan, math.nan, 0)
        too_low = float((errors < 0).mean())
        return Errors(float(np.abs(errors).mean()), float(errors.mean()), too_low, len(errors))

    def entry(self) -> dict[str, Any]:
        """For the decision log."""
        return asdict(self.last_hour)
