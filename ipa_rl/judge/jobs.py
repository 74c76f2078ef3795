"""The unit of work of a comparison: every controller through one scenario with one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.judge.controllers import Controllers, controllers
from ipa_rl.judge.play import Played, play
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.workload.forecasters import LSTM


@dataclass(frozen=True)
class Setup:
    """What all jobs of a comparison share; small, so that it can be sent anywhere.

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
        return _load(self)


@dataclass(frozen=True)
class Job:
    """One scenario and one seed."""

    scenario: Scenario
    seed: int


@lru_cache(maxsize=8)
def _definition(environment: str, preference: tuple[float, float] | None) -> Definition:
    found = load_definition(environment)
    return found if preference is None else found.preferring(*preference)


@lru_cache(maxsize=8)
def _load(setup: Setup) -> Controllers:
    found = controllers(setup.definition(), setup.agent, setup.opponents)
    return found if setup.only is None else found.only(setup.only)


def run_job(setup: Setup, job: Job) -> tuple[Played, ...]:
    """All controllers on the same arrivals and service times, in the order of their names."""
    known = setup.controllers()
    if any(one.forecaster == LSTM for one in known.opponents):
        _one_torch_thread()
    return tuple(
        play(known.definition, agent, job.scenario, setup.kind, job.seed)
        for agent in known.agents(job.scenario.window.arrivals)
    )


@lru_cache(maxsize=1)
def _one_torch_thread() -> None:
    """Waiting for a second thread costs more than it gives on a network this small."""
    import torch

    torch.set_num_threads(1)


def make_jobs(scenarios: Sequence[Scenario], seeds: int) -> list[Job]:
    """Every scenario with every seed from 0 on, scenario by scenario."""
    return [Job(scenario, seed) for scenario in scenarios for seed in range(seeds)]
