"""Training steps a second of stable-baselines3's A2C, by how it gets its environments, on one core.

    python scripts/benchmark_vec_env.py --environments 64 --steps 6400

A step is one adaptation interval of one environment; learning is part of it. Times are of the processor, so
that a busy machine disturbs them less.
"""

import argparse
import time
from collections.abc import Callable

import gymnasium
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import ipa_rl


def steps_per_second(environments: VecEnv, steps: int) -> float:
    """Steps a second of processor time, after some that compile."""
    model = A2C("MlpPolicy", environments, gamma=0.9, device="cpu", seed=0)
    model.learn(5 * environments.num_envs)
    began = time.process_time()
    model.learn(steps)
    return model.num_timesteps / (time.process_time() - began)


def main() -> None:
    """Print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", default="video")
    parser.add_argument("--environments", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6_400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name, many = f"ipa_rl/{arguments.environment}-v1", arguments.environments
    ways: dict[str, Callable[[], VecEnv]] = {
        'make_vec_env("ipa_rl/...", 1)': lambda: make_vec_env(name, 1),
        f'make_vec_env("ipa_rl/...", {many})': lambda: make_vec_env(name, many),
        f'SB3VectorEnv(make_vec("ipa_rl/...", {many}))': lambda: ipa_rl.SB3VectorEnv(
            gymnasium.make_vec(name, num_envs=many)
        ),
    }
    for way, made in ways.items():
        print(f"{way:44} {steps_per_second(made(), arguments.steps):8,.0f} steps/s", flush=True)


if __name__ == "__main__":
    main()
