"""Measuring one cell: a variant on some cores at one batch size."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ipa_rl.profiler.intervals import LEAST_SAMPLES, Estimate, estimate, is_tight, percentile_99
from ipa_rl.profiler.job import Measuring
from ipa_rl.profiler.replica import Replica

ROUND_S = 0.1
"""Least seconds of a round; a round has at least one batch."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell's figures. Latencies are of one full batch at a time, throughput is at saturation.

    ``latency_pct``, ``throughput_pct``: half-widths of the 95 % intervals in percent of the mean; None where
    one round says nothing. ``calls``: how many latencies there are. ``is_tight``: whether both intervals are
    as tight as asked.
    """

    stage: str
    variant: str
    cores: int
    batch: int
    latency_mean_s: float
    latency_p99_s: float
    throughput_rps: float
    latency_pct: float | None
    throughput_pct: float | None
    calls: int
    rounds: int
    is_tight: bool


def measure(replica: Replica, batch: int, measuring: Measuring) -> Measured:
    """Warm up, then rounds until both intervals are tight and the 99th percentile has samples, or time is up.

    Where one batch in flight saturates the replica, a round gives both figures; else each round is a stretch
    of single batches and a stretch at saturation.
    """
    replica.run(batch, replica.saturating, measuring.warm_up_s)
    means_s: list[float] = []
    throughputs_rps: list[float] = []
    latencies_s: list[float] = []
    end_s = time.monotonic() + measuring.cell_limit_s
    while True:
        alone = replica.run(batch, 1, ROUND_S)
        full = alone if replica.saturating == 1 else replica.run(batch, replica.saturating, ROUND_S)
        latencies_s += alone.latencies_s
        means_s.append(sum(alone.latencies_s) / len(alone.latencies_s))
        throughputs_rps.append(full.throughput_rps)
        tight = is_tight(means_s, measuring.precision) and is_tight(throughputs_rps, measuring.precision)
        if (tight and len(latencies_s) >= LEAST_SAMPLES) or time.monotonic() >= end_s:
            break
    start = replica.started()
    latency, throughput = estimate(means_s), estimate(throughputs_rps)
    return Measured(
        stage=start.stage,
        variant=start.variant,
        cores=start.cores,
        batch=batch,
        latency_mean_s=latency.mean,
        latency_p99_s=max(percentile_99(latencies_s), latency.mean),
        throughput_rps=throughput.mean,
        latency_pct=_percent(latency),
        throughput_pct=_percent(throughput),
        calls=len(latencies_s),
        rounds=len(means_s),
        is_tight=tight,
    )


def _percent(one: Estimate) -> float | None:
    return None if one.half_width != one.half_width else 100.0 * one.relative
