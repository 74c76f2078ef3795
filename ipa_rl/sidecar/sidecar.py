"""The sidecar: `Sidecar.step` adapts a live pipeline once, from top to bottom."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ipa_rl.agents.meters import Meters
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, Decision
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import one_line
from ipa_rl.files import write_text
from ipa_rl.live.cluster import Applied, ClusterError, LiveCluster
from ipa_rl.live.deadlines import Deadline
from ipa_rl.live.set_backs import SetBacks
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.announcements import Announcer, EventSink
from ipa_rl.sidecar.change_payoff import ChangePayoff, CheckedAgent
from ipa_rl.sidecar.decision_log import VERSION, EntryLog, Trouble, timestamp
from ipa_rl.sidecar.fallbacks import FAULTS, Choice, ChoiceKind, Fallbacks, MissingMetrics, UndecidedError
from ipa_rl.sidecar.guard import Guarded, Limits, Situation, guarded_change
from ipa_rl.sidecar.leader import Elector, inherit, leave
from ipa_rl.sidecar.learning import Learner
from ipa_rl.sidecar.model_estimate import worth
from ipa_rl.sidecar.observed import Observed, asked_of
from ipa_rl.sidecar.orders import Order, Orders, Wish
from ipa_rl.sidecar.plan_entry import plan_entry
from ipa_rl.sidecar.process import Pulse
from ipa_rl.sidecar.profile_entry import learned, service_entry, start_entry
from ipa_rl.sidecar.promotion import ACT, Rule, load_state
from ipa_rl.sidecar.rollouts import GivenUp, Patience, Rollouts
from ipa_rl.sidecar.shadow import Compared, Shadow
from ipa_rl.sidecar.sharing import Shared, under
from ipa_rl.solvers.cut import Cut

LOG = logging.getLogger(__name__)

STEP_S = 30.0
"""All outside calls of a step together end within this time, so that a slow step never looks stuck."""

LEASE_MARGIN_S = 2.0
"""Nothing is written where the lease might be lost sooner than this or a third of the renew deadline."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What came of applying a configuration.

    ``left_alone``: why the pipeline is paused. ``why_not``: why nothing could be written, that included; the
    change was planned at most. Both empty where not. ``apply_s``: how long it took.
    """

    applied: Applied
    left_alone: str
    why_not: str
    apply_s: float

    def entry(self) -> dict[str, Any]:
        """For the decision log. ``acted``: whether anything could be written."""
        applied = self.applied
        return {
            "acted": not self.why_not,
            "why_not": self.why_not,
            "left_alone": bool(self.left_alone),
            "changes": [asdict(change) for change in applied.changes],
            "waiting": [asdict(change) for change in applied.waiting],
            "refused": list(applied.refused),
            "set_back": list(applied.set_back),
            "asked": [asdict(stage) for stage in applied.configuration.stages],
            "apply_s": self.apply_s,
        }


@dataclass
class Sidecar:
    """One copy of the controller. `attempt` a step from the main thread, every adaptation interval.

    ``agents``: in the order in which they are asked, the first is that which is promoted and demoted.
    ``program``: what it is compared with. ``elector``: None where there is one copy only. ``logs``: are told
    of every step. ``events``, ``state``: None where they are not wanted. ``orders``: what people ask for
    meanwhile. ``latency``: the measured 99th percentile, seconds. ``patience``: with replicas that do not
    become ready. ``dry_run``: nothing is ever written. ``deadline``: holds for all that a step asks outside.
    ``set_backs``: what the cluster remembers of other writers. ``payoff``: what a change must pay; None where
    it need not. ``fellows``: elections of others that share something, all of which it must lead to act.
    ``learner``: learns of the loads seen, ``meters`` what the profile gets wrong; None where nothing does.
    ``pulse``: is told that the loop turns. ``share``: tells what the pipeline may occupy of what it shares
    with others; None where it shares nothing. ``idle_s``: of the processor, for what agents find out after a
    decision.
    """

    definition: Definition
    cluster: LiveCluster
    agents: tuple[Agent, ...]
    program: ProgramAgent
    limits: Limits
    missing: MissingMetrics
    rule: Rule
    elector: Elector | None = None
    logs: tuple[EntryLog, ...] = ()
    orders: Orders = field(default_factory=Orders)
    events: EventSink | None = None
    latency: Callable[[], float | None] = lambda: None
    state: Path | None = None
    patience: Patience = field(default_factory=Patience)
    dry_run: bool = False
    deadline: Deadline = field(default_factory=Deadline)
    set_backs: SetBacks = field(default_factory=SetBacks)
    payoff: ChangePayoff | None = None
    learner: Learner | None = None
    meters: Meters | None = None
    pulse: Pulse = field(default_factory=Pulse)
    share: Callable[[Observed, Configuration | None, bool], Shared] | None = None
    fellows: tuple[Elector, ...] = ()
    idle_s: float = 0.0
    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        stages = self.definition.pipeline.stages
        self.steps, self.failures, self._failed_in_a_row = 0, 0, 0
        self.rollouts = Rollouts(self.definition, self.patience, self.now)
        deliverable = partial(self.rollouts.back_off.checked, self.program)
        agents = [CheckedAgent(agent, deliverable) for agent in self.agents]
        self._program = CheckedAgent(self.program, deliverable)
        self._fallbacks = Fallbacks(agents, self.missing, self.now)
        contenders: dict[str, Agent] = {"agent": agents[0], "program": self._program}
        if self.payoff is not None:
            contenders = {
                name: CheckedAgent(agent, self.payoff.checked) for name, agent in contenders.items()
            }
        self._shadow = Shadow(self.definition, contenders)
        self._announcer = Announcer(self.events, [stage.name for stage in stages])
        self._announced_order: Order | None = self.orders.current
        self._unannounced: list[GivenUp] = []
        self._present: tuple[StageConfig | None, ...] = (None,) * len(stages)
        self._decided: Configuration | None = None
        self._changed_at_s: dict[str, float] = {}
        self._unsaved = Trouble("the state", self.state or Path())
        self._restore()

    def attempt(self) -> Effect | None:
        """One step; None where it failed: the cluster keeps what it has, and the next step tries again."""
        self.deadline.restart(STEP_S)
        try:
            with self.deadline.holds():
                effect = self.step()
        except Exception as error:  # the outermost place: whatever fails, the loop goes on
            self._failed(error)
            self.pulse.beat(success=False)
            return None
        self.pulse.beat(success=True)
        return effect

    def step(self) -> Effect:
        """Observe, forecast, decide, guard, apply, record, tell: once. Raises whatever fails."""
        # Observe: loads, replicas, queues. What was asked for long ago and does not serve is given up.
        observed = self._observe()

        # Compare: what the agent, the program and the present configuration made of the loads since the last
        # step, by the model. By that the agent takes over, or hands back.
        compared = self._compare(observed)

        # Forecast: what the program expects and would choose, for whoever asks what the agent is good for.
        forecast_rps, program_choice = self._forecast(observed)
        if self.learner is not None:
            self.learner.expect(forecast_rps)

        # Share: what others leave of what all of them use.
        left_alone = self._left_alone(observed)
        shared = None if self.share is None else self.share(observed, self._decided, bool(left_alone))
        observed = under(observed, shared)

        # Decide: the agent; where it cannot, the program; where nobody can, what is there is held.
        choice = self._fallbacks.choose(
            observed, left_alone, self.orders.why(Wish.hold), acting=not self._withheld()
        )

        # Guard: no change that does not pay, none beyond the limits, nothing that was given up.
        guarded = self._guarded(choice, observed)

        # Apply; only plan where nothing may be written.
        effect = self._apply(guarded.configuration, choice, observed)

        # Record: the next step, and the process after a restart, go on from here.
        self.steps += 1
        entry = self._entry(observed, compared, forecast_rps, program_choice, choice, guarded, effect)
        entry["shared"] = None if shared is None else shared.entry()
        self._remember(choice, guarded, effect)

        # Tell: people by Events, logs and metrics, the next leader by the lease.
        self._tell(entry, effect)

        # Catch up: what there was no time to find out before the decision is known at the next.
        self._fallbacks.catch_up(self.idle_s)
        return effect

    def _observe(self) -> Observed:
        """What is seen now, after what others did meanwhile. Raises ClusterError."""
        if self.elector is not None:
            inherit(self.set_backs, self.elector)
        if self.orders.current != self._announced_order:
            self.set_backs.forget()  # a person has spoken: what was left alone is written again
        seen = self.cluster.look()
        stages = self.definition.pipeline.stages
        present = tuple(asked_of(stage, one) for stage, one in zip(stages, seen.stages, strict=True))
        for stage, old, new in zip(stages, self._present, present, strict=True):
            if old is not None and new is not None and old.variant != new.variant:
                self._changed_at_s[stage.name] = self.now()
        self._present = present
        latency_s = self.latency()
        if self.learner is not None:
            self.learner.saw(seen.loads)
            self.learner.adopt()
        observed = Observed(seen, seen.state, present, math.nan if latency_s is None else latency_s)
        wanted_kept = self._left_alone(observed) or self.orders.why(Wish.hold) or observed.stale
        for one in self.rollouts.look(seen.stages, present, free=not wanted_kept):
            LOG.warning("given up: %s", one.told)
            self._unannounced.append(one)
        state = replace(seen.state, fleet=self.rollouts.facts(seen.state.fleet))
        if self.meters is not None:
            state = learned(self.meters, seen, state)
        pairs = zip(self.rollouts.within(present), present, strict=True)
        return replace(observed, state=state, given_up=tuple(let != asked for let, asked in pairs))

    def _left_alone(self, observed: Observed) -> str:
        """Why the pipeline is paused, by whatever a person has said until now; empty where it is not."""
        if observed.seen.paused:
            return "paused by the annotation"
        off = observed.switched_off
        return self.orders.why(Wish.pause) or (f"switched off: 0 replicas of {', '.join(off)}" if off else "")

    def _withheld(self) -> str:
        """Why this copy may write nothing now; empty where it may."""
        if self.dry_run:
            return "dry run"
        if self.rule.mode != ACT:
            return f"shadow mode: {self.rule.reason}"
        own = () if self.elector is None else (self.elector,)
        for elector in (*own, *self.fellows):
            margin_s = min(LEASE_MARGIN_S, elector.election.renew_s / 3.0)
            if not elector.leads(for_s=margin_s):
                of = "" if elector is self.elector else " another pipeline of the fleet"
                return f"{elector.holder or 'nobody'} leads{of}"
        return ""

    def _compare(self, observed: Observed) -> Compared | None:
        """The loads since the last step, simulated for all contenders; who is in control from now on."""
        if self.rule.mode != ACT:
            self._announcer.unknown(observed.unknown)
        try:
            overdue = [one is not None for one in self.rollouts.overdue]
            compared = self._shadow.compare(observed, overdue, self.now())
        except FAULTS as error:  # a contender failed; deciding falls back by itself
            LOG.error("the comparison failed", extra={"error": str(error)}, exc_info=True)
            self._shadow.restart()
            return None
        if compared is not None and self.rule.update(compared):
            LOG.warning("control changes hands", extra={"to": self.rule.mode, "reason": self.rule.reason})
        return compared

    def _forecast(self, observed: Observed) -> tuple[float, Decision | None]:
        """The load that the program expects, and what it would choose; NaN and None where it cannot."""
        if observed.stale:
            return math.nan, None
        state = observed.state
        try:
            forecast_rps = self.program.forecaster.forecast(state.history_rps, state.clock_s)
            return forecast_rps, self._program.decide(state)
        except FAULTS as error:
            LOG.error("the program failed", extra={"error": str(error)}, exc_info=True)
            return math.nan, None

    def _guarded(self, choice: Choice, observed: Observed) -> Guarded:
        """The choice as it may be applied; what is held by order or because nobody decides stays as it is."""
        wanted, problem = choice.decision.configuration, self.definition.problem
        most = problem.limits_under(observed.state.allotted)
        if choice.kind is ChoiceKind.last_good and most.units:
            cut = Cut(problem, None, problem.max_replicas, most.units, most.room)
            free = [False] * len(wanted.stages)
            let = cut.of(wanted, observed.present, free, observed.load_rps, observed.occupied(problem))
            return Guarded(let, () if let == wanted else (f"held to {let} by what resources have",))
        if choice.kind in (ChoiceKind.kept, ChoiceKind.last_good):
            return Guarded(wanted)
        edits: list[str] = []
        if self.payoff is not None and choice.kind is ChoiceKind.decided:
            paid = self.payoff.worthwhile(
                wanted, observed.serving, choice.decision.planned_rps, observed.state.queued
            )
            wanted, edits = paid.configuration, [*paid.edits]
        back_off, now_s = self.rollouts.back_off, self.now()
        situation = Situation(
            present=self.rollouts.within(observed.present),
            since_change_s=tuple(
                now_s - self._changed_at_s.get(stage.name, -math.inf)
                for stage in self.definition.pipeline.stages
            ),
            load_rps=observed.load_rps,
            occupied=observed.occupied(problem),
        )
        limits = replace(self.limits, units=most.units, room=most.room)
        limited = guarded_change(back_off.definition.problem, limits, wanted, situation)
        edits += limited.edits
        if given_up := back_off.excess(limited.configuration):
            edits.append(f"held to what serves, as it was given up: {given_up}")
        return Guarded(self.rollouts.deliverable(limited.configuration), tuple(edits))

    def _apply(self, configuration: Configuration, choice: Choice, observed: Observed) -> Effect:
        """Move towards a configuration, or plan to where nothing may be written. Raises ClusterError."""
        began = time.perf_counter()
        kept = choice.kind is ChoiceKind.kept
        if kept:
            self.set_backs.asked.clear()  # while nothing is written here others may
        # Asked right before writing: since the step began somebody may have paused, or another copy may lead.
        left_alone = self._left_alone(observed)
        why_not = left_alone or self._withheld()
        if left_alone or kept:
            applied = Applied(configuration)
        elif why_not:
            applied = self.cluster.plan(configuration)
        else:
            applied = self.cluster.apply(configuration)
        return Effect(applied, left_alone, why_not, time.perf_counter() - began)

    def _entry(
        self,
        observed: Observed,
        compared: Compared | None,
        forecast_rps: float,
        program_choice: Decision | None,
        choice: Choice,
        guarded: Guarded,
        effect: Effect,
    ) -> dict[str, Any]:
        """The step as the decision log has it."""
        asked = guarded.configuration if effect.why_not else effect.applied.configuration
        own = worth(self.definition, self.rollouts.served(asked), observed.load_rps, asked)
        entry: dict[str, Any] = {
            "version": VERSION,
            "time": timestamp(self.wall()),
            "step": self.steps,
            "environment": self.definition.name,
            "mode": self.rule.mode,
            "mode_reason": self.rule.reason,
            "leader": self.elector is None or self.elector.leads(),
            **observed.entry(),
            **self.rollouts.entry(),
            "by": self._by(choice),
            "forecast_rps": forecast_rps,
            "forecasts": None if self.learner is None else self.learner.entry(),
            "service": service_entry(self.definition.pipeline, self.meters),
            "starts": start_entry(self.definition.pipeline, self.meters),
            **choice.entry(),
            "plan": plan_entry(self.definition.pipeline, choice.decision, observed.present),
            **guarded.entry(),
            **effect.entry(),
            "worth": asdict(own) | {"sla_slack_s": self.definition.problem.sla_s - own.latency_s},
            "program": None,
            "gain": self.rule.mean_gain,
            "compared_s": self.rule.compared_s,
        }
        if program_choice is not None:
            other = worth(self.definition, program_choice.configuration, observed.load_rps)
            figures = ("utility", "cores", "pas_x100")
            entry["program"] = {
                "planned_rps": program_choice.planned_rps,
                "configuration": [asdict(stage) for stage in program_choice.configuration.stages],
                "worth": asdict(other),
                "difference": {name: getattr(own, name) - getattr(other, name) for name in figures},
            }
        if compared is not None:
            entry["shadow"] = asdict(compared)
        return entry

    def _by(self, choice: Choice) -> str:
        """Who decided: the agent, the program for it, or nobody."""
        if choice.kind is not ChoiceKind.decided:
            return "held"
        alone = self.agents[0] is self.program
        return "program" if choice.decision.fallback or alone else self.agents[0].name

    def _remember(self, choice: Choice, guarded: Guarded, effect: Effect) -> None:
        """What later steps, and a restarted process, must know of this one."""
        asked, self._decided = effect.applied.configuration, choice.decision.configuration
        if effect.why_not:
            self.rollouts.ordered([None] * len(asked.stages))
        else:
            self._fallbacks.carried_out(choice, guarded.configuration, effect.applied)
            self._shadow.follow(asked, self.rollouts.served(asked))
            self.rollouts.ordered(asked.stages)
        if effect.left_alone:
            self.set_backs.forget()
        self._save()

    def _tell(self, entry: Mapping[str, Any], effect: Effect) -> None:
        """The step to all who follow it."""
        if self._failed_in_a_row:
            LOG.warning("steps succeed again", extra={"failed": self._failed_in_a_row})
            self._failed_in_a_row = 0
        self._announcer.stepped(entry)
        order, known = self.orders.current, self._announced_order
        if order is not None and order != known and not self._withheld():
            self._announcer.ordered(order)
        self._announced_order = order
        if not effect.why_not:
            self._announcer.changed(entry, effect.applied, self._unannounced)
        self._unannounced.clear()
        if self.elector is not None:
            leave(self.set_backs, self.elector)
        self._log(entry)

    def _log(self, entry: Mapping[str, Any]) -> None:
        for log in self.logs:
            log.write(entry)

    def _failed(self, error: Exception) -> None:
        """Nothing of a step that failed is compared; what failed is told."""
        self.failures += 1
        self._failed_in_a_row += 1
        self._shadow.restart()
        kinds = {ClusterError: "cluster", UndecidedError: "undecided"}
        kind = next((name for one, name in kinds.items() if isinstance(error, one)), "internal")
        LOG.log(
            logging.ERROR if kind == "internal" else logging.WARNING,
            "the step failed, the cluster keeps what it has: %s",
            error,
            extra={"kind": kind},
            exc_info=kind == "internal",
        )
        told = {"failed": kind, "problem": one_line(str(error))}
        self._log({"version": VERSION, "time": timestamp(self.wall()), **told})

    def _save(self) -> None:
        if self.state is None:
            return
        ago_s = {name: self.now() - at_s for name, at_s in self._changed_at_s.items()}
        content = {
            "rule": self.rule.remembered(),
            "changed_at": {name: self.wall() - one for name, one in ago_s.items()},
            "ruled": self._fallbacks.ruled,
            "back_off": self.rollouts.back_off.remembered(),
        }
        if self.elector is None:  # else it is handed over with the lease
            content["set_backs"] = self.set_backs.remembered()
        with self._unsaved.told():
            write_text(json.dumps(content), self.state)

    def _restore(self) -> None:
        kept = load_state(self.state) if self.state is not None else {}
        if not kept:
            return
        try:
            self._changed_at_s = {  # no longer ago, nor later, than the clock says that was set meanwhile
                str(name): self.now() - max(self.wall() - float(at_s), 0.0)
                for name, at_s in kept["changed_at"].items()
            }
            self.rule.remember(kept["rule"])
            self._fallbacks.ruled = kept.get("ruled") is True
            if self.elector is None and "set_backs" in kept:
                self.set_backs.remember(kept["set_backs"], asked=True)
            if "back_off" in kept:
                self.rollouts.back_off.remember(kept["back_off"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            file = {"file": str(self.state)}
            LOG.warning("the state is unreadable, starting fresh: %s", error, extra=file)
