"""The sidecar: the loop of `ipa_rl.agents.loop` over a live cluster, and what is told about it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.agents.loop import Step, control
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, State
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import one_line
from ipa_rl.live.cluster import ClusterError, LiveCluster
from ipa_rl.live.deadlines import Deadline
from ipa_rl.live.set_backs import SetBacks
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar import decision_log as entries
from ipa_rl.sidecar.announcements import EventSink, Teller
from ipa_rl.sidecar.backoff import GivenUp, Patience
from ipa_rl.sidecar.change_payoff import Paying, PayingAgent
from ipa_rl.sidecar.deciding_agents import Restrained
from ipa_rl.sidecar.decision_log import EntryLog
from ipa_rl.sidecar.fallbacks import FAULTS, Fallbacks, Missing, Sight, UndecidedError
from ipa_rl.sidecar.guard import Guarded, Limits, guarded
from ipa_rl.sidecar.guarded_cluster import Driven
from ipa_rl.sidecar.handover import inherit, leave
from ipa_rl.sidecar.leader import Elector
from ipa_rl.sidecar.model_estimate import Worth, worth
from ipa_rl.sidecar.orders import Order, Orders
from ipa_rl.sidecar.promotion import ACT, Rule, load_state, save_state
from ipa_rl.sidecar.rollouts import Rollouts
from ipa_rl.sidecar.shadow import Compared, Shadow
from ipa_rl.sidecar.step_metrics import Watch
from ipa_rl.simulation import encode

LOG = logging.getLogger(__name__)

STEP_S = 30.0
"""All that a step asks outside ends within so many seconds, together.

So a loop that turns is never taken for one that is stuck."""

LEASE_MARGIN_S = 2.0
"""Nothing is written where the lease might be lost sooner than this or a third of the renew deadline."""


@dataclass
class Sidecar:
    """One copy of the controller. `run` from the main thread; everything else is for its loop.

    ``agents``: in the order in which they are asked, the first is that which is promoted and demoted.
    ``program``: what it is compared with. ``elector``: None where there is one copy only. ``logs``: are told
    of every step. ``events``, ``state``: None where they are not wanted. ``orders``: what people ask for
    meanwhile. ``latency``: the measured 99th percentile, seconds. ``patience``: with replicas that do not
    become ready. ``dry_run``: nothing is ever written. ``deadline``: holds for all that a step asks outside.
    ``set_backs``: what the cluster remembers of other writers. ``paying``: what a change must pay; None where
    it need not.
    """

    definition: Definition
    cluster: LiveCluster
    agents: tuple[Agent, ...]
    program: ProgramAgent
    limits: Limits
    missing: Missing
    rule: Rule
    watch: Watch
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
    paying: Paying | None = None
    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    steps: int = field(init=False, default=0)
    failures: int = field(init=False, default=0)
    driven: Driven = field(init=False)
    rollouts: Rollouts = field(init=False)
    _fallbacks: Fallbacks = field(init=False)
    _program: Restrained = field(init=False)
    _shadow: Shadow = field(init=False)
    _edits: tuple[str, ...] = field(init=False, default=())
    _compared: Compared | None = field(init=False, default=None)
    _seen_at: float | None = field(init=False, default=None)
    _latency_s: float | None = field(init=False, default=None)
    _teller: Teller = field(init=False)
    _order: Order | None = field(init=False)
    _names: tuple[str, ...] = field(init=False)
    _unsaved: entries.Trouble = field(init=False)
    _failed_last: int = field(init=False, default=0)
    _unknown: list[str] = field(init=False, default_factory=list)
    _given_up: list[GivenUp] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._order = self.orders.current
        self.driven = Driven(
            self.cluster, self.definition.problem, self.withheld, self.orders.paused, self.now
        )
        self.rollouts = Rollouts(self.definition, self.patience, self.now)
        back_off = self.rollouts.back_off
        restrained = [Restrained(agent, self.program, back_off) for agent in self.agents]
        self._program = Restrained(self.program, self.program, back_off)
        self._fallbacks = Fallbacks(
            agents=restrained,
            missing=self.missing,
            sight=self.driven.sight,
            ordered=self.orders.held,
            acts=lambda: not self.withheld(),
            now=self.now,
        )
        self._names = tuple(stage.name for stage in self.definition.pipeline.stages)
        self._teller = Teller(self.events, self._names)
        contenders: dict[str, Agent] = {"agent": restrained[0], "program": self._program}
        if self.paying is not None:
            contenders = {name: PayingAgent(agent, self.paying) for name, agent in contenders.items()}
        self._shadow = Shadow(self.definition, contenders)
        self._unsaved = entries.Trouble("the state", self.state or Path())
        self._restore()

    def run(self, wait: Callable[[], bool]) -> None:
        """Step until ``wait``, which waits for the next moment, says that it is over."""
        control(
            self._fallbacks,
            self,
            self.definition.problem,
            wait,
            self._record,
            hold=self._fallbacks.hold,
            check=self._check,
            failed=self._failed,
        )

    def withheld(self) -> str:
        """Why nothing may be written now; empty where it may."""
        if self.dry_run:
            return "dry run"
        if self.rule.mode != ACT:
            return f"shadow mode: {self.rule.reason}"
        if self.elector is None:
            return ""
        margin_s = min(LEASE_MARGIN_S, self.elector.election.renew_s / 3.0)
        return "" if self.elector.leads(for_s=margin_s) else f"{self.elector.holder or 'nobody'} leads"

    def observe(self) -> State:
        """What is seen now; the interval that has passed is compared. Raises ClusterError."""
        self.deadline.restart(STEP_S)
        if self.elector is not None:
            inherit(self.set_backs, self.elector)
        if self.orders.current != self._order:
            self.set_backs.forget()
        with self.deadline.holds():
            state = self._delivered(self.driven.observe())
            self._latency_s = self.latency()
        self._compare(state)
        return state

    def apply(self, configuration: Configuration) -> None:
        """Carry out, or only plan. Raises ClusterError."""
        if self._fallbacks.keeps:
            self.set_backs.asked.clear()  # while nothing is written here others may
        with self.deadline.holds():
            self.driven.apply(configuration, self._fallbacks.keeps)

    def _delivered(self, state: State) -> State:
        """What was asked for and did not come is told, and given up after a while; the state of what did."""
        driven = self.driven
        assert driven.seen is not None
        free = not (driven.paused() or self.orders.held() or driven.sight().stale)
        for one in self.rollouts.look(driven.seen.stages, driven.present, free):
            LOG.warning("given up: %s", one.told)
            self._given_up.append(one)
        return replace(state, fleet=self.rollouts.facts(state.fleet))

    def _check(self, configuration: Configuration, state: State) -> Configuration:
        self._edits = ()
        if self._fallbacks.keeps or self.orders.held():
            return configuration
        now = self.driven.now()
        now = replace(now, present=self.rollouts.within(now.present))
        problem = self.rollouts.back_off.definition.problem
        paid = self._paid(configuration, state)
        found = guarded(problem, self.limits, paid.configuration, now)
        served = Configuration(tuple(filter(None, self.rollouts.within(found.configuration.stages))))
        given_up = self.rollouts.back_off.excess(found.configuration)
        words = (f"held to what serves, as it was given up: {given_up}",) if given_up else ()
        self._edits = (*paid.edits, *found.edits, *words)
        return served

    def _paid(self, configuration: Configuration, state: State) -> Guarded:
        """The decision, less what does not pay for its start."""
        if self.paying is None:
            return Guarded(configuration)
        serving = self.driven.serving()
        return self.paying.checked(configuration, serving, self._fallbacks.planned_rps, state.queued)

    def _compare(self, state: State) -> None:
        """The loads since the last step, simulated for all contenders; who is in control from now on."""
        self._compared = None
        sight, now = self.driven.sight(), self.now()
        known = [stage for stage in sight.present if stage is not None and stage.replicas > 0]
        whole = len(known) == len(sight.present)
        self._tell_unknown(sight)
        if sight.stale or state.stale or not whole or not np.isfinite(state.history_rps).all():
            self._shadow.restart()
            self._seen_at = None
            return
        passed_s = round(now - self._seen_at) if self._seen_at is not None else 0
        if passed_s > len(state.history_rps):
            self._shadow.restart()
        self._seen_at = now
        present = encode(self.definition.problem, Configuration(tuple(known)))
        loads = state.history_rps[len(state.history_rps) - max(passed_s, 1) :]
        try:
            overdue = [one is not None for one in self.rollouts.overdue]
            self._compared = self._shadow.interval(state, present, loads, self._latency_s, overdue)
        except FAULTS as error:  # a contender failed; deciding falls back by itself
            LOG.error("the comparison failed", extra={"error": str(error)}, exc_info=True)
            self._shadow.restart()
            return
        if self._compared is not None and self.rule.update(self._compared):
            LOG.warning("control changes hands", extra={"to": self.rule.mode, "reason": self.rule.reason})
            self.watch.handed_over(self.rule.mode)

    def _tell_order(self) -> None:
        """An order that is new is told, where this copy is in control."""
        order = self.orders.current
        new, self._order = order != self._order, order
        if new and order is not None and not self.withheld():
            self._teller.ordered(order)

    def _tell_unknown(self, sight: Sight) -> None:
        """Say once why shadow mode compares nothing where a stage asks for what the profile does not know."""
        unknown = [name for name, one in zip(self._names, sight.present, strict=True) if one is None]
        if unknown and unknown != self._unknown and self.rule.mode != ACT:
            names, fix = ", ".join(unknown), "set both in the object, as the profile names them"
            LOG.warning("nothing is compared: variant or batch size of %s is not known; fix: %s", names, fix)
        self._unknown = unknown

    def _record(self, step: Step) -> None:
        self.steps += 1
        if self._failed_last:
            LOG.warning("steps succeed again", extra={"failed": self._failed_last})
            self._failed_last = 0
        driven = self.driven
        assert driven.seen is not None
        assert driven.applied is not None
        acted = not driven.why_not
        if acted:
            done = not (driven.applied.refused or driven.applied.waiting)
            self._fallbacks.carried_out(step.decision, step.applied, done)
        entry = self._entry(step)
        self.watch.stepped(step, entry, driven, self._compared, self.rule)
        self._teller.stepped(entry)
        with self.deadline.holds():
            self._tell_order()
            if acted:
                self._follow(driven.applied.configuration)
                self._teller.changed(entry, driven.applied, self._given_up)
        if driven.paused():
            self.set_backs.forget()
        if self.elector is not None:
            leave(self.set_backs, self.elector)
        asked = driven.applied.configuration.stages
        self.rollouts.ordered(asked if acted else [None] * len(asked))
        self._given_up.clear()
        self._write(entry)
        self._save()

    def _write(self, entry: dict[str, Any]) -> None:
        for log in self.logs:
            log.write(entry)

    def _follow(self, asked: Configuration) -> None:
        """The present one among the contenders is what was asked for just now."""
        pairs = zip(self.rollouts.served(asked).stages, asked.stages, strict=True)
        try:
            self._shadow.follow(encode(self.definition.problem, asked), [a != b for a, b in pairs])
        except (LookupError, ValueError):  # a variant or batch size that the profile does not know
            self._shadow.restart()

    def _entry(self, step: Step) -> dict[str, Any]:
        """The decision log's line."""
        driven, problem = self.driven, self.definition.problem
        assert driven.seen is not None
        state = driven.seen.state
        load = driven.load_rps()
        asked = driven.applied.configuration if driven.applied and not driven.why_not else step.applied
        own = worth(self.definition, self.rollouts.served(asked), load, asked)
        forecast, program = self._programs_choice(state, load, own)
        entry: dict[str, Any] = {
            "version": entries.VERSION,
            "time": entries.timestamp(self.wall()),
            "step": self.steps,
            "environment": self.definition.name,
            "mode": self.rule.mode,
            "mode_reason": self.rule.reason,
            "leader": self.elector is None or self.elector.leads(),
            **entries.seen_entry(driven.seen, load),
            "latency_p99_s": math.nan if self._latency_s is None else self._latency_s,
            **self.rollouts.entry(),
            **entries.decided_entry(step, self._by(step), self._edits, forecast),
            **entries.applied_entry(driven.applied, driven.why_not, driven.apply_s),
            "worth": entries.worth_entry(own, problem.sla_s),
            "program": program,
        }
        if self._compared is not None:
            entry["shadow"] = entries.shadow_entry(self._compared)
        return entry

    def _by(self, step: Step) -> str:
        """Who decided: the agent, the program for it, or nobody."""
        fallback = step.decision.fallback
        if fallback.startswith("held"):
            return "held"
        alone = self.agents[0] is self.program
        return "program" if fallback or alone else self.agents[0].name

    def _programs_choice(self, state: State, load: float, own: Worth) -> tuple[float, dict[str, Any] | None]:
        """The program's forecast, what it would have chosen and how much worse that is by the model."""
        if math.isnan(load) or not np.isfinite(state.history_rps).all():
            return math.nan, None
        try:
            forecast = self.program.forecaster.forecast(state.history_rps, state.clock_s)
            decision = self._program.decide(state)
        except FAULTS as error:
            LOG.error("the program failed", extra={"error": str(error)}, exc_info=True)
            return math.nan, None
        programs = worth(self.definition, decision.configuration, load)
        content = entries.program_entry(decision.configuration, decision.planned_rps, own, programs)
        return forecast, content

    def _failed(self, error: Exception) -> None:
        """A step failed: the cluster keeps what it has, and the next step tries again."""
        self.failures += 1
        self._failed_last += 1
        self._shadow.restart()
        self._seen_at = None
        kinds = {ClusterError: "cluster", UndecidedError: "undecided"}
        kind = next((name for one, name in kinds.items() if isinstance(error, one)), "internal")
        LOG.log(
            logging.ERROR if kind == "internal" else logging.WARNING,
            "the step failed, the cluster keeps what it has: %s",
            error,
            extra={"kind": kind},
            exc_info=kind == "internal",
        )
        self.watch.failed(kind)
        entry = {"failed": kind, "problem": one_line(str(error))}
        self._write({"version": entries.VERSION, "time": entries.timestamp(self.wall()), **entry})

    def _save(self) -> None:
        if self.state is None:
            return
        content = {
            "rule": self.rule.remembered(),
            "changed_at": {
                name: self.wall() - (self.now() - at_s) for name, at_s in self.driven.changed_at.items()
            },
            "ruled": self._fallbacks.ruled,
            "back_off": self.rollouts.back_off.remembered(),
        }
        if self.elector is None:  # else it is handed over with the lease
            content["set_backs"] = self.set_backs.remembered()
        with self._unsaved.told():
            save_state(self.state, content)

    def _restore(self) -> None:
        kept = load_state(self.state) if self.state is not None else {}
        if not kept:
            return
        try:
            self.driven.changed_at = {  # no longer ago, nor later, than the clock says that was set meanwhile
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
            LOG.warning(
                "the state makes no sense, it begins anew: %s", error, extra={"file": str(self.state)}
            )
