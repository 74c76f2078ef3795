"""Environment steps a second, and time of a decision of the trained agent, on one core.

    python scripts/benchmark_simulator.py --environments 64 --steps 3000
    python scripts/benchmark_simulator.py --mixed 20

Times are of the processor, so that a busy machine disturbs them less. ``--mixed``: what the policy for any
pipeline learns from, so many made-up pipelines of one to nine stages one after the other: intervals a second
that answers are played forward, in the rollouts alone and with all that lessons take.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from ipa_rl import resources
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.simulation.outlook import roll_out
from ipa_rl.training.lessons import DRAWN_EPISODES, OWN_EPISODES, attend, drawn_course
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import load_workload

BEYOND = 1_000_000
"""Seeds from which on nothing is learned."""


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


def mixed_rates(pipelines: int, episodes: int) -> tuple[float, float]:
    """Intervals a second that answers are played forward, in rollouts alone and in whole lessons.

    The lessons' own code, with so many episodes of each pipeline, decided by who knows what comes.
    """
    played, rollouts_s = 0, 0.0

    def timed(*arguments: Any) -> None:
        nonlocal played, rollouts_s
        *_, outlook, going, first, until, _utilities = arguments
        ticks = outlook.curves.shape[1] - 1 - outlook.past
        began = time.process_time()
        roll_out(*arguments)
        rollouts_s += time.process_time() - began
        played += len(going) * (until - first) * (ticks // outlook.interval_ticks)

    courses = [replace(drawn_course(seed), episodes=episodes) for seed in range(BEYOND, BEYOND + pipelines)]
    attend(replace(courses[0], episodes=1), None)  # compiles
    began = time.process_time()
    with patch("ipa_rl.training.lessons.roll_out", timed):
        for course in courses:
            attend(course, None)
    return played / rollouts_s, played / (time.process_time() - began)


def mixed_rows(pipelines: int) -> Iterator[str]:
    """One row for each number of episodes."""
    yield f"{'episodes':12} {'rollouts/s':>12} {'lessons/s':>12}"
    for episodes in (DRAWN_EPISODES, OWN_EPISODES):
        alone, whole = mixed_rates(pipelines, episodes)
        yield f"{episodes:<12} {alone:12,.0f} {whole:12,.0f}"


def main() -> None:
    """Print one line an environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environments", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--mixed", type=int, metavar="PIPELINES")
    arguments = parser.parse_args()
    if arguments.mixed:
        for line in mixed_rows(arguments.mixed):
            print(line, flush=True)
        return
    print(f"{'environment':12} {'steps/s':>10} {'decision p50 ms':>16} {'p99 ms':>8}")
    for name in resources.shipped_names("envs"):
        rate = steps_per_second(name, arguments.environments, arguments.steps)
        p50_ms, p99_ms = decision_ms(name)
        print(f"{name:12} {rate:10,.0f} {p50_ms:16.3f} {p99_ms:8.3f}")


if __name__ == "__main__":
    main()
