"""What each part of the learner is worth: one change at a time, several seeds, the same number of steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents_file import read_tuned
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.progress import Silent
from ipa_rl.training.hyperparameters import load_hyperparameters
from ipa_rl.training.run import begun, chosen_of, train

Changes = dict[str, Any]

FIGURES = ("utility", "pas_x100", "cores", "violations")
_NOMINAL = {"share": 0.0, "synthetic_share": 0.0}
_ONE_PREFERENCE = {"preference_share": 0.0, "preferences": []}


@dataclass(frozen=True)
class Ablated:
    """One seed under one change of hyperparameters; ``work`` is its folder."""

    agent: Path
    work: Path
    changes: Changes


def ablations(agent: Path) -> dict[str, Changes]:
    """Every change in words, and the hyperparameters that it replaces."""
    own = load_hyperparameters(agent / "hyperparameters.yaml")
    worlds = own.randomisation.model_dump(mode="json")
    return {
        "as shipped": {},
        "without load history": {"hidden": ["history"]},
        "without the clock": {"hidden": ["clock"]},
        "without forecasts": {"hidden": ["forecast"]},
        "without clock and forecasts": {"hidden": ["clock", "forecast"]},
        "without queue and slack": {"hidden": ["queue"]},
        "without pending state": {"hidden": ["pending"]},
        "no warm start": {"cloning.teacher": "none", "ppo.frozen_steps": 0},
        "warm start from the program": {"cloning.teacher": "program"},
        "warm start from hindsight": {"cloning.teacher": "hindsight"},
        "no shaping": {"shaping": False},
        "no randomised worlds": {"randomisation": worlds | _NOMINAL},
        "one preference only": {"randomisation": worlds | _ONE_PREFERENCE},
        "constant learning rate": {"ppo.decay": False},
        "gamma 0.8": {"ppo.gamma": 0.8},
        "gamma 0.97": {"ppo.gamma": 0.97},
        "lambda 0.7": {"ppo.gae_lambda": 0.7},
        "network 32, 32": {"network": [32, 32]},
        "network 128, 128": {"network": [128, 128]},
        "reward scale / 4": {"reward_scale": own.reward_scale / 4},
        "16 environments": {"environments": 16, "ppo.n_steps": 240},
    }


def runs(agent: Path, folder: Path, seeds: int, steps: int) -> list[Ablated]:
    """All seeds of all changes, in order."""
    found = []
    for change, values in ablations(agent).items():
        for seed in range(seeds):
            place = folder / change.replace(" ", "-").replace("/", "by").replace(",", "") / str(seed)
            found.append(Ablated(agent, place, {"seed": seed, "ppo.total_steps": steps, **values}))
    return found


def play(run: Ablated) -> dict[str, float]:
    """Train, unless that was done; figures of the chosen checkpoint."""
    path = run.work / "training.json"
    if not path.is_file():
        own = load_hyperparameters(run.agent / "hyperparameters.yaml")
        opponents = read_tuned(run.agent / "opponents.json", load_definition(own.environment))
        train(
            run.agent, run.work, opponents, Silent(), lambda text: None,
            changes=run.changes, resume=begun(run.work),
        )  # fmt: skip
    chosen = chosen_of(run.work)
    return {name: float(getattr(chosen, name)) for name in FIGURES}


def rows(agent: Path, seeds: int, figures: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Of each change, means over seeds and the range of the utility; ``figures`` in the order of `runs`."""
    table = []
    for c, change in enumerate(ablations(agent)):
        mine = figures[c * seeds : (c + 1) * seeds]
        means = {name: sum(one[name] for one in mine) / seeds for name in FIGURES}
        utilities = [one["utility"] for one in mine]
        table.append({"change": change, **means, "lowest": min(utilities), "highest": max(utilities)})
    return table
