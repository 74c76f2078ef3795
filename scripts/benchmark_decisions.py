"""Time of a decision of the policy for any pipeline, by size of the pipeline.

    python scripts/benchmark_decisions.py --windows 14

Made-up pipelines, each along validation windows of Twitter's load, which the policy decides itself, as the
sidecar runs it: what it never asked the optimum is asked after the decision. Time of the processor, in
milliseconds, as the machine may be shared. The second half of all decisions is beside all; ``asked
after``: the mean time that is spent so. With `--at-once` everything is asked before the decision, as in
comparisons.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line has it
import argparse
import math
import time

import numpy as np
from benchmark_planner import made_up

from ipa_rl.agents.universal import UniversalAgent, make_universal
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster, SimulatorKind

SIZES = ((1, 1), (2, 5), (5, 5), (9, 5), (9, 9))


def times_ms(
    agent: UniversalAgent, definition: Definition, windows: int, at_once: bool
) -> tuple[FloatArray, FloatArray]:
    """Of each decision along the windows, and of what was asked after it."""
    took, after = [], []
    agent.asks_later = not at_once
    for window in definition.windows("validation")[:windows]:
        cluster = SimulatedCluster(definition, Scenario(window), SimulatorKind.fluid)
        for _ in range(definition.window_s // definition.timing.interval_s):
            state = cluster.observe()
            began = time.thread_time()
            decision = agent.decide(state)
            decided = time.thread_time()
            if not at_once:
                agent.catch_up(math.inf)
            took.append(1e3 * (decided - began))
            after.append(1e3 * (time.thread_time() - decided))
            cluster.apply(decision.configuration)
            cluster.wait()
    return np.array(took), np.array(after)


def main() -> None:
    """Print one row a size, as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=14)
    parser.add_argument("--at-once", action="store_true")
    arguments = parser.parse_args()
    print("| stages x variants | decisions | median | p99 | p99, second half | asked after |")
    print("|---|---|---|---|---|---|")
    for stages, variants in SIZES:
        definition = made_up(stages, variants, 1.0)
        agent = make_universal(definition)
        took, after = times_ms(agent, definition, arguments.windows, arguments.at_once)
        later = took[len(took) // 2 :]
        figures = np.median(took), np.quantile(took, 0.99), np.quantile(later, 0.99), after.mean()
        cells = [f"{stages} x {variants}", str(len(took)), *(f"{one:.2f}" for one in figures)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
