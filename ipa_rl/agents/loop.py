"""One loop for every cluster, simulated or real: observe, forecast, decide, guard, apply, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

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

    ``decide_s`` is NaN where the loop held a decision instead.
    """

    decision: Decision
    applied: Configuration
    decide_s: float


Hold: TypeAlias = Callable[[State, "Step | None"], "Decision | None"]
"""What is kept instead of deciding, given what is seen and the last turn; None where it is time to decide."""

Check: TypeAlias = Callable[[Configuration, State], Configuration]
"""The guard: a configuration as it may be applied, given what is seen."""


def keep_last(state: State, last: Step | None) -> Decision | None:
    """While loads are stale the last decision holds: what is not known is never read as a load of zero."""
    return last.decision if state.stale and last is not None else None


def control(
    agent: Agent,
    cluster: Cluster,
    problem: Problem,
    wait: Callable[[], bool],
    record: Callable[[Step], None],
    *,
    hold: Hold = keep_last,
    check: Check | None = None,
    failed: Callable[[Exception], None] | None = None,
) -> None:
    """Run the loop until ``wait``, which lets one adaptation interval pass, says that it is over.

    The agent forecasts and decides; its time is measured. A held decision is applied again: what was left
    half done is completed, and nothing changes where nothing differs. ``check`` replaces `within_limits`.
    A turn that fails ends the loop, unless ``failed`` is there to take the error; the cluster keeps what it
    has then.
    """

    def limited(configuration: Configuration, state: State) -> Configuration:
        return within_limits(problem, configuration) if check is None else check(configuration, state)

    last: Step | None = None
    while True:
        try:
            last = turn(agent, cluster, limited, hold, last)
            record(last)
        except Exception as error:
            if failed is None:
                raise
            failed(error)
        if not wait():
            return


def turn(agent: Agent, cluster: Cluster, check: Check, hold: Hold, last: Step | None) -> Step:
    """The body of the loop, once."""
    state = cluster.observe()
    kept = hold(state, last)
    began = time.perf_counter()
    decision = agent.decide(state) if kept is None else kept
    decide_s = time.perf_counter() - began if kept is None else math.nan
    applied = check(decision.configuration, state)
    cluster.apply(applied)
    return Step(decision, applied, decide_s)


def within_limits(problem: Problem, configuration: Configuration) -> Configuration:
    """The configuration with 1 to ``max_replicas`` replicas a stage."""
    limit = problem.max_replicas
    if all(1 <= stage.replicas <= limit for stage in configuration.stages):
        return configuration
    clipped = (StageConfig(s.variant, s.batch, min(max(s.replicas, 1), limit)) for s in configuration.stages)
    return Configuration(tuple(clipped))
