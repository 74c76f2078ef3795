"""What an answer of the optimum comes to at each stage, beside what runs there now: in one compiled loop."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled_in_place, plain

SEEN = (
    "capacity",
    "capacity at once",
    "capacity at interval 1",
    "capacity by then",
    "mean latency",
    "latency",
    "fill",
    "batch",
    "accuracy lost",
    "cost",
    "replicas",
    "share that is missing",
    "ready after",
    "serves now",
    "is on its way",
    "drains in",
)
"""What a policy sees of a stage, without a scale: capacities over the reference load, latencies and what
waits over the SLA, times over the interval, most of them as logarithms. ``by then``: when a replica that is
ordered now has served."""

(
    CAPACITY_RPS, P99_S, FILL_S, SERVICE_S, SCORE, COST, CORES, COUNT, MISSING, MISSING_COST, READY_S,
    REPLACED, CHANGES, DRAINED_S,
) = range(len(SEEN), len(SEEN) + 14)  # fmt: skip
"""What follows: in requests of the pipeline, seconds, cores and replicas; ``REPLACED``: cores of what serves
now and will not."""
SERVED_RPS = len(SEEN) + 14
"""From here on what can be served at the moments."""

_LEAST = 1e-3


class StageContext(NamedTuple):
    """What all answers have in common.

    ``after_s`` (moments,): from now on, the first of them now; ``by_then``: the position of the one when a
    replica that is ordered now has served. ``queued`` (stages,): requests of the pipeline that wait;
    ``best`` (stages,): scores of the best variants. The others are as in a state and an environment.
    """

    after_s: FloatArray
    by_then: int
    queued: FloatArray
    best: FloatArray
    reference_rps: float
    sla_s: float
    interval_s: float
    timeout_s: float


def stage_figures(
    variants: Records, fleet: Records, rows: IntArray, visits: FloatArray, context: StageContext
) -> FloatArray:
    """Figures (rows, stages, SERVED_RPS + moments), as `ipa_rl.simulation.transitions` has them.

    ``variants``: VARIANT (stages, variants); ``fleet``: FLEET (stages,). ``rows`` (rows, stages, 3): answers,
    each given its ``visits`` (rows, stages), requests at a stage for each one of the pipeline.
    """
    found = np.empty((visits.size, SERVED_RPS + len(context.after_s)))
    at, firsts = np.empty(visits.shape, dtype=np.int64), np.empty(visits.size, dtype=np.int64)
    given = plain(variants), plain(fleet), plain(rows), plain(visits), plain(context)
    _find_all(*given, found, at, firsts)
    return found[at]


@compiled_in_place
def _find_all(
    variants: Records,
    fleet: Records,
    rows: IntArray,
    visits: FloatArray,
    context: StageContext,
    out: FloatArray,
    at: IntArray,
    firsts: IntArray,
) -> None:
    """Each choice for a stage once into ``out``, as answers differ in few; ``at`` (rows, stages): which.

    ``firsts``: room for the first row of each.
    """
    count = 0
    for s in range(len(fleet)):
        begin = count
        for a in range(len(rows)):
            row, known = rows[a][s], -1
            for c in range(begin, count):
                one = rows[firsts[c]][s]
                is_same = row[2] == one[2] and row[0] == one[0] and row[1] == one[1]
                if is_same and visits[a][s] == visits[firsts[c]][s]:
                    known = c
                    break
            if known < 0:
                known, firsts[count] = count, a
                _find(variants[s], fleet[s], row, visits[a][s], s, context, out[count])
                count += 1
            at[a][s] = known


@compiled_in_place
def _find(
    variants: Records,
    stage: Record,
    row: IntArray,
    visits: float,
    s: int,
    context: StageContext,
    own: FloatArray,
) -> None:
    """Of one stage, into ``own``."""
    variant, k, count = variants[row[0]], row[1], row[2]
    old = variants[stage.active]
    rate_rps, old_rps, batch = variant.rate_rps[k], old.rate_rps[stage.batch], variant.batch[k]
    serves, goes_on = row[0] == stage.active, row[0] == stage.target
    in_place = not serves and math.isfinite(variant.reload_s)
    keeps = goes_on or math.isfinite(variant.reload_s)
    reload_s = stage.reload_left_s if goes_on else variant.reload_s
    there = stage.ready if serves or in_place else (stage.warm if goes_on else 0)
    left_s, starting = 0.0, 0
    if keeps:
        for c in range(stage.cohorts):
            starting += stage.starting[c]
            left_s = max(left_s, stage.left_s[c] if stage.starting[c] > 0 else 0.0)
    missing, start_s = max(count - there - starting, 0), max(variant.start_up_s, left_s)
    started_s = start_s if missing > 0 else (left_s if count > there else 0.0)
    for t in range(len(context.after_s)):
        after_s = context.after_s[t]
        come = missing if start_s <= after_s else 0
        if keeps:
            for c in range(stage.cohorts):
                come += stage.starting[c] if stage.left_s[c] <= after_s + 1e-9 else 0
        come = min(come, max(count - there, 0))  # the others are cancelled
        now = min(there + come, count)
        served_rps = now * rate_rps
        if in_place and reload_s > after_s:  # what is ready before serves what the others serve
            served_rps = (stage.ready + come) * old_rps
        elif not (serves or in_place) and now < count:
            served_rps = stage.ready * old_rps
        own[SERVED_RPS + t] = served_rps / visits
    reference_rps, sla_s = context.reference_rps, context.sla_s
    fill_s = min((batch - 1.0) / max(reference_rps * visits, 1e-9), context.timeout_s)
    own[CAPACITY_RPS] = count * rate_rps / visits
    own[P99_S], own[FILL_S], own[SERVICE_S] = variant.p99_s[k], fill_s, batch / rate_rps
    own[SCORE], own[CORES], own[COST] = variant.score, variant.cores, count * variant.cores
    own[COUNT], own[MISSING], own[MISSING_COST] = count, missing, missing * variant.cores
    own[READY_S] = max(started_s, reload_s if in_place else 0.0)
    own[REPLACED], own[CHANGES] = (0.0, 0.0) if serves else (stage.ready * old.cores, 1.0)
    own[DRAINED_S] = context.queued[s] / max(own[SERVED_RPS + 1], 1e-9)
    own[0] = log_of(own[CAPACITY_RPS] / reference_rps)
    own[1] = log_of(own[SERVED_RPS] / reference_rps)
    own[2] = log_of(own[SERVED_RPS + 1] / reference_rps)
    own[3] = log_of(own[SERVED_RPS + context.by_then] / reference_rps)
    own[4], own[5], own[6] = variant.mean_s[k] / sla_s, variant.p99_s[k] / sla_s, fill_s / sla_s
    own[7], own[8] = math.log(batch), variant.score - context.best[s]
    own[9], own[10] = math.log(max(own[COST], 1e-9)), math.log(max(count, 1))
    own[11] = missing / max(count, 1)
    own[12] = math.log1p(start_s / context.interval_s) if missing > 0 else 0.0
    own[13], own[14] = 1.0 if serves else 0.0, 1.0 if goes_on else 0.0
    own[15] = math.log1p(own[DRAINED_S] / sla_s)


@compiled_in_place
def log_of(value: float) -> float:
    """The logarithm, of a thousandth at least."""
    return math.log(max(value, _LEAST))
