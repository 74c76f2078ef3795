"""One loop for every cluster, simulated or real: observe, forecast, decide, guard, apply, record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Configuration, StageConfig


class Cluster(Protocol):
    """Where the pipeline runs."""

    def observe(self) -> State:
        """What is seen now."""
        ...

    def apply(self, configuration: Configuration) -> None:
        """Begin to move to a configuration."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the loop: what was decided, what was applied after the guard, and how long it took."""

    decision: Decision
    applied: Configuration
    decide_s: float


def control(
    agent: Agent,
    cluster: Cluster,
    problem: Problem,
    wait: Callable[[], bool],
    record: Callable[[Step], None],
) -> None:
    """Run the loop until ``wait``, which lets one adaptation interval pass, says that it is over.

    The agent forecasts and decides; its time is measured.
    """
    while True:
        state = cluster.observe()
        began = time.perf_counter()
        decision = agent.decide(state)
        decide_s = time.perf_counter() - began
        applied = guard(problem, decision.configuration)
        cluster.apply(applied)
        record(Step(decision, applied, decide_s))
        if not wait():
            return


def guard(problem: Problem, configuration: Configuration) -> Configuration:
    """The configuration within the replica limit, at least one replica a stage."""
    limit = problem.max_replicas
    if all(1 <= stage.replicas <= limit for stage in configuration.stages):
        return configuration
    clipped = (StageConfig(s.variant, s.batch, min(max(s.replicas, 1), limit)) for s in configuration.stages)
    return Configuration(tuple(clipped))
