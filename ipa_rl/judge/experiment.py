"""An experiment: who is compared in which environment, and the trials that all go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ipa_rl import resources
from ipa_rl.agents import Agent
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.opponents import (
    Opponent,
    best_real,
    build,
    fallback_program,
    rivals,
    untuned,
)
from ipa_rl.agents.opponents_file import read_opponents, why_untuned
from ipa_rl.agents.own import OwnController, own_controller
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.trained import is_trained, trained_agent
from ipa_rl.agents.universal import SCORER, UniversalAgent, make_universal
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import lasting_name, load_definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.judge.play import Played, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind, check_fluid
from ipa_rl.workload.forecasters import LSTM, is_available, not_available
from ipa_rl.workload.steps import Loads


@dataclass(frozen=True)
class Controllers:
    """What is compared in one environment: policies, the user's own controllers, the opponents.

    ``folder`` holds the agent and its tuned opponents; ``note`` says in words what is missing there, and
    ``why_untuned`` why opponents are not tuned for this environment, empty where they are. ``policies``: the
    agent, where one was trained for the environment, and the policy for any pipeline.
    """

    definition: Definition
    folder: Path
    policies: tuple[PolicyAgent | UniversalAgent, ...]
    opponents: tuple[Opponent, ...]
    note: str
    own: tuple[OwnController, ...] = ()
    why_untuned: str = ""

    @property
    def tuned(self) -> bool:
        """Whether the opponents are, for this environment; else none of them is the best."""
        return not self.why_untuned

    @property
    def program(self) -> Opponent:
        """The integer program that the agent falls back to: the best one, where they are tuned."""
        return fallback_program(self.opponents)

    @property
    def policy(self) -> PolicyAgent | UniversalAgent | None:
        """Who is judged: the agent, or where none was trained the policy for any pipeline, if it plays."""
        return self.policies[0] if self.policies else None

    @property
    def shown(self) -> list[str]:
        """Whom pictures begin with: policies, the user's own, rivals; of untuned opponents the program."""
        return self.ours + ([one.name for one in rivals(self.opponents)] or [self.program.name])

    @property
    def ours(self) -> list[str]:
        """The policies and the user's own controllers."""
        return [one.name for one in (*self.policies, *self.own)]

    @property
    def best_opponent(self) -> Opponent:
        """The opponent that did best on the validation part, those that foresee aside."""
        return best_real(self.opponents)

    @property
    def programs(self) -> set[str]:
        """Names of the integer program with each of its forecasters, the perfect one aside."""
        return {one.name for one in self.opponents if one.is_program and not one.foresees}

    def names(self) -> list[str]:
        """Names in the order of tables: policies, the user's own, programs, the paper's systems, static."""
        return self.ours + [opponent.name for opponent in self.opponents]

    def only(self, names: Sequence[str]) -> Controllers:
        """Those of these names."""
        policies = tuple(one for one in self.policies if one.name in names)
        opponents = tuple(one for one in self.opponents if one.name in names)
        own = tuple(one for one in self.own if one.name in names)
        return replace(self, policies=policies, opponents=opponents, own=own)

    def agents(self, arrivals: Loads) -> list[Agent]:
        """The controllers for one stretch of arrivals, which only the perfect forecaster looks at."""
        first: list[Agent] = [
            MeasuringAgent(one, meters_of(self.definition)) if isinstance(one, UniversalAgent) else one
            for one in self.policies
        ]
        first += [one.build(self.definition) for one in self.own]
        return first + [build(self.definition, one, arrivals) for one in self.opponents]


def controllers(definition: Definition, agent: Path | None, opponents: Path | None = None) -> Controllers:
    """The controllers of an environment.

    ``agent``: the folder of its agent, by default the shipped one; ``opponents``: tuned opponents, by default
    those beside the agent.
    """
    folder = agent or resources.folder("agents") / definition.name
    tuned = opponents or folder / "opponents.json"
    if agent and not (is_file(tuned) or is_trained(folder)):
        fix = "give the folder of a training run"
        raise InputError(f"holds no policy.npz, {SCORER} or opponents.json", file=agent, fix=fix)
    notes = []
    workload, step_s = definition.workload, definition.step_s
    reason = why_untuned(tuned, definition)
    known = untuned(2.0 * workload.mean_rps) if reason else read_opponents(tuned)
    if reason:
        text = "opponents are not tuned, so their margins are 0 and none of them is the best"
        notes.append(f"{text}: {reason}")
    missing = {one.forecaster for one in known if not is_available(one.forecaster, workload, step_s)}
    if missing:
        known = [one for one in known if one.forecaster not in missing]
        notes.append(not_available(missing, workload, step_s))
    policies: tuple[PolicyAgent | UniversalAgent, ...] = (make_universal(definition),)
    if is_trained(folder):
        policies = (trained_agent(definition, folder, fallback_program(known)), *policies)
    else:
        notes.append("no agent of its own: ipa-rl train ENV makes one in minutes")
    note = "; ".join(notes)
    return Controllers(definition, folder, policies, tuple(known), note, why_untuned=reason)


@dataclass(frozen=True)
class Setup:
    """What all trials of a comparison share; small, so that it can be sent anywhere.

    ``environment``: shipped name or YAML file. ``agent``: folder of the agent, None for the shipped one.
    ``only``: names of the controllers, None for all. ``preference``: alpha and beta, None for the
    environment's own. ``opponents``: file of tuned opponents, None for the agent's. ``own``: the user's
    controllers.
    """

    environment: str
    agent: Path | None
    kind: SimulatorKind
    only: tuple[str, ...] | None = None
    preference: tuple[float, float] | None = None
    opponents: Path | None = None
    own: tuple[OwnController, ...] = ()

    def definition(self) -> Definition:
        """The environment under the preference; loaded once in a process."""
        return _definition(self.environment, self.preference)

    def controllers(self) -> Controllers:
        """The controllers; loaded once in a process, but for the user's own."""
        found = replace(_controllers(replace(self, own=(), only=None)), own=self.own)
        return found if self.only is None else found.only(self.only)


@lru_cache(maxsize=8)
def _definition(environment: str, preference: tuple[float, float] | None) -> Definition:
    found = load_definition(environment)
    return found if preference is None else found.preferring(*preference)


@lru_cache(maxsize=8)
def _controllers(setup: Setup) -> Controllers:
    return controllers(setup.definition(), setup.agent, setup.opponents)


def make_setup(
    environment: str,
    agent: Path | None = None,
    fluid: bool = False,
    alpha: float | None = None,
    beta: float | None = None,
    controllers: Sequence[Any] = (),
) -> Setup:
    """The setup that a user asks for; paths are absolute, for workers and for those who read the run later.

    ``controllers``: the user's own beside the others (`own_controller`).
    Raises InputError where there is no such environment, alpha and beta are no preference, or a controller
    cannot be made.
    """
    setup = Setup(
        lasting_name(environment),
        agent.resolve() if agent else None,
        SimulatorKind.fluid if fluid else SimulatorKind.request_level,
    )
    if alpha is not None or beta is not None:
        own = setup.definition().weights
        preference = (own.alpha if alpha is None else alpha, own.beta if beta is None else beta)
        setup = replace(setup, preference=preference)
    for given in controllers:
        found = own_controller(given, setup.definition())
        if found.name in setup.controllers().names():
            fix = "give yours an attribute name that no other has"
            raise InputError("is the name of another", field=f"controller {found.name}", fix=fix)
        setup = replace(setup, own=(*setup.own, found))
    return setup


LONG_STEPS = 720
"""Decisions in a trial, two hours of them by default, from which each controller is a job of its own."""


@dataclass(frozen=True)
class Trial:
    """One scenario and one seed, for all controllers alike."""

    scenario: Scenario
    seed: int


def trials(scenarios: Sequence[Scenario], seeds: int) -> list[Trial]:
    """Every scenario with every seed from 0 on, scenario by scenario."""
    return [Trial(scenario, seed) for scenario in scenarios for seed in range(seeds)]


FEW_WINDOWS, SEEDS = 5, 5
"""Of fewer windows intervals tell little: each is played so often, and intervals are over the runs."""


def repeated(setup: Setup, scenarios: Sequence[Scenario], seeds: int | None = None) -> list[Trial]:
    """Windows with so many seeds; by default one, or SEEDS where windows are few."""
    is_few = len(scenarios) < FEW_WINDOWS and setup.kind is SimulatorKind.request_level
    return trials(scenarios, seeds or (SEEDS if is_few else 1))


@dataclass(frozen=True)
class Experiment:
    """The controllers of a setup in these trials; ``subject``: in words, what the trials are.

    Raises InputError where the setup's simulator cannot play them.
    """

    subject: str
    setup: Setup
    trials: Sequence[Trial]

    def __post_init__(self) -> None:
        if self.setup.kind is SimulatorKind.fluid:
            for trial in self.trials:
                check_fluid(trial.scenario)

    @property
    def is_long(self) -> bool:
        """Whether each controller of a trial is a job: all processes have work, and a kill costs little."""
        windows = [trial.scenario.window for trial in self.trials]
        longest_s = max(len(one.arrivals) - one.history_s for one in windows)
        return longest_s > LONG_STEPS * self.setup.definition().timing.interval_s

    def jobs(self) -> list[Job]:
        """Trial by trial, controllers in the order of their names."""
        names = self.setup.controllers().names()
        groups = [(name,) for name in names] if self.is_long else [tuple(names)]
        return [Job(trial, group) for trial in self.trials for group in groups]


@dataclass(frozen=True)
class Job:
    """What one process plays at a time: these controllers, on the same arrivals and service times."""

    trial: Trial
    controllers: tuple[str, ...]


def play_job(setup: Setup, job: Job) -> tuple[Played, ...]:
    """What each controller did."""
    known, trial = setup.controllers().only(job.controllers), job.trial
    if any(one.forecaster == LSTM for one in known.opponents):
        import torch

        torch.set_num_threads(1)  # waiting for a second one costs more than it gives on a network this small
    return tuple(
        play(known.definition, agent, trial.scenario, setup.kind, trial.seed)
        for agent in known.agents(trial.scenario.window.arrivals)
    )
