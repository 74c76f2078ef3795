"""Forecasters: past loads -> the load to plan for, the maximum expected over the next HORIZON_S seconds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import InputError, quoted
from ipa_rl.workload.clock import HOUR_S, REFERENCE_S, expected_growth
from ipa_rl.workload.trace import Window, load_part

HORIZON_S = 20
"""Seconds ahead that a forecast covers: two adaptation intervals, as in the paper."""

LONGEST_WINDOW_S = 120
"""Longest history that a forecaster may need."""

LSTM, PERFECT = "lstm", "perfect"
NAMES = (
    "last", "window-max:30", "moving-average:30", "clock:20", "autoregressive", "quantile:90@30", LSTM,
    PERFECT,
)  # fmt: skip
NO_LSTM = "no LSTM forecaster, as torch is not installed: pip install 'ipa-rl[train]'"

Loads = NDArray[np.float64] | NDArray[np.int64]


class Forecaster(Protocol):
    """Expects the load to come."""

    @property
    def name(self) -> str:
        """Short name for tables, which `make_forecaster` understands."""
        ...

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The load to plan for, after ``history_rps`` (one value a second, newest last).

        ``clock_s``: what the clock says then, in seconds (`ipa_rl.workload.clock`).
        """
        ...


@dataclass(frozen=True)
class Last:
    """The load of the last second."""

    name: str = "last"

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The newest value."""
        del clock_s
        return float(history_rps[-1])


@dataclass(frozen=True)
class WindowMaximum:
    """The maximum of the last ``window_s`` seconds."""

    window_s: int = 30

    @property
    def name(self) -> str:
        """Name with its window."""
        return f"window-max:{self.window_s}"

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The maximum of the newest values."""
        del clock_s
        return float(history_rps[-self.window_s :].max())


@dataclass(frozen=True)
class Clock:
    """The maximum of the last 30 s, times what it grows in the next ``ahead_s`` at this time of the hour.

    The growth is the train part's (`ipa_rl.workload.clock`).
    """

    ahead_s: int
    growth: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Name with how far it looks ahead."""
        return f"clock:{self.ahead_s}"

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The recent maximum, grown."""
        return float(history_rps[-REFERENCE_S:].max() * self.growth[int(clock_s) % HOUR_S])


@dataclass(frozen=True)
class MovingAverage:
    """The mean of the last ``window_s`` seconds."""

    window_s: int = 30

    @property
    def name(self) -> str:
        """Name with its window."""
        return f"moving-average:{self.window_s}"

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The mean of the newest values."""
        del clock_s
        return float(history_rps[-self.window_s :].mean())


@dataclass(frozen=True)
class Perfect:
    """The true maximum of the next ``horizon_s`` seconds; for evaluation only.

    Holds the true ``arrivals``; the length of the history that it is given tells where in them it is.
    """

    arrivals: Loads
    horizon_s: int = HORIZON_S

    @property
    def name(self) -> str:
        """Name with its horizon."""
        return f"perfect:{self.horizon_s}"

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """What will come."""
        del clock_s
        now = len(history_rps)
        future = self.arrivals[now : now + self.horizon_s]
        return float(future.max()) if len(future) else float(history_rps[-1])


@dataclass(frozen=True)
class Autoregressive:
    """Linear in the maxima of the last 10-second slots; fitted by least squares on the train part.

    The next slots' maximum is expected at intercept + coefficients . maxima, newest first.
    """

    intercept: float
    coefficients: NDArray[np.float64]
    name: str = "autoregressive"

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The linear expectation, never negative."""
        del clock_s
        order = len(self.coefficients)
        slots = slot_maxima(history_rps[-order * SLOT_S :])
        return max(0.0, float(self.intercept + self.coefficients @ slots[::-1]))


SLOT_S = 10


def slot_maxima(loads: Loads) -> NDArray[np.float64]:
    """Maxima of consecutive slots of SLOT_S seconds, aligned with the end."""
    whole = len(loads) // SLOT_S * SLOT_S
    slots = np.asarray(loads[len(loads) - whole :], dtype=np.float64).reshape(-1, SLOT_S)
    return np.asarray(slots.max(axis=1))


def true_maxima(loads: Loads, at: NDArray[np.int64], horizon_s: int = HORIZON_S) -> NDArray[np.float64]:
    """The maximum of the horizon_s seconds from each second of ``at`` on."""
    views = np.lib.stride_tricks.sliding_window_view(loads, horizon_s)
    return np.asarray(views[at].max(axis=1), dtype=np.float64)


def fit_autoregressive(loads: Loads, order: int = 12) -> Autoregressive:
    """Least squares of the next HORIZON_S seconds' maximum on the last ``order`` slots' maxima."""
    maxima = slot_maxima(loads)
    past = np.lib.stride_tricks.sliding_window_view(maxima, order)[: -HORIZON_S // SLOT_S]
    ahead = np.lib.stride_tricks.sliding_window_view(maxima, HORIZON_S // SLOT_S)[order:]
    target = ahead.max(axis=1)
    design = np.column_stack([np.ones(len(target)), past[: len(target), ::-1]])
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    return Autoregressive(float(solution[0]), solution[1:])


@runtime_checkable
class BatchForecaster(Protocol):
    """A forecaster that answers many histories faster together."""

    history_s: int

    def forecast_many(self, histories_rps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Forecasts (histories,) after each of ``histories_rps`` (histories, history_s)."""
        ...


def forecast_series(forecaster: Forecaster, window: Window, every_s: int) -> NDArray[np.float64]:
    """Forecasts at every decision of a window: after its history, and every ``every_s``."""
    arrivals, history_s = window.arrivals, window.history_s
    times = range(history_s, len(arrivals) - every_s + 1, every_s)
    if isinstance(forecaster, BatchForecaster):
        past = np.stack([arrivals[now - forecaster.history_s : now] for now in times])
        return forecaster.forecast_many(past.astype(np.float64))
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
        return _quantile(name, parameter)
    if kind in _WINDOWED or (kind == PERFECT and arrivals is not None):
        window_s = _window_s(name, parameter or str(_WINDOWED.get(kind, HORIZON_S)))
        return _windowed(kind, window_s, arrivals)
    if parameter:
        raise InputError(f"{kind} takes no window", field="forecaster", fix=f"use {kind}")
    if kind == "last":
        return Last()
    if kind == "autoregressive":
        return trained_autoregressive()
    if kind == LSTM:
        from ipa_rl.workload.lstm import load_lstm

        return load_lstm()
    raise InputError(
        f"no forecaster {quoted(name)}", field="forecaster", fix=f"use one of {', '.join(NAMES)}"
    )


_WINDOWED = {"window-max": 30, "moving-average": 30, "clock": HORIZON_S}
"""Forecasters that take a number of seconds, and what it is where none is given."""


def _windowed(kind: str, window_s: int, arrivals: Loads | None) -> Forecaster:
    if kind == "window-max":
        return WindowMaximum(window_s)
    if kind == "moving-average":
        return MovingAverage(window_s)
    if kind == "clock":
        return Clock(window_s, expected_growth(window_s))
    assert arrivals is not None  # `make_forecaster` let no other pass
    return Perfect(arrivals, window_s)


def _quantile(name: str, parameter: str) -> Forecaster:
    from ipa_rl.workload.quantiles import HORIZONS_S, QUANTILES, parse_quantile

    found = parse_quantile(parameter)
    if found is None:
        levels = ", ".join(f"{100 * q:g}" for q in QUANTILES)
        fix = f"write quantile:90@30; there are {levels} % over {', '.join(map(str, HORIZONS_S))} s"
        raise InputError(f"no forecaster {quoted(name)}", field="forecaster", fix=fix)
    return found


def _window_s(name: str, parameter: str) -> int:
    if parameter.isdecimal() and 1 <= int(parameter) <= LONGEST_WINDOW_S:
        return int(parameter)
    raise InputError(
        f"bad window in {quoted(name)}",
        field="forecaster",
        fix=f"give whole seconds, 1 to {LONGEST_WINDOW_S}",
    )
