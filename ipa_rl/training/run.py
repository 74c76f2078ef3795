"""A training run from start to shipped policy, resumable after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from stable_baselines3 import PPO

from ipa_rl import resources
from ipa_rl.agents.policy import load_policy, save_policy
from ipa_rl.agents.tuning import (
    best_program,
    read_opponents,
    tune,
    validation_arrivals,
    write_opponents,
)
from ipa_rl.compiled import FloatArray
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.errors import InputError
from ipa_rl.progress import Report
from ipa_rl.training.checkpoints import Checkpoint, choose
from ipa_rl.training.clone import collect, fit
from ipa_rl.training.hyperparameters import Hyperparameters, load_hyperparameters, save_hyperparameters
from ipa_rl.training.ppo import Checkpoints, learn, load_model, new_model

Say = Callable[[str], None]


def find_agent(name_or_folder: str | Path) -> Path:
    """The folder of an agent, which holds at least ``hyperparameters.yaml``. Raises InputError."""
    folder = resources.find(name_or_folder, "agents")
    if not (folder / "hyperparameters.yaml").is_file():
        raise InputError("has no hyperparameters.yaml", file=folder, fix="copy one from agents/video")
    return folder


def train(
    agent: Path,
    work: Path,
    report: Report,
    say: Say,
    *,
    seed: int | None = None,
    total_steps: int | None = None,
    resume: bool = False,
    validation_windows: int | None = None,
) -> Checkpoint:
    """Train the agent of a folder; ``work`` becomes an agent folder as those that are shipped.

    That is hyperparameters.yaml as used, policy.npz, opponents.json and training.json. ``work`` also keeps
    the checkpoints, with which ``resume`` goes on after a kill with the hyperparameters that the run began
    with, and TensorBoard's events. Returns the checkpoint that was chosen.
    """
    torch.set_num_threads(1)
    _check_work(work, resume)
    hyperparameters = _settings(work if _begun(work) else agent, seed, total_steps)
    definition = scaled(load_definition(hyperparameters.environment), hyperparameters)
    work.mkdir(parents=True, exist_ok=True)
    save_hyperparameters(hyperparameters, work / "hyperparameters.yaml")
    validation = validation_arrivals(validation_windows)
    program = _program(definition, validation, work, report)
    checkpoints = Checkpoints(definition, hyperparameters, validation, program, work, report)
    model = _model(definition, hyperparameters, work, resume, report, say)
    learn(model, checkpoints, hyperparameters)
    return _ship(definition, checkpoints.log, program, work, say)


def scaled(definition: Definition, hyperparameters: Hyperparameters) -> Definition:
    """The environment with its rewards brought to about one."""
    reward = definition.reward.model_copy(update={"scale": hyperparameters.reward_scale})
    return replace(definition, reward=reward)


def _settings(agent: Path, seed: int | None, total_steps: int | None) -> Hyperparameters:
    found = load_hyperparameters(agent / "hyperparameters.yaml")
    if seed is not None:
        found = found.model_copy(update={"seed": seed})
    if total_steps is not None:
        ppo = found.ppo.model_copy(update={"total_steps": total_steps})
        found = found.model_copy(update={"ppo": ppo})
    return found


def _begun(work: Path) -> bool:
    return (work / "checkpoints.json").exists()


def _check_work(work: Path, resume: bool) -> None:
    if _begun(work) and not resume:
        fix = "give --resume to go on, or another --out to start anew"
        raise InputError("holds a run already", file=work, fix=fix)


def _program(definition: Definition, validation: FloatArray, work: Path, report: Report) -> dict[str, float]:
    """Validation figures of the best program, tuned now unless it was before."""
    path = work / "opponents.json"
    if not path.exists():
        write_opponents(tune(definition, validation, report), path)
    return best_program(read_opponents(path)).validation


def _model(
    definition: Definition,
    hyperparameters: Hyperparameters,
    work: Path,
    resume: bool,
    report: Report,
    say: Say,
) -> PPO:
    saved = work / "model.zip"
    if resume and saved.exists():
        model = load_model(saved, definition, hyperparameters)
        say(f"resuming at step {model.num_timesteps}")
        return model
    model = new_model(definition, hyperparameters)
    lessons = collect(
        definition, hyperparameters.cloning, hyperparameters.environments, hyperparameters.seed, report
    )
    share = fit(model.policy, lessons, hyperparameters.cloning, report)
    say(f"clone answers as the program does in {100 * share:.1f} % of {len(lessons.actions)} states")
    return model


def _ship(
    definition: Definition,
    log: list[Checkpoint],
    program: dict[str, float],
    work: Path,
    say: Say,
) -> Checkpoint:
    """Choose a checkpoint and put its policy where users find it."""
    chosen = choose(log, program)
    save_policy(load_policy(work / f"policy-{chosen.step}.npz", definition), work / "policy.npz")
    record = {
        "chosen_step": chosen.step,
        "program": program,
        "checkpoints": [asdict(checkpoint) for checkpoint in log],
    }
    (work / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    say(
        f"chose step {chosen.step}: validation utility {chosen.utility:.3f}, best program "
        f"{program['utility']:.3f}"
    )
    return chosen
