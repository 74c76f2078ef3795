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
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum, StrEnum, auto
from typing import Any

from pydantic import model_validator

from ipa_rl.agents.protocol import Agent, AsksLater, Decision
from ipa_rl.documents import Count, NonNegative, StrictModel
from ipa_rl.live.cluster import Applied
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.observed import Observed

LOG = logging.getLogger(__name__)

FAULTS = (ArithmeticError, LookupError, ValueError, RuntimeError, MemoryError)
"""What a faulty agent or forecaster may raise; then the next in order decides."""


class Behaviour(StrEnum):
    """KEDA's words for what holds while metrics are missing."""

    static = "static"
    current = "currentReplicas"
    if_higher = "currentReplicasIfHigher"
    if_lower = "currentReplicasIfLower"


class MissingMetrics(StrictModel):
    """What holds where loads are missing: at first what is there, after ``after_s`` the ``behaviour``.

    ``replicas``: what KEDA calls fallback.replicas, one count for all stages, or one by stage.
    """

    after_s: NonNegative = 60.0
    behaviour: Behaviour = Behaviour.current
    replicas: Count | dict[str, Count] | None = None

    @model_validator(mode="after")
    def _check(self) -> MissingMetrics:
        if self.behaviour is not Behaviour.current and self.replicas is None:
            raise ValueError(f"{self.behaviour.value} needs replicas")
        return self

    def held(self, stage: str, current: int) -> int:
        """Replicas of a stage that has so many now."""
        given = self.replicas[stage] if isinstance(self.replicas, dict) else self.replicas
        if given is None or self.behaviour is Behaviour.current:
            return current
        if self.behaviour is Behaviour.static:
            return given
        return max(given, current) if self.behaviour is Behaviour.if_higher else min(given, current)


class UndecidedError(RuntimeError):
    """Nobody could decide, and there is nothing to hold."""


class ChoiceKind(Enum):
    """How a step came to its configuration.

    ``decided``: the agent or the program decided. ``kept``: what is there stays, and nothing is written.
    ``last_good``: somebody ordered to hold the last decision that was carried out. ``rule``: the rule for
    missing loads is carried out.
    """

    decided = auto()
    kept = auto()
    last_good = auto()
    rule = auto()


@dataclass(frozen=True, slots=True)
class Choice:
    """What a step wants to run, before the guard.

    The reason in ``decision.fallback`` begins with a word or two that stay the same (``held: stale: ...``),
    for counting. ``decide_s``: how long deciding took, NaN where nobody was asked.
    """

    kind: ChoiceKind
    decision: Decision
    decide_s: float = math.nan

    def entry(self) -> dict[str, Any]:
        """For the decision log."""
        return {
            "fallback": self.decision.fallback,
            "planned_rps": self.decision.planned_rps,
            "decision": [asdict(stage) for stage in self.decision.configuration.stages],
            "decide_s": self.decide_s,
        }


class Fallbacks:
    """Who decides at each step. ``agents``: in the order in which they are asked; ``now``: monotonic seconds.

    ``ruled``: whether the rule for missing loads was carried out since they are missing; what differs from it
    afterwards, somebody wanted.
    """

    def __init__(self, agents: Sequence[Agent], missing: MissingMetrics, now: Callable[[], float]) -> None:
        self._agents, self._missing, self._now = agents, missing, now
        self._good: Configuration | None = None
        self._good_rps = math.nan
        self._stale_since_s: float | None = None
        self.ruled = False

    def choose(self, observed: Observed, left_alone: str, hold: str, acting: bool) -> Choice:
        """The first good decision; where there is none, what is held. Raises UndecidedError.

        ``left_alone``: why the pipeline is paused, ``hold``: why somebody wants the last decision kept; both
        empty where not. ``acting``: whether decisions are carried out now; else there is no last good one.
        """
        if not observed.stale:
            self._stale_since_s, self.ruled = None, False
        elif self._stale_since_s is None:
            self._stale_since_s = self._now()
        if left_alone:
            return self._kept(observed, left_alone)
        if hold:
            good = self._good.stages if self._good and acting else observed.present
            return Choice(ChoiceKind.last_good, self._held(hold, good, observed.present))
        if self._stale_since_s is not None:
            return self._without_loads(observed, self._now() - self._stale_since_s)
        return self._decided(observed)

    def carried_out(self, choice: Choice, configuration: Configuration, applied: Applied) -> None:
        """A choice was carried out as far as ``configuration``, what the guard left of it."""
        if choice.kind is ChoiceKind.decided:
            self._good, self._good_rps = configuration, choice.decision.planned_rps
        elif choice.kind is ChoiceKind.rule:
            done = not (applied.refused or applied.waiting)
            self.ruled = done and configuration == choice.decision.configuration

    def catch_up(self, within_s: float) -> None:
        """Agents ask for what there was no time for, for so many seconds of the processor at most."""
        for agent in self._agents:
            if isinstance(agent, AsksLater):
                try:
                    agent.catch_up(within_s)
                except FAULTS as error:
                    told = {"agent": agent.name, "error": str(error)}
                    LOG.error("an agent failed after its decision", extra=told, exc_info=True)

    def _decided(self, observed: Observed) -> Choice:
        """The decision of the first agent that does not fail; what is there where all do."""
        reasons, began = [], time.perf_counter()
        for agent in self._agents:
            try:
                decision = agent.decide(observed.state)
            except FAULTS as error:
                reasons.append(f"{agent.name} failed: {type(error).__name__}: {error}")
                LOG.error("an agent failed", extra={"agent": agent.name, "error": str(error)}, exc_info=True)
                continue
            decide_s = time.perf_counter() - began
            reason = "; ".join(filter(None, [*reasons, decision.fallback]))
            return Choice(ChoiceKind.decided, replace(decision, fallback=reason), decide_s)
        return replace(self._kept(observed, "; ".join(reasons)), decide_s=time.perf_counter() - began)

    def _without_loads(self, observed: Observed, since_s: float) -> Choice:
        """What is there at first; after a while, and once, what the rule for missing loads says."""
        reason = f"stale: {observed.seen.loads.problem or 'loads are missing'}"
        behaviour, after_s = self._missing.behaviour, self._missing.after_s
        if since_s < after_s or self.ruled or behaviour is Behaviour.current:
            return self._kept(observed, reason)
        kept = self._kept(observed, f"{reason}; {behaviour.value} after {after_s:g} s")
        present = kept.decision.configuration.stages
        stages = tuple(
            replace(one, replicas=self._missing.held(seen.stage, one.replicas))
            for seen, one in zip(observed.seen.stages, present, strict=True)
        )
        if stages == present:
            self.ruled = True
            return kept
        return Choice(ChoiceKind.rule, replace(kept.decision, configuration=Configuration(stages)))

    def _kept(self, observed: Observed, reason: str) -> Choice:
        """What is there; where that is not known, the last good configuration's."""
        good = self._good.stages if self._good else observed.present
        return Choice(ChoiceKind.kept, self._held(reason, observed.present, good))

    def _held(
        self, reason: str, first: Sequence[StageConfig | None], second: Sequence[StageConfig | None]
    ) -> Decision:
        stages = [a or b for a, b in zip(first, second, strict=True)]
        known = [one for one in stages if one is not None]
        if len(known) < len(stages):
            raise UndecidedError(f"{reason}; and nothing is known that could be held")
        return Decision(Configuration(tuple(known)), self._good_rps, fallback=f"held: {reason}")
