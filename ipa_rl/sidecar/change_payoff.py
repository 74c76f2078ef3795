"""A change must pay for what it costs: new replicas of another variant or batch size are paid as they start.

What a decision asks for is compared with running on: the same variant and batch size, with as many replicas
as the load needs. It is carried out where that is not possible, and where what it is better by within a
horizon exceeds the cores that are paid twice until its replicas are ready. A steady load with its chance ups
and downs makes an optimum change for a gain of next to nothing; each time pods are replaced for it.

Pure functions, for the sidecar's guard and for what its agents would have done in shadow mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.agents.protocol import Agent, AsksLater, Decision, State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, Records
from ipa_rl.objective import Problem, cost_cores, latency_budget, meets_sla, objective, stage_loads_rps
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.guard import Guarded
from ipa_rl.sidecar.model_estimate import rate_rps, replicas_for
from ipa_rl.simulation import decode

HORIZON_STARTS = 4.0
"""The horizon, by default, in longest start-up delays, an interval added to each."""


def default_horizon_s(definition: Definition, interval_s: float) -> float:
    """Seconds within which a change must pay; so that a pipeline that starts slowly looks further ahead."""
    slowest_s = max(v.start_up_s for stage in definition.pipeline.stages for v in stage.variants)
    return HORIZON_STARTS * (slowest_s * definition.timing.start_up_scale + interval_s)


@dataclass(frozen=True, slots=True)
class ChangePayoff:
    """The rule. ``problem``: the pipeline with its true delays, and what stages may cost in all.

    ``horizon_s``: within which a change must pay. ``core_budget``: cores of the whole pipeline, None for any.
    """

    problem: Problem
    horizon_s: float
    start_up_scale: float = 1.0
    core_budget: int | None = None

    def worthwhile(
        self,
        wanted: Configuration,
        serving: Sequence[StageConfig | None],
        planned_rps: float,
        queued: FloatArray,
    ) -> Guarded:
        """The decision, stages that had better run on left as they are, and in words which these are.

        ``serving``: what each stage is asked for, None where something else serves still, or that is not
        known. ``planned_rps``: the load that the decision is planned for. ``queued``: requests that wait by
        stage; they are to be worked off within the horizon.
        """
        stages = self.problem.pipeline.stages
        staying = list(wanted.stages)
        if math.isnan(planned_rps):
            return Guarded(wanted)
        loads_rps = stage_loads_rps(self.problem.pipeline, wanted, planned_rps)
        for s, (stage, now, then) in enumerate(zip(stages, serving, wanted.stages, strict=True)):
            if now is not None and (now.variant, now.batch) != (then.variant, then.batch):
                needed_rps = max(
                    loads_rps[s] + float(queued[s]) / self.horizon_s,
                    (then.replicas - 1) * rate_rps(stage, then),  # more than that was asked for
                )
                staying[s] = replace(now, replicas=replicas_for(needed_rps, rate_rps(stage, now)))
        if staying == list(wanted.stages):
            return Guarded(wanted)
        found = wanted
        each = range(len(stages))
        for those in (each, *([s] for s in each)):  # all of them; where that is not possible, one by one
            other = Configuration(tuple(staying[s] if s in those else found.stages[s] for s in each))
            if self._possible(other, planned_rps) and not self._pays(other, found, serving):
                found = other
        edits = (
            f"{stage.name}: runs on, {one.replicas} x {one.variant} at batch {one.batch}, as {then.variant} "
            f"at batch {then.batch} does not pay for its start within {self.horizon_s:.0f} s"
            for stage, one, then in zip(stages, found.stages, wanted.stages, strict=True)
            if one != then
        )
        return Guarded(found, tuple(edits))

    def checked(self, state: State, decision: Decision) -> Decision:
        """An agent's decision, as far as it pays."""
        serving = serving_of(self.problem, state.fleet)
        found = self.worthwhile(decision.configuration, serving, decision.planned_rps, state.queued)
        return replace(decision, configuration=found.configuration)

    def _possible(self, configuration: Configuration, planned_rps: float) -> bool:
        """Whether the limits and, at the load that is planned for, the SLA hold."""
        problem, most = self.problem, self.core_budget
        return (
            all(one.replicas <= problem.max_replicas for one in configuration.stages)
            and (most is None or cost_cores(problem.pipeline, configuration) <= most)
            and meets_sla(problem, latency_budget(problem, configuration, planned_rps))
        )

    def _pays(
        self, staying: Configuration, changed: Configuration, serving: Sequence[StageConfig | None]
    ) -> bool:
        """Whether changing is better within the horizon than staying, for all that it costs more."""
        gain = objective(self.problem, changed) - objective(self.problem, staying)
        more_core_s = self._start_core_s(changed, serving) - self._start_core_s(staying, serving)
        return gain * self.horizon_s > self.problem.weights.beta * more_core_s

    def _start_core_s(self, wanted: Configuration, serving: Sequence[StageConfig | None]) -> float:
        """Cores times seconds that are paid before what is wanted serves."""
        each = zip(self.problem.pipeline.stages, serving, wanted.stages, strict=True)
        return self.start_up_scale * sum(start_core_s(stage, now, then) for stage, now, then in each)


def start_core_s(stage: Stage, serving: StageConfig | None, wanted: StageConfig) -> float:
    """Cores times seconds that are paid in a stage before what is wanted serves.

    All replicas of a variant that does not change in place, or of a batch size that is set at the start;
    else those that are more than before.
    """
    variant = stage.variant(wanted.variant)
    new = wanted.replicas
    if serving is not None:
        renamed, resized = serving.variant != wanted.variant, serving.batch != wanted.batch
        if not (renamed and math.isinf(variant.reload_s)) and not (resized and stage.cold_batch):
            new = max(wanted.replicas - serving.replicas, 0)
    return new * variant.cost_cores * variant.start_up_s


def serving_of(problem: Problem, fleet: Records) -> tuple[StageConfig | None, ...]:
    """What each stage of FLEET records is asked for, None where something else serves still."""
    rows = np.stack([fleet["target"], fleet["target_batch"], fleet["wanted"]], axis=1)
    asked = decode(problem, rows).stages
    settled = (fleet["active"] == fleet["target"]) & (fleet["batch"] == fleet["target_batch"])
    return tuple(one if whole else None for one, whole in zip(asked, settled.tolist(), strict=True))


@dataclass(frozen=True)
class CheckedAgent:
    """An agent whose decisions pass a check: what of them may be asked for, or what else is."""

    agent: Agent
    check: Callable[[State, Decision], Decision]

    @property
    def name(self) -> str:
        """The agent's."""
        return self.agent.name

    def decide(self, state: State) -> Decision:
        """The agent's decision as the check leaves it."""
        return self.check(state, self.agent.decide(state))

    def catch_up(self, within_s: float) -> None:
        """The agent's, if it has any."""
        if isinstance(self.agent, AsksLater):
            self.agent.catch_up(within_s)
