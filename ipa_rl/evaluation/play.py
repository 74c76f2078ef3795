"""One controller over one stretch of arrivals, through the control loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipa_rl.agents.protocol import Agent
from ipa_rl.clusters import SimulatedCluster
from ipa_rl.compiled import FloatArray, Records
from ipa_rl.controller import Step, control
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import summarize
from ipa_rl.simulation.accounting import TOTALS, latency_quantile_s

SUMS = [name for name in TOTALS.names or () if name != "histogram"]


@dataclass(frozen=True)
class Played:
    """What a controller did over one stretch: steps of the loop, and TOTALS by interval."""

    name: str
    steps: tuple[Step, ...]
    totals: Records

    @property
    def histogram(self) -> FloatArray:
        """Served requests by latency, over the whole stretch."""
        return np.asarray(self.totals["histogram"].sum(axis=0), dtype=np.float64)

    def sums(self) -> dict[str, float]:
        """TOTALS over the whole stretch, without the histogram."""
        return {name: float(self.totals[name].sum()) for name in SUMS}

    def decide_s(self) -> FloatArray:
        """Seconds that each decision took; the first, which may compile or fill caches, left out."""
        return np.array([step.decide_s for step in self.steps[1:]])


def play(definition: Definition, agent: Agent, arrivals: FloatArray, history_s: int) -> Played:
    """The agent serves arrivals[history_s:], one decision an adaptation interval."""
    cluster = SimulatedCluster(definition, arrivals, history_s)
    steps: list[Step] = []
    totals: list[Records] = []

    def wait() -> bool:
        totals.append(cluster.wait())
        return not cluster.ended()

    control(agent, cluster, definition.problem, wait, steps.append)
    return Played(agent.name, tuple(steps), np.array(totals, dtype=TOTALS))


def figures(definition: Definition, played: Played) -> dict[str, float]:
    """Utility, PAS x 100, mean cores, violated share, p50 and p99 latency of one stretch."""
    return {
        **summarize(definition.weights, played.sums()),
        "p50_s": latency_quantile_s(played.histogram, 0.50),
        "p99_s": latency_quantile_s(played.histogram, 0.99),
    }
