"""A threshold autoscaler as Kubernetes' HorizontalPodAutoscaler (autoscaling/v2): replicas alone.

desired = ceil(current x utilisation / target), within a tolerance of 10 % nothing changes; going up at most
doubles or adds 4 replicas; going down takes the highest that was desired in the stabilisation window
(Kubernetes documentation, "Horizontal Pod Autoscaling": algorithm and default behaviour).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ipa_rl.agents.protocol import Decision, State
from ipa_rl.environment.definition import Definition
from ipa_rl.objective import stage_loads_rps
from ipa_rl.pipeline import Configuration

METRIC_S = 15
"""Utilisation is the mean load of that many seconds over the capacity of the ready replicas."""

TOLERANCE = 0.1
MOST_ADDED = 4


@dataclass
class Autoscaler:
    """Variants and batch sizes stay; each stage's replicas follow its utilisation.

    ``definition``: with the variants that are run; batch sizes are the optimum's for the train part's mean
    load. ``target``: utilisation aimed at. ``stabilisation_s``: Kubernetes' default is 300. It remembers what
    it wanted, so one is needed for each pipeline.
    """

    name: str
    definition: Definition
    target: float
    stabilisation_s: float
    _base: Configuration = field(init=False)
    _desired: list[list[int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._base = self.definition.best_for(self.definition.workload.mean_rps)

    def decide(self, state: State) -> Decision:
        """The configuration with the replicas that the rule asks for."""
        load_rps = float(state.history_rps[-METRIC_S:].mean())
        loads_rps = stage_loads_rps(self.definition.pipeline, self._base, load_rps)
        asked_for = state.fleet["wanted"].tolist()
        desired = [self._desired_replicas(s, own_rps, state) for s, own_rps in enumerate(loads_rps)]
        self._desired.append(desired)
        kept = max(1, math.ceil(self.stabilisation_s / self.definition.timing.interval_s))
        del self._desired[:-kept]
        highest = np.max(self._desired, axis=0).tolist()
        stages = tuple(
            replace(one, replicas=max(now, min(high, before)))
            for one, now, high, before in zip(self._base.stages, desired, highest, asked_for, strict=True)
        )
        return Decision(Configuration(stages), load_rps)

    def _desired_replicas(self, s: int, load_rps: float, state: State) -> int:
        """Replicas by the rule, before stabilisation."""
        base, stage = self._base.stages[s], state.fleet[s]
        variant = self.definition.pipeline.stages[s].variant(base.variant)
        rate_rps = variant.throughput_rps[variant.batches.index(base.batch)]
        current, ready = int(stage["wanted"]), max(int(stage["ready"]), 1)
        ratio = load_rps / (ready * rate_rps) / self.target
        if abs(ratio - 1.0) <= TOLERANCE:
            return current
        desired = math.ceil(ready * ratio - 1e-9)
        most = min(max(2 * current, current + MOST_ADDED), self.definition.problem.max_replicas)
        return min(max(desired, 1), most)
