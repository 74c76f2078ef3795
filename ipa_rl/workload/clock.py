"""What the clock tells of the load to come: how much higher it is, as a rule, a little later in the hour.

People and scheduled jobs follow the clock. On the train part of the trace 85 % of the seconds before the load
doubles within 25 s lie in four minutes of the hour (`python scripts/clock.py`); a controller that knows the
time can have replicas ready by then.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.workload.trace import LONGEST_GAP_S, PARTS, load_raw, load_trace

HOUR_S = 3600
AHEAD_S = (10, 20, 30, 60, 120, 300)
"""How far the clock looks ahead."""

WAVES = (1, 2)
"""Sine and cosine of so many waves an hour tell where in the hour it is."""

CLOCK_ENTRIES = len(AHEAD_S) + 2 * len(WAVES)

REFERENCE_S = 30
"""The recent load is the maximum of that many seconds."""

_SMOOTH_S = 10


def clock_names() -> list[str]:
    """Name of every entry of a row of `clock_table`."""
    waves = [f"clock, {wave} of {count} an hour" for count in WAVES for wave in ("sine", "cosine")]
    return [f"clock, growth in {seconds} s" for seconds in AHEAD_S] + waves


@cache
def hourly_profile() -> FloatArray:
    """Mean load of each second of the hour relative to the hour's, (HOUR_S,), on the train part.

    Hours that miss data are left out. Hour after hour, as a sidecar has no memory for all of them at once.
    """
    begin, end = PARTS["train"]
    total, hours = np.zeros(HOUR_S), 0
    for start in range(begin, end - HOUR_S + 1, HOUR_S):
        loads = load_trace()[start : start + HOUR_S]
        if not _misses_data(start):
            total += loads / loads.mean()
            hours += 1
    mean = total / hours
    around = np.concatenate([mean[-_SMOOTH_S:], mean, mean[:_SMOOTH_S]])
    smooth = np.convolve(around, np.full(_SMOOTH_S, 1.0 / _SMOOTH_S), mode="same")
    return np.asarray(smooth[_SMOOTH_S:-_SMOOTH_S], dtype=np.float64)


def _misses_data(start: int) -> bool:
    """Whether a run of more than LONGEST_GAP_S raw zeros touches the hour."""
    around = load_raw()[max(start - LONGEST_GAP_S, 0) : start + HOUR_S + LONGEST_GAP_S] == 0
    run = LONGEST_GAP_S + 1
    return bool((np.convolve(around, np.ones(run, dtype=np.int64), mode="valid") == run).any())


@cache
def expected_growth(ahead_s: int) -> FloatArray:
    """The profile's maximum in the next seconds over that of the last 30 s, by second of the hour."""
    twice = np.concatenate([hourly_profile()] * 3)
    now = np.arange(HOUR_S, 2 * HOUR_S)
    views = np.lib.stride_tricks.sliding_window_view
    ahead = views(twice, ahead_s).max(axis=1)[now]
    past = views(twice, REFERENCE_S).max(axis=1)[now - REFERENCE_S]
    return np.asarray(ahead / past, dtype=np.float64)


@cache
def clock_table() -> FloatArray:
    """What the clock tells at each second of the hour, (HOUR_S, CLOCK_ENTRIES).

    Growths over AHEAD_S less 1, then the waves.
    """
    phase = 2.0 * np.pi * np.arange(HOUR_S) / HOUR_S
    waves = [wave(count * phase) for count in WAVES for wave in (np.sin, np.cos)]
    return np.stack([*(expected_growth(seconds) - 1.0 for seconds in AHEAD_S), *waves], axis=1)


def clock_row(clock_s: float) -> FloatArray:
    """The row of `clock_table` for seconds that a clock has counted, of which the hours do not matter."""
    return np.asarray(clock_table()[int(clock_s) % HOUR_S], dtype=np.float64)
