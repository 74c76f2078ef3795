"""Measuring one cell: a variant on some cores at one batch size, until its figures are known tightly.

Calls that follow each other are not independent: a busy neighbour slows many in a row. So a run is cut into
rounds (the method of batch means): means of long stretches nearly are, and the interval is Student's over at
most 20 stretches of whole rounds (Law, Simulation Modeling and Analysis, section 9.5.3). A run that stops as
soon as its interval is tight covers a little less than 95 %; at least 10 rounds keep that small.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipa_rl.profiler.job import Measuring
from ipa_rl.profiler.replica import Replica

ROUND_S = 0.1
"""Least seconds of a round; a round has at least one batch."""
LEAST_ROUNDS = 10
"""Rounds below which no interval counts as tight."""
MOST_STRETCHES = 20
"""Rounds beyond this are put together, so that stretches get longer and less dependent."""
LEAST_SAMPLES = 100
"""Samples below which a 99th percentile is only the largest that was seen."""


@dataclass(frozen=True, slots=True)
class MeasuredCell:
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


def measure(replica: Replica, batch: int, measuring: Measuring) -> MeasuredCell:
    """Warm up, then rounds until both intervals are tight and the 99th percentile has samples, or time is up.

    Where one batch in flight saturates the replica, a round gives both figures; else each round is a stretch
    of single batches and a stretch at saturation.
    """
    replica.run(batch, replica.saturating, measuring.warm_up_s)
    means_s: list[float] = []
    # Seconds an item at saturation: where a busy machine notices answers late, some rounds look short and
    # some long. Their times even out, while the mean of their rates is too high.
    item_s: list[float] = []
    latencies_s: list[float] = []
    end_s = time.monotonic() + measuring.cell_limit_s
    while True:
        alone = replica.run(batch, 1, ROUND_S)
        full = alone if replica.saturating == 1 else replica.run(batch, replica.saturating, ROUND_S)
        latencies_s += alone.latencies_s
        means_s.append(sum(alone.latencies_s) / len(alone.latencies_s))
        item_s.append(1.0 / full.throughput_rps)
        tight = is_tight(means_s, measuring.precision) and is_tight(item_s, measuring.precision)
        if (tight and len(latencies_s) >= LEAST_SAMPLES) or time.monotonic() >= end_s:
            break
    start = replica.started()
    latency, item = estimate(means_s), estimate(item_s)
    return MeasuredCell(
        stage=start.stage,
        variant=start.variant,
        cores=start.cores,
        batch=batch,
        latency_mean_s=latency.mean,
        latency_p99_s=max(percentile_99(latencies_s), latency.mean),
        throughput_rps=1.0 / item.mean,
        latency_pct=latency.half_width_pct,
        throughput_pct=item.half_width_pct,
        calls=len(latencies_s),
        rounds=len(means_s),
        is_tight=tight,
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of positive figures and the half-width of its 95 % interval; NaN from one round."""

    mean: float
    half_width: float

    @property
    def relative(self) -> float:
        """Half-width over mean."""
        return self.half_width / self.mean

    @property
    def half_width_pct(self) -> float | None:
        """Half-width in percent of the mean; None from one round."""
        return None if math.isnan(self.half_width) else 100.0 * self.relative


def estimate(rounds: Sequence[float]) -> Estimate:
    """Mean over rounds of equal length, with its interval.

    >>> estimate([2.0, 2.0, 2.0])
    Estimate(mean=2.0, half_width=0.0)
    """
    from scipy.special import stdtrit  # Student's quantile, without the seconds that scipy.stats takes

    values = np.asarray(rounds, dtype=np.float64)
    stretches = [part.mean() for part in np.array_split(values, min(len(values), MOST_STRETCHES))]
    mean, count = float(values.mean()), len(stretches)
    if count < 2:
        return Estimate(mean, math.nan)
    spread = float(np.std(stretches, ddof=1))
    return Estimate(mean, float(stdtrit(count - 1, 0.975)) * spread / math.sqrt(count))


def is_tight(rounds: Sequence[float], precision: float) -> bool:
    """Whether there are rounds enough and the half-width is within that share of the mean."""
    return len(rounds) >= LEAST_ROUNDS and estimate(rounds).relative <= precision


def percentile_99(samples: Sequence[float]) -> float:
    """The 99th percentile, never below the mean, above which a rare stall can lift it."""
    values = np.asarray(samples, dtype=np.float64)
    return float(max(np.quantile(values, 0.99, method="higher"), values.mean()))
