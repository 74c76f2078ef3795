"""Cloning, PPO with checkpoints, resuming after a kill, choice of the shipped policy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.agents.opponents import untuned
from ipa_rl.agents.policy import Policy, load_policy, save_policy
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.errors import InputError
from ipa_rl.judge.experiment import Setup
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.progress import Silent

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from ipa_rl.training.checkpoints import read_log  # noqa: E402
from ipa_rl.training.hyperparameters import save_hyperparameters  # noqa: E402
from ipa_rl.training.ppo import export_policy, new_model  # noqa: E402
from ipa_rl.training.run import train  # noqa: E402
from tests.short_training import FEW, OPPONENTS, QUICK  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    save_hyperparameters(QUICK, folder / "hyperparameters.yaml")
    return folder


def test_training_writes_policy_opponents_record_and_tensorboard_events(agent: Path, tmp_path: Path) -> None:
    work = tmp_path / "run"
    chosen = train(agent, work, OPPONENTS, Silent(), lambda text: None, validation=FEW)
    definition = load_definition("video")
    policy = load_policy(work / "policy.npz", definition)
    kept = load_policy(work / f"policy-{chosen.step}.npz", definition)
    np.testing.assert_array_equal(policy.layers[0][0], kept.layers[0][0])
    record = json.loads((work / "training.json").read_text(encoding="utf-8"))
    assert record["chosen_step"] == chosen.step
    assert [c["step"] for c in record["checkpoints"]] == [0, 1600, 3200, 4800, 6400, 8000]
    tags = tensorboard_tags(work / "tensorboard")
    for figure in ("utility", "pas_x100", "cores", "violations"):
        assert f"validation_agent/{figure}" in tags
        assert f"validation_rival/{figure}" in tags
    with pytest.raises(InputError, match="--resume"):
        train(agent, work, OPPONENTS, Silent(), lambda text: None)


def test_without_tuned_opponents_the_highest_utility_is_chosen_and_no_rival_is_named(
    agent: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    shorter = {"ppo.total_steps": 3200}
    chosen = train(agent, tmp_path, untuned(), Silent(), said.append, changes=shorter, validation=FEW)
    record = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert chosen.utility == max(one["utility"] for one in record["checkpoints"])
    assert not {"rival", "program"} & record.keys()
    assert record["validation_windows"] == 2
    assert "no opponents are tuned" in said[-1]
    assert not (tmp_path / "opponents.json").exists()
    assert "validation_rival/utility" not in tensorboard_tags(tmp_path / "tensorboard")
    known = Setup("video", tmp_path, SimulatorKind.fluid).controllers()
    assert known.policy is not None
    assert "not tuned" in known.note


def tensorboard_tags(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])


def test_a_killed_run_resumes_from_its_last_checkpoint(agent: Path, tmp_path: Path) -> None:
    """The process is killed without warning between two checkpoints, then resumed in a new one."""
    work = tmp_path / "run"
    command = [
        sys.executable, "-m", "ipa_rl", "train", str(agent), "--ppo",
        "--out", str(work), "--validation-windows", "2",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while len(read_log(work / "checkpoints.json")) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    before = read_log(work / "checkpoints.json")
    assert len(before) >= 3
    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, check=True)
    after = read_log(work / "checkpoints.json")
    assert f"resuming at step {before[-1].step}" in done.stderr
    assert after[: len(before)] == before
    assert after[-1].step == QUICK.ppo.total_steps


WORLDS = Randomisation(
    share=0.5, start_up=(0.5, 2.0), service=(0.8, 1.3), load=(0.5, 2.0), failure_share=0.5,
    preference_share=0.5, preferences=(0.5, 2.0), synthetic_share=0.3,
)  # fmt: skip


class Killed(Silent):
    """Ends the run at a step of PPO as a kill does."""

    def __init__(self, at: int) -> None:
        self.at = at

    def advance(self, part: str, done: int, total: int) -> None:
        if part == "PPO" and done >= self.at:
            raise KeyboardInterrupt


def run_over_worlds(agent: Path, folder: Path, report: Silent, resume: bool) -> None:
    """Checkpoints fall within episodes, of worlds that differ, before and after the actor is freed."""
    changes = {
        "checkpoint_every_steps": 800, "ppo.total_steps": 3200, "ppo.frozen_steps": 1600,
        "randomisation": WORLDS.model_dump(mode="json"), "cloning.steps": 20, "cloning.epochs": 1,
    }  # fmt: skip
    train(agent, folder, OPPONENTS, report, lambda text: None, changes=changes, resume=resume, validation=FEW)


@pytest.fixture(scope="module")
def never_cut_off(agent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_over_worlds(agent, folder, Silent(), resume=False)
    return folder


@pytest.mark.parametrize("kills", [[1500], [900, 2700, 3100]])
def test_a_resumed_run_is_the_one_that_was_never_cut_off_to_the_bit(
    kills: list[int], agent: Path, never_cut_off: Path, tmp_path: Path
) -> None:
    for i, at in enumerate(kills):
        with pytest.raises(KeyboardInterrupt):
            run_over_worlds(agent, tmp_path / "cut", Killed(at), resume=i > 0)
        torch.manual_seed(99)
        np.random.seed(99)
    run_over_worlds(agent, tmp_path / "cut", Silent(), resume=True)
    folders = (never_cut_off, tmp_path / "cut")
    whole, cut = ([replace(one, wall_s=0.0) for one in read_log(f / "checkpoints.json")] for f in folders)
    assert cut == whole
    for one in whole:
        ours, theirs = (folder / f"policy-{one.step}.npz" for folder in folders)
        assert ours.read_bytes() == theirs.read_bytes()
    with np.load(folders[0] / "model.npz") as known, np.load(folders[1] / "model.npz") as found:
        assert set(found) == set(known)
        for name in found:
            np.testing.assert_array_equal(found[name], known[name], err_msg=name)


@pytest.mark.parametrize("content", ["", "[{", '[{"step": 0}]', "{}"])
def test_a_log_of_checkpoints_that_is_broken_is_named(content: str, agent: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints.json").write_text(content, encoding="utf-8")
    save_hyperparameters(QUICK, tmp_path / "hyperparameters.yaml")
    with pytest.raises(InputError, match=r"checkpoints\.json"):
        train(agent, tmp_path, OPPONENTS, Silent(), lambda text: None, resume=True, validation=FEW)


def test_the_same_seed_trains_the_same_policy(agent: Path, tmp_path: Path) -> None:
    policies = []
    for run in ("one", "two"):
        changes = {"ppo.total_steps": 800}
        work = tmp_path / run
        train(
            agent,
            work,
            OPPONENTS,
            Silent(),
            lambda text: None,
            changes=changes,
            validation=FEW,
        )
        policies.append(load_policy(tmp_path / run / "policy.npz", load_definition("video")))
    for one, other in zip(policies[0].layers, policies[1].layers, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_a_policy_for_another_environment_is_refused_in_words(tmp_path: Path) -> None:
    layers = ((np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=np.float32)),)
    save_policy(Policy(layers, (2, 2), ()), tmp_path / "policy.npz")
    with pytest.raises(InputError, match="has 3 inputs"):
        load_policy(tmp_path / "policy.npz", load_definition("video"))
    (tmp_path / "policy.npz").write_bytes(b"not a policy")
    with pytest.raises(InputError, match="is not a readable policy"):
        load_policy(tmp_path / "policy.npz", load_definition("video"))


def test_a_policy_for_other_variants_of_the_same_number_is_refused_by_their_names(tmp_path: Path) -> None:
    definition = load_definition("video")
    policy = export_policy(new_model(definition, QUICK), definition, ())
    strangers = tuple(name.replace("yolov5n", "yolov8n") for name in policy.choices)
    save_policy(replace(policy, choices=strangers), tmp_path / "policy.npz")
    with pytest.raises(InputError, match="knows crop: yolov8n; does not know crop: yolov5n"):
        load_policy(tmp_path / "policy.npz", definition)
