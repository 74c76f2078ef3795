"""Load paths by the load's own trend: as it goes now, and on, for whom its past holds nothing alike.

A load that climbs may climb on, at the same pace, a slower or a faster one, or stay where it is. Around that
it strays as it lately did.
"""

from __future__ import annotations

import numpy as np

from ipa_rl.jit import FloatArray

SPAN_STEPS = 20
"""The trend is that between the means of the last so many steps and of as many before."""
PACES = (0.0, 0.5, 1.0, 1.5)
"""At which the trend goes on, one path after the other."""
LEAST, MOST = 0.3, 3.0
"""Of the mean of the last steps: where a trend ends."""
SMOOTH_STEPS = 21
"""What strays, strays from the mean of so many steps around."""
APART_STEPS = 37
"""Each path strays as the load did from another step on."""
_LEAST_RPS = 1e-9


def trend_paths(history: FloatArray, count: int, steps: int) -> FloatArray:
    """Loads of the next steps, (count, steps), after a ``history`` by step, newest last."""
    newer, older = history[-SPAN_STEPS:].mean(), history[-2 * SPAN_STEPS : -SPAN_STEPS].mean()
    trend = (newer - older) / SPAN_STEPS  # a step
    paces = np.resize(PACES, count)[:, None]
    now = newer + trend * SPAN_STEPS / 2.0
    expected = np.clip(now + paces * trend * np.arange(1, steps + 1), LEAST * newer, MOST * newer)
    # A load of n requests strays by about their root.
    around = np.pad(history, SMOOTH_STEPS // 2, mode="edge")
    smooth = np.convolve(around, np.full(SMOOTH_STEPS, 1.0 / SMOOTH_STEPS), mode="valid")
    strayed = (history - smooth) / np.sqrt(np.maximum(smooth, _LEAST_RPS))
    at = (np.arange(steps) - APART_STEPS * np.arange(count)[:, None]) % len(history)
    return np.asarray(np.maximum(expected + strayed[at] * np.sqrt(expected), 0.0), dtype=np.float64)
