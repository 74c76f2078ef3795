"""Environment steps a second, and time of a decision of the trained agent, on one core.

    python scripts/benchmark_simulator.py --environments 64 --steps 3000

Times are of the processor, so that a busy machine disturbs them less.
"""

import argparse
import time

import numpy as np

from ipa_rl import resources
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import load_workload


def steps_per_second(environment: str, environments: int, steps: int) -> float:
    """Environment steps (10 simulated seconds each) a second of processor time, random actions."""
    vector = IpaVectorEnv(environments, environment)
    vector.reset(seed=0)
    vector.action_space.seed(0)
    actions = [vector.action_space.sample() for _ in range(50)]
    vector.step(actions[0])
    began = time.process_time()
    for step in range(steps):
        vector.step(actions[step % len(actions)])
    return environments * steps / (time.process_time() - began)


def decision_ms(environment: str) -> tuple[float, float]:
    """Median and 99th percentile of the trained agent's decisions over the bursty window, ms."""
    definition = load_definition(environment)
    window = load_workload("twitter").named_window("bursty", HISTORY_STEPS)
    policy = controllers(definition, None).policy
    if policy is None:
        return float("nan"), float("nan")
    taken = [play(definition, policy, Scenario(window)).timed_s() for _ in range(10)]
    low, high = np.quantile(np.concatenate(taken), [0.5, 0.99])
    return 1e3 * float(low), 1e3 * float(high)


def main() -> None:
    """Print one line an environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    print(f"{'environment':12} {'steps/s':>10} {'decision p50 ms':>16} {'p99 ms':>8}")
    for name in resources.shipped_names("envs"):
        rate = steps_per_second(name, arguments.environments, arguments.steps)
        p50_ms, p99_ms = decision_ms(name)
        print(f"{name:12} {rate:10,.0f} {p50_ms:16.3f} {p99_ms:8.3f}")


if __name__ == "__main__":
    main()
