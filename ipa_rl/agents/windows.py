"""Opponents over many windows at once, in the fluid simulator."""

from __future__ import annotations

import numpy as np

from ipa_rl.agents.opponents import PLANNING, WINDOW_S, Opponent, build, system_definition
from ipa_rl.agents.program import margined
from ipa_rl.agents.protocol import State
from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.environment.batch import Decide, Figures, play_windows
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import forecast_series, make_forecaster
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import windows


def validation_arrivals(part_windows: int | None = None) -> FloatArray:
    """The validation windows, (windows, HISTORY_S + WINDOW_S) requests in each second."""
    whole = windows("validation", WINDOW_S, HISTORY_S)[:part_windows]
    return np.stack([window.arrivals for window in whole]).astype(np.float64)


def forecasts(definition: Definition, name: str, arrivals: FloatArray) -> FloatArray:
    """Forecasts of that name at every decision of every window, (windows, steps)."""
    every_s = definition.settings.interval_s
    return np.stack(
        [forecast_series(make_forecaster(name, one), one, HISTORY_S, every_s) for one in arrivals]
    )


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


def play_planned(definition: Definition, system: str, planned: FloatArray, arrivals: FloatArray) -> Figures:
    """A planning system with loads (windows, steps) to plan for; ``arrivals``: (windows, seconds)."""
    rows = planned_rows(definition, system, planned)
    return play_windows(definition, arrivals, lambda _, step: rows[:, step])


def play_opponent(definition: Definition, opponent: Opponent, arrivals: FloatArray) -> Figures:
    """A tuned opponent over the windows."""
    if opponent.system in PLANNING:
        expected = forecasts(definition, opponent.forecaster, arrivals)
        planned = planned_loads(opponent, expected)
        return play_planned(definition, opponent.system, planned, arrivals)
    return play_windows(definition, arrivals, agents_decide(definition, opponent, arrivals))


def agents_decide(definition: Definition, opponent: Opponent, arrivals: FloatArray) -> Decide:
    """One Agent for each window, each asked with its own state."""
    agents = [build(definition, opponent, one) for one in arrivals]
    interval_s = definition.settings.interval_s

    def decide(episodes: Episodes, step: int) -> IntArray:
        queued, fleet = episodes.simulator.waiting(), episodes.simulator.fleet
        now = HISTORY_S + step * interval_s
        decisions = [
            agent.decide(State(arrivals[w, :now], fleet[w], queued[w])).configuration
            for w, agent in enumerate(agents)
        ]
        return np.stack([encode(definition.problem, one) for one in decisions])

    return decide
