"""What a profile of callables cannot know: how long Ray Serve takes to start, change and pass on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import numpy as np

from ipa_rl.clusters.live import ClusterError
from ipa_rl.clusters.ray_serve.api import Document
from ipa_rl.demo.application import SMALLEST, Application
from ipa_rl.digits.load import SERVED, Asked, arrival_times, send
from ipa_rl.digits.variants import SIZES, STAGES
from ipa_rl.pipeline import Configuration, StageConfig

_POLL_S, _WITHIN_S = 0.1, 120.0
_IDLE_RPS, _IDLE_S, _WARM_S = 4.0, 10, 2
_FULL_S, _SETTLED_S = 12, 4
_OVERLOAD = 1.6

MIDDLE = Configuration(tuple(StageConfig(list(SIZES[stage])[1], 1, 2) for stage in STAGES))
"""What the idle pipeline is measured with."""

TWO = Configuration(tuple(StageConfig(one.variant, 1, 2) for one in SMALLEST.stages))
"""What starting is measured with: a replica more in every stage."""

FULL = Configuration(tuple(StageConfig(list(SIZES[stage])[-1], 4, 1) for stage in STAGES))
"""What busy replicas are measured with."""

CHECK = Configuration(tuple(StageConfig(list(SIZES[stage])[2], 8, 2) for stage in STAGES))
"""What throughput at saturation is predicted for, and measured with."""


@dataclass(frozen=True, slots=True)
class Probed:
    """``start_up_s``: from the order to a replica that serves, two at a time. ``reload_s``: from the order to
    all replicas with another variant. ``idle_s``: mean latency of requests under `MIDDLE` that wait for
    nothing. ``full_rps``, ``check_rps``: requests a second that `FULL` and `CHECK` serve when more come.
    """

    start_up_s: float
    reload_s: float
    idle_s: float
    full_rps: float
    check_rps: float


def probe(
    application: Application, expect_rps: Callable[[Configuration], float], say: Callable[[str], None]
) -> Probed:
    """Measure it. ``expect_rps``: throughput by the profile. Raises ClusterError where nothing serves."""
    application.deploy(SMALLEST)
    say("how long replicas take to start")
    start_up_s = _timed(application, TWO, _started)
    say("how long they take to change")
    reload_s = _timed(application, MIDDLE, _changed)
    say("what Ray Serve adds to a request")
    idle_s = _idle_s(application)
    say("what it serves when more comes")
    full_rps, check_rps = (_saturated_rps(application, one, expect_rps(one)) for one in (FULL, CHECK))
    return Probed(start_up_s, reload_s, idle_s, full_rps, check_rps)


def _timed(
    application: Application, wanted: Configuration, holds: Callable[[Document, StageConfig], bool]
) -> float:
    """Seconds from the order until it holds, mean over the stages."""
    application.order(wanted)
    began_s = time.monotonic()
    took_s: dict[str, float] = {}
    while len(took_s) < len(STAGES):
        deployments, now_s = application.details()["deployments"], time.monotonic() - began_s
        for stage, one in zip(STAGES, wanted.stages, strict=True):
            if stage not in took_s and stage in deployments and holds(deployments[stage], one):
                took_s[stage] = now_s
        if now_s > _WITHIN_S:
            raise ClusterError(f"the replicas did not reach {wanted} in {_WITHIN_S:g} s")
        time.sleep(_POLL_S)
    return mean(took_s.values())


def _started(deployment: Document, wanted: StageConfig) -> bool:
    running: int = sum(one["state"] == "RUNNING" for one in deployment["replicas"])
    return running >= wanted.replicas


def _changed(deployment: Document, wanted: StageConfig) -> bool:
    asked = deployment["deployment_config"]["user_config"]["variant"]
    states = {one["state"] for one in deployment["replicas"]}
    return bool(asked == wanted.variant and deployment["status"] == "HEALTHY" and states == {"RUNNING"})


def _idle_s(application: Application) -> float:
    """Mean latency, the first seconds left out."""
    due_s = np.arange(0.0, _IDLE_S, 1.0 / _IDLE_RPS)
    asked = [one for one in send(application.url, due_s) if one.outcome == SERVED and one.due_s >= _WARM_S]
    if not asked:
        raise ClusterError(f"{application.url} answers no request")
    return mean(one.latency_s for one in asked)


def _saturated_rps(application: Application, configuration: Configuration, expected_rps: float) -> float:
    """Answers a second while more is sent than can be served, once queues are full."""
    application.deploy(configuration)
    due_s = arrival_times(np.full(_FULL_S, _OVERLOAD * expected_rps), 0)
    asked = send(application.url, due_s)
    return sum(map(_ended_when_full, asked)) / (_FULL_S - _SETTLED_S)


def _ended_when_full(one: Asked) -> bool:
    return one.outcome == SERVED and _SETTLED_S <= one.due_s + one.latency_s < _FULL_S
