"""What Ray Serve adds to models that were profiled alone, measured on a pipeline that serves.

A profile of callables cannot know how long Ray Serve takes to start and to change. Besides, its work between
two batches keeps a replica idle: answers go back, the next requests come, and a batch that is not full waits
its time-out for more, counted from its first request's arrival at the replica, where the model counts it from
that at the stage. All of it is taken as one time a batch, the same for every variant: that with which the
request-level simulator takes as long for the same requests as Ray Serve did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np

from ipa_rl.demo.application import Application
from ipa_rl.demo.digits import SIZES, STAGES
from ipa_rl.demo.digits.load import PREPARE_S, SERVED, Sending, arrival_times, send
from ipa_rl.demo.settings import BATCH_TIMEOUT_S, DROP_LIMIT_S, INTERVAL_S
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Configuration, Pipeline, StageConfig, Variant
from ipa_rl.simulation import RequestSimulator, Timing
from ipa_rl.simulation.tables import encode

_POLL_S, _WITHIN_S = 0.1, 120.0
_LOADED_S, _LOADED_SHARE, _WARM_S = 25, 0.65, 3
_FULL_S, _SETTLED_S, _TOGETHER_S = 18, 5, 0.03
_OVERLOAD = 1.6
_BUSY_RPS, _BUSY_S, _BUSY_BATCH = 5.0, 16, 8
_TRIED_S = np.arange(0.0, 0.2, 0.005)
_UNTIL_ANSWERED_S = 60.0


def _of_size(size: int, batch: int, replicas: int) -> Configuration:
    """The variants of a size, 0 the smallest."""
    return Configuration(tuple(StageConfig(list(SIZES[one])[size], batch, replicas) for one in STAGES))


_MIDDLE = _of_size(1, 1, 2)
"""What a change in place is measured with."""

FULL = _of_size(1, 8, 1)
"""What busy replicas are measured with."""

LOADED = (FULL, _of_size(2, 4, 1))
"""What Ray Serve's own work is measured with, under loads that fill some batches and leave pauses."""

CHECK = _of_size(2, 8, 2)
"""What throughput at saturation is predicted for, and measured with."""


@dataclass(frozen=True, slots=True)
class Probed:
    """``start_up_s``: from the order to a replica that serves, two at a time while requests come, as they
    start on the processors that serve. ``reload_s``: from the order to all replicas with another
    variant. ``loaded_s``: mean latencies under `LOADED`, of requests at `loaded_times_s`. ``full_rps``,
    ``check_rps``: requests a second that `FULL` and `CHECK` serve when more come.
    """

    start_up_s: float
    reload_s: float
    loaded_s: tuple[float, ...]
    full_rps: float
    check_rps: float


def probe(application: Application, alone: Pipeline, say: Callable[[str], None]) -> Probed:
    """Measure it. ``alone``: by the profile of the models. Raises ClusterError where nothing serves."""
    say("how long replicas take to start")
    start_up_s = _start_up_s(application)
    say("how long they take to change")
    reload_s = _reload_s(application)
    say("what Ray Serve adds to a batch")
    loaded_s = tuple(_loaded_s(application, one, throughput_rps(alone, one)) for one in LOADED)
    say("what it serves when more comes")
    most = (_saturated_rps(application, one, throughput_rps(alone, one)) for one in (FULL, CHECK))
    return Probed(start_up_s, reload_s, loaded_s, *most)


def _start_up_s(application: Application) -> float:
    """With a replica more in every stage, while `_BUSY_RPS` come."""
    application.deploy(_of_size(0, _BUSY_BATCH, 1))
    due_s = np.arange(0.0, _BUSY_S, 1.0 / _BUSY_RPS)
    sending = Sending(application.url, due_s, 0, time.time() + PREPARE_S)
    time.sleep(PREPARE_S + _WARM_S)
    application.order(_of_size(0, _BUSY_BATCH, 2))
    start_up_s = _mean_s(
        application, lambda _, now: [one["state"] for one in now["replicas"]].count("RUNNING") >= 2
    )
    sending.join()
    return start_up_s


def _reload_s(application: Application) -> float:
    """From `_MIDDLE`'s replicas, of the smallest variants."""
    application.deploy(_of_size(0, 1, 2))
    application.order(_MIDDLE)

    def changed(wanted: StageConfig, deployment: Document) -> bool:
        asked = deployment["deployment_config"]["user_config"]["variant"]
        states = {one["state"] for one in deployment["replicas"]}
        return bool(asked == wanted.variant and deployment["status"] == "HEALTHY" and states == {"RUNNING"})

    return _mean_s(application, changed)


def _mean_s(application: Application, holds: Callable[[StageConfig, Document], bool]) -> float:
    """Seconds from now until it holds of a stage's deployment, mean over the stages. Raises ClusterError."""
    began_s = time.monotonic()
    took_s: dict[str, float] = {}
    while len(took_s) < len(STAGES):
        deployments, now_s = application.details()["deployments"], time.monotonic() - began_s
        for stage, wanted in zip(STAGES, _MIDDLE.stages, strict=True):
            if stage not in took_s and holds(wanted, deployments[stage]):
                took_s[stage] = now_s
        if now_s > _WITHIN_S:
            raise ClusterError(f"Ray Serve did not do what it was asked for in {_WITHIN_S:g} s")
        time.sleep(_POLL_S)
    return mean(took_s.values())


def _loaded_s(application: Application, configuration: Configuration, expected_rps: float) -> float:
    """Mean latency."""
    application.deploy(configuration)
    served = [one for one in send(application.url, loaded_times_s(expected_rps)) if one.outcome == SERVED]
    mean_s = settled_s(np.array([one.due_s for one in served]), np.array([one.latency_s for one in served]))
    if np.isnan(mean_s):
        raise ClusterError(f"{application.url} answers no request")
    return mean_s


def _saturated_rps(application: Application, configuration: Configuration, expected_rps: float) -> float:
    """Answers a second while more is sent than can be served, once queues are full."""
    application.deploy(configuration)
    due_s = arrival_times(np.full(_FULL_S, _OVERLOAD * expected_rps), 0)
    ended_s = [one.due_s + one.latency_s for one in send(application.url, due_s) if one.outcome == SERVED]
    try:
        return rate_rps([one for one in ended_s if _SETTLED_S <= one < _FULL_S])
    except ValueError as error:
        raise ClusterError(f"{application.url} answers too little under full load") from error


def loaded_times_s(expected_rps: float) -> FloatArray:
    """When requests come to a configuration that serves ``expected_rps`` by the profile of the models."""
    return arrival_times(np.full(_LOADED_S, _LOADED_SHARE * expected_rps), 0)


def settled_s(due_s: FloatArray, latency_s: FloatArray) -> float:
    """Mean latency of requests, without those of the first seconds; NaN where none has one."""
    counts = (due_s >= _WARM_S) & np.isfinite(latency_s)
    return float(latency_s[counts].mean()) if counts.any() else float("nan")


def rate_rps(ended_s: Sequence[float]) -> float:
    """Answers a second between the first and the last of them; answers of a batch come together.

    What came with the first is left out, so that it does not matter where between two batches the count
    begins and ends. Raises ValueError where all come together.

    >>> rate_rps([1.0, 1.001, 3.0, 3.001, 5.0, 5.001])
    1.0
    """
    ended = np.sort(ended_s)
    if not len(ended) or ended[-1] - ended[0] <= _TOGETHER_S:
        raise ValueError("all answers came together")
    later = ended[ended > ended[0] + _TOGETHER_S]
    last_s = later[later >= later[-1] - _TOGETHER_S][0]
    return float(round(len(later) / (last_s - ended[0]), 3))


# What explains the measurements


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
    batch = FULL.stages[0].batch
    alone_s = batch / throughput_rps(alone, FULL)
    tried_s = map(float, _TRIED_S)
    tried = [Added(max((batch / probed.full_rps - one) / alone_s, 1.0), one) for one in tried_s]
    due_s = [loaded_times_s(throughput_rps(alone, one)) for one in LOADED]

    def error(added: Added) -> float:
        pipeline = added.to(alone)
        cases = zip(LOADED, due_s, probed.loaded_s, strict=True)
        return sum((mean_latency_s(pipeline, one, at_s) / took_s - 1.0) ** 2 for one, at_s, took_s in cases)

    return min(tried, key=error)


def throughput_rps(pipeline: Pipeline, configuration: Configuration) -> float:
    """Of the stage that serves least."""
    rates = []
    for stage, one in zip(pipeline.stages, configuration.stages, strict=True):
        variant = stage.variant(one.variant)
        rates.append(one.replicas * variant.throughput_rps[variant.batches.index(one.batch)])
    return min(rates)


def mean_latency_s(pipeline: Pipeline, configuration: Configuration, due_s: FloatArray) -> float:
    """Of requests that come at ``due_s`` to the simulated pipeline, the first seconds left out."""
    most = max(one.replicas for one in configuration.stages)
    problem = Problem(pipeline, Weights(1.0, 1.0, 0.0), 1.0, most)
    timing = Timing(INTERVAL_S, DROP_LIMIT_S, BATCH_TIMEOUT_S)
    simulator = RequestSimulator(problem, timing, due_s, np.random.default_rng(0))
    simulator.place(encode(problem, configuration))
    simulator.advance(float(due_s[-1]) + _UNTIL_ANSWERED_S)
    return settled_s(due_s, simulator.requests["finish_s"] - simulator.requests["arrival_s"])
