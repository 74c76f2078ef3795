"""Hyperparameters by Optuna on the validation part, in the fluid simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import Opponent
from ipa_rl.documents import read_json
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.progress import Report, Silent
from ipa_rl.training.checkpoints import Checkpoint, no_worse
from ipa_rl.training.hyperparameters import load_hyperparameters
from ipa_rl.training.run import train

try:
    import optuna
except ImportError as error:
    raise MissingExtraError("optuna", "search") from error

STARTUP_TRIALS = 6
"""Trials drawn at random before the sampler begins to learn."""

EXCESS_WEIGHT = 3.0
"""Violations beyond the best opponent's count so many times more than in the utility."""


@dataclass(frozen=True)
class Tried:
    """A finished trial: its score and the hyperparameters that it changed."""

    number: int
    score: float
    changes: dict[str, Any]


@dataclass(frozen=True)
class _Try:
    """One trial as a job."""

    agent: Path
    place: Path
    opponents: list[Opponent]
    changes: dict[str, Any]


def _train(one: _Try) -> dict[str, Any]:
    """The record of a trial's run."""
    train(one.agent, one.place, one.opponents, Silent(), lambda text: None, changes=one.changes)
    found: dict[str, Any] = read_json(one.place / "training.json", "delete it, and search again")
    return found


Each = Callable[[Callable[[_Try], dict[str, Any]], Sequence[_Try]], Iterator[tuple[int, dict[str, Any]]]]
"""Applies a function to many: (position, result) as each is done."""


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """What is searched over, as changes of hyperparameters."""
    width = trial.suggest_categorical("width", [32, 64, 128])
    return {
        "ppo.learning_rate": trial.suggest_float("learning_rate", 2e-4, 3e-3, log=True),
        "ppo.gamma": trial.suggest_float("gamma", 0.8, 0.98),
        "ppo.gae_lambda": trial.suggest_float("gae_lambda", 0.7, 1.0),
        "ppo.n_epochs": trial.suggest_int("n_epochs", 4, 12, step=2),
        "ppo.target_kl": trial.suggest_float("target_kl", 0.01, 0.1, log=True),
        "ppo.frozen_steps": trial.suggest_categorical("frozen_steps", [0, 50_000, 100_000]),
        "violation_factor": trial.suggest_float("violation_factor", 0.8, 3.0, log=True),
        "network": [width, width],
    }


def score(record: dict[str, Any], rho: float) -> float:
    """Utility of a run's chosen checkpoint, less what it violates beyond the best opponent."""
    chosen = Checkpoint(**next(c for c in record["checkpoints"] if c["step"] == record["chosen_step"]))
    rival = record["rival"]
    if no_worse(chosen, rival):
        return chosen.utility
    return chosen.utility - EXCESS_WEIGHT * rho * max(chosen.violations - float(rival["violations"]), 0.0)


def search(
    agent: Path,
    opponents: list[Opponent],
    work: Path,
    trials: int,
    steps: int,
    each: Each,
    at_once: int,
    report: Report,
) -> list[Tried]:
    """Trials of so many steps each, best first; ``work`` keeps them, and the same call goes on after a kill.

    The first trial is the agent's present file. The sampler is seeded, and asked for ``at_once`` trials
    together: the same call finds the same, unless it was cut off. ``each``: runs them, as that of a pool.
    """
    own = load_hyperparameters(agent / "hyperparameters.yaml")
    rho = load_definition(own.environment).weights.rho
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{work / 'trials.db'}",
        study_name=agent.name,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=0, n_startup_trials=STARTUP_TRIALS, constant_liar=at_once > 1
        ),
    )
    if not study.trials:
        names = ("learning_rate", "gamma", "gae_lambda", "n_epochs", "target_kl", "frozen_steps")
        present = {name: getattr(own.ppo, name) for name in names}
        study.enqueue_trial({**present, "violation_factor": own.violation_factor, "width": own.network[0]})

    done = sum(trial.state.is_finished() for trial in study.trials)
    for first in range(done, trials, at_once):
        asked = [study.ask() for _ in range(min(at_once, trials - first))]
        changes = [{"seed": 0, "ppo.total_steps": steps, **suggest(one)} for one in asked]
        for trial, chosen in zip(asked, changes, strict=True):
            trial.set_user_attr("changes", chosen)
        places = [work / str(trial.number) for trial in asked]
        tries = [_Try(agent, place, opponents, one) for place, one in zip(places, changes, strict=True)]
        for position, record in each(_train, tries):
            study.tell(asked[position], score(record, rho))
        report.advance("search", first + len(asked), trials)
    finished = [trial for trial in study.trials if trial.value is not None]
    tried = [Tried(one.number, float(one.value or 0.0), one.user_attrs["changes"]) for one in finished]
    return sorted(tried, key=lambda one: -one.score)
