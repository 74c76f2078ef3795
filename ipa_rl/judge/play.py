"""One controller through one scenario, by the control loop, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.loop import Step, control
from ipa_rl.agents.protocol import Agent
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import summarize
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster, SimulatorKind
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation.accounting import SUMS, latency_quantile_s
from ipa_rl.simulation.tables import ready_rows
from ipa_rl.workload.workload import Window


@dataclass(frozen=True)
class Played:
    """What a controller did in one scenario, by adaptation interval.

    ``sums``: TOTALS (steps, len(SUMS)). ``histogram``: served requests by latency, over all steps
    (`ipa_rl.simulation.accounting.BINS`). ``p99_s``: latency of the requests served in each step, NaN
    where there were none. ``configured``: (steps, stages, 3) variant index, batch index and ready
    replicas that serve at the end of each step; ``waiting``: (steps, stages) requests that wait then.
    ``planned_rps``: load planned for; ``decide_s``: seconds that each decision took, NaN where the loop
    held the last one. ``fallbacks``: 1 where the agent's guard took the program's answer.
    """

    name: str
    sums: FloatArray
    histogram: FloatArray
    p99_s: FloatArray
    configured: IntArray
    waiting: FloatArray
    planned_rps: FloatArray
    decide_s: FloatArray
    fallbacks: IntArray

    def column(self, name: str) -> FloatArray:
        """One of SUMS by step, (steps,)."""
        return np.asarray(self.sums[:, SUMS.index(name)], dtype=np.float64)

    def series(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """By step: planned-for load, PAS x 100 (NaN where nothing was served), cores, p99 latency."""
        served = self.column("served")
        pas = 100.0 * self.column("accuracy") / np.maximum(served, 1e-9)
        cores = self.column("core_s") / self.column("seconds")
        return self.planned_rps, np.where(served > 0, pas, np.nan), cores, self.p99_s

    def violated(self) -> FloatArray:
        """Share of the requests that ended in each step and were late or dropped, (steps,)."""
        ended = self.column("served") + self.column("dropped")
        violated = self.column("late") + self.column("dropped")
        return np.divide(violated, ended, out=np.zeros_like(ended), where=ended > 0)

    def columns(self, definition: Definition) -> dict[str, NDArray[Any]]:
        """By adaptation interval, (steps,) each, what came and what was done: `Comparison.interval_frame`."""
        planned_rps, pas, cores, p99_s = self.series()
        begins_s = definition.timing.interval_s * np.arange(len(self.sums))
        found: dict[str, NDArray[Any]] = {"begins_s": begins_s}
        found |= {name: self.column(name) for name in ("arrived", "served", "dropped", "late")}
        found |= {"violations": self.violated(), "pas_x100": pas, "cores": cores, "p99_s": p99_s}
        found |= {"planned_rps": planned_rps, "decide_ms": 1e3 * self.decide_s}
        found |= {"fallback": self.fallbacks.astype(bool)}
        for s, stage in enumerate(definition.pipeline.stages):
            variant, batch, replicas = self.configured[:, s].T
            names, sizes = [one.name for one in stage.variants], stage.variants[0].batches
            found |= {f"{stage.name}: variant": np.array(names)[variant]}
            found |= {f"{stage.name}: batch": np.array(sizes)[batch], f"{stage.name}: replicas": replicas}
            found |= {f"{stage.name}: waiting": self.waiting[:, s]}
        return found

    def longest_violated(self, share: float) -> int:
        """Most steps in a row in which more than that share of the requests violated the SLA."""
        runs = groupby((self.violated() > share).tolist())
        return max((len(list(run)) for is_over, run in runs if is_over), default=0)

    def timed_s(self) -> FloatArray:
        """Times of the decisions; the first, which may compile or fill caches, and held ones left out."""
        later = self.decide_s[1:]
        return np.asarray(later[~np.isnan(later)], dtype=np.float64)


def play(
    definition: Definition,
    agent: Agent,
    scenario: Scenario,
    kind: SimulatorKind = SimulatorKind.request_level,
    seed: int = 0,
    start: Configuration | None = None,
) -> Played:
    """The agent serves a scenario, one decision an adaptation interval; ``start``: where it begins."""
    cluster = SimulatedCluster(definition, scenario, kind, seed, start, keeps_requests=False)
    steps: list[Step] = []
    control(agent, cluster, definition.problem, cluster.wait, steps.append)
    return Played(
        agent.name,
        sums=np.array(cluster.sums),
        histogram=cluster.histogram,
        p99_s=np.array(cluster.p99_s),
        configured=ready_rows(np.array(cluster.fleets)),
        waiting=np.array(cluster.waiting),
        planned_rps=np.array([step.decision.planned_rps for step in steps]),
        decide_s=np.array([step.decide_s for step in steps]),
        fallbacks=np.array([bool(step.decision.fallback) for step in steps], dtype=np.int64),
    )


def mean_figures(
    definition: Definition, agent_for: Callable[[Window], Agent], windows: Sequence[Window]
) -> dict[str, float]:
    """`figures`, means over windows that are played request by request, each by an agent for it."""
    each = [figures(definition, play(definition, agent_for(one), Scenario(one))) for one in windows]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def figures(definition: Definition, played: Played) -> dict[str, float]:
    """Utility, PAS x 100, mean cores, violated share, p50 and p99 latency of one scenario."""
    sums = dict(zip(SUMS, played.sums.sum(axis=0).tolist(), strict=True))
    return {
        **summarize(definition.weights, sums),
        "p50_s": latency_quantile_s(played.histogram, 0.50),
        "p99_s": latency_quantile_s(played.histogram, 0.99),
    }
