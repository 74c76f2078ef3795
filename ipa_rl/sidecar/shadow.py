"""Shadow mode: what others would have done with the live load, side by side in the fluid simulator.

Each contender runs a pipeline of its own in the simulator, which serves the loads that were measured; so does
the present configuration, that of whoever drives the real pipeline (the cluster's autoscaler, or the agent
once it acts). All three are judged by the same model, so their difference owes nothing to what the model gets
wrong for all of them. How wrong it is shows elsewhere: the present one's prediction is compared with what is
measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipa_rl.agents.protocol import Agent, State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import summarize
from ipa_rl.jit import FloatArray, IntArray, Record
from ipa_rl.simulation import FluidSimulator, encode
from ipa_rl.simulation.accounting import SUMS, latency_quantile_s

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
class Errors:
    """How far predictions were off, as shares; NaN where there is nothing to compare.

    ``load``: highest load of the interval beyond the one planned for. ``capacity``: ready capacity of the
    stage where it is furthest from the predicted one. ``latency``: measured 99th percentile likewise.
    """

    load: float = float("nan")
    capacity: float = float("nan")
    latency: float = float("nan")


@dataclass(frozen=True, slots=True)
class Compared:
    """One interval of all contenders, PRESENT among them, and the errors of the model."""

    seconds: int
    accounts: Mapping[str, Account]
    errors: Errors


class Shadow:
    """Contenders by name, each in a simulated pipeline of its own, and PRESENT."""

    def __init__(self, definition: Definition, contenders: Mapping[str, Agent]) -> None:
        self.definition = definition
        self._contenders = dict(contenders)
        self._simulator = FluidSimulator(definition.problem, definition.timing, len(contenders) + 1)
        self._rows: IntArray = np.zeros((0, 0, 3), dtype=np.int64)
        self._started = False
        self._planned_rps = float("nan")

    def restart(self) -> None:
        """Begin anew at the next interval: what was in between was not seen."""
        self._started = False

    def interval(
        self,
        state: State,
        present: IntArray,
        loads: FloatArray,
        measured_p99_s: float | None = None,
        overdue: Sequence[bool] = (),
    ) -> Compared | None:
        """The ``loads`` (seconds,) since the last call have been served; then all decide anew.

        ``present``: rows (stages, 3) that the real pipeline is asked for now. None at the beginning, when all
        start from it as it really is. ``overdue``, by stage: replicas should be ready by now and are not.
        Then PRESENT, and whoever asks for the same variant, has what really serves, and no more gets ready.
        """
        simulator, compared = self._simulator, None
        if self._started:
            simulator.advance(np.repeat(loads[None], len(self._contenders) + 1, axis=0))
            accounts = {
                name: self._account(simulator.totals[e])
                for e, name in enumerate([*self._contenders, PRESENT])
            }
            errors = self._errors(state, loads, accounts[PRESENT].p99_s, measured_p99_s)
            compared = Compared(len(loads), accounts, errors)
            simulator.clear_totals()
        else:
            for e in range(len(self._contenders) + 1):
                simulator.reset(e, present)
                simulator.fleet[e] = state.fleet
            self._rows = np.repeat(present[None], len(self._contenders) + 1, axis=0)
            self._started = True
        late = [s for s, one in enumerate(overdue) if one]
        present = self._as_seen(state, present, late)
        self._rows = self._decisions(state, present)
        simulator.apply(self._rows)
        self._keep(state, late)
        return compared

    def follow(self, present: IntArray, kept: Sequence[bool] = ()) -> None:
        """The real pipeline is asked for ``present`` from this moment on, as it was told just now.

        ``kept``, by stage: it was asked for that before, and is overdue.
        """
        if self._started:
            for s, row in enumerate(present):
                if not (kept and kept[s]):
                    self._rows[-1, s] = row
            self._simulator.apply(self._rows)

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
            rows.append(encode(self.definition.problem, decision.configuration))
        return np.stack([*rows, present])

    def _account(self, totals: Record) -> Account:
        figures = summarize(self.definition.weights, {name: float(totals[name]) for name in SUMS})
        return Account(**figures, p99_s=latency_quantile_s(totals["histogram"], 0.99))

    def _errors(
        self, state: State, loads: FloatArray, predicted_p99_s: float, measured_p99_s: float | None
    ) -> Errors:
        planned = max(self._planned_rps, 1.0)
        predicted, seen = self._capacities(self._simulator.fleet[-1]), self._capacities(state.fleet)
        off = np.abs(seen - predicted) / np.maximum(predicted, 1e-9)
        latency = float("nan")
        if measured_p99_s is not None and predicted_p99_s > 0:
            latency = abs(measured_p99_s - predicted_p99_s) / predicted_p99_s
        return Errors(max(float(loads.max()) / planned - 1.0, 0.0), float(off.max()), latency)

    def _capacities(self, fleet: Record) -> FloatArray:
        """Requests a second of each stage's ready replicas, (stages,)."""
        chosen = self._simulator.variants[np.arange(len(fleet)), fleet["active"]]
        rates = np.take_along_axis(chosen["rate_rps"], fleet["batch"][:, None], axis=1)[:, 0]
        return np.asarray(fleet["ready"] * rates, dtype=np.float64)
