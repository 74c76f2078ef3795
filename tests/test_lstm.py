"""The LSTM forecaster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipa_rl.workload.forecasters import forecast_series, make_forecaster
from ipa_rl.workload.steps import maxima_ahead
from ipa_rl.workload.workload import load_workload

TWITTER = load_workload("twitter")

HISTORY_STEPS = 120


def test_the_lstm_is_no_worse_than_the_best_simple_forecaster_on_validation() -> None:
    pytest.importorskip("torch")
    stretches = TWITTER.windows("validation", 1220, HISTORY_STEPS)[::10]
    errors = {}
    for name in ("lstm", "window-max:30", "autoregressive"):
        forecaster = make_forecaster(name, TWITTER, 1)
        apart = [
            np.abs(
                forecast_series(forecaster, replace(one, arrivals=one.arrivals[:-20]), 10)
                - maxima_ahead(one.arrivals, np.arange(HISTORY_STEPS, len(one.arrivals) - 29, 10), 20, 1)
            )
            for one in stretches
        ]
        errors[name] = float(np.concatenate(apart).mean())
    assert errors["lstm"] <= min(errors["window-max:30"], errors["autoregressive"])
