"""Episodes of many environments side by side; Gymnasium's two interfaces are thin layers over this."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.environment.action import decode_actions
from ipa_rl.environment.arrivals import sample_arrivals
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.observation import (
    HISTORY_S,
    observation_names,
    observe_all,
    planned_load,
    variant_and_batch_counts,
)
from ipa_rl.environment.reward import (
    active_score,
    interval_utility,
    optimum_by_load,
    shaping_term,
    summarize,
)
from ipa_rl.simulation import FluidSimulator
from ipa_rl.simulation.accounting import TOTALS

_SUMS = [name for name in TOTALS.names or () if name != "histogram"]


class Episodes:
    """Environments that advance together, each with arrivals, clock and random generator of its own.

    ``loads``: (environments, HISTORY_S + episode) requests a second; the first HISTORY_S have passed
    when the episode begins. ``planned``: the loads that the next actions are counted for.
    ``episode_totals``: sums since each episode's start.
    """

    def __init__(self, definition: Definition, environments: int) -> None:
        self.definition = definition
        self.environments = environments
        self.simulator = FluidSimulator(definition.problem, definition.settings, environments)
        self.episode_s = definition.workload.episode_s
        self.loads: FloatArray = np.zeros((environments, HISTORY_S + self.episode_s))
        self.planned: FloatArray = np.ones(environments)
        self.observations: NDArray[np.float32] = np.zeros(
            (environments, len(observation_names(definition.problem))), dtype=np.float32
        )
        self.episode_totals: FloatArray = np.zeros((len(_SUMS), environments))
        self._counts = variant_and_batch_counts(definition.problem)
        self._optimum = optimum_by_load(definition.problem)

    def reset(self, environment: int, rng: np.random.Generator) -> None:
        """Begin an episode with arrivals drawn from the definition's workload."""
        self.begin(environment, sample_arrivals(self.definition.workload, rng, HISTORY_S))

    def begin(self, environment: int, arrivals: FloatArray) -> None:
        """Begin an episode with these arrivals, history first, at the optimum for the planned-for load."""
        self.loads[environment] = arrivals
        load = planned_load(self.loads[environment, :HISTORY_S], self.definition.load_window_s)
        self.simulator.reset(environment, self.definition.rows_for(load))
        self.episode_totals[:, environment] = 0.0

    def observe(self) -> NDArray[np.float32]:
        """Observations (environments, entries), float32."""
        simulator = self.simulator
        observe_all(
            self.loads,
            self._now(),
            self.definition.load_window_s,
            simulator.fleet,
            simulator.queues,
            simulator.variants,
            self._counts,
            self.definition.problem.sla_s,
            self.planned,
            self.observations,
        )
        return self.observations.copy()

    def decisions(self, actions: IntArray) -> IntArray:
        """Decisions (environments, stages, 3) that the actions (environments, 3 * stages) stand for."""
        limit = self.definition.problem.max_replicas
        return decode_actions(actions, self.planned, self.simulator.variants, limit)

    def step(self, decisions: IntArray) -> FloatArray:
        """One adaptation interval under these decisions; returns the rewards (environments,)."""
        simulator, interval_s = self.simulator, self.definition.settings.interval_s
        simulator.apply(decisions)
        simulator.clear_totals()
        seconds = self._now()[:, None] + np.arange(interval_s)
        simulator.advance(np.take_along_axis(self.loads, seconds, axis=1))
        for row, name in enumerate(_SUMS):
            self.episode_totals[row] += simulator.totals[name]
        return self._rewards()

    def ended(self) -> NDArray[np.bool_]:
        """Whose arrivals are over, (environments,)."""
        left_s = self.episode_s - self.simulator.clock
        return np.asarray(left_s < self.definition.settings.interval_s, dtype=np.bool_)

    def summary(self, environment: int) -> dict[str, float]:
        """The episode so far: utility, PAS x 100, mean cores, violated share."""
        sums = dict(zip(_SUMS, self.episode_totals[:, environment].tolist(), strict=True))
        return summarize(self.definition.weights, sums)

    def _rewards(self) -> FloatArray:
        weights, totals = self.definition.weights, self.simulator.totals
        idle = active_score(self.simulator.fleet, self.simulator.variants)
        rewards = interval_utility(weights, totals, idle)
        if self.definition.reward.shaping:
            rewards -= shaping_term(self._optimum, totals)
        return rewards * self.definition.reward.scale

    def _now(self) -> IntArray:
        return HISTORY_S + self.simulator.clock.astype(np.int64)
