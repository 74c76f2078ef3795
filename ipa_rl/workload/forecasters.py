"""Forecasters: past loads -> the load to plan for, the maximum expected over the next HORIZON_S seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray
from ipa_rl.workload.clock import HOUR_S, REFERENCE_S, expected_growth
from ipa_rl.workload.trace import HORIZON_S, Loads, Window, load_part

LONGEST_WINDOW_S = 120
"""Longest history that a forecaster may need."""

LSTM, PERFECT = "lstm", "perfect"
NAMES = (
    "last", "window-max:30", "moving-average:30", "clock:20", "autoregressive", "quantile:90@30", LSTM,
    PERFECT,
)  # fmt: skip
SLOT_S = 10
NO_LSTM = "no LSTM forecaster, as torch is not installed: pip install 'ipa-rl[train]'"


class Forecaster(Protocol):
    """Expects the load to come."""

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The load to plan for, after ``history_rps`` (one value a second, newest last).

        ``clock_s``: what the clock says then, in seconds (`ipa_rl.workload.clock`).
        """
        ...


@dataclass(frozen=True)
class WindowMaximum:
    """The maximum of the last ``window_s`` seconds."""

    window_s: int = 30

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The maximum of the newest values."""
        return float(history_rps[-self.window_s :].max())


@dataclass(frozen=True)
class Clock:
    """The maximum of the last 30 s, times what it grows in the next ``ahead_s`` at this time of the hour.

    The growth is the train part's (`ipa_rl.workload.clock`).
    """

    ahead_s: int
    growth: FloatArray

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The recent maximum, grown."""
        return float(history_rps[-REFERENCE_S:].max() * self.growth[int(clock_s) % HOUR_S])


@dataclass(frozen=True)
class MovingAverage:
    """The mean of the last ``window_s`` seconds."""

    window_s: int = 30

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The mean of the newest values."""
        return float(history_rps[-self.window_s :].mean())


@dataclass(frozen=True)
class Perfect:
    """The true maximum of the next ``horizon_s`` seconds; for evaluation only.

    Holds the true ``arrivals``; the length of the history that it is given tells where in them it is.
    """

    arrivals: Loads
    horizon_s: int = HORIZON_S

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """What will come."""
        now = len(history_rps)
        future = self.arrivals[now : now + self.horizon_s]
        return float(future.max()) if len(future) else float(history_rps[-1])


@dataclass(frozen=True)
class Autoregressive:
    """Linear in the maxima of the last 10-second slots; fitted by least squares on the train part.

    The next slots' maximum is expected at intercept + coefficients . maxima, newest first.
    """

    intercept: float
    coefficients: FloatArray

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The linear expectation, never negative."""
        order = len(self.coefficients)
        slots = slot_maxima(history_rps[-order * SLOT_S :])
        return max(0.0, float(self.intercept + self.coefficients @ slots[::-1]))


def slot_maxima(loads: Loads) -> FloatArray:
    """Maxima of consecutive slots of SLOT_S seconds, aligned with the end."""
    whole = len(loads) // SLOT_S * SLOT_S
    slots = np.asarray(loads[len(loads) - whole :], dtype=np.float64).reshape(-1, SLOT_S)
    return np.asarray(slots.max(axis=1))


def fit_autoregressive(loads: Loads, order: int = 12) -> Autoregressive:
    """Least squares of the next HORIZON_S seconds' maximum on the last ``order`` slots' maxima."""
    maxima = slot_maxima(loads)
    past = np.lib.stride_tricks.sliding_window_view(maxima, order)[: -HORIZON_S // SLOT_S]
    target = np.lib.stride_tricks.sliding_window_view(maxima, HORIZON_S // SLOT_S)[order:].max(axis=1)
    design = np.column_stack([np.ones(len(target)), past[: len(target), ::-1]])
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    return Autoregressive(float(solution[0]), solution[1:])


def forecast_series(forecaster: Forecaster, window: Window, every_s: int) -> FloatArray:
    """Forecasts at every decision of a window: after its history, and every ``every_s``.

    A forecaster with ``forecast_many``, (histories, LONGEST_WINDOW_S) -> (histories,), is asked for all of
    them together, which is faster.
    """
    arrivals, history_s = window.arrivals, window.history_s
    times = range(history_s, len(arrivals) - every_s + 1, every_s)
    together: Callable[[FloatArray], FloatArray] | None = getattr(forecaster, "forecast_many", None)
    if together is not None:
        past = np.stack([arrivals[now - LONGEST_WINDOW_S : now] for now in times])
        return together(past.astype(np.float64))
    begins_s = window.clock_s - history_s
    return np.array([forecaster.forecast(arrivals[:now], begins_s + now) for now in times])


@cache
def trained_autoregressive() -> Autoregressive:
    """The autoregressive forecaster of the train part; fitted in a moment, the same every time."""
    return fit_autoregressive(load_part("train"))


def is_available(name: str) -> bool:
    """Whether what the forecaster needs is installed: the LSTM needs ``ipa-rl[train]``."""
    return name != LSTM or find_spec("torch") is not None


def make_forecaster(name: str, arrivals: Loads | None = None) -> Forecaster:
    """The forecaster of a name, "window-max:60" with a window of 60 s. Raises InputError.

    The perfect one needs the ``arrivals`` that it is to foresee; "perfect:30" foresees 30 s.
    """
    kind, _, parameter = name.partition(":")
    if kind == "quantile":
        from ipa_rl.workload.quantiles import parse_quantile

        return parse_quantile(name)
    windowed: dict[str, Callable[[int], Forecaster]] = {
        "window-max": WindowMaximum,
        "moving-average": MovingAverage,
        "clock": lambda ahead_s: Clock(ahead_s, expected_growth(ahead_s)),
    }
    if arrivals is not None:
        windowed[PERFECT] = partial(Perfect, arrivals)
    if kind in windowed:
        seconds = parameter or str(HORIZON_S if kind in ("clock", PERFECT) else REFERENCE_S)
        if not (seconds.isdecimal() and 1 <= int(seconds) <= LONGEST_WINDOW_S):
            fix = f"give whole seconds, 1 to {LONGEST_WINDOW_S}"
            raise InputError(f"bad window in {quoted(name)}", field="forecaster", fix=fix)
        return windowed[kind](int(seconds))
    if kind not in ("last", "autoregressive", LSTM):
        fix = f"use one of {', '.join(NAMES)}"
        raise InputError(f"no forecaster {quoted(name)}", field="forecaster", fix=fix)
    if parameter:
        raise InputError(f"{kind} takes no window", field="forecaster", fix=f"use {kind}")
    if kind == LSTM:
        from ipa_rl.workload.lstm import load_lstm

        return load_lstm()
    if kind == "last":
        return WindowMaximum(1)
    return trained_autoregressive()
