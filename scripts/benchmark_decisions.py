"""Time of a decision of the policy for any pipeline, by size of the pipeline.

    python scripts/benchmark_decisions.py --windows 14

Made-up pipelines, each along validation windows of Twitter's load, which the policy decides itself. Time
of the processor, in milliseconds, as the machine may be shared. Known are the decisions for which the
optimum is asked for nothing that it was not asked for before; the second half of all decisions is beside
all.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line has it
import argparse
import time

import numpy as np
from benchmark_planner import made_up
from numpy.typing import NDArray

from ipa_rl.agents.universal import UniversalAgent, make_universal
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster, SimulatorKind

SIZES = ((1, 1), (2, 5), (5, 5), (9, 5), (9, 9))


def answers_kept(agent: UniversalAgent) -> int:
    """How much the optimum was asked for so far."""
    return sum(len(answers) for answers in agent._optima._known.values())


def times_ms(
    agent: UniversalAgent, definition: Definition, windows: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Of each decision along the windows, and whether it asked the optimum for something new."""
    took, is_new = [], []
    for window in definition.windows("validation")[:windows]:
        cluster = SimulatedCluster(definition, Scenario(window), SimulatorKind.fluid)
        for _ in range(definition.window_s // definition.timing.interval_s):
            state, before = cluster.observe(), answers_kept(agent)
            began = time.thread_time()
            decision = agent.decide(state)
            took.append(1e3 * (time.thread_time() - began))
            is_new.append(answers_kept(agent) > before)
            cluster.apply(decision.configuration)
            cluster.wait()
    return np.array(took), np.array(is_new, dtype=np.bool_)


def main() -> None:
    """Print one row a size, as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=14)
    arguments = parser.parse_args()
    print("| stages x variants | decisions | median | p99, known | p99, all | p99, second half | known |")
    print("|---|---|---|---|---|---|---|")
    for stages, variants in SIZES:
        definition = made_up(stages, variants, 1.0)
        took, is_new = times_ms(make_universal(definition), definition, arguments.windows)
        later = np.arange(len(took)) >= len(took) // 2
        figures = [np.median(took)] + [np.quantile(some, 0.99) for some in (took[~is_new], took, took[later])]
        cells = [f"{stages} x {variants}", str(len(took)), *(f"{one:.2f}" for one in figures)]
        print(f"| {' | '.join(cells)} | {100 * np.mean(~is_new):.0f} % |", flush=True)


if __name__ == "__main__":
    main()
