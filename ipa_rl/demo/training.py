"""An agent for the measured environment, and opponents at their best in it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict

import ipa_rl
from ipa_rl.agents.opponents import PROGRAM
from ipa_rl.agents.opponents_file import read_opponents, write_opponents
from ipa_rl.demo import autoscaler
from ipa_rl.demo.cached_work import Kept
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.environment.definition import Definition
from ipa_rl.judge.experiment import Setup
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.tuning import Validation, tune
from ipa_rl.progress import Report
from ipa_rl.result_files import write_json
from ipa_rl.training.hyperparameters import Hyperparameters, save_hyperparameters
from ipa_rl.training.run import train

FORECASTERS = ("last", "window-max", "moving-average", "clock", "quantile")
"""Kinds of forecasters that the program is tuned with; the others need torch in the controller."""

_CHECKPOINTS = 10
_ENVIRONMENTS, _ROLLOUT = 64, 60


def kept_agent(settings: DemoSettings) -> Kept:
    """Where the agent is, and what it depends on."""
    files = [settings.environment, *sorted((settings.profile / "digits").iterdir())]
    key = {
        "version": ipa_rl.__version__,
        "environment": hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
        "seed": settings.seed,
        "steps": settings.effort.training_steps,
        "windows": [settings.effort.validation_windows, settings.seconds],
    }
    return Kept(settings.agent, key)


def make_agent(
    settings: DemoSettings, definition: Definition, pool: Pool, report: Report, say: Callable[[str], None]
) -> None:
    """Tune the opponents and train the agent. Goes on after a kill."""
    kept = kept_agent(settings)
    kept.begin()
    scaler, opponents = settings.agent / autoscaler.FILE, settings.agent / "opponents.json"
    validation = validation_of(settings)
    if not scaler.is_file():
        say("tuning Ray Serve's autoscaler")
        write_json(asdict(autoscaler.choose(definition, validation.windows(), pool, report)), scaler)
    if not opponents.is_file():
        say("tuning the integer program")
        groups = [f"{PROGRAM} {kind}" for kind in FORECASTERS]
        write_opponents(tune(validation, pool, report, groups), definition, opponents)
    say("training the agent")
    if not (begun := (settings.agent / "checkpoints.json").is_file()):
        save_hyperparameters(_hyperparameters(settings), settings.agent / "hyperparameters.yaml")
    train(
        settings.agent, settings.agent, read_opponents(opponents), report, lambda _: None,
        resume=begun, validation=lambda _: validation.windows(), pas_tolerance=math.inf,
    )  # fmt: skip
    kept.done()


def validation_of(settings: DemoSettings) -> Validation:
    """What opponents are tuned on and checkpoints are chosen by: stretches that resemble the served one."""
    setup = Setup(str(settings.environment), None, SimulatorKind.request_level)
    return Validation(setup, settings.effort.validation_windows, settings.seconds)


def _hyperparameters(settings: DemoSettings) -> Hyperparameters:
    """Those of the shipped agents, for a shorter run and one preference."""
    steps = settings.effort.training_steps
    rollout = _ENVIRONMENTS * _ROLLOUT
    randomisation = {
        "share": 0.3,
        "start_up": (0.9, 1.3),
        "service": (1.0, 1.15),
        "load": (0.7, 1.5),
        "sla": (0.9, 1.1),
        "synthetic_share": 0.3,
    }
    values = {
        "environment": str(settings.environment.resolve()),
        "seed": settings.seed,
        "environments": _ENVIRONMENTS,
        "reward_scale": 0.06,
        "violation_factor": 1.2,
        "randomisation": randomisation,
        "checkpoint_every_steps": max(steps // _CHECKPOINTS // rollout, 1) * rollout,
        "cloning": {"steps": 600, "epochs": 10},
        "ppo": {
            "total_steps": steps,
            "frozen_steps": steps // 10,
            "n_steps": _ROLLOUT,
            "learning_rate": 1e-3,
        },
    }
    return Hyperparameters.model_validate(values)
