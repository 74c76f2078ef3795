"""A training run as it stands at a checkpoint, ``model.npz``: plain arrays, of which nothing runs on reading.

Weights, the optimizer's moments, the random generators of torch and numpy, and the environments with theirs:
what goes on from it is the run that was never cut off, to the bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO

from ipa_rl.arrays import Headers, Wanted, check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import InputError
from ipa_rl.training.vec_env import SB3VectorEnv

Arrays = dict[str, NDArray[Any]]

FIX = "delete the folder, and train again without --resume"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_KEY_WORDS = 624


def save_model(model: PPO, path: Path) -> None:
    """Keep the run, whole or not at all; between two rollouts."""
    write_arrays({**_fixed(model), **_moments(model)}, path)


def restore_model(model: PPO, path: Path) -> None:
    """Bring a new model of the same settings to where the run stood. Raises InputError."""
    arrays = read_arrays(path, lambda headers: _problem(headers, model), "checkpoint of this run", FIX)
    finite = {name: one for name, one in arrays.items() if name.startswith(("weight.", "adam."))}
    check_finite(finite, path, FIX)
    try:
        _restore(model, arrays)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"is not a checkpoint of this run: {error}", file=path, fix=FIX) from error


def _fixed(model: PPO) -> Arrays:
    """All but the optimizer's moments, which parameters have once they have learned."""
    found: Any = model
    environments: SB3VectorEnv = found.env
    _, key, position, has_gauss, gauss = np.random.get_state()  # the rollout buffer shuffles by it
    starts = found._last_episode_starts
    counts = {
        "steps": np.array([model.num_timesteps, found._n_updates], dtype=np.int64),
        "starts": np.ones(environments.num_envs, dtype=np.bool_) if starts is None else starts,
        "torch": torch.get_rng_state().numpy(),
        "numpy": np.asarray(key, dtype=np.uint32),
        "numpy_at": np.array([position, has_gauss], dtype=np.int64),
        "numpy_gauss": np.array(gauss, dtype=np.float64),
    }
    weights = {f"weight.{name}": one.detach().numpy() for name, one in model.policy.state_dict().items()}
    worlds = {f"environments.{name}": one for name, one in environments.state().items()}
    return counts | weights | worlds


def _moments(model: PPO) -> Arrays:
    states = model.policy.optimizer.state_dict()["state"]
    return {f"adam.{i}.{name}": states[i][name].numpy() for i in states for name in _MOMENTS}


def _problem(headers: Headers, model: PPO) -> str:
    wanted: Wanted = {name: (one.dtype.str[1:], one.shape) for name, one in _fixed(model).items()}
    for i, parameter in enumerate(model.policy.optimizer.param_groups[0]["params"]):
        if f"adam.{i}.step" in headers:
            shape = tuple(parameter.shape)
            wanted |= {f"adam.{i}.{name}": ("f4", () if name == "step" else shape) for name in _MOMENTS}
    return misfit(headers, wanted)


def _restore(model: PPO, arrays: Arrays) -> None:
    found: Any = model
    steps, updates = arrays["steps"].tolist()
    position, has_gauss = arrays["numpy_at"].tolist()
    if min(steps, updates) < 0 or not 0 <= position <= _KEY_WORDS or has_gauss not in (0, 1):
        raise InputError("is out of range", field="steps")
    environments: SB3VectorEnv = found.env
    worlds = {name: one for name, one in arrays.items() if name.startswith("environments.")}
    found._last_obs = environments.restore({name.partition(".")[2]: one for name, one in worlds.items()})
    found._last_episode_starts = arrays["starts"]
    found.num_timesteps, found._n_updates = steps, updates
    weights = {name: one for name, one in arrays.items() if name.startswith("weight.")}
    model.policy.load_state_dict(
        {name.partition(".")[2]: torch.as_tensor(one) for name, one in weights.items()}
    )
    optimizer = model.policy.optimizer
    parameters = optimizer.param_groups[0]["params"]
    learned = [i for i in range(len(parameters)) if f"adam.{i}.step" in arrays]
    moments = {i: {name: torch.as_tensor(arrays[f"adam.{i}.{name}"]) for name in _MOMENTS} for i in learned}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    torch.set_rng_state(torch.as_tensor(arrays["torch"]))
    np.random.set_state(("MT19937", arrays["numpy"], position, has_gauss, float(arrays["numpy_gauss"])))
