"""Episodes in worlds that differ from what was profiled, and under other weights.

A policy that trained in its simulator alone trusts its profile to the last core; what it meets is slower,
starts later and has other limits. And one policy for a range of alpha saves a training run a preference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from ipa_rl.documents import Share, StrictModel

Scale = Annotated[float, Field(gt=0, le=100)]
Range = tuple[Scale, Scale]


@dataclass(frozen=True)
class Drawn:
    """One episode: factors on start-up delays, latencies, loads and the SLA; position of the preference.

    ``preference`` 0 is the environment's own; i is the i-th of `Randomisation.preferences`. ``synthetic``:
    whether loads are made up (`ipa_rl.workload.synthetic.random_rates`) instead of the workload's.
    ``fails_at``: when, as a share of the episode, ``lost`` of every stage's replicas fail; 1 is never.
    """

    start_up: float = 1.0
    service: float = 1.0
    load: float = 1.0
    sla: float = 1.0
    preference: int = 0
    synthetic: bool = False
    fails_at: float = 1.0
    lost: float = 0.0


NOMINAL = Drawn()


class Randomisation(StrictModel):
    """What episodes are drawn from; by default every one is as profiled.

    ``share`` of the episodes have factors drawn from the ranges, on a logarithmic scale. ``preferences``:
    factors on alpha, of which ``preference_share`` of the episodes draw one. ``synthetic_share`` of the
    episodes have synthetic loads. In ``failure_share`` of them a fifth to three fifths of every stage's
    replicas fail once.
    """

    share: Share = 0.0
    start_up: Range = (1.0, 1.0)
    service: Range = (1.0, 1.0)
    load: Range = (1.0, 1.0)
    sla: Range = (1.0, 1.0)
    preference_share: Share = 0.0
    preferences: tuple[Scale, ...] = ()
    synthetic_share: Share = 0.0
    failure_share: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Randomisation:
        for name in ("start_up", "service", "load", "sla"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is not a range: {low} is above {high}")
        if self.preference_share > 0 and not self.preferences:
            raise ValueError("preference_share needs preferences")
        return self

    def draw(self, rng: np.random.Generator) -> Drawn:
        """The next episode's; what is not randomised draws nothing."""
        preference = 0
        if self.preference_share > 0 and rng.random() < self.preference_share:
            preference = 1 + int(rng.integers(len(self.preferences)))
        synthetic = self.synthetic_share > 0 and bool(rng.random() < self.synthetic_share)
        fails_at, lost = 1.0, 0.0
        if self.failure_share > 0 and rng.random() < self.failure_share:
            fails_at, lost = rng.random(), rng.uniform(0.2, 0.6)
        drawn = Drawn(preference=preference, synthetic=synthetic, fails_at=fails_at, lost=lost)
        if self.share == 0 or rng.random() >= self.share:
            return drawn
        start_up, service, load, sla = (
            math.exp(rng.uniform(math.log(low), math.log(high)))
            for low, high in (self.start_up, self.service, self.load, self.sla)
        )
        return replace(drawn, start_up=start_up, service=service, load=load, sla=sla)
