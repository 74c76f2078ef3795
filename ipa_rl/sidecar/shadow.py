"""Shadow mode: what others would have done with the live load, side by side in the fluid simulator.

Each contender runs a pipeline of its own in the simulator, which serves the loads that were measured; so does
the present configuration, that of whoever drives the real pipeline (the cluster's autoscaler, or the agent
once it acts). All three are judged by the same model, so their difference owes nothing to what the model gets
wrong for all of them. How wrong it is shows elsewhere: the present one's prediction is compared with what is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipa_rl.agents.protocol import Agent, State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import summarize
from ipa_rl.jit import FloatArray, IntArray, Record
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.observed import Observed
from ipa_rl.simulation import FluidSimulator, encode
from ipa_rl.simulation.accounting import SUMS, latency_quantile_s
from ipa_rl.workload.steps import least_rps

PRESENT = "present"
"""Name of the present configuration among the contenders."""

NEVER_S = 1e9
"""Seconds left, in the simulator, of replicas that should be ready by now and are not."""


@dataclass(frozen=True, slots=True)
class Account:
    """What an interval came to, by the model. ``p99_s``: NaN where nothing was served."""

    utility: float
    pas_x100: float
    cores: float
    violations: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class ShadowErrors:
    """How far predictions were off, as shares; NaN where there is nothing to compare.

    ``load``: highest load of the interval beyond the one planned for. ``capacity``: ready capacity of the
    stage where it is furthest from the predicted one. ``latency``: measured 99th percentile likewise.
    """

    load: float = math.nan
    capacity: float = math.nan
    latency: float = math.nan


@dataclass(frozen=True, slots=True)
class Compared:
    """One interval of all contenders, PRESENT among them, and the errors of the model."""

    seconds: int
    accounts: Mapping[str, Account]
    errors: ShadowErrors


class Shadow:
    """Contenders by name, each in a simulated pipeline of its own, and PRESENT."""

    def __init__(self, definition: Definition, contenders: Mapping[str, Agent]) -> None:
        self._definition = definition
        self._contenders = dict(contenders)
        self._simulator = FluidSimulator(definition.problem, definition.timing, len(contenders) + 1)
        self._rows: IntArray = np.zeros((0, 0, 3), dtype=np.int64)
        self._compared_s: float | None = None
        self._planned_rps = math.nan

    def restart(self) -> None:
        """Start fresh at the next interval: what was in between was not seen."""
        self._compared_s = None

    def compare(self, observed: Observed, overdue: Sequence[bool], now_s: float) -> Compared | None:
        """What all made of the loads since the last call, by the model; then all decide again.

        None where the interval was not seen as a whole, and at the beginning, when all start from the real
        pipeline as it is. ``overdue``, by stage: replicas should be ready by now and are not. Then PRESENT,
        and whoever asks for the same variant, has what really serves, and no more gets ready.
        """
        known = [one for one in observed.present if one is not None and one.replicas > 0]
        if observed.stale or len(known) < len(observed.present):
            self.restart()
            return None
        state, history_rps = observed.state, observed.state.history_rps
        present = encode(self._definition.problem, Configuration(tuple(known)))
        passed_s = 0 if self._compared_s is None else round(now_s - self._compared_s)
        compared = None
        if self._compared_s is None or passed_s > len(history_rps):
            for e in range(len(self._contenders) + 1):
                self._simulator.reset(e, present)
                self._simulator.fleet[e] = state.fleet
            self._rows = np.repeat(present[None], len(self._contenders) + 1, axis=0)
        else:
            compared = self._interval(observed, history_rps[len(history_rps) - max(passed_s, 1) :])
        self._compared_s = now_s
        late = [s for s, one in enumerate(overdue) if one]
        self._rows = self._decisions(state, self._as_seen(state, present, late))
        self._simulator.apply(self._rows)
        self._keep(state, late)
        return compared

    def follow(self, asked: Configuration, serving: Configuration) -> None:
        """The real pipeline was asked for another configuration just now, of which this much is served.

        A stage of which they differ was asked for the same before, and is overdue.
        """
        if self._compared_s is None:
            return
        try:
            present = encode(self._definition.problem, asked)
        except (LookupError, ValueError):  # a variant or batch size that the profile does not know
            self.restart()
            return
        for s, (one, served) in enumerate(zip(asked.stages, serving.stages, strict=True)):
            if one == served:
                self._rows[-1, s] = present[s]
        self._simulator.apply(self._rows)

    def _interval(self, observed: Observed, loads: FloatArray) -> Compared:
        """All contenders serve ``loads`` (seconds,)."""
        simulator, names = self._simulator, [*self._contenders, PRESENT]
        simulator.advance(np.repeat(loads[None], len(names), axis=0))
        accounts = {}
        for name, totals in zip(names, simulator.totals, strict=True):
            figures = summarize(self._definition.weights, {one: float(totals[one]) for one in SUMS})
            accounts[name] = Account(**figures, p99_s=latency_quantile_s(totals["histogram"], 0.99))
        simulator.clear_totals()
        return Compared(len(loads), accounts, self._errors(observed, loads, accounts[PRESENT].p99_s))

    def _as_seen(self, state: State, present: IntArray, late: Sequence[int]) -> IntArray:
        """Those stages as they really are; ``present`` with what is really on its way there."""
        present = present.copy()
        for s in late:
            seen = state.fleet[s]
            same = self._rows[:, s, 0] == present[s, 0]
            same[-1] = True
            self._simulator.fleet[same, s] = seen
            present[s] = seen["target"], seen["target_batch"], seen["wanted"]
        return present

    def _keep(self, state: State, late: Sequence[int]) -> None:
        """Nothing more of those stages becomes ready, and what serves goes on as it does."""
        for s in late:
            fleet, seen = self._simulator.fleet[:, s], state.fleet[s]
            same = fleet["target"] == seen["target"]
            fleet["left_s"][same] = NEVER_S
            fleet["reload_left_s"][same & np.isfinite(fleet["reload_left_s"])] = NEVER_S
            fleet["batch"][same & (fleet["active"] == seen["active"])] = seen["batch"]

    def _decisions(self, state: State, present: IntArray) -> IntArray:
        queued, rows = self._simulator.waiting(), []
        for e, agent in enumerate(self._contenders.values()):
            fleet = self._simulator.fleet[e]
            decision = agent.decide(State(state.history_rps, fleet, queued[e], clock_s=state.clock_s))
            if e == 0:
                self._planned_rps = decision.planned_rps
            rows.append(encode(self._definition.problem, decision.configuration))
        return np.stack([*rows, present])

    def _errors(self, observed: Observed, loads: FloatArray, predicted_p99_s: float) -> ShadowErrors:
        planned_rps = max(self._planned_rps, least_rps(self._definition.step_s))
        predicted = self._capacities(self._simulator.fleet[-1])
        off = np.abs(self._capacities(observed.state.fleet) - predicted) / np.maximum(predicted, 1e-9)
        latency = math.nan
        if predicted_p99_s > 0:
            latency = abs(observed.latency_s - predicted_p99_s) / predicted_p99_s
        return ShadowErrors(max(float(loads.max()) / planned_rps - 1.0, 0.0), float(off.max()), latency)

    def _capacities(self, fleet: Record) -> FloatArray:
        """Requests a second of each stage's ready replicas, (stages,)."""
        chosen = self._simulator.variants[np.arange(len(fleet)), fleet["active"]]
        rates = np.take_along_axis(chosen["rate_rps"], fleet["batch"][:, None], axis=1)[:, 0]
        return np.asarray(fleet["ready"] * rates, dtype=np.float64)
