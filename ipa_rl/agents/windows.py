"""Opponents over many windows at once, in the fluid simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipa_rl.agents.opponents import PLANNING, WINDOW_S, Opponent, build, system_definition
from ipa_rl.agents.program import margined
from ipa_rl.agents.protocol import State
from ipa_rl.environment.batch import Decide, Figures, play_windows
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import forecast_series, make_forecaster
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window, scaled, windows


def validation_windows(definition: Definition, most: int | None = None) -> list[Window]:
    """The validation windows at the workload's scale, all or the first of them."""
    found = windows("validation", WINDOW_S, HISTORY_S)[:most]
    return [scaled(one, definition.workload.scale) for one in found]


def forecasts(definition: Definition, name: str, stretches: Sequence[Window]) -> FloatArray:
    """Forecasts of that name at every decision of every window, (windows, steps)."""
    every_s = definition.timing.interval_s
    return np.stack([forecast_series(make_forecaster(name, one.arrivals), one, every_s) for one in stretches])


def planned_loads(opponent: Opponent, expected: FloatArray) -> FloatArray:
    """What a planning opponent plans for, given its forecasts, (windows, steps)."""
    flat = [margined(one, opponent.margin) for one in expected.ravel().tolist()]
    return np.array(flat).reshape(expected.shape)


def planned_rows(definition: Definition, system: str, planned: FloatArray) -> IntArray:
    """Decisions (windows, steps, stages, 3) of a planning system for its planned-for loads."""
    solver = system_definition(definition, system)
    loads, where = np.unique(planned, return_inverse=True)
    rows = np.stack([encode(definition.problem, solver.best_for(load)) for load in loads.tolist()])
    return rows[where.reshape(planned.shape)]


def play_planned(
    definition: Definition, system: str, planned: FloatArray, stretches: Sequence[Window]
) -> Figures:
    """A planning system with loads (windows, steps) to plan for."""
    rows = planned_rows(definition, system, planned)
    return play_windows(definition, stretches, lambda _, step: rows[:, step])


def play_opponent(definition: Definition, opponent: Opponent, stretches: Sequence[Window]) -> Figures:
    """A tuned opponent over the windows."""
    if opponent.system in PLANNING:
        expected = forecasts(definition, opponent.forecaster, stretches)
        planned = planned_loads(opponent, expected)
        return play_planned(definition, opponent.system, planned, stretches)
    return play_windows(definition, stretches, agents_decide(definition, opponent, stretches))


def agents_decide(definition: Definition, opponent: Opponent, stretches: Sequence[Window]) -> Decide:
    """One Agent for each window, each asked with its own state."""
    agents = [build(definition, opponent, one.arrivals) for one in stretches]
    interval_s = definition.timing.interval_s

    def decide(episodes: Episodes, step: int) -> IntArray:
        queued, fleet = episodes.simulator.waiting(), episodes.simulator.fleet
        passed_s = step * interval_s
        decisions = [
            agent.decide(_state(stretches[w], passed_s, fleet[w], queued[w])).configuration
            for w, agent in enumerate(agents)
        ]
        return np.stack([encode(definition.problem, one) for one in decisions])

    return decide


def _state(window: Window, passed_s: int, fleet: Records, queued: FloatArray) -> State:
    """What is seen so many seconds after the window's history."""
    arrivals = window.arrivals[: window.history_s + passed_s].astype(np.float64)
    return State(arrivals, fleet, queued, clock_s=float(window.clock_s + passed_s))
