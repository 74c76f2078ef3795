"""Requests a second through the request-level simulator, on one core.

    python scripts/benchmark_requests.py --requests 1000000

Times are of the processor, so that a busy machine disturbs them less.
"""

import argparse
import time

import numpy as np

from ipa_rl import resources
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.simulation import RequestSimulator

LOAD_RPS = 20.0


def requests_per_second(environment: str, count: int) -> tuple[float, int]:
    """Requests a second of processor time at a steady load, and the number of stages."""
    definition = load_definition(environment)
    rng = np.random.default_rng(0)
    arrivals_s = np.cumsum(rng.exponential(1.0 / LOAD_RPS, count))
    for times in (arrivals_s[:100], arrivals_s):  # the first compiles
        simulator = RequestSimulator(definition.problem, definition.timing, times, rng)
        simulator.place(definition.rows_for(1.2 * LOAD_RPS))
        began = time.process_time()
        simulator.advance(float(times[-1]) + 60.0)
        taken_s = time.process_time() - began
    return count / taken_s, len(definition.pipeline.stages)


def main() -> None:
    """Print one line an environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print(f"{'environment':12} {'stages':>6} {'requests/s':>12}")
    for name in resources.shipped_names("envs"):
        rate, stages = requests_per_second(name, arguments.requests)
        print(f"{name:12} {stages:6} {rate:12,.0f}")


if __name__ == "__main__":
    main()
