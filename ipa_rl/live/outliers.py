"""Loads that cannot be: one sample that says many times the highest load before is not acted on alone.

The sample after it decides. Where that says about the same, a crowd has come, and all of it counts; else the
sample was an outlier (a counter that another process answers for, a unit that changed), and the load of
before goes on in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipa_rl.jit import FloatArray
from ipa_rl.live.counters import Series

FACTOR = 5.0
"""So many times the highest load before is doubted. A crowd that grows by less is acted on at once."""

SLACK = 10.0
"""So many requests more than that are never doubted: few requests vary by large factors."""

CONFIRMED_S = 30
"""A value of a query that stays for this long is believed, even if it never changes."""

Mask = NDArray[np.bool_]


def suspects(series: Series) -> Mask:
    """Gains (samples - 1,) that the series' own past and the next sample do not support.

    The first gain of a series has no past: it is a suspect where it is not small.
    """
    risen, passed_s = np.diff(series.values), np.diff(series.times_s)
    found, rates = np.zeros(len(risen), dtype=np.bool_), risen / passed_s
    least = rates.min() if len(rates) > 1 else 0.0
    if (risen - SLACK <= FACTOR * least * passed_s).all():
        return found  # no gain can be a suspect: the quick way out for nearly all series
    highest = 0.0
    for k, (gain, rate) in enumerate(zip(risen.tolist(), rates.tolist(), strict=True)):
        jumps = gain > FACTOR * highest * passed_s[k] + SLACK
        if jumps and not (k + 1 < len(rates) and rates[k + 1] * FACTOR >= rate):
            found[k] = True
        else:
            highest = max(highest, rate)
    return found


def taken_back(series: Series) -> Mask:
    """Of the suspects those that the counter itself, in hindsight, does not stand by.

    It fell again right after, or had just begun (a process that finds its old total again). All others are
    requests, however suddenly they came.
    """
    fell = np.diff(series.values) < 0
    just_begun, falls_next = np.append(True, fell[:-1]), np.append(fell[1:], False)
    return np.asarray(suspects(series) & (just_begun | falls_next), dtype=np.bool_)


def unsupported(
    found: Sequence[Series], suspected: Sequence[Mask], seconds: FloatArray, loads: FloatArray
) -> tuple[list[Mask], str]:
    """Which suspects of each series are not believed, and the newest of them in words.

    ``seconds``, ``loads``: begins of seconds and what all series come to without the suspects, NaN where not
    known. A suspect is not believed where it alone exceeds the highest load of all series before it, or after
    it where nothing is known before; where nothing else is known at all, it is believed.
    """
    masks = [mask.copy() for mask in suspected]
    newest, doubt = -np.inf, ""
    for series, mask in zip(found, masks, strict=True):
        for k in np.flatnonzero(mask).tolist():
            begin_s, end_s = float(series.times_s[k]), float(series.times_s[k + 1])
            gain = float(series.values[k + 1] - series.values[k])
            highest = _highest(seconds, loads, begin_s, end_s)
            if highest is None or gain <= FACTOR * highest * (end_s - begin_s) + SLACK:
                mask[k] = False
            elif end_s > newest:
                last = k + 1 == len(series.times_s) - 1
                newest, doubt = end_s, _told(gain / (end_s - begin_s), highest, last)
    return masks, doubt


def _highest(seconds: FloatArray, loads: FloatArray, begin_s: float, end_s: float) -> float | None:
    before, after = loads[seconds + 1 <= begin_s], loads[seconds >= end_s]
    for part in (before, after):
        if len(part) and not np.isnan(part).all():
            return float(np.nanmax(part))
    return None


def _told(rate_rps: float, highest_rps: float, last: bool) -> str:
    what = f"one sample says {rate_rps:,.6g} requests/s, the highest load before was {highest_rps:,.4g}"
    return f"{what}: {'a second sample is waited for' if last else 'the next one did not, so it is left out'}"


def without_outliers(loads_rps: FloatArray) -> tuple[FloatArray, str]:
    """Values of a query by second without those that one sample alone says, and the newest of these in words.

    A run of seconds far above all before is believed once its value has changed, as that is a second sample,
    or has stayed for CONFIRMED_S.
    """
    loads, doubt = loads_rps.copy(), ""
    known = np.flatnonzero(~np.isnan(loads_rps))
    values = loads_rps[known]
    others = values[values != values[:1]]
    # The first value has none before it: where it alone says far more than all others, the next one counts.
    alone = len(others) > 0 and len(values) - len(others) < CONFIRMED_S
    far = alone and values[0] > FACTOR * others.max() + SLACK
    k, highest = 0, float(others[0] if far else values[0]) if len(values) else 0.0
    before = highest
    while k < len(values):
        end = k
        while end < len(values) and values[end] > FACTOR * highest + SLACK:
            end += 1
        run = values[k:end]
        if len(run) == 0:
            before = float(values[k])
            highest, k = max(highest, before), k + 1
        elif len(np.unique(run)) > 1 or len(run) >= CONFIRMED_S:
            highest, before, k = float(run.max()), float(run[-1]), end
        else:
            loads[known[k:end]], doubt = before, _told(float(run[0]), highest, end == len(values))
            k = end
    return loads, doubt
