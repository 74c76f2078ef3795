"""What runs where the agent's decision cannot: the integer program, and else the last good configuration.

In this order: the agent; the program, where the agent refuses its own decision or fails; holding, where the
program fails too, where loads are missing or stale, where somebody asked for it, or where the pipeline is
paused. Missing loads hold at
once, and after a while by the rule that the settings give, in KEDA's words
(https://keda.sh/docs/latest/reference/scaledobject-spec/#fallback). They are never read as no load.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.controller.loop import Step
from ipa_rl.pipeline import Configuration, StageConfig

LOG = logging.getLogger(__name__)

FAULTS = (ArithmeticError, LookupError, ValueError, RuntimeError, MemoryError)
"""What a faulty agent or forecaster may raise; then the next in order decides."""


class Behaviour(StrEnum):
    """KEDA's words for what holds while metrics are missing."""

    static = "static"
    current = "currentReplicas"
    if_higher = "currentReplicasIfHigher"
    if_lower = "currentReplicasIfLower"


@dataclass(frozen=True, slots=True)
class Missing:
    """What holds where loads are missing: at first the last good configuration, after ``after_s`` this.

    ``replicas``: by stage, what KEDA calls fallback.replicas.
    """

    after_s: float
    behaviour: Behaviour
    replicas: tuple[int, ...]

    def held(self, s: int, current: int) -> int:
        """Replicas of a stage that has so many now."""
        given = self.replicas[s]
        return {
            Behaviour.static: given,
            Behaviour.current: current,
            Behaviour.if_higher: max(given, current),
            Behaviour.if_lower: min(given, current),
        }[self.behaviour]


class UndecidedError(RuntimeError):
    """Nobody could decide, and there is nothing to hold."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What holding needs to know.

    ``present``: what the cluster is asked for, None where it is not known. ``paused``: why the pipeline is
    left alone, empty where it is not. ``stale``: whether loads are missing; ``problem``: why.
    """

    present: tuple[StageConfig | None, ...]
    paused: str
    stale: bool
    problem: str


@dataclass
class Fallbacks:
    """An Agent of several, and the loop's `Hold`.

    ``agents``: in the order in which they are asked. ``sight``: what is seen now. ``ordered``: why somebody
    wants the last decision kept, empty where nobody does. ``acts``: whether decisions are carried out; only
    what was can be a last good configuration. ``now``: monotonic seconds. Reasons begin
    with a word or two that stay the same (``stale: ...``), for counting.
    """

    agents: Sequence[Agent]
    missing: Missing
    sight: Callable[[], Sight]
    ordered: Callable[[], str]
    acts: Callable[[], bool]
    now: Callable[[], float]
    _good: Configuration | None = field(init=False, default=None)
    _good_rps: float = field(init=False, default=float("nan"))
    _stale_since: float | None = field(init=False, default=None)

    @property
    def name(self) -> str:
        """That of the first."""
        return self.agents[0].name

    def decide(self, state: State) -> Decision:
        """The first good decision; where there is none, what is held. Raises UndecidedError."""
        reasons = []
        for agent in self.agents:
            try:
                decision = agent.decide(state)
            except FAULTS as error:
                reasons.append(f"{agent.name} failed: {type(error).__name__}: {error}")
                LOG.error("an agent failed", extra={"agent": agent.name, "error": str(error)}, exc_info=True)
                continue
            reason = "; ".join(filter(None, [*reasons, decision.fallback]))
            return replace(decision, fallback=reason)
        return self._kept("; ".join(reasons))

    def hold(self, state: State, last: Step | None) -> Decision | None:
        """What holds instead of deciding: while paused or held, and while loads are missing or stale."""
        del last  # what was decided is not yet what was good: see `carried_out`
        sight = self.sight()
        unknown = not np.isfinite(state.history_rps).all() or len(state.history_rps) == 0
        stale = sight.stale or state.stale or unknown
        if not stale:
            self._stale_since = None
        elif self._stale_since is None:
            self._stale_since = self.now()
        if sight.paused:
            return self._kept(sight.paused, present_first=True)
        if ordered := self.ordered():
            return self._kept(ordered)
        if not stale:
            return None
        return self._without_loads(sight)

    def carried_out(self, decision: Decision, applied: Configuration) -> None:
        """A decision was made and carried out: it is what holds from now on."""
        self._good, self._good_rps = applied, decision.planned_rps

    def _without_loads(self, sight: Sight) -> Decision:
        assert self._stale_since is not None
        since_s = self.now() - self._stale_since
        reason = f"stale: {sight.problem or 'loads are missing'}"
        if since_s < self.missing.after_s or self.missing.behaviour is Behaviour.current:
            return self._kept(reason)
        kept = self._kept(f"{reason}; {self.missing.behaviour.value} after {self.missing.after_s:g} s")
        stages = tuple(
            replace(one, replicas=self.missing.held(s, one.replicas if seen is None else seen.replicas))
            for s, (one, seen) in enumerate(zip(kept.configuration.stages, sight.present, strict=True))
        )
        return replace(kept, configuration=Configuration(stages))

    def _kept(self, reason: str, present_first: bool = False) -> Decision:
        """The last good configuration while acting, else the present one, whichever is known."""
        present = self.sight().present
        good: Sequence[StageConfig | None] = self._good.stages if self._good else (None,) * len(present)
        first = present if present_first or not self.acts() else good
        second = good if first is present else present
        stages = [a or b for a, b in zip(first, second, strict=True)]
        known = [one for one in stages if one is not None]
        if len(known) < len(stages):
            raise UndecidedError(f"{reason}; and nothing is known that could be held")
        return Decision(Configuration(tuple(known)), self._good_rps, fallback=f"held: {reason}")
