"""One loop for every cluster, simulated or real: observe, forecast, decide, guard, apply, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    """One turn of the loop: what was decided, what was applied after the guard, and how long it took.

    ``decide_s`` is NaN where the loop held the last decision.
    """

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

    The agent forecasts and decides; its time is measured. While loads are stale the last decision holds:
    what is not known is never read as a load of zero.
    """
    last: Step | None = None
    while True:
        state = cluster.observe()
        if state.stale and last is not None:
            last = replace(last, decide_s=math.nan)
        else:
            last = _decide(agent, state, problem)
            cluster.apply(last.applied)
        record(last)
        if not wait():
            return


def _decide(agent: Agent, state: State, problem: Problem) -> Step:
    began = time.perf_counter()
    decision = agent.decide(state)
    decide_s = time.perf_counter() - began
    return Step(decision, guard(problem, decision.configuration), decide_s)


def guard(problem: Problem, configuration: Configuration) -> Configuration:
    """The configuration within the replica limit, at least one replica a stage."""
    limit = problem.max_replicas
    if all(1 <= stage.replicas <= limit for stage in configuration.stages):
        return configuration
    clipped = (StageConfig(s.variant, s.batch, min(max(s.replicas, 1), limit)) for s in configuration.stages)
    return Configuration(tuple(clipped))
