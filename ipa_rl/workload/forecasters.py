"""Forecasters: past loads -> the load to plan for, the maximum expected over the steps to come.

Windows and horizons count in steps (`ipa_rl.workload.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from ipa_rl.arrays import check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import is_file
from ipa_rl.jit import FloatArray
from ipa_rl.workload.clock import REFERENCE_STEPS, Season, season_of
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZON_STEPS, Loads, by_step, maxima_ahead
from ipa_rl.workload.workload import Window, Workload

LSTM, PERFECT, AUTOREGRESSIVE = "lstm", "perfect", "autoregressive"
NAMES = (
    "last", "window-max:30", "moving-average:30", "clock:20", AUTOREGRESSIVE, "quantile:90@30", LSTM,
    PERFECT,
)  # fmt: skip
SLOT_STEPS = 10
_LEAST_SLOTS = 20


class Forecaster(Protocol):
    """Expects the load to come."""

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The load to plan for, after ``history_rps`` (one value a second, newest last).

        ``clock_s``: what the clock says then, in seconds (`ipa_rl.workload.workload.Workload.clock_s`).
        """
        ...


@dataclass(frozen=True)
class WindowMaximum:
    """The maximum of the last ``window`` steps."""

    window: int = 30
    step_s: int = 1

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The maximum of the newest values."""
        return float(_last(history_rps, self.window, self.step_s).max())


@dataclass(frozen=True)
class Clock:
    """The maximum of the last 30 steps, times what it grows in the next ``ahead`` at this time of the season.

    The growth is the train part's (`ipa_rl.workload.clock`).
    """

    ahead: int
    season: Season
    step_s: int = 1

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The recent maximum, grown."""
        growth = self.season.growth(self.ahead * self.step_s, REFERENCE_STEPS * self.step_s)
        recent_rps = _last(history_rps, REFERENCE_STEPS, self.step_s).max()
        return float(recent_rps * growth[self.season.position(clock_s)])


@dataclass(frozen=True)
class MovingAverage:
    """The mean of the last ``window`` steps."""

    window: int = 30
    step_s: int = 1

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The mean of the newest values."""
        return float(history_rps[-self.window * self.step_s :].mean())


@dataclass(frozen=True)
class Perfect:
    """The true maximum of the next ``horizon`` steps; for evaluation only.

    Holds the true ``arrivals``; the length of the history that it is given tells where in them it is.
    """

    arrivals: Loads
    horizon: int = HORIZON_STEPS
    step_s: int = 1

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """What will come."""
        now = len(history_rps)
        future = self.arrivals[now : now + self.horizon * self.step_s]
        if len(future) < self.step_s:
            return float(_last(history_rps, 1, self.step_s)[-1])
        return float(by_step(future, self.step_s).max())


@dataclass(frozen=True)
class Autoregressive:
    """Linear in the maxima of the last slots of 10 steps; fitted by least squares on the train part.

    The next slots' maximum is expected at intercept + coefficients . maxima, newest first.
    """

    intercept: float
    coefficients: FloatArray
    step_s: int = 1

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The linear expectation, never negative."""
        slots = slot_maxima(_last(history_rps, len(self.coefficients) * SLOT_STEPS, self.step_s))
        return max(0.0, float(self.intercept + self.coefficients @ slots[::-1]))


def _last(history_rps: Loads, steps: int, step_s: int) -> FloatArray:
    return by_step(history_rps[-steps * step_s :], step_s)


def slot_maxima(loads: Loads) -> FloatArray:
    """Maxima of consecutive slots of SLOT_STEPS, aligned with the end."""
    whole = len(loads) // SLOT_STEPS * SLOT_STEPS
    slots = np.asarray(loads[len(loads) - whole :], dtype=np.float64).reshape(-1, SLOT_STEPS)
    return np.asarray(slots.max(axis=1))


def fit_autoregressive(workload: Workload, step_s: int) -> Autoregressive:
    """Least squares of the next HORIZON_STEPS' maximum on the last slots' maxima, on the train part.

    All slots of a history, or so few that each coefficient has _LEAST_SLOTS to be fitted to.
    """
    slot_s = SLOT_STEPS * step_s
    at = workload.starts("train", HORIZON_STEPS * step_s, HISTORY_STEPS * step_s)[::slot_s]
    order = max(1, min(HISTORY_STEPS // SLOT_STEPS, len(at) // _LEAST_SLOTS))
    past = [maxima_ahead(workload.loads, at - k * slot_s, SLOT_STEPS, step_s) for k in range(1, order + 1)]
    target = maxima_ahead(workload.loads, at, HORIZON_STEPS, step_s)
    solution, *_ = np.linalg.lstsq(np.column_stack([np.ones(len(at)), *past]), target, rcond=None)
    return Autoregressive(float(solution[0]), np.asarray(solution[1:], dtype=np.float64), step_s)


def save_autoregressive(fitted: Autoregressive, workload: Workload) -> None:
    """Keep it in the workload's folder."""
    path = workload.fitted(f"autoregressive-{fitted.step_s}s.npz")
    assert path is not None
    write_arrays({"coefficients": np.concatenate([[fitted.intercept], fitted.coefficients])}, path)
    autoregressive_of.cache_clear()


@lru_cache(maxsize=32)
def autoregressive_of(workload: Workload, step_s: int) -> Autoregressive:
    """What was fitted to a workload at a step. Raises InputError where nothing was, or it does not fit."""
    path, fix = workload.fitted(f"autoregressive-{step_s}s.npz"), _fix(workload, step_s)
    if path is None:
        raise InputError(
            f"{workload.name} has no autoregressive forecaster", field="forecaster", fix="use another"
        )
    check = partial(misfit, wanted={"coefficients": ("f8", (None,))})
    found = read_arrays(path, check, "autoregressive forecaster", fix)
    check_finite(found, path, fix)
    if not 2 <= len(found["coefficients"]) <= 1 + HISTORY_STEPS // SLOT_STEPS:
        raise InputError("has no coefficients, or too many", file=path, fix=fix)
    intercept_rps, coefficients = workload.scale * found["coefficients"][0], found["coefficients"][1:]
    return Autoregressive(float(intercept_rps), coefficients, step_s)


def forecast_series(forecaster: Forecaster, window: Window, every_s: int) -> FloatArray:
    """Forecasts at every decision of a window: after its history, and every ``every_s``.

    A forecaster with ``forecast_many``, (histories, seconds) -> (histories,), is asked for all of them
    together, which is faster.
    """
    arrivals, history_s = window.arrivals, window.history_s
    times = range(history_s, len(arrivals) - every_s + 1, every_s)
    together: Callable[[FloatArray], FloatArray] | None = getattr(forecaster, "forecast_many", None)
    if together is not None:
        past = np.stack([arrivals[now - history_s : now] for now in times])
        return together(past.astype(np.float64))
    begins_s = window.clock_s - history_s
    return np.array([forecaster.forecast(arrivals[:now], begins_s + now) for now in times])


def steps_ahead(name: str) -> int:
    """How many steps the forecaster of a name looks ahead.

    >>> steps_ahead("quantile:90@25"), steps_ahead("clock:30"), steps_ahead("window-max:60")
    (25, 30, 20)
    """
    kind, _, parameter = name.partition(":")
    if kind == "quantile":
        return int(parameter.partition("@")[2])
    return int(parameter) if kind in ("clock", PERFECT) and parameter else HORIZON_STEPS


def is_available(name: str, workload: Workload, step_s: int) -> bool:
    """Whether what the forecaster needs is there: torch for the LSTM; what was fitted to the workload."""
    if name not in (LSTM, AUTOREGRESSIVE):
        return True
    path = workload.fitted(f"{name}-{step_s}s.npz")
    return path is not None and is_file(path) and (name != LSTM or find_spec("torch") is not None)


def not_available(names: Collection[str], workload: Workload, step_s: int) -> str:
    """Why forecasters are left out, and what to do."""
    listed, path = ", ".join(sorted(names)), workload.fitted(f"{LSTM}-{step_s}s.npz")
    if set(names) == {LSTM} and path is not None and is_file(path):
        return "no LSTM forecaster, as torch is not installed: pip install 'ipa-rl[train]'"
    if workload.folder is None:
        return f"{listed} left out, as this workload is made up: they are fitted to a recorded one"
    lstm = " --lstm" if LSTM in names else ""
    return f"{listed} left out, not fitted to this workload in such steps; {_fix(workload, step_s)}{lstm}"


def _fix(workload: Workload, step_s: int) -> str:
    return f"fit it: ipa-rl workload fit {workload.folder or 'FOLDER'} --step {step_s}"


def make_forecaster(name: str, workload: Workload, step_s: int, arrivals: Loads | None = None) -> Forecaster:
    """The forecaster of a name, "window-max:60" with a window of 60 steps. Raises InputError.

    What is fitted is fitted to the ``workload``. The perfect one needs the ``arrivals`` that it is to
    foresee; "perfect:30" foresees 30 steps.
    """
    kind, _, parameter = name.partition(":")
    if kind == "quantile":
        from ipa_rl.workload.quantiles import parse_quantile

        return parse_quantile(name, workload, step_s)
    windowed: dict[str, Callable[[int], Forecaster]] = {
        "window-max": partial(WindowMaximum, step_s=step_s),
        "moving-average": partial(MovingAverage, step_s=step_s),
        "clock": partial(Clock, season=season_of(workload), step_s=step_s),
    }
    if arrivals is not None:
        windowed[PERFECT] = partial(Perfect, arrivals, step_s=step_s)
    if kind in windowed:
        steps = parameter or str(HORIZON_STEPS if kind in ("clock", PERFECT) else REFERENCE_STEPS)
        if not (steps.isdecimal() and 1 <= int(steps) <= HISTORY_STEPS):
            fix = f"give a whole number of steps, 1 to {HISTORY_STEPS}"
            raise InputError(f"bad window in {quoted(name)}", field="forecaster", fix=fix)
        return windowed[kind](int(steps))
    if kind not in ("last", AUTOREGRESSIVE, LSTM):
        fix = f"use one of {', '.join(NAMES)}"
        raise InputError(f"no forecaster {quoted(name)}", field="forecaster", fix=fix)
    if parameter:
        raise InputError(f"{kind} takes no window", field="forecaster", fix=f"use {kind}")
    if kind == LSTM:
        from ipa_rl.workload.lstm import lstm_of

        return lstm_of(workload, step_s)
    return WindowMaximum(1, step_s) if kind == "last" else autoregressive_of(workload, step_s)
