"""Cloning, PPO with checkpoints, resuming after a kill, choice of the shipped policy."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.agents.opponents import PAS_TOLERANCE, Opponent, untuned
from ipa_rl.agents.policy import Policy, load_policy, save_policy
from ipa_rl.agents.windows import validation_windows
from ipa_rl.environment.definition import load_definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.errors import InputError
from ipa_rl.judge.experiment import Setup
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.progress import Silent
from ipa_rl.simulation.queues import QUEUE
from ipa_rl.simulation.transitions import FLEET

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from stable_baselines3 import PPO  # noqa: E402

from ipa_rl.environment.env import IpaVectorEnv  # noqa: E402
from ipa_rl.training.checkpoints import (  # noqa: E402
    Checkpoint,
    best_of_parts,
    choose,
    no_worse,
    read_log,
    write_log,
)
from ipa_rl.training.clone import collect, fit, teacher_actions  # noqa: E402
from ipa_rl.training.hyperparameters import (  # noqa: E402
    Cloning,
    Hyperparameters,
    Ppo,
    load_hyperparameters,
    save_hyperparameters,
    visible,
)
from ipa_rl.training.model_file import save_model  # noqa: E402
from ipa_rl.training.ppo import export_policy, freeze_actor, load_model, new_model  # noqa: E402
from ipa_rl.training.run import train  # noqa: E402
from ipa_rl.training.vec_env import SB3VectorEnv  # noqa: E402

pytestmark = pytest.mark.slow

QUICK = Hyperparameters(
    environment="video",
    environments=16,
    checkpoint_every_steps=1600,
    cloning=Cloning(steps=150, epochs=6),
    ppo=Ppo(total_steps=8000, frozen_steps=1600, n_steps=50, batch_size=400, n_epochs=3),
)
RIVAL = {"utility": -1.6, "pas_x100": 34.4, "cores": 2.2, "violations": 0.002}
OPPONENTS = [
    Opponent("ip", "window-max:60", 0.0, RIVAL),
    Opponent("fa2-low", "last", 0.1, {**RIVAL, "utility": -2.0}),
]
FEW = partial(validation_windows, most=2)
SEEN = np.ones(len(observation_names(load_definition("video").problem)), dtype=np.float32)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    save_hyperparameters(QUICK, folder / "hyperparameters.yaml")
    return folder


def test_the_clone_answers_as_the_program_does_in_nine_of_ten_states() -> None:
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    cloning = Cloning(steps=300, epochs=25, batch_size=128)
    lessons = collect(definition, cloning, QUICK.environments, 0, Silent())
    share = fit(model.policy, lessons, cloning, Silent())
    assert share > 0.9


def test_the_teacher_is_the_program_for_the_window_maximum() -> None:
    vector = IpaVectorEnv(4, "video")
    vector.reset(seed=0)
    taught = teacher_actions(vector, Cloning())
    decisions = vector.episodes.decisions(taught)
    for row, load in zip(decisions, vector.episodes.reference_rps.tolist(), strict=True):
        np.testing.assert_array_equal(row, vector.definition.rows_for(load))


def test_the_teacher_with_hindsight_is_the_program_for_the_load_to_come() -> None:
    vector = IpaVectorEnv(4, "video")
    vector.reset(seed=0)
    ahead = vector.episodes.ahead(vector.definition.horizon_s)
    decisions = vector.episodes.decisions(teacher_actions(vector, Cloning(teacher="hindsight")))
    for row, load in zip(decisions, ahead.tolist(), strict=True):
        wanted = vector.definition.rows_for(round(load, 3))
        np.testing.assert_array_equal(row[:, :2], wanted[:, :2])


def test_what_is_hidden_does_not_move_the_policy() -> None:
    """An ablated observation reads 0 in training, and its weights are 0 in what is exported."""
    definition = load_definition("video")
    hidden = QUICK.changed({"hidden": ["queue", "forecast"]})
    seen = visible(definition.problem, hidden.hidden)
    assert 0 < (seen == 0).sum() < len(seen) / 2
    policy = export_policy(new_model(definition, hidden), definition, hidden.hidden)
    observation = np.random.default_rng(0).normal(size=(1, len(seen))).astype(np.float32)
    np.testing.assert_array_equal(policy.logits(observation), policy.logits(observation * seen))


def test_a_frozen_actor_does_not_change_while_the_critic_learns() -> None:
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    freeze_actor(model.policy, frozen=True)
    before = export_policy(model, definition, ())
    value = model.policy.value_net.weight.detach().clone()
    model.learn(2 * QUICK.environments * QUICK.ppo.n_steps)
    after = export_policy(model, definition, ())
    for one, other in zip(before.layers, after.layers, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert not torch.equal(value, model.policy.value_net.weight)


def test_the_exported_policy_decides_as_stable_baselines_does() -> None:
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    vector = IpaVectorEnv(64, definition)
    observations, _ = vector.reset(seed=5)
    theirs, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(export_policy(model, definition, ()).act(observations), theirs)


def test_truncated_episodes_reach_stable_baselines_with_their_last_observation() -> None:
    vector = SB3VectorEnv(IpaVectorEnv(3, "video"), SEEN)
    vector.seed(1)
    vector.reset()
    for _ in range(120):
        actions = np.stack([vector.action_space.sample() for _ in range(3)])
        _, _, ended, infos = vector.step(actions)
    assert ended.all()
    assert all(info["TimeLimit.truncated"] for info in infos)
    assert infos[0]["terminal_observation"].shape == vector.observation_space.shape
    assert infos[0]["episode"]["l"] == 120
    assert set(infos[0]["figures"]) == {"utility", "pas_x100", "cores", "violations"}


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
        sys.executable, "-m", "ipa_rl", "train", str(agent), "--out", str(work), "--validation-windows", "2",
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


def begun(folder: Path, steps: int = 0) -> PPO:
    """A run that stands at its first checkpoint, or after so many steps."""
    definition = load_definition("video")
    model = new_model(definition, QUICK)
    environments = model.get_env()
    assert environments is not None
    if steps:
        model.learn(steps)
    else:
        environments.reset()
    save_model(model, folder / "model.npz")
    return model


def rewritten(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def edited(path: Path, **changes: Any) -> None:
    with np.load(path) as file:
        arrays = {**file, **changes}
    np.savez(path, **{name: one for name, one in arrays.items() if one is not None})


def out_of_range(field: str, kind: np.dtype[Any], value: int) -> Callable[[Path], None]:
    """Write a value into a field of the first record."""

    def spoil(path: Path) -> None:
        name = "fleet" if "active" in (kind.names or ()) else "queues"
        with np.load(path) as file:
            raw = file[f"environments.{name}"].copy()
        raw.view(kind)[..., 0][field].flat[0] = value
        edited(path, **{f"environments.{name}": raw})

    return spoil


BROKEN_CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "cut off": lambda path: rewritten(path, path.read_bytes()[:5000]),
    "empty": lambda path: rewritten(path, b""),
    "missing": lambda path: path.unlink(),
    "a pickle": lambda path: rewritten(path, pickle.dumps({"weights": [1.0]})),
    "an array missing": lambda path: edited(path, torch=None),
    "other weights": lambda path: edited(path, **{"weight.action_net.bias": np.zeros(3, np.float32)}),
    "NaN weights": lambda path: edited(path, **{"weight.action_net.bias": np.full(52, np.nan, np.float32)}),
    "an object": lambda path: edited(path, torch=np.array([{}], dtype=object)),
    "no generator": lambda path: edited(path, torch=np.full(5056, 255, np.uint8)),
    "a generator beyond its key": lambda path: edited(path, numpy_at=np.array([700, 0])),
    "a number beyond an integer": lambda path: edited(path, numpy_at=np.array([0, 2**40])),
    "NaN loads": lambda path: edited(path, **{"environments.loads": np.full((16, 1320), np.nan)}),
    "a clock beyond the episode": lambda path: edited(path, **{"environments.seconds": np.full(16, 1e9)}),
    "an unknown preference": lambda path: edited(path, **{"environments.preference": np.full(16, 7)}),
    "an unknown variant": out_of_range("active", FLEET, 99),
    "a negative batch": out_of_range("batch", FLEET, -1),
    "more cohorts than there are": out_of_range("cohorts", FLEET, 1000),
    "a head beyond the ring": out_of_range("head", QUEUE, 64),
    "a queue longer than the ring": out_of_range("length", QUEUE, 65),
}


@pytest.mark.parametrize("name", BROKEN_CHECKPOINTS)
def test_a_checkpoint_that_is_broken_is_named_and_nothing_runs(name: str, tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / "model.npz"
    BROKEN_CHECKPOINTS[name](path)
    with pytest.raises(InputError, match=r"model\.npz: .*fix: delete the folder"):
        load_model(path, load_definition("video"), QUICK)


def test_a_model_is_restored_to_the_bit_with_its_optimizer(tmp_path: Path) -> None:
    model = begun(tmp_path, steps=800)
    restored = load_model(tmp_path / "model.npz", load_definition("video"), QUICK)
    assert restored.num_timesteps == model.num_timesteps
    ours, theirs = (one.policy.optimizer.state_dict()["state"] for one in (model, restored))
    assert ours.keys() == theirs.keys()
    for i in ours:
        for moment in ours[i]:
            assert torch.equal(ours[i][moment], theirs[i][moment])


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


checkpoints = st.builds(
    Checkpoint,
    step=st.integers(0, 10**6),
    utility=st.floats(-10, 10),
    pas_x100=st.floats(30, 40),
    cores=st.floats(2, 3),
    violations=st.floats(0, 0.01),
)


@given(st.lists(checkpoints, min_size=1))
def test_the_chosen_checkpoint_gives_nothing_up_where_one_exists(log: list[Checkpoint]) -> None:
    """Beside the first rival if it can be, beside the second if not, and only then by utility alone."""
    milder = {**RIVAL, "violations": 2 * RIVAL["violations"]}
    chosen = choose(log, (RIVAL, milder))
    eligible = [one for one in log if no_worse(one, RIVAL)] or [one for one in log if no_worse(one, milder)]
    assert all(
        one.violations <= milder["violations"] and one.pas_x100 >= RIVAL["pas_x100"] - PAS_TOLERANCE
        for one in eligible
    )
    assert chosen.utility == max(one.utility for one in eligible or log)


@given(st.lists(checkpoints, min_size=1), st.integers(1, 8))
def test_of_each_part_of_a_run_its_choice_takes_part_and_the_run_s_among_them(
    log: list[Checkpoint], parts: int
) -> None:
    found = best_of_parts(log, (RIVAL,), parts)
    assert len(found) == min(parts, len(log))
    places = [next(k for k, one in enumerate(log) if one is each) for each in found]
    assert places == sorted(places)
    assert choose(found, (RIVAL,)).utility == choose(log, (RIVAL,)).utility


def test_the_log_of_checkpoints_survives_writing_and_reading(tmp_path: Path) -> None:
    log = [Checkpoint(0, -1.0, 34.0, 2.0, 0.001), Checkpoint(10, -0.9, 34.0, 2.0, 0.001)]
    write_log(log, tmp_path / "log.json")
    assert [asdict(one) for one in read_log(tmp_path / "log.json")] == [asdict(one) for one in log]


@pytest.mark.parametrize("name", resources.shipped_names("agents"))
def test_the_shipped_hyperparameters_are_valid(name: str) -> None:
    found = load_hyperparameters(resources.folder("agents") / name / "hyperparameters.yaml")
    assert found.environment == name


def test_a_policy_for_another_environment_is_refused_in_words(tmp_path: Path) -> None:
    layers = ((np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=np.float32)),)
    save_policy(Policy(layers, (2, 2), ()), tmp_path / "policy.npz")
    with pytest.raises(InputError, match="has 3 inputs"):
        load_policy(tmp_path / "policy.npz", load_definition("video"))
    (tmp_path / "policy.npz").write_bytes(b"not a policy")
    with pytest.raises(InputError, match="is no readable policy"):
        load_policy(tmp_path / "policy.npz", load_definition("video"))


def test_a_policy_for_other_variants_of_the_same_number_is_refused_by_their_names(tmp_path: Path) -> None:
    definition = load_definition("video")
    policy = export_policy(new_model(definition, QUICK), definition, ())
    strangers = tuple(name.replace("yolov5n", "yolov8n") for name in policy.choices)
    save_policy(replace(policy, choices=strangers), tmp_path / "policy.npz")
    with pytest.raises(InputError, match="knows crop: yolov8n; does not know crop: yolov5n"):
        load_policy(tmp_path / "policy.npz", definition)
