"""Merging stages along the Pareto front of (latency, penalty, score), compiled.

A partial pipeline is worth keeping only if no other is at most as slow, at most as costly and at least as
accurate, if the fastest rest still meets the SLA, and if the best rest could still beat a known answer.
"""

from __future__ import annotations

import numpy as np

from ipa_rl.jit import FloatArray, IntArray, compiled

THEN, ALL, ONE, FIRST = range(4)
"""How two are joined: one after the other; beside each other and both awaited; as alternatives, of which the
slower counts and scores add up; or beside each other and the first awaited, whose score may be either."""


@compiled
def pareto(latency_s: FloatArray, penalty: FloatArray, score: FloatArray) -> IntArray:
    """Positions of what nothing else beats in all three; of equals, the first by (latency, penalty).

    Sweeps by latency and keeps the staircase of (penalty, score) seen so far.
    """
    count = len(latency_s)
    order = _by_latency_penalty_score(latency_s, penalty, score)
    stairs_penalty, stairs_score = np.empty(count), np.empty(count)
    stairs = 0
    kept = np.empty(count, dtype=np.int64)
    found = 0
    for i in order:
        position = np.searchsorted(stairs_penalty[:stairs], penalty[i], side="right")
        if position > 0 and stairs_score[position - 1] >= score[i]:
            continue
        kept[found] = i
        found += 1
        end = position
        while end < stairs and stairs_score[end] <= score[i]:
            end += 1
        begin = position
        if position > 0 and stairs_penalty[position - 1] == penalty[i]:
            begin = position - 1
        moved = stairs - end
        stairs_penalty[begin + 1 : begin + 1 + moved] = stairs_penalty[end:stairs].copy()
        stairs_score[begin + 1 : begin + 1 + moved] = stairs_score[end:stairs].copy()
        stairs_penalty[begin], stairs_score[begin] = penalty[i], score[i]
        stairs = begin + 1 + moved
    return kept[:found]


@compiled
def unbeaten(latency_s: FloatArray, penalty: FloatArray, score: FloatArray, used: FloatArray) -> IntArray:
    """As `pareto`, where units of limited resources count as well, (choices, limits)."""
    count, limits = used.shape
    rows = np.empty((count, 3 + limits))
    kept = np.empty(count, dtype=np.int64)
    found = 0
    for i in _by_latency_penalty_score(latency_s, penalty, score):
        rows[found, 0], rows[found, 1], rows[found, 2] = penalty[i], -score[i], latency_s[i]
        for r in range(limits):
            rows[found, 3 + r] = used[i, r]
        beaten = False
        for k in range(found):
            beaten = True
            for c in range(3 + limits):
                if rows[k, c] > rows[found, c]:
                    beaten = False
                    break
            if beaten:
                break
        if not beaten:
            kept[found] = i
            found += 1
    return kept[:found]


@compiled
def _by_latency_penalty_score(latency_s: FloatArray, penalty: FloatArray, score: FloatArray) -> IntArray:
    """Positions by ascending latency, then ascending penalty, then descending score."""
    order = np.argsort(-score, kind="mergesort")
    order = order[np.argsort(penalty[order], kind="mergesort")]
    return order[np.argsort(latency_s[order], kind="mergesort")]


@compiled
def envelope(slopes: FloatArray, offsets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The lines slope x + offset that are highest for some x, by ascending slope."""
    order = np.argsort(-offsets, kind="mergesort")
    order = order[np.argsort(slopes[order], kind="mergesort")]
    slope, offset = np.empty(len(order)), np.empty(len(order))
    size = 0
    for i in order:
        a, b = slopes[i], offsets[i]
        if size > 0 and slope[size - 1] == a:
            if offset[size - 1] >= b:
                continue
            size -= 1
        while size > 1:
            x_old = (offset[size - 2] - offset[size - 1]) / (slope[size - 1] - slope[size - 2])
            x_new = (offset[size - 2] - b) / (a - slope[size - 2])
            if x_new > x_old:
                break
            size -= 1
        slope[size], offset[size] = a, b
        size += 1
    return slope[:size].copy(), offset[:size].copy()


@compiled
def product(
    own_slope: FloatArray, own_offset: FloatArray, slope: FloatArray, offset: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """As `before`, where the envelope of the stage's own options is known."""
    slopes = (slope.reshape(-1, 1) * own_slope).ravel()
    return envelope(slopes, (offset.reshape(-1, 1) + own_offset).ravel())


@compiled
def before(
    penalty: FloatArray, score: FloatArray, slope: FloatArray, offset: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What a stage of such options and a rest of such an envelope add at best, as an envelope.

    What is best for some accuracy of the stages before is on the rest's envelope and on that of the stage's
    own options, so no more than these are joined.
    """
    own_slope, own_offset = envelope(score, -penalty)
    return product(own_slope, own_offset, slope, offset)


@compiled
def beside(
    own_slope: FloatArray, own_offset: FloatArray, share: float, slope: FloatArray, offset: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """As `before`, where alternatives add a share of their score to that of the rest; of their envelope."""
    column = slope.reshape(-1, 1)
    slopes = (column + 0.0 * own_slope).ravel()
    return envelope(slopes, (column * (share * own_slope) + offset.reshape(-1, 1) + own_offset).ravel())


@compiled
def highest(slope: FloatArray, offset: FloatArray, x: FloatArray) -> FloatArray:
    """The upper envelope at each x; its lines have ascending slopes."""
    crossings = (offset[:-1] - offset[1:]) / (slope[1:] - slope[:-1])
    line = np.searchsorted(crossings, x)
    return np.asarray(slope[line] * x + offset[line])


@compiled
def merge(
    front_latency_s: FloatArray,
    front_penalty: FloatArray,
    front_score: FloatArray,
    latency_s: FloatArray,
    penalty: FloatArray,
    score: FloatArray,
    latest_s: float,
    slope: FloatArray,
    offset: FloatArray,
    known: float,
    front_used: FloatArray,
    used: FloatArray,
    left: FloatArray,
    prices: FloatArray,
    joint: int = THEN,
    share: float = 1.0,
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray, IntArray]:
    """Front and options joined: latency, penalty, score, position in the front, option.

    ``latest_s``: latency that leaves the fastest rest within the SLA. ``slope``, ``offset``: envelope of
    what the rest can add at best. ``known``: objective to be beaten or equalled. ``front_used``, ``used``:
    units of limited resources, (choices, limits), of which ``left`` leaves the leanest rest within the
    limits; envelope and known count them at ``prices`` (limits,). ``joint``: how, and of what
    ``share`` of the requests the options' score is where only some take them.
    """
    one_s, one_score = front_latency_s.reshape(-1, 1), front_score.reshape(-1, 1)
    if joint == THEN:
        total_s = (one_s + latency_s).ravel()
    elif joint == FIRST:
        total_s = np.minimum(one_s, latency_s).ravel()
    else:
        total_s = np.maximum(one_s, latency_s).ravel()
    at = np.flatnonzero(total_s <= latest_s)
    paid = (front_penalty.reshape(-1, 1) + penalty).ravel()[at]
    if joint == ONE:
        together = (one_score + share * score).ravel()[at]
    elif joint == FIRST:
        together = np.minimum(one_score, score).ravel()[at]
    else:
        together = (one_score * score).ravel()[at]
    spent, limits, options = paid.copy(), len(left), len(latency_s)
    able = np.ones(len(at), dtype=np.bool_)
    units = np.empty((len(at), limits))
    for r in range(limits):
        units[:, r] = front_used[at // options, r] + used[at % options, r]
        spent += prices[r] * units[:, r]
        able &= units[:, r] <= left[r]
    able &= highest(slope, offset, together) - spent >= known
    at, paid, together, units = at[able], paid[able], together[able], units[able]
    total_s = total_s[at]
    kept = pareto(total_s, paid, together) if limits == 0 else unbeaten(total_s, paid, together, units)
    at = at[kept]
    return total_s[kept], paid[kept], together[kept], at // len(latency_s), at % len(latency_s)
