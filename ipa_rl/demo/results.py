"""What came of every turn, measured, beside what the simulator says of the same requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.agents.protocol import Agent
from ipa_rl.agents.trained import PROGRAM_ALONE, load_agents
from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.measured import Measured, read_turn
from ipa_rl.demo.outcomes import Outcomes, figures
from ipa_rl.demo.prediction import predict, replay
from ipa_rl.demo.profiling import Profile
from ipa_rl.demo.serving import Turn, due_times, turns
from ipa_rl.demo.settings import Settings
from ipa_rl.environment.definition import Definition
from ipa_rl.workload.trace import Window

DRAWS = 20
"""Draws of service times that a prediction is the mean of."""

SHOWN = ("utility", "pas_x100", "cores", "violated_pct", "mean_s", "p99_s")


@dataclass(frozen=True)
class Result:
    """One turn. ``figures``: of `ipa_rl.demo.outcomes.figures`."""

    turn: Turn
    measured: Measured
    figures: dict[str, float]

    @classmethod
    def of(cls, settings: Settings, definition: Definition, turn: Turn) -> Result:
        """Read from the turn's folder."""
        measured = read_turn(definition, turn, settings.seconds)
        return cls(turn, measured, figures(definition, measured.outcomes))

    def row(self) -> list[str]:
        """As a view shows it."""
        return [self.turn.controller.value, *(f"{self.figures[name]:.2f}" for name in SHOWN)]


@dataclass(frozen=True)
class Judged:
    """``predicted``: by the same controller in the simulator, None for Ray Serve's autoscaler, which it has
    no model of. ``stretched``: the same, had every request taken as much longer as they did on average.
    ``replayed``: with the decisions that were taken. Figures are means over `DRAWS`, outcomes those of the
    first draw.
    """

    result: Result
    predicted: dict[str, float] | None
    stretched: dict[str, float] | None
    predicted_outcomes: Outcomes | None
    replayed: dict[str, float]
    replayed_outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Held:
    """One promise of the simulator: how far it may be off, and is."""

    what: str
    measured: float
    predicted: float
    bound: float
    is_relative: bool

    @property
    def off(self) -> float:
        """Prediction less measurement; in percent of the measurement where the bound is relative."""
        gap = self.predicted - self.measured
        return 100.0 * gap / self.measured if self.is_relative else gap

    @property
    def holds(self) -> bool:
        """Whether it is within the bound."""
        return abs(self.off) <= self.bound


def judge(settings: Settings, definition: Definition) -> list[Judged]:
    """Every turn that was served."""
    return [_judge(settings, definition, Result.of(settings, definition, turn)) for turn in turns(settings)]


def mean_of(judged: Sequence[Judged], controller: Controller) -> dict[str, float]:
    """Figures of a controller, mean over its runs."""
    own = [one.result.figures for one in judged if one.result.turn.controller is controller]
    return {name: float(np.mean([one[name] for one in own])) for name in own[0]}


def promises(profile: Profile, judged: Sequence[Judged]) -> list[Held]:
    """Mean latency, cost and violations under agent and program, over all runs; throughput at saturation."""
    found = []
    for controller in (Controller.agent, Controller.program):
        own = [one for one in judged if one.result.turn.controller is controller]
        for name, what, bound, relative in (
            ("mean_s", "mean latency, s", 15.0, True),
            ("cores", "cost, cores", 5.0, True),
            ("violated_pct", "violations, %", 2.0, False),
        ):
            measured = float(np.mean([one.result.figures[name] for one in own]))
            predicted = float(np.mean([one.predicted[name] for one in own if one.predicted is not None]))
            found.append(Held(f"{what}: {controller.value}", measured, predicted, bound, relative))
    check = ("saturated throughput, rps", profile.probed.check_rps, profile.expected_rps)
    found.append(Held(*check, 10.0, is_relative=True))
    return found


def _judge(settings: Settings, definition: Definition, result: Result) -> Judged:
    window, taken = _window(settings, result.turn), result.measured
    start, seen = taken.start, taken.histories_rps
    agent = _agent(settings, definition, result.turn.controller)
    predicted: list[Outcomes] = []
    if agent is not None:
        predicted = [predict(definition, agent, window, start, seed, seen) for seed in range(DRAWS)]
    stretched = predicted and _stretched(predicted, result.figures["mean_s"])
    replayed = [replay(definition, taken.configurations, window, start, seed) for seed in range(DRAWS)]
    return Judged(
        result,
        _mean(definition, predicted) if predicted else None,
        _mean(definition, stretched) if stretched else None,
        predicted[0] if predicted else None,
        _mean(definition, replayed),
        replayed[0],
    )


def _stretched(predicted: Sequence[Outcomes], mean_s: float) -> list[Outcomes]:
    """With latencies that are ``mean_s`` on average."""
    factor = mean_s / float(np.mean([np.nanmean(one.latency_s) for one in predicted]))
    return [replace(one, latency_s=factor * one.latency_s) for one in predicted]


def _mean(definition: Definition, each: Sequence[Outcomes]) -> dict[str, float]:
    found = [figures(definition, one) for one in each]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _agent(settings: Settings, definition: Definition, controller: Controller) -> Agent | None:
    """The controller as the sidecar has it."""
    if controller is Controller.autoscaler:
        return None
    name = PROGRAM_ALONE if controller is Controller.program else str(settings.agent)
    return load_agents(definition, name, settings.agent / "opponents.json")[0][0]


def _window(settings: Settings, turn: Turn) -> Window:
    """The window as it was sent."""
    found = settings.window()
    due_s = due_times(found, settings.seed + turn.run)
    return Window(f"{found.name}, run {turn.run}", found.arrivals, found.history_s, due_s, found.clock_s)
