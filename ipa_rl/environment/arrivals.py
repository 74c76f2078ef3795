"""Arrivals of one episode, drawn from the workload of the definition."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.clock import HOUR_S
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.synthetic import on_off_rates, poisson_arrivals
from ipa_rl.workload.trace import Part, load_trace, starts, thinned

if TYPE_CHECKING:
    from ipa_rl.environment.definition import WorkloadModel


def sample_arrivals(
    workload: WorkloadModel, rng: np.random.Generator, history_s: int
) -> tuple[FloatArray, int]:
    """Requests in each second, (history_s + episode_s,), times the workload's scale, and the clock.

    The clock (seconds) is the trace's at the history's end, and any time of the hour for synthetic arrivals.
    """
    length_s = history_s + workload.episode_s
    if workload.kind == "trace":
        possible = _starts(workload.part, workload.episode_s, workload.eventful, history_s)
        begin = int(possible[rng.integers(len(possible))])
        drawn = load_trace()[begin - history_s : begin + workload.episode_s]
        return thinned(drawn, workload.scale).astype(np.float64), begin
    if workload.kind == "poisson":
        drawn = poisson_arrivals(np.full(length_s, workload.rate_rps), rng)
    else:
        rates = on_off_rates(length_s, workload.rate_rps, workload.peak_rps, rng)
        drawn = poisson_arrivals(rates, rng)
    return np.asarray(drawn * workload.scale, dtype=np.float64), int(rng.integers(HOUR_S))


@lru_cache(maxsize=4)
def _starts(part: Part, episode_s: int, most_eventful: int | None, history_s: int) -> IntArray:
    """The seconds of the trace at which episodes may begin."""
    if most_eventful is None:
        return starts(part, episode_s, history_s)
    return np.array([one.clock_s for one in eventful(part, episode_s, most_eventful)])
