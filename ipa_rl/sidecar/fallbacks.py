"""What runs where the agent's decision cannot: the integer program, and else what is there.

In this order: the agent; the program, where the agent refuses its own decision or fails; holding, where the
program fails too, where loads are missing or stale, where somebody asked for it, or where the pipeline is
paused. Who cannot decide writes nothing, so that what a person sets by hand meanwhile stays; only an order
to hold brings the last good configuration back. Missing loads are never read as no load; after a while the
rule that the settings give applies, once, in KEDA's words
(https://keda.sh/docs/latest/reference/scaledobject-spec/#fallback).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from ipa_rl.agents.loop import Step
from ipa_rl.agents.protocol import Agent, Decision, State
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
    """What holds where loads are missing: at first what is there, after ``after_s`` this.

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
    with a word or two that stay the same (``stale: ...``), for counting. ``keeps``: whether the last answer
    is what is there, so that nothing is to be written. ``ruled``: whether the rule for missing loads was
    carried out since they are missing: what differs from it afterwards, somebody wanted. ``planned_rps``: the
    load that was decided for, NaN where nobody decided.
    """

    agents: Sequence[Agent]
    missing: Missing
    sight: Callable[[], Sight]
    ordered: Callable[[], str]
    acts: Callable[[], bool]
    now: Callable[[], float]
    keeps: bool = field(init=False, default=False)
    planned_rps: float = field(init=False, default=float("nan"))
    ruled: bool = field(init=False, default=False)
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
            self.planned_rps = decision.planned_rps
            return replace(decision, fallback=reason)
        return self._present("; ".join(reasons))

    def hold(self, state: State, last: Step | None) -> Decision | None:
        """What holds instead of deciding: while paused or held, and while loads are missing or stale."""
        del last  # what was decided is not yet what was good: see `carried_out`
        self.keeps, self.planned_rps = False, float("nan")
        sight = self.sight()
        unknown = not np.isfinite(state.history_rps).all() or len(state.history_rps) == 0
        stale = sight.stale or state.stale or unknown
        if not stale:
            self._stale_since, self.ruled = None, False
        elif self._stale_since is None:
            self._stale_since = self.now()
        if sight.paused:
            return self._present(sight.paused)
        if ordered := self.ordered():
            return self._last_good(ordered)
        if not stale:
            return None
        return self._without_loads(sight)

    def carried_out(self, decision: Decision, applied: Configuration, whole: bool) -> None:
        """A decision was carried out as far as ``applied`` says; ``whole``: nothing of that is left to do."""
        if not decision.fallback.startswith("held"):
            self._good, self._good_rps = applied, decision.planned_rps  # what an order to hold keeps
        elif self._stale_since is not None and not self.keeps and not self.ordered():
            self.ruled = whole and applied == decision.configuration

    def _without_loads(self, sight: Sight) -> Decision:
        assert self._stale_since is not None
        since_s = self.now() - self._stale_since
        reason = f"stale: {sight.problem or 'loads are missing'}"
        behaviour, after_s = self.missing.behaviour, self.missing.after_s
        if since_s < after_s or self.ruled or behaviour is Behaviour.current:
            return self._present(reason)
        kept = self._present(f"{reason}; {behaviour.value} after {after_s:g} s")
        stages = tuple(
            replace(one, replicas=self.missing.held(s, one.replicas))
            for s, one in enumerate(kept.configuration.stages)
        )
        self.keeps = self.ruled = stages == kept.configuration.stages
        return replace(kept, configuration=Configuration(stages))

    def _present(self, reason: str) -> Decision:
        """What is there, and nothing is to be written; where that is not known, the last good one's."""
        self.keeps = True
        good = self._good.stages if self._good else self.sight().present
        return self._held(reason, self.sight().present, good)

    def _last_good(self, reason: str) -> Decision:
        """The last good configuration while acting, else what is there."""
        present = self.sight().present
        good = self._good.stages if self._good and self.acts() else present
        return self._held(reason, good, present)

    def _held(
        self, reason: str, first: Sequence[StageConfig | None], second: Sequence[StageConfig | None]
    ) -> Decision:
        stages = [a or b for a, b in zip(first, second, strict=True)]
        known = [one for one in stages if one is not None]
        if len(known) < len(stages):
            raise UndecidedError(f"{reason}; and nothing is known that could be held")
        return Decision(Configuration(tuple(known)), self._good_rps, fallback=f"held: {reason}")
