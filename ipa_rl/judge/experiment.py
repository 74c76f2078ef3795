"""An experiment: whose controllers are compared, and the trials that they all go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ipa_rl import resources
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.judge.controllers import Controllers, controllers
from ipa_rl.judge.play import Played, play
from ipa_rl.judge.scenario import Scenario, check_fluid
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.workload.forecasters import LSTM


@dataclass(frozen=True)
class Setup:
    """What all trials of a comparison share; small, so that it can be sent anywhere.

    ``environment``: shipped name or YAML file. ``agent``: folder of the agent, None for the shipped one.
    ``only``: names of the controllers, None for all. ``preference``: alpha and beta, None for the
    environment's own. ``opponents``: file of tuned opponents, None for the agent's.
    """

    environment: str
    agent: Path | None
    kind: SimulatorKind
    only: tuple[str, ...] | None = None
    preference: tuple[float, float] | None = None
    opponents: Path | None = None

    def definition(self) -> Definition:
        """The environment under the preference; loaded once in a process."""
        return _definition(self.environment, self.preference)

    def controllers(self) -> Controllers:
        """The controllers; loaded once in a process."""
        return _controllers(self)


@lru_cache(maxsize=8)
def _definition(environment: str, preference: tuple[float, float] | None) -> Definition:
    found = load_definition(environment)
    return found if preference is None else found.preferring(*preference)


@lru_cache(maxsize=8)
def _controllers(setup: Setup) -> Controllers:
    found = controllers(setup.definition(), setup.agent, setup.opponents)
    return found if setup.only is None else found.only(setup.only)


def make_setup(
    environment: str,
    agent: Path | None = None,
    fluid: bool = False,
    alpha: float | None = None,
    beta: float | None = None,
) -> Setup:
    """The setup that a user asks for; paths are absolute, for workers and for those who read the run later.

    Raises InputError where there is no such environment, or alpha and beta are no preference.
    """
    path = resources.find(environment, "envs")
    setup = Setup(
        environment if environment in resources.shipped_names("envs") else str(path.resolve()),
        agent.resolve() if agent else None,
        SimulatorKind.fluid if fluid else SimulatorKind.request_level,
    )
    if alpha is None and beta is None:
        return setup
    own = setup.definition().weights
    preference = (own.alpha if alpha is None else alpha, own.beta if beta is None else beta)
    return replace(setup, preference=preference)


@dataclass(frozen=True)
class Trial:
    """One scenario and one seed, for all controllers alike."""

    scenario: Scenario
    seed: int


def trials(scenarios: Sequence[Scenario], seeds: int) -> list[Trial]:
    """Every scenario with every seed from 0 on, scenario by scenario."""
    return [Trial(scenario, seed) for scenario in scenarios for seed in range(seeds)]


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


def play_trial(setup: Setup, trial: Trial) -> tuple[Played, ...]:
    """All controllers on the same arrivals and service times, in the order of their names."""
    known = setup.controllers()
    if any(one.forecaster == LSTM for one in known.opponents):
        _one_torch_thread()
    return tuple(
        play(known.definition, agent, trial.scenario, setup.kind, trial.seed)
        for agent in known.agents(trial.scenario.window.arrivals)
    )


@lru_cache(maxsize=1)
def _one_torch_thread() -> None:
    """Waiting for a second thread costs more than it gives on a network this small."""
    import torch

    torch.set_num_threads(1)
