"""What a profile of callables cannot know: how long Ray Serve takes to start, change and pass on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean

import numpy as np

from ipa_rl.demo.application import SMALLEST, Application
from ipa_rl.demo.digits.load import SERVED, arrival_times, send
from ipa_rl.demo.digits.variants import SIZES, STAGES
from ipa_rl.demo.sending import PREPARE_S, Sending
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.pipeline import Configuration, StageConfig

_POLL_S, _WITHIN_S = 0.1, 120.0
_LOADED_S, _LOADED_SHARE, _WARM_S = 25, 0.65, 3
_FULL_S, _SETTLED_S, _TOGETHER_S = 18, 5, 0.03
_OVERLOAD = 1.6
_BUSY_RPS, _BUSY_S, _BUSY_BATCH = 5.0, 16, 8

_MIDDLE = Configuration(tuple(StageConfig(list(SIZES[stage])[1], 1, 2) for stage in STAGES))
"""What a change in place is measured with."""

_BEFORE, _AFTER = (
    Configuration(tuple(StageConfig(one.variant, _BUSY_BATCH, count) for one in SMALLEST.stages))
    for count in (1, 2)
)
"""What starting is measured with: a replica more in every stage, while `_BUSY_RPS` come."""

FULL = Configuration(tuple(StageConfig(list(SIZES[stage])[1], 8, 1) for stage in STAGES))
"""What busy replicas are measured with."""

LOADED = (FULL, Configuration(tuple(StageConfig(list(SIZES[stage])[2], 4, 1) for stage in STAGES)))
"""What Ray Serve's own work is measured with, under loads that fill some batches and leave pauses."""

CHECK = Configuration(tuple(StageConfig(list(SIZES[stage])[2], 8, 2) for stage in STAGES))
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


def probe(
    application: Application, expect_rps: Callable[[Configuration], float], say: Callable[[str], None]
) -> Probed:
    """Measure it. ``expect_rps``: throughput by the profile. Raises ClusterError where nothing serves."""
    say("how long replicas take to start")
    start_up_s = _start_up_s(application)
    say("how long they take to change")
    reload_s = _reload_s(application)
    say("what Ray Serve adds to a batch")
    loaded_s = tuple(_loaded_s(application, one, expect_rps(one)) for one in LOADED)
    say("what it serves when more comes")
    full_rps, check_rps = (_saturated_rps(application, one, expect_rps(one)) for one in (FULL, CHECK))
    return Probed(start_up_s, reload_s, loaded_s, full_rps, check_rps)


def _start_up_s(application: Application) -> float:
    application.deploy(_BEFORE)
    due_s = np.arange(0.0, _BUSY_S, 1.0 / _BUSY_RPS)
    sending = Sending(application.url, due_s, 0, time.time() + PREPARE_S)
    time.sleep(PREPARE_S + _WARM_S)
    application.order(_AFTER)
    ready = [partial(_runs, stage, one.replicas) for stage, one in zip(STAGES, _AFTER.stages, strict=True)]
    start_up_s = _mean_s(application, ready)
    sending.join()
    return start_up_s


def _reload_s(application: Application) -> float:
    """From `_MIDDLE`'s replicas, of the smallest variants."""
    pairs = zip(SMALLEST.stages, _MIDDLE.stages, strict=True)
    application.deploy(Configuration(tuple(replace(b, variant=a.variant) for a, b in pairs)))
    application.order(_MIDDLE)
    changed = [partial(_changed, *one) for one in zip(STAGES, _MIDDLE.stages, strict=True)]
    return _mean_s(application, changed)


def _mean_s(application: Application, conditions: Sequence[Callable[[Document], bool]]) -> float:
    """Seconds from now until a condition on the deployments holds, mean over these. Raises ClusterError."""
    began_s = time.monotonic()
    took_s: dict[int, float] = {}
    while len(took_s) < len(conditions):
        deployments, now_s = application.details()["deployments"], time.monotonic() - began_s
        for k, holds in enumerate(conditions):
            if k not in took_s and holds(deployments):
                took_s[k] = now_s
        if now_s > _WITHIN_S:
            raise ClusterError(f"Ray Serve did not do what it was asked for in {_WITHIN_S:g} s")
        time.sleep(_POLL_S)
    return mean(took_s.values())


def _runs(stage: str, count: int, deployments: Document) -> bool:
    running: int = sum(one["state"] == "RUNNING" for one in deployments[stage]["replicas"])
    return running >= count


def _changed(stage: str, wanted: StageConfig, deployments: Document) -> bool:
    found = deployments[stage]
    asked = found["deployment_config"]["user_config"]["variant"]
    states = {one["state"] for one in found["replicas"]}
    return bool(asked == wanted.variant and found["status"] == "HEALTHY" and states == {"RUNNING"})


def loaded_times_s(expected_rps: float) -> FloatArray:
    """When requests come to a configuration that serves so many a second by the profile of the models."""
    return arrival_times(np.full(_LOADED_S, _LOADED_SHARE * expected_rps), 0)


def settled_s(due_s: FloatArray, latency_s: FloatArray) -> float:
    """Mean latency of requests, without those of the first seconds; NaN where none has one."""
    counts = (due_s >= _WARM_S) & np.isfinite(latency_s)
    return float(latency_s[counts].mean()) if counts.any() else float("nan")


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
