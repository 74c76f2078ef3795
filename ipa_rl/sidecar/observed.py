"""What one step of the sidecar sees."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.live.cluster import Seen, StageSeen
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Stage, StageConfig
from ipa_rl.simulation.tables import replicas_there
from ipa_rl.solvers.transition import ENDING, Occupied

RECENT_S = 10
"""The observed load is the mean of that many seconds."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one step sees, and what agents decide by.

    ``seen``: as the cluster shows it. ``state``: the same for agents; where a stage is overdue it says what
    serves. ``present``: what each stage is asked for, None where that is no variant and batch size of the
    profile. ``latency_s``: the measured 99th percentile, NaN where it is not known.
    """

    seen: Seen
    state: State
    present: tuple[StageConfig | None, ...]
    latency_s: float

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
        """Replicas of each stage that exist, those that end among them."""
        there = replicas_there(problem, self.seen.state.fleet)
        pairs = zip(there, self.seen.stages, strict=True)
        return [own | {(name, ENDING): count for name, count in seen.ending} for own, seen in pairs]

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
