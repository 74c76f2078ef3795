"""What Ray Serve adds to models that were profiled alone, found from a pipeline that serves.

Ray Serve's work between two batches keeps a replica idle: answers go back, the next requests come, and a
batch that is not full waits its time-out for more, counted from its first request's arrival at the replica,
where the model counts it from that at the stage. All of it is taken as one time a batch, the same for every
variant: that with which the request-level simulator takes as long for the same requests as Ray Serve did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.demo.probing import FULL, LOADED, Probed, loaded_times_s, settled_s
from ipa_rl.demo.settings import BATCH_TIMEOUT_S, DROP_LIMIT_S, INTERVAL_S
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Configuration, Pipeline, Variant
from ipa_rl.simulation import RequestSimulator, Timing
from ipa_rl.simulation.tables import encode

_TRIED_S = np.arange(0.0, 0.2, 0.005)
_UNTIL_ANSWERED_S = 60.0


@dataclass(frozen=True, slots=True)
class Added:
    """``slowdown``: how much longer busy replicas take than models alone. ``batch_s``: seconds a batch, in
    every stage.
    """

    slowdown: float
    batch_s: float

    def latency_s(self, alone_s: float) -> float:
        """Of a batch that takes so long alone; the replica serves nothing else meanwhile."""
        return self.slowdown * alone_s + self.batch_s

    def throughput_rps(self, batch: int, alone_rps: float) -> float:
        """Of a replica that serves so much alone."""
        return batch / self.latency_s(batch / alone_rps)

    def to(self, alone: Pipeline) -> Pipeline:
        """The pipeline as Ray Serve runs it."""
        stages = [replace(one, variants=tuple(map(self._longer, one.variants))) for one in alone.stages]
        return replace(alone, stages=tuple(stages))

    def _longer(self, variant: Variant) -> Variant:
        rates = zip(variant.batches, variant.throughput_rps, strict=True)
        return replace(
            variant,
            latency_mean_s=tuple(map(self.latency_s, variant.latency_mean_s)),
            latency_p99_s=tuple(map(self.latency_s, variant.latency_p99_s)),
            throughput_rps=tuple(self.throughput_rps(*one) for one in rates),
        )


def calibrate(alone: Pipeline, probed: Probed) -> Added:
    """What explains the throughput of `FULL` exactly and the latencies of `LOADED` best, relatively.

    No slowdown below 1.
    """
    tried = [Added(_slowdown(alone, probed, float(batch_s)), float(batch_s)) for batch_s in _TRIED_S]
    times_s = [loaded_times_s(throughput_rps(alone, one)) for one in LOADED]
    measured = list(zip(LOADED, times_s, probed.loaded_s, strict=True))
    return min(tried, key=lambda one: _error(one.to(alone), measured))


def throughput_rps(pipeline: Pipeline, configuration: Configuration) -> float:
    """Of the stage that serves least."""
    rates = []
    for stage, one in zip(pipeline.stages, configuration.stages, strict=True):
        variant = stage.variant(one.variant)
        rates.append(one.replicas * variant.throughput_rps[variant.batches.index(one.batch)])
    return min(rates)


def mean_latency_s(pipeline: Pipeline, configuration: Configuration, due_s: FloatArray) -> float:
    """Of requests that come at ``due_s`` to the simulated pipeline, the first seconds left out."""
    problem = Problem(
        pipeline, Weights(1.0, 1.0, 0.0), 1.0, max(one.replicas for one in configuration.stages)
    )
    timing = Timing(INTERVAL_S, DROP_LIMIT_S, BATCH_TIMEOUT_S)
    simulator = RequestSimulator(problem, timing, due_s, np.random.default_rng(0))
    simulator.place(encode(problem, configuration))
    simulator.advance(float(due_s[-1]) + _UNTIL_ANSWERED_S)
    latency_s = simulator.requests["finish_s"] - simulator.requests["arrival_s"]
    return settled_s(due_s, latency_s)


def _slowdown(alone: Pipeline, probed: Probed, batch_s: float) -> float:
    batch = FULL.stages[0].batch
    return max((batch / probed.full_rps - batch_s) / (batch / throughput_rps(alone, FULL)), 1.0)


def _error(pipeline: Pipeline, measured: Sequence[tuple[Configuration, FloatArray, float]]) -> float:
    """``measured``: configuration, times of requests, mean latency that they took."""
    return sum((mean_latency_s(pipeline, one, due_s) / took_s - 1.0) ** 2 for one, due_s, took_s in measured)
