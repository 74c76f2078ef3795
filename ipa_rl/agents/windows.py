"""Whole windows at once in the fluid simulator: opponents and policies over many, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.agents.opponents import PLANNING, Opponent, build, system_definition
from ipa_rl.agents.policy import Policy
from ipa_rl.agents.program import forecaster_of, margined
from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import forecast_series
from ipa_rl.workload.workload import Window

Decide = Callable[[Episodes, int], IntArray]
"""(episodes, number of the step) -> decisions (windows, stages, 3)."""


@dataclass(frozen=True)
class Figures:
    """Results by window, float arrays (windows,)."""

    utility: FloatArray
    pas_x100: FloatArray
    cores: FloatArray
    violations: FloatArray

    def means(self) -> dict[str, float]:
        """Mean over the windows of each figure."""
        return {name: float(getattr(self, name).mean()) for name in self.__dataclass_fields__}


def play_windows(definition: Definition, stretches: Sequence[Window], decide: Decide) -> Figures:
    """Play windows of equal length and with the history that controllers need, all at once.

    Raises InputError where there are none, they differ in length or are shorter than an interval, or a
    decision does not fit the pipeline.
    """
    interval_s, history_s = definition.timing.interval_s, definition.history_s
    lengths = {len(one.arrivals) for one in stretches}
    if len(lengths) != 1 or min(lengths) < history_s + interval_s:
        fix = f"give windows of one length, {history_s + interval_s} s or more"
        raise InputError(f"have lengths {sorted(lengths)}", field="windows", fix=fix)
    episode_s = lengths.pop() - history_s
    drawn = definition.episodes.model_copy(update={"episode_s": episode_s})
    episodes = Episodes(replace(definition, episodes=drawn), len(stretches))
    for position, window in enumerate(stretches):
        episodes.begin(position, window.arrivals, window.clock_s)
    for step in range(episode_s // interval_s):
        episodes.step(decide(episodes, step))
    summaries = [episodes.summary(window) for window in range(len(stretches))]
    columns = {name: np.array([one[name] for one in summaries]) for name in summaries[0]}
    return Figures(**columns)


MOST_WINDOWS = 240
"""So many windows of a part tell more than enough; a year has thousands."""


def evenly(windows: Sequence[Window], most: int | None) -> list[Window]:
    """At most so many windows, evenly spread."""
    if most is None or most >= len(windows):
        return list(windows)
    return [windows[i] for i in np.linspace(0, len(windows) - 1, most).round().astype(int)]


def validation_windows(definition: Definition, most: int | None = None) -> list[Window]:
    """The validation windows, MOST_WINDOWS at most, evenly spread; of these all, or the first."""
    return evenly(definition.windows("validation"), MOST_WINDOWS)[:most]


def forecasts(definition: Definition, name: str, stretches: Sequence[Window]) -> FloatArray:
    """Forecasts of that name at every decision of every window, (windows, steps)."""
    every_s = definition.timing.interval_s
    return np.stack(
        [forecast_series(forecaster_of(definition, name, one.arrivals), one, every_s) for one in stretches]
    )


def planned_loads(opponent: Opponent, forecast_rps: FloatArray) -> FloatArray:
    """What a planning opponent plans for, given its forecasts, (windows, steps)."""
    flat = [margined(one, opponent.margin) for one in forecast_rps.ravel().tolist()]
    return np.array(flat).reshape(forecast_rps.shape)


def planned_rows(definition: Definition, system: str, planned_rps: FloatArray) -> IntArray:
    """Decisions (windows, steps, stages, 3) of a planning system for its planned-for loads."""
    solver = system_definition(definition, system)
    loads, where = np.unique(planned_rps, return_inverse=True)
    rows = np.stack([encode(definition.problem, solver.best_for(load)) for load in loads.tolist()])
    return rows[where.reshape(planned_rps.shape)]


def play_planned(
    definition: Definition, system: str, planned_rps: FloatArray, stretches: Sequence[Window]
) -> Figures:
    """A planning system with loads (windows, steps) to plan for."""
    rows = planned_rows(definition, system, planned_rps)
    return play_windows(definition, stretches, lambda _, step: rows[:, step])


def play_opponent(definition: Definition, opponent: Opponent, stretches: Sequence[Window]) -> Figures:
    """A tuned opponent over the windows."""
    if opponent.system in PLANNING:
        forecast_rps = forecasts(definition, opponent.forecaster, stretches)
        planned_rps = planned_loads(opponent, forecast_rps)
        return play_planned(definition, opponent.system, planned_rps, stretches)
    agents = [build(definition, opponent, one.arrivals) for one in stretches]

    def decide(episodes: Episodes, step: int) -> IntArray:
        """Each window's own agent is asked with its own state."""
        queued, fleet = episodes.simulator.waiting(), episodes.simulator.fleet
        passed_s, rows = step * definition.timing.interval_s, []
        for w, (agent, window) in enumerate(zip(agents, stretches, strict=True)):
            seen = window.arrivals[: window.history_s + passed_s].astype(np.float64)
            state = State(seen, fleet[w], queued[w], clock_s=float(window.clock_s + passed_s))
            rows.append(encode(definition.problem, agent.decide(state).configuration))
        return np.stack(rows)

    return play_windows(definition, stretches, decide)


def play_policy(definition: Definition, policy: Policy, stretches: Sequence[Window]) -> Figures:
    """A policy's network over the windows, without its guard."""
    return play_windows(definition, stretches, lambda e, _: e.decisions(policy.act(e.observe())))
