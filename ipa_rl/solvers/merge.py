"""Merging stages along the Pareto front of (latency, penalty, score), compiled.

A partial pipeline is worth keeping only if no other is at most as slow, at most as costly and at least as
accurate, if the fastest rest still meets the SLA, and if the best rest could still beat a known answer.

Figures are latency, penalty and score, (3, choices), and lines are slope and offset, by ascending slope,
(2, lines): each one array, as handing arrays over takes as long as what is done with them.
"""

from __future__ import annotations

import numpy as np

from ipa_rl.jit import FloatArray, IntArray, compiled

THEN, ALL, ONE, FIRST = range(4)
"""How two are joined: one after the other; beside each other and both awaited; as alternatives, of which the
slower counts and scores add up; or beside each other and the first awaited, whose score may be either."""
FEW = 4
"""So many of the quickest are kept in any case where few are, and of the leanest of each resource."""


@compiled
def pareto(figures: FloatArray) -> IntArray:
    """Positions of what nothing else beats in all three; of equals, the first by (latency, penalty).

    Sweeps by latency and keeps the staircase of (penalty, score) seen so far.
    """
    order = _by_latency_penalty_score(figures)
    stairs_penalty, stairs_score = np.empty(len(order)), np.empty(len(order))
    kept = np.empty(len(order), dtype=np.int64)
    stairs = found = 0
    for i, penalty, score in zip(order, figures[1][order], figures[2][order]):  # noqa: B905 as numba has it
        begin, above = 0, stairs  # the first that costs more
        while begin < above:
            middle = (begin + above) // 2
            if stairs_penalty[middle] <= penalty:
                begin = middle + 1
            else:
                above = middle
        if begin > 0 and stairs_score[begin - 1] >= score:
            continue
        kept[found] = i
        found += 1
        end = begin
        while end < stairs and stairs_score[end] <= score:
            end += 1
        if begin > 0 and stairs_penalty[begin - 1] == penalty:
            begin -= 1
        if end != begin + 1:
            moved = stairs - end
            stairs_penalty[begin + 1 : begin + 1 + moved] = stairs_penalty[end:stairs].copy()
            stairs_score[begin + 1 : begin + 1 + moved] = stairs_score[end:stairs].copy()
            stairs = begin + 1 + moved
        stairs_penalty[begin], stairs_score[begin] = penalty, score
    return kept[:found]


@compiled
def unbeaten(figures: FloatArray, used: FloatArray) -> IntArray:
    """As `pareto`, where units of limited resources count as well, (choices, limits)."""
    count, limits = used.shape
    rows = np.empty((count, 3 + limits))
    kept = np.empty(count, dtype=np.int64)
    found = 0
    for i in _by_latency_penalty_score(figures):
        rows[found, 0], rows[found, 1], rows[found, 2] = figures[1, i], -figures[2, i], figures[0, i]
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
def _by_latency_penalty_score(figures: FloatArray) -> IntArray:
    """Positions by ascending latency, then ascending penalty, then descending score."""
    order = np.argsort(-figures[2], kind="mergesort")
    order = order[np.argsort(figures[1][order], kind="mergesort")]
    return order[np.argsort(figures[0][order], kind="mergesort")]


@compiled
def envelope(slopes: FloatArray, offsets: FloatArray) -> FloatArray:
    """The lines slope x + offset that are highest for some x."""
    order = np.argsort(-offsets, kind="mergesort")
    order = order[np.argsort(slopes[order], kind="mergesort")]
    lines = np.empty((2, len(order)))
    slope, offset = lines[0], lines[1]
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
    return np.asarray(lines[:, :size].copy())


@compiled
def priced(figures: FloatArray, used: FloatArray, prices: FloatArray) -> FloatArray:
    """Penalties of choices with the units that they use, (choices, limits), at their ``prices`` (limits,)."""
    spent = figures[1].copy()
    for r in range(len(prices)):
        spent += prices[r] * used[:, r]
    return np.asarray(spent)


@compiled
def offered(figures: FloatArray, used: FloatArray, prices: FloatArray) -> FloatArray:
    """What choices add at best over the score of what they are joined to, as an envelope."""
    return np.asarray(envelope(figures[2], -priced(figures, used, prices)))


@compiled
def product(own: FloatArray, lines: FloatArray) -> FloatArray:
    """What choices of such an envelope and a rest of such ``lines`` add at best, as an envelope.

    What is best for some accuracy of the stages before is on the rest's envelope and on that of the own
    options, so no more than these are joined.
    """
    slope, offset = lines[0].reshape(-1, 1), lines[1].reshape(-1, 1)
    return envelope((slope * own[0]).ravel(), (offset + own[1]).ravel())


@compiled
def most(own: FloatArray, lines: FloatArray) -> float:
    """What both add at most where nothing comes before: the highest of their `product` at 1."""
    return float(((lines[0].reshape(-1, 1) * own[0] + lines[1].reshape(-1, 1)) + own[1]).max())


@compiled
def beside(own: FloatArray, share: float, lines: FloatArray) -> FloatArray:
    """As `product`, where alternatives add a share of their score to that of the rest; of their envelope."""
    slope, offset = lines[0].reshape(-1, 1), lines[1].reshape(-1, 1)
    return envelope((slope + 0.0 * own[0]).ravel(), (slope * (share * own[0]) + offset + own[1]).ravel())


@compiled
def highest(lines: FloatArray, x: FloatArray) -> FloatArray:
    """The upper envelope at each x."""
    slope, offset = lines[0], lines[1]
    crossings = (offset[:-1] - offset[1:]) / (slope[1:] - slope[:-1])
    line = np.searchsorted(crossings, x)
    return np.asarray(slope[line] * x + offset[line])


@compiled
def promising(
    figures: FloatArray, used: FloatArray, prices: FloatArray, lines: FloatArray, beam: int
) -> IntArray:
    """Positions, ascending, of so many as add the most with the rest; with them the quickest and leanest."""
    kept = np.zeros(figures.shape[1], dtype=np.bool_)
    missed = priced(figures, used, prices) - highest(lines, figures[2])
    kept[np.argsort(missed, kind="mergesort")[:beam]] = True
    kept[np.argsort(figures[0], kind="mergesort")[:FEW]] = True
    for r in range(used.shape[1]):
        kept[np.argsort(used[:, r], kind="mergesort")[:FEW]] = True
    return np.flatnonzero(kept)


@compiled
def merge(
    front: FloatArray,
    own: FloatArray,
    latest_s: float,
    lines: FloatArray,
    known: float,
    front_used: FloatArray,
    own_used: FloatArray,
    left: FloatArray,
    prices: FloatArray,
    joint: int = THEN,
    share: float = 1.0,
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Front and own options joined: figures, units used, and which: position in the front times options, plus
    the option.

    ``latest_s``: latency that leaves the fastest rest within the SLA. ``lines``: envelope of what the rest
    can add at best. ``known``: objective to be beaten or equalled. ``front_used``, ``own_used``: units of
    limited resources, (choices, limits), of which ``left`` leaves the leanest rest within the limits;
    envelope and known count them at ``prices`` (limits,). ``joint``: how, and of what ``share`` of the
    requests the options' score is where only some take them.
    """
    one_s, one_score = front[0].reshape(-1, 1), front[2].reshape(-1, 1)
    if joint == THEN:
        total_s = (one_s + own[0]).ravel()
    elif joint == FIRST:
        total_s = np.minimum(one_s, own[0]).ravel()
    else:
        total_s = np.maximum(one_s, own[0]).ravel()
    at = np.flatnonzero(total_s <= latest_s)
    paid = (front[1].reshape(-1, 1) + own[1]).ravel()[at]
    if joint == ONE:
        together = (one_score + share * own[2]).ravel()[at]
    elif joint == FIRST:
        together = np.minimum(one_score, own[2]).ravel()[at]
    else:
        together = (one_score * own[2]).ravel()[at]
    spent, limits, options = paid.copy(), len(left), own.shape[1]
    able = np.ones(len(at), dtype=np.bool_)
    units = np.empty((len(at), limits))
    for r in range(limits):
        units[:, r] = front_used[at // options, r] + own_used[at % options, r]
        spent += prices[r] * units[:, r]
        able &= units[:, r] <= left[r]
    able &= highest(lines, together) - spent >= known
    at = at[able]
    found = np.empty((3, len(at)))
    found[0], found[1], found[2] = total_s[at], paid[able], together[able]
    units = units[able]
    kept = pareto(found) if limits == 0 else unbeaten(found, units)
    return _columns(found, kept), units[kept], at[kept]


@compiled
def _columns(figures: FloatArray, at: IntArray) -> FloatArray:
    """Those of some choices, as rows that lie one after the other in memory."""
    found = np.empty((3, len(at)))
    for k in range(3):
        found[k] = figures[k][at]
    return found
