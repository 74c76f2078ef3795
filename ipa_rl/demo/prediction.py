"""What the request-level simulator says of the same arrivals, to the request, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np

from ipa_rl.agents.loop import control
from ipa_rl.agents.protocol import Agent, State
from ipa_rl.agents.trained import PROGRAM_ALONE, least_capacity, load_agents
from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.outcomes import Outcomes, ServedTurn, figures, read_turn
from ipa_rl.demo.profiling import ServedProfile
from ipa_rl.demo.serving import due_times, turns
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.guard import Limits, Situation, guarded_change
from ipa_rl.sidecar.observed import recent_load_rps
from ipa_rl.simulation import RequestSimulator
from ipa_rl.simulation.accounting import SUMS
from ipa_rl.simulation.events import SERVED
from ipa_rl.workload.workload import Window

DRAWS = 20
"""Draws of service times that a prediction is the mean of."""


@dataclass(frozen=True)
class JudgedTurn:
    """``predicted``: by the same controller in the simulator, None for Ray Serve's autoscaler, which it has
    no model of. ``stretched``: the same, had every request taken as much longer as they did on average.
    ``replayed``: with the decisions that were taken. Figures are means over `DRAWS`, outcomes those of the
    first draw.
    """

    served: ServedTurn
    predicted: dict[str, float] | None
    stretched: dict[str, float] | None
    predicted_outcomes: Outcomes | None
    replayed: dict[str, float]
    replayed_outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Promise:
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


def judge(settings: DemoSettings, definition: Definition) -> list[JudgedTurn]:
    """Every turn that was served."""
    served = [read_turn(definition, turn, settings.seconds) for turn in turns(settings)]
    return [_judge(settings, definition, one) for one in served]


def _judge(settings: DemoSettings, definition: Definition, served: ServedTurn) -> JudgedTurn:
    sent, turn = settings.window(), served.turn
    due_s = due_times(sent, settings.seed + turn.run)
    window = Window(f"{sent.name}, run {turn.run}", sent.arrivals, sent.history_s, due_s, sent.clock_s)
    predicted: list[Outcomes] = []
    stretched: list[Outcomes] = []
    if turn.controller is not Controller.autoscaler:
        name = PROGRAM_ALONE if turn.controller is Controller.program else str(settings.agent)
        agent = load_agents(definition, name, settings.agent / "opponents.json")[0][0]
        seen = served.histories_rps
        predicted = [predict(definition, agent, window, served.start, k, seen) for k in range(DRAWS)]
        mean_s = float(np.mean([np.nanmean(one.latency_s) for one in predicted]))
        factor = served.figures["mean_s"] / mean_s
        stretched = [replace(one, latency_s=factor * one.latency_s) for one in predicted]
    replayed = [replay(definition, served.configurations, window, served.start, k) for k in range(DRAWS)]
    return JudgedTurn(
        served,
        _mean(definition, predicted) if predicted else None,
        _mean(definition, stretched) if predicted else None,
        predicted[0] if predicted else None,
        _mean(definition, replayed),
        replayed[0],
    )


def _mean(definition: Definition, each: Sequence[Outcomes]) -> dict[str, float]:
    return means([figures(definition, one) for one in each])


def means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """Figures, mean over several."""
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def promises(profile: ServedProfile, judged: Sequence[JudgedTurn]) -> list[Promise]:
    """Mean latency, cost and violations under agent and program, over all runs; throughput at saturation."""
    found = []
    for controller in (Controller.agent, Controller.program):
        own = [one for one in judged if one.served.turn.controller is controller]
        measured = means([one.served.figures for one in own])
        predicted = means([one.predicted for one in own if one.predicted is not None])
        for name, what, bound, relative in (
            ("mean_s", "mean latency, s", 15.0, True),
            ("cores", "cost, cores", 5.0, True),
            ("violated_pct", "violations, %", 2.0, False),
        ):
            words = f"{what}: {controller.value}"
            found.append(Promise(words, measured[name], predicted[name], bound, relative))
    check = ("saturated throughput, rps", profile.probed.check_rps, profile.expected_rps)
    found.append(Promise(*check, 10.0, is_relative=True))
    return found


def predict(
    definition: Definition,
    agent: Agent,
    window: Window,
    start: Configuration,
    seed: int,
    histories_rps: Sequence[FloatArray],
) -> Outcomes:
    """The window under the agent and the sidecar's guard, from a configuration on.

    ``window`` knows its exact times of arrival; ``histories_rps``: the loads that were seen at each step.
    """
    stages = len(definition.pipeline.stages)
    limits = Limits(definition.problem.max_replicas, least_capacity=least_capacity(agent))

    def guard(configuration: Configuration, state: State) -> Configuration:
        situation = Situation((None,) * stages, (float("inf"),) * stages, recent_load_rps(state))
        return guarded_change(definition.problem, limits, configuration, situation).configuration

    cluster = SimulatedCluster(definition, Scenario(window), seed=seed, start=start)
    shown = _Seeing(cluster, iter(histories_rps))
    control(agent, shown, definition.problem, cluster.wait, lambda _: None, guard)
    return _outcomes(cluster)


def replay(
    definition: Definition,
    configurations: Sequence[Configuration],
    window: Window,
    start: Configuration,
    seed: int,
) -> Outcomes:
    """The window under what was carried out before, a configuration a step: the plant alone.

    The last one stays where there are more steps.
    """
    cluster = SimulatedCluster(definition, Scenario(window), seed=seed, start=start)
    for configuration in chain(configurations, repeat(configurations[-1])):
        cluster.apply(configuration)
        if not cluster.wait():
            break
    return _outcomes(cluster)


@dataclass(frozen=True)
class _Seeing:
    """A simulated cluster that shows the loads which somebody saw, step by step: a counter's seconds do not
    begin with the window's.
    """

    cluster: SimulatedCluster
    histories_rps: Iterator[FloatArray]

    def observe(self) -> State:
        """Its own loads once there are no others."""
        state = self.cluster.observe()
        return replace(state, history_rps=next(self.histories_rps, state.history_rps))

    def apply(self, configuration: Configuration) -> None:
        """The cluster's."""
        self.cluster.apply(configuration)


def _outcomes(cluster: SimulatedCluster) -> Outcomes:
    """What came of the window, until the last request is served or dropped."""
    definition, simulator = cluster.definition, cluster.simulator
    assert isinstance(simulator, RequestSimulator)
    slowest_s = sum(stage.variants[-1].latency_p99_s[-1] for stage in definition.pipeline.stages)
    simulator.advance(definition.timing.drop_limit_s + 3.0 * slowest_s)
    requests, sums = simulator.requests, dict(zip(SUMS, np.array(cluster.sums).T, strict=True))
    served = requests["status"] == SERVED
    return Outcomes(
        due_s=requests["arrival_s"].copy(),
        latency_s=np.where(served, requests["finish_s"] - requests["arrival_s"], np.nan),
        right=np.where(served, requests["accuracy"], np.nan),
        cores=sums["core_s"] / sums["seconds"],
        batches=sums["batch_s"] / sums["seconds"],
        replicas=np.array(cluster.fleets)["ready"].astype(np.float64),
    )
