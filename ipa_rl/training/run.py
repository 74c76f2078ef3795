"""A training run from start to shipped policy, resumable after a kill: clone, freeze, PPO, choose, cover."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipa_rl import resources
from ipa_rl.agents.opponents import (
    PAS_TOLERANCE,
    Opponent,
    are_tuned,
    best_program,
    best_real,
)
from ipa_rl.agents.opponents_file import write_opponents
from ipa_rl.agents.policy import Coverage, Policy, fit_coverage, load_policy, save_policy
from ipa_rl.agents.windows import play_opponent, validation_windows
from ipa_rl.documents import read_json
from ipa_rl.environment.action import relative_capacity
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.errors import InputError
from ipa_rl.files import exists, is_file
from ipa_rl.progress import Report
from ipa_rl.result_files import write_json
from ipa_rl.training.checkpoints import Checkpoint, choose
from ipa_rl.training.clone import clone
from ipa_rl.training.hyperparameters import Hyperparameters, load_hyperparameters, save_hyperparameters
from ipa_rl.training.model_file import restore_model
from ipa_rl.training.ppo import MODEL, Checkpoints, learn, new_model
from ipa_rl.workload.steps import least_rps
from ipa_rl.workload.workload import Window


def find_agent(name_or_folder: str | Path) -> Path:
    """The folder of an agent, which holds at least ``hyperparameters.yaml``. Raises InputError."""
    folder = resources.find(name_or_folder, "agents")
    if not is_file(folder / "hyperparameters.yaml"):
        raise InputError("has no hyperparameters.yaml", file=folder, fix="copy one from agents/video")
    return folder


def train(
    agent: Path,
    work: Path,
    opponents: list[Opponent],
    report: Report,
    say: Callable[[str], None],
    *,
    changes: dict[str, Any] | None = None,
    resume: bool = False,
    validation: Callable[[Definition], Sequence[Window]] = validation_windows,
    pas_tolerance: float = PAS_TOLERANCE,
) -> Checkpoint:
    """Train the agent of a folder; ``work`` becomes an agent's folder like the shipped ones.

    It gets hyperparameters.yaml as used, policy.npz, opponents.json and training.json. It also keeps
    TensorBoard's events and the checkpoints, from which ``resume`` goes on after a kill: with the
    hyperparameters that the run began with, and to the bit as if it had never been cut off. ``opponents``:
    tuned ones, which checkpoints are measured against in the fluid simulator; where there are none, or nobody
    tuned them, the highest utility is chosen. ``changes`` to hyperparameters, as in their file.
    ``validation``: the environment's windows that checkpoints are chosen on. ``pas_tolerance``: points of
    PAS x 100 that the chosen one may be below its rival. Returns the checkpoint that was chosen.
    """
    torch.set_num_threads(1)  # the networks are small: threads only wait
    torch.distributions.Distribution.set_default_validate_args(False)  # a tenth of the time, no other result
    goes_on = begun(work)
    if goes_on and not resume:
        fix = "give --resume to go on, or another --out to start fresh"
        raise InputError("already holds a run", file=work, fix=fix)
    file = (work if goes_on else agent) / "hyperparameters.yaml"
    hyperparameters = load_hyperparameters(file).changed(changes or {})
    nominal = load_definition(hyperparameters.environment)
    definition = training_definition(nominal, hyperparameters)
    work.mkdir(parents=True, exist_ok=True)
    save_hyperparameters(hyperparameters, work / "hyperparameters.yaml")

    # Measure: checkpoints are held against the best opponent that can be built, and the best program, in the
    # world as profiled; training worlds differ from it.
    windows = validation(nominal)
    rivals: dict[str, dict[str, Any]] = {}
    if are_tuned(opponents):
        write_opponents(opponents, nominal, work / "opponents.json")
        best, program = best_real(opponents), best_program(opponents)
        rivals["rival"] = {"name": best.name, **play_opponent(nominal, best, windows).means()}
        rivals["program"] = play_opponent(nominal, program, windows).means()
    checkpoints = Checkpoints(nominal, hyperparameters, windows, rivals.get("rival"), work, report)

    # Clone: from scratch PPO collapses into the cheapest variants; a teacher gives it a start worth keeping.
    model = new_model(definition, hyperparameters)
    if goes_on:
        restore_model(model, work / MODEL)
        say(f"resuming at step {model.num_timesteps}")
    elif hyperparameters.cloning.teacher != "none":
        say(clone(model.policy, definition, hyperparameters, report))

    # Freeze, then PPO: for the first ``frozen_steps`` the actor stands still while the critic learns the
    # clone's returns, for a critic that knows nothing would undo the clone; then both learn. Checkpoints are
    # measured and kept on the way.
    learn(model, checkpoints, hyperparameters)

    # Choose: the highest utility among the checkpoints that give nothing up against a rival.
    chosen = choose(checkpoints.log, tuple(rivals.values()), pas_tolerance)

    # Cover: what the chosen policy met in training is what its guard will trust.
    record = {
        **rivals,
        "chosen_step": chosen.step,
        "validation_windows": len(windows),
        "checkpoints": [asdict(one) for one in checkpoints.log],
    }
    export(work, record, work)
    beside = "the highest; no opponents are tuned to hold it against"
    if rivals:
        beside = "best opponent ({name}) {utility:.3f}".format(**rivals["rival"])
    say(f"chose step {chosen.step}: validation utility {chosen.utility:.3f}, {beside}")
    return chosen


def chosen_of(work: Path) -> Checkpoint:
    """The checkpoint that a finished run chose. Raises InputError where there is none."""
    record = read_json(work / "training.json", "train again")
    return Checkpoint(**next(one for one in record["checkpoints"] if one["step"] == record["chosen_step"]))


def begun(work: Path) -> bool:
    """Whether a run began in a folder, and may have ended there."""
    return exists(work / "checkpoints.json") or exists(work / MODEL)


def training_definition(definition: Definition, hyperparameters: Hyperparameters) -> Definition:
    """The environment as it is learned in: its reward scaled, its worlds drawn."""
    changes = {
        "scale": hyperparameters.reward_scale,
        "shaping": hyperparameters.shaping,
        "violation_factor": hyperparameters.violation_factor,
    }
    reward = definition.reward.model_copy(update=changes)
    return replace(definition, reward=reward, randomisation=hyperparameters.randomisation)


def export(work: Path, record: dict[str, Any], folder: Path) -> None:
    """Make the checkpoint of a run that ``record`` has as ``chosen_step`` an agent's folder.

    That is hyperparameters.yaml, opponents.json, policy.npz with what training covered, and, last, the record
    as training.json.
    """
    settings = load_hyperparameters(work / "hyperparameters.yaml")
    definition = training_definition(load_definition(settings.environment), settings)
    policy = load_policy(work / f"policy-{record['chosen_step']}.npz", definition)
    coverage = measure_coverage(definition, policy, settings.reserve)
    save_policy(replace(policy, coverage=coverage), folder / "policy.npz")
    if folder != work:
        for name in ("hyperparameters.yaml", "opponents.json"):
            shutil.copy(work / name, folder / name)
    write_json(record, folder / "training.json")


def measure_coverage(definition: Definition, policy: Policy, reserve: float) -> Coverage:
    """What the policy meets in its training's worlds, over two episodes of each of 64 environments."""
    vector = IpaVectorEnv(64, definition)
    observations, _ = vector.reset(seed=0)
    seen, capacities, loads_rps = [], [], []
    least, variants = least_rps(definition.step_s), vector.episodes.simulator.variants
    graph = definition.pipeline.graph
    for _ in range(2 * definition.episode_s // definition.timing.interval_s):
        actions = policy.act(observations)
        rows = vector.episodes.decisions(actions)
        seen.append(observations)
        loads_rps.append(vector.episodes.recent_load())
        capacities.append(relative_capacity(rows, variants, loads_rps[-1], least, graph))
        observations = vector.step(actions)[0]
    return fit_coverage(np.concatenate(seen), np.concatenate(capacities), np.concatenate(loads_rps), reserve)
