"""A pipeline in the fluid simulator, behind the same seam as a real cluster."""

from __future__ import annotations

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.compiled import FloatArray, Records
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.observation import planned_load
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation import FluidSimulator, encode


class SimulatedCluster:
    """Serves ``arrivals`` (requests in each second), of which the first ``history_s`` have passed.

    Starts at the optimum for the load seen last, ready. `wait` lets an adaptation interval pass.
    """

    def __init__(self, definition: Definition, arrivals: FloatArray, history_s: int) -> None:
        self.definition = definition
        self.arrivals = np.asarray(arrivals, dtype=np.float64)
        self.now = history_s
        self.simulator = FluidSimulator(definition.problem, definition.settings)
        load = planned_load(self.arrivals[:history_s], definition.load_window_s)
        self.simulator.reset(0, definition.rows_for(load))

    def observe(self) -> State:
        """Loads up to now, replicas and queues."""
        return State(self.arrivals[: self.now], self.simulator.fleet[0], self.simulator.waiting()[0])

    def apply(self, configuration: Configuration) -> None:
        """Begin to move to a configuration."""
        self.simulator.apply(encode(self.definition.problem, configuration)[None])

    def wait(self) -> Records:
        """Serve one adaptation interval; what happened in it (TOTALS)."""
        interval_s = self.definition.settings.interval_s
        self.simulator.clear_totals()
        self.simulator.advance(self.arrivals[None, self.now : self.now + interval_s])
        self.now += interval_s
        happened: Records = self.simulator.totals.copy()[0]
        return happened

    def ended(self) -> bool:
        """Whether too few arrivals are left for another interval."""
        return self.now + self.definition.settings.interval_s > len(self.arrivals)
