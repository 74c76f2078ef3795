"""What an answer of the optimum comes to at each stage, beside what runs there now.

In numpy, for all answers at once: the sidecar compiles nothing, and decides in half the time so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.pipeline import MOST_BATCHES
from ipa_rl.simulation.transitions import cohorts_of

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

LEAST = 1e-3
_BY_BATCH = ("rate_rps", "p99_s", "mean_s", "batch")
_BY_VARIANT = ("start_up_s", "score", "cores", "reload_s")


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
    """Figures (SERVED_RPS + moments, stages, rows), as `ipa_rl.simulation.transitions` has them.

    ``variants``: VARIANT (stages, variants); ``fleet``: FLEET (stages,). ``rows`` (rows, stages, 3): answers,
    each given its ``visits`` (rows, stages), requests at a stage for each one of the pipeline.
    """
    # Stages first, rows last, in all that follows: sums over stages are quick so.
    stages, visits, (v, k, count) = np.arange(len(fleet))[:, None], visits.T.copy(), rows.T.copy()
    at = stages * variants.shape[1] + v
    by_batch = at * MOST_BATCHES + k
    rate_rps, p99_s, mean_s, batch = (variants[name].ravel().take(by_batch) for name in _BY_BATCH)
    start_up_s, score, cores, reload_s = (variants[name].ravel().take(at) for name in _BY_VARIANT)
    now = fleet[:, None]
    ready, active, target = now["ready"], now["active"], now["target"]
    old_rps, old_cores = variants["rate_rps"][stages, active, now["batch"]], variants["cores"][stages, active]
    serves, goes_on, reloads = v == active, v == target, np.isfinite(reload_s)
    in_place, keeps, stays = ~serves & reloads, goes_on | reloads, serves | reloads
    reload_s = np.where(goes_on, now["reload_left_s"], reload_s)
    there = np.where(stays, ready, np.where(goes_on, now["warm"], 0))
    starting, each_left_s = cohorts_of(fleet)
    left_s = np.where(keeps, each_left_s.max(axis=1, keepdims=True), 0.0)
    missing = np.maximum(count - there - keeps * starting.sum(axis=1, keepdims=True), 0)
    start_s = np.maximum(start_up_s, left_s)
    started_s = np.where(missing > 0, start_s, np.where(count > there, left_s, 0.0))

    after_s = context.after_s[:, None, None]  # (moments, stages, rows) from here on
    started = (starting * (fleet["left_s"] <= after_s + 1e-9)).sum(axis=-1, keepdims=True)
    come = missing * (start_s <= after_s) + keeps * started
    come = np.minimum(come, np.maximum(count - there, 0))  # the others are cancelled
    serving = np.minimum(there + come, count)
    waits = in_place & (reload_s > after_s)  # what is ready before serves what the others serve
    served_rps = np.where(waits, (ready + come) * old_rps, serving * rate_rps)
    served_rps = np.where(~stays & (serving < count), ready * old_rps, served_rps) / visits

    reference_rps, sla_s = context.reference_rps, context.sla_s
    fill_s = np.minimum((batch - 1.0) / np.maximum(reference_rps * visits, 1e-9), context.timeout_s)
    capacity_rps, cost = count * rate_rps / visits, count * cores
    drained_s = context.queued[:, None] / np.maximum(served_rps[1], 1e-9)
    capacities_rps = np.array([capacity_rps, served_rps[0], served_rps[1], served_rps[context.by_then]])
    found = np.empty((SERVED_RPS + len(served_rps), *v.shape))
    found[: len(SEEN)] = [
        *logs_of(capacities_rps / reference_rps),
        mean_s / sla_s,
        p99_s / sla_s,
        fill_s / sla_s,
        np.log(batch),
        score - context.best[:, None],
        np.log(np.maximum(cost, 1e-9)),
        np.log(np.maximum(count, 1)),
        missing / np.maximum(count, 1),
        np.log1p(np.where(missing > 0, start_s / context.interval_s, 0.0)),
        serves,
        goes_on,
        np.log1p(drained_s / sla_s),
    ]
    found[CAPACITY_RPS], found[P99_S], found[FILL_S] = capacity_rps, p99_s, fill_s
    found[SERVICE_S], found[DRAINED_S] = batch / rate_rps, drained_s
    found[SCORE], found[CORES], found[COST], found[COUNT] = score, cores, cost, count
    found[MISSING], found[MISSING_COST] = missing, missing * cores
    found[READY_S] = np.maximum(started_s, np.where(in_place, reload_s, 0.0))
    found[REPLACED], found[CHANGES] = ~serves * (ready * old_cores), ~serves
    found[SERVED_RPS:] = served_rps
    return found


def logs_of(values: ArrayLike) -> FloatArray:
    """Logarithms, of a thousandth at least."""
    return np.asarray(np.log(np.maximum(values, LEAST)), dtype=np.float64)
