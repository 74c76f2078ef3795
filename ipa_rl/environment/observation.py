"""Observations: what the policy sees, scaled to about one.

Loads are relative to ``load``, the maximum of the last seconds for which replicas are counted, so that
light and heavy loads look alike; its logarithm stands first. `observation_names` lists every entry.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ipa_rl.compiled import FloatArray, Record, Records, compiled
from ipa_rl.objective import Problem
from ipa_rl.simulation.queues import waiting
from ipa_rl.simulation.transitions import seconds_to_ready, starting_replicas

HISTORY_S = 120
"""Seconds of past loads that an observation needs."""

BOUND = 5.0
"""Observations are clipped to -BOUND..BOUND."""

_RECENT_S = 10
_SLOT_S = 10
_SLOTS = HISTORY_S // _SLOT_S


def observation_names(problem: Problem) -> list[str]:
    """Name of every entry, in order."""
    names = ["log load"]
    names += [f"load {second} s ago" for second in range(1, _RECENT_S + 1)]
    names += [f"mean load, slot {slot} of 10 s back" for slot in range(1, _SLOTS + 1)]
    names += [f"max load, slot {slot} of 10 s back" for slot in range(1, _SLOTS + 1)]
    names += ["SLA slack"]
    for stage in problem.pipeline.stages:
        variants = [variant.name for variant in stage.variants]
        batches = stage.variants[0].batches
        for kind in ("active", "target"):
            names += [f"{stage.name}: {kind} {variant}" for variant in variants]
            names += [f"{stage.name}: {kind} batch {batch}" for batch in batches]
        names += [f"{stage.name}: cost of {variant}" for variant in variants]
        names += [
            f"{stage.name}: {entry}"
            for entry in (
                "ready capacity",
                "target capacity",
                "ready replicas",
                "share starting",
                "time to ready",
                "wait in queue",
            )
        ]
    return names


@compiled
def planned_load(history: FloatArray, window_s: int) -> float:
    """The load that replicas are counted for: the maximum of the last seconds, 1 at least."""
    load = 1.0
    for second in range(history.shape[0] - window_s, history.shape[0]):
        load = max(load, history[second])
    return load


@compiled
def _loads(history: FloatArray, load: float, out: NDArray[np.float32]) -> int:
    """Past loads relative to the planned-for one; returns the number of entries written."""
    out[0] = math.log(load) / 3.0
    i = 1
    now = history.shape[0]
    for second in range(1, _RECENT_S + 1):
        out[i] = history[now - second] / load
        i += 1
    for slot in range(_SLOTS):
        total = highest = 0.0
        for second in range(now - (slot + 1) * _SLOT_S, now - slot * _SLOT_S):
            total += history[second]
            highest = max(highest, history[second])
        out[i] = total / _SLOT_S / load
        out[i + _SLOTS] = highest / load
        i += 1
    return i + _SLOTS


@compiled
def _stage(
    stage: Record,
    queued: float,
    variants: Records,
    variant_count: int,
    batch_count: int,
    load: float,
    sla_s: float,
    out: NDArray[np.float32],
    i: int,
) -> int:
    """One stage's entries from position i on; returns the position after them."""
    out[i + stage.active] = 1.0
    i += variant_count
    out[i + stage.batch] = 1.0
    i += batch_count
    out[i + stage.target] = 1.0
    i += variant_count
    out[i + stage.target_batch] = 1.0
    i += batch_count
    for v in range(variant_count):
        needed = math.ceil(load / variants[v].rate_rps[0] - 1e-9)
        out[i + v] = math.log(1.0 + needed * variants[v].cores) / 3.0
    i += variant_count
    capacity = stage.ready * variants[stage.active].rate_rps[stage.batch]
    pending = starting_replicas(stage) + stage.warm
    out[i] = capacity / load / 2.0
    out[i + 1] = stage.wanted * variants[stage.target].rate_rps[stage.target_batch] / load / 2.0
    out[i + 2] = math.log(1.0 + stage.ready) / 3.0
    out[i + 3] = pending / (stage.ready + pending + 1e-9)
    out[i + 4] = seconds_to_ready(stage) / 30.0
    out[i + 5] = queued / max(capacity, 1e-9) / sla_s
    return i + 6


@compiled
def observe_one(
    history: FloatArray,
    window_s: int,
    fleet: Records,
    queued: FloatArray,
    variants: Records,
    counts: NDArray[np.int64],
    sla_s: float,
    out: NDArray[np.float32],
) -> None:
    """Write one environment's observation.

    ``history``: loads, one a second, the last HISTORY_S at least. ``fleet``: FLEET by stage. ``queued``:
    requests that wait, by stage. ``counts``: (stages, 2), numbers of variants and of batch sizes.
    """
    load = planned_load(history, window_s)
    out[:] = 0.0
    i = _loads(history, load, out)
    slack_at = i
    i += 1
    latency_s = 0.0
    for s in range(fleet.shape[0]):
        stage = fleet[s]
        i = _stage(stage, queued[s], variants[s], counts[s, 0], counts[s, 1], load, sla_s, out, i)
        active = variants[s, stage.active]
        capacity = max(stage.ready * active.rate_rps[stage.batch], 1e-9)
        fill_s = (active.batch[stage.batch] - 1) / load
        latency_s += active.p99_s[stage.batch] + fill_s + queued[s] / capacity
    out[slack_at] = 1.0 - latency_s / sla_s
    for j in range(out.shape[0]):
        out[j] = min(max(out[j], -BOUND), BOUND)


@compiled
def observe_all(
    loads: FloatArray,
    now: NDArray[np.int64],
    window_s: int,
    fleet: Records,
    queues: Records,
    variants: Records,
    counts: NDArray[np.int64],
    sla_s: float,
    planned: FloatArray,
    out: NDArray[np.float32],
) -> None:
    """Observations of all environments, and the loads that their next actions are counted for.

    ``loads``: (environments, seconds), of which those before ``now[e]`` have been seen.
    """
    stages = fleet.shape[1]
    queued = np.zeros(stages)
    for e in range(fleet.shape[0]):
        history = loads[e, now[e] - HISTORY_S : now[e]]
        for s in range(stages):
            queued[s] = waiting(queues[e, s])
        planned[e] = planned_load(history, window_s)
        observe_one(history, window_s, fleet[e], queued, variants, counts, sla_s, out[e])


def variant_and_batch_counts(problem: Problem) -> NDArray[np.int64]:
    """(stages, 2): numbers of variants and of batch sizes."""
    rows = [(len(s.variants), len(s.variants[0].batches)) for s in problem.pipeline.stages]
    return np.array(rows, dtype=np.int64)
