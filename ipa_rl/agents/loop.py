"""The loop of a controller over a simulated cluster: observe, decide, guard, apply, record.

`ipa_rl.sidecar.sidecar.Sidecar.step` is the same recipe over a live one, where much more can go wrong; a
specification holds the two to the same configurations.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.environment.limits import RECENT_S, as_limits_let
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
    """One turn of the loop: what was decided, what was applied after the guard, and how long deciding took.

    ``decide_s`` is NaN where the last decision was held instead.
    """

    decision: Decision
    applied: Configuration
    decide_s: float


Guard: TypeAlias = Callable[[Configuration, State], Configuration]
"""A configuration as it may be applied, given what is seen."""


def control(
    agent: Agent,
    cluster: Cluster,
    problem: Problem,
    wait: Callable[[], bool],
    record: Callable[[Step], None],
    guard: Guard | None = None,
) -> None:
    """Run the loop until ``wait``, which lets one adaptation interval pass, says that it is over.

    The agent forecasts and decides; its time is measured. ``guard``: by default `within_limits`.
    """
    last: Decision | None = None
    while True:
        state = cluster.observe()
        if state.stale and last is not None:
            # A load that is not known is never read as a load of zero: the last decision holds. Applying it
            # again completes what was left half done, and changes nothing where nothing differs.
            decision, decide_s = last, math.nan
        else:
            began = time.perf_counter()
            decision = agent.decide(state)
            decide_s = time.perf_counter() - began
        wanted = decision.configuration
        applied = within_limits(problem, wanted, state) if guard is None else guard(wanted, state)
        cluster.apply(applied)
        record(Step(decision, applied, decide_s))
        last = decision
        if not wait():
            return


def within_limits(problem: Problem, wanted: Configuration, state: State) -> Configuration:
    """The configuration with 1 to ``max_replicas`` replicas a stage, within what resources have.

    Of an allotment or a limit no more is occupied while old and new replicas run beside each other either.
    """
    limit = problem.max_replicas
    if not all(1 <= stage.replicas <= limit for stage in wanted.stages):
        clipped = (StageConfig(s.variant, s.batch, min(max(s.replicas, 1), limit)) for s in wanted.stages)
        wanted = Configuration(tuple(clipped))
    load_rps = math.nan if state.stale else float(state.history_rps[-RECENT_S:].max())
    return as_limits_let(problem, wanted, state.fleet, load_rps, state.allotted)
