"""A run that is saved is restored to the bit, or told broken."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.simulation.queues import QUEUE
from ipa_rl.simulation.transitions import FLEET

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait
from stable_baselines3 import PPO  # noqa: E402

from ipa_rl.training.model_file import restore_model, save_model  # noqa: E402
from ipa_rl.training.ppo import new_model  # noqa: E402
from tests.short_training import QUICK  # noqa: E402

pytestmark = pytest.mark.slow


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
        restore_model(new_model(load_definition("video"), QUICK), path)


def test_a_model_is_restored_to_the_bit_with_its_optimizer(tmp_path: Path) -> None:
    model = begun(tmp_path, steps=800)
    restored = new_model(load_definition("video"), QUICK)
    restore_model(restored, tmp_path / "model.npz")
    assert restored.num_timesteps == model.num_timesteps
    ours, theirs = (one.policy.optimizer.state_dict()["state"] for one in (model, restored))
    assert ours.keys() == theirs.keys()
    for i in ours:
        for moment in ours[i]:
            assert torch.equal(ours[i][moment], theirs[i][moment])
