"""What one step of the sidecar sees."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.jit import Record
from ipa_rl.live.cluster import Seen, StageSeen
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Stage, StageConfig
from ipa_rl.simulation.tables import replicas_there
from ipa_rl.solvers.transition import ENDING, LEAVING, Occupied

RECENT_S = 10
"""The observed load is the mean of that many seconds."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one step sees, and what agents decide by.

    ``seen``: as the cluster shows it. ``state``: the same for agents; where a stage is overdue it says what
    serves. ``present``: what each stage is asked for, None where that is no variant and batch size of the
    profile. ``latency_s``: the measured 99th percentile, NaN where it is not known. ``given_up``: by stage
    whether what it is asked for was given up, as it does not come.
    """

    seen: Seen
    state: State
    present: tuple[StageConfig | None, ...]
    latency_s: float
    given_up: tuple[bool, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether the load is not known: missing, too old, or never measured."""
        history_rps = self.state.history_rps
        unknown = len(history_rps) == 0 or not np.isfinite(history_rps).all()
        return self.seen.loads.stale or self.state.stale or unknown

    @property
    def load_rps(self) -> float:
        """The observed load, requests a second; NaN where it is not known, which is never a load of zero."""
        return math.nan if self.stale else recent_load_rps(self.state)

    @property
    def unknown(self) -> list[str]:
        """Stages that are asked for what the profile does not know."""
        pairs = zip(self.seen.stages, self.present, strict=True)
        return [seen.stage for seen, one in pairs if one is None]

    @property
    def serving(self) -> tuple[StageConfig | None, ...]:
        """What each stage is asked for, None where something else serves still, or that is not known."""
        pairs = zip(self.present, self.seen.stages, strict=True)
        return tuple(
            one if seen.ready and (seen.variant, seen.batch) == seen.asked else None for one, seen in pairs
        )

    @property
    def switched_off(self) -> tuple[str, ...]:
        """Stages of no replicas: somebody switched them off, as for Kubernetes' own autoscaler."""
        return tuple(one.stage for one in self.seen.stages if one.desired == 0 and one.asked[0] is not None)

    def occupied(self, problem: Problem) -> Occupied:
        """Replicas of each stage that exist, those that end or are about to among them.

        Between this look and what is written next, those that are about to end may do so.
        """
        fleet, stages = self.seen.state.fleet, problem.pipeline.stages
        given_up = self.given_up or (False,) * len(stages)
        there = replicas_there(problem, fleet)
        rows = zip(stages, fleet, there, self.seen.stages, given_up, strict=True)
        return [
            _with_leaving(stage, one, own | {(name, ENDING): count for name, count in seen.ending}, stays)
            for stage, one, own, seen, stays in rows
        ]

    def entry(self) -> dict[str, Any]:
        """For the decision log."""
        seen, loads = self.seen, self.seen.loads
        return {
            "load_rps": self.load_rps,
            "history_rps": [round(float(one), 2) for one in seen.state.history_rps],
            "load_age_s": loads.age_s,
            "stale": self.stale,
            "load_problem": loads.problem,
            "paused": seen.paused,
            "problems": list(seen.problems),
            "queued": [float(one) if seen.queues_known else math.nan for one in seen.state.queued],
            "stages": [asdict(stage) for stage in seen.stages],
            "latency_p99_s": self.latency_s,
        }


def _with_leaving(
    stage: Stage, one: Record, own: dict[tuple[str, int], int], stays: bool
) -> dict[tuple[str, int], int]:
    """Replicas of a stage, those apart that a rolling update or a lower number asked for will end.

    ``one``: its FLEET record; ``own``: by variant and batch size. ``stays``: a rolling update does not come.
    """
    serving, wanted = (
        (stage.variants[one[v]].name, stage.variants[one[v]].batches[one[k]])
        for v, k in (("active", "batch"), ("target", "target_batch"))
    )
    rolls = serving[0] != wanted[0] and math.isinf(one["reload_left_s"])
    if rolls or (stage.cold_batch and serving != wanted):
        leave, sign = 0 if stays else own[serving], LEAVING
    else:
        leave, sign = max(own[serving] - int(one["wanted"]), 0), ENDING
    ends = serving[0], sign
    return own | {serving: own[serving] - leave, ends: own.get(ends, 0) + leave}


def recent_load_rps(state: State) -> float:
    """The mean load of the last seconds; NaN where there is none."""
    return float(state.history_rps[-RECENT_S:].mean()) if len(state.history_rps) else math.nan


def asked_of(stage: Stage, seen: StageSeen) -> StageConfig | None:
    """What a stage is asked for; None where that is no variant and batch size of the profile."""
    variant, batch = seen.asked
    known = next((one for one in stage.variants if one.name == variant), None)
    if known is None or batch not in known.batches:
        return None
    return StageConfig(known.name, batch, seen.desired)
