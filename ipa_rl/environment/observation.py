"""Observations: what the policy sees, scaled to about one.

Loads are relative to the reference load, the maximum of the last seconds, so that light and heavy loads look
alike; its logarithm stands first. `observation_names` lists every entry.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled, compiled_in_place
from ipa_rl.objective import Problem
from ipa_rl.simulation.tables import build_variants
from ipa_rl.simulation.transitions import seconds_to_ready, starting_replicas
from ipa_rl.workload.clock import Season, clock_names, season_of
from ipa_rl.workload.quantiles import (
    RECENT,
    SHAPE_ENTRIES,
    SLOTS,
    QuantileTable,
    load_shape,
    quantiles_of,
    relative_quantile,
)
from ipa_rl.workload.steps import HISTORY_STEPS, history_by_step, least_rps, reference_load

BOUND = 5.0
"""Observations are clipped to -BOUND..BOUND."""

FORECAST_QUANTILES = (0.5, 0.9, 0.99)
"""Quantiles of the load until a replica that is ordered now has served an interval."""


def observation_names(problem: Problem) -> list[str]:
    """Name of every entry, in order."""
    names = ["log load"]
    names += [f"load {step} steps ago" for step in range(1, RECENT + 1)]
    names += [f"mean load, slot {slot} of 10 steps back" for slot in range(1, SLOTS + 1)]
    names += [f"max load, slot {slot} of 10 steps back" for slot in range(1, SLOTS + 1)]
    names += clock_names()
    names += [f"forecast, {100 * quantile:g} %" for quantile in FORECAST_QUANTILES]
    names += ["preference", "SLA slack"]
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


@compiled_in_place
def _stage(
    stage: Record,
    queued: float,
    variants: Records,
    variant_count: int,
    batch_count: int,
    reference_rps: float,
    sla_s: float,
    step_s: int,
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
        needed = math.ceil(reference_rps / variants[v].rate_rps[0] - 1e-9)
        out[i + v] = math.log(1.0 + needed * variants[v].cores) / 3.0
    i += variant_count
    capacity = stage.ready * variants[stage.active].rate_rps[stage.batch]
    pending = starting_replicas(stage) + stage.warm
    target_rate = variants[stage.target].rate_rps[stage.target_batch]
    out[i] = capacity / reference_rps / 2.0
    out[i + 1] = stage.wanted * target_rate / reference_rps / 2.0
    out[i + 2] = math.log(1.0 + stage.ready) / 3.0
    out[i + 3] = pending / (stage.ready + pending + 1e-9)
    out[i + 4] = seconds_to_ready(stage) / (30.0 * step_s)
    out[i + 5] = queued / max(capacity, 1e-9) / sla_s
    return i + 6


@compiled
def _observe(
    loads: FloatArray,
    now: IntArray,
    clock: FloatArray,
    step_s: int,
    window_steps: int,
    least_rps: float,
    fleet: Records,
    queued: FloatArray,
    visits: FloatArray,
    variants: Records,
    counts: IntArray,
    quantiles: FloatArray,
    sla_s: FloatArray,
    preference: FloatArray,
    reference_rps: FloatArray,
    stages_s: FloatArray,
    out: NDArray[np.float32],
) -> None:
    """Write reference loads and observations, all 0 before; arguments as of `Observer.observe`.

    ``clock``: rows of `Season.table`. ``least_rps``: what a load counts as at least. ``counts``: (stages, 2),
    numbers of variants and of batch sizes. ``quantiles``: coefficients of the forecasts
    (`ipa_rl.workload.quantiles`).
    """
    shape, history = np.empty(SHAPE_ENTRIES), np.empty(HISTORY_STEPS)
    for e in range(fleet.shape[0]):
        # Past loads, the clock and forecasts, relative to the reference.
        history_by_step(loads[e], now[e], step_s, history)
        reference = reference_load(history, window_steps, least_rps)
        reference_rps[e] = reference
        load_shape(history, reference, clock[e], shape)
        out[e, 0] = math.log(reference / least_rps) / 3.0
        out[e, 1 : 1 + SHAPE_ENTRIES] = shape
        i = 1 + SHAPE_ENTRIES
        for q in range(quantiles.shape[0]):
            out[e, i + q] = relative_quantile(quantiles[q], shape, reference, least_rps)
        i += quantiles.shape[0]
        out[e, i] = preference[e] / 3.0
        # The stages, and what they together leave of the SLA.
        i += 2  # the slack is written after all
        for s in range(fleet.shape[1]):
            stage = fleet[e, s]
            i = _stage(
                stage, queued[e, s], variants[s], counts[s, 0], counts[s, 1], reference * visits[e, s],
                sla_s[e], step_s, out[e], i,
            )  # fmt: skip
            active = variants[s, stage.active]
            capacity = max(stage.ready * active.rate_rps[stage.batch], 1e-9)
            # Without the time-out of `simulation.queues.batch_fill_s`, which all others use: the shipped
            # agents learned with it so. It changes with the next training.
            fill_s = (active.batch[stage.batch] - 1) / (reference * visits[e, s])
            stages_s[e, s] = active.p99_s[stage.batch] + fill_s + queued[e, s] / capacity
        for j in range(out.shape[1]):
            out[e, j] = min(max(out[e, j], -BOUND), BOUND)


class Observer:
    """Writes the observations of one environment's definition."""

    def __init__(self, definition: Definition) -> None:
        problem = definition.problem
        rows = [(len(s.variants), len(s.variants[0].batches)) for s in problem.pipeline.stages]
        names = observation_names(problem)
        self.entries, self._slack_at = len(names), names.index("SLA slack")
        self._graph = problem.pipeline.graph
        self._seen = definition.step_s, definition.reference_steps, least_rps(definition.step_s)
        self._step_s, self._horizon = definition.step_s, definition.horizon
        self.variants = build_variants(problem, definition.timing)
        self._counts = np.array(rows, dtype=np.int64)
        fitted = quantiles_of(definition.workload, definition.step_s)
        self.forecast_by(fitted, season_of(definition.workload))

    def forecast_by(self, table: QuantileTable, season: Season) -> None:
        """From now on by these quantiles and that season."""
        self._quantiles = table.rows(self._horizon, FORECAST_QUANTILES)
        self._season, self._clock = season, season.table(self._step_s)

    def observe(
        self,
        loads: FloatArray,
        now: IntArray,
        clock_s: IntArray,
        fleet: Records,
        queued: FloatArray,
        sla_s: FloatArray,
        preference: FloatArray,
    ) -> tuple[NDArray[np.float32], FloatArray]:
        """Observations (environments, entries), and the reference loads (environments,).

        ``loads``: (environments, seconds) of which those before ``now[e]`` have been seen, at
        ``clock_s[e]`` of the clock; ``fleet``: FLEET and ``queued`` requests, (environments, stages);
        ``preference``: logarithm of the factor on alpha.
        """
        reference_rps, stages_s = np.ones(len(now)), np.zeros(queued.shape)
        out = np.zeros((len(now), self.entries), dtype=np.float32)
        visits = self._graph.each_visits(fleet["active"])
        _observe(
            loads, now, self._clock[self._season.position(clock_s)], *self._seen, fleet, queued, visits,
            self.variants, self._counts, self._quantiles, sla_s, preference, reference_rps, stages_s, out,
        )  # fmt: skip
        in_turn = self._graph.is_chain  # added up in their order, as agents learned with it
        latency_s = np.cumsum(stages_s, axis=1)[:, -1] if in_turn else self._graph.latencies_s(stages_s)
        out[:, self._slack_at] = np.clip(1.0 - latency_s / sla_s, -BOUND, BOUND)
        return out, reference_rps
