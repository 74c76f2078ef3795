"""Time of a decision of the trained agent by stages and variants, guard included.

    python scripts/benchmark_decisions.py --decisions 2000

Random pipelines and networks of the shipped size; time of the processor, as the machine may be shared:
observation, network, program, guard, which plays both answers forward; in the last column the guard refuses
every decision before it does.
"""

import argparse
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
from benchmark_solvers import random_problem

from ipa_rl.agents import State
from ipa_rl.agents.policy import Coverage, Policy, PolicyAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.environment.action import action_sizes, choice_names
from ipa_rl.environment.definition import BaselinesModel, Definition, EpisodesModel, RewardModel
from ipa_rl.environment.observation import observation_names
from ipa_rl.jit import FloatArray
from ipa_rl.simulation import FluidSimulator, Timing
from ipa_rl.workload.forecasters import make_forecaster
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import load_workload

SIZES = ((1, 1), (2, 5), (3, 5), (5, 5), (5, 9), (9, 5), (9, 9))


def make_agent(definition: Definition, rng: np.random.Generator) -> PolicyAgent:
    """An agent with random weights, and a guard that plays all of its choices forward."""
    entries, sizes = len(observation_names(definition.problem)), tuple(action_sizes(definition.problem))
    widths = (entries, 64, 64, sum(sizes))
    layers = tuple(
        ((rng.normal(size=(b, a)) / np.sqrt(a)).astype(np.float32), np.zeros(b, dtype=np.float32))
        for a, b in pairwise(widths)
    )
    whitening = rng.normal(size=(entries, entries)).astype(np.float32)
    mean = np.zeros(entries, dtype=np.float32)
    coverage = Coverage(mean, whitening, limit=1e9, least_capacity=0.0, heavy_rps=0.0, reserve=0.0)
    program = ProgramAgent(
        "ip", definition, make_forecaster("quantile:95@25", load_workload("twitter"), 1), 0.1
    )
    return PolicyAgent(
        "ppo", definition, Policy(layers, sizes, choice_names(definition.problem), coverage), program
    )


def times_ms(
    agent: PolicyAgent, definition: Definition, decisions: int, rng: np.random.Generator
) -> FloatArray:
    """Milliseconds of each decision, at random loads."""
    simulator = FluidSimulator(definition.problem, definition.timing, 1)
    simulator.reset(0, definition.rows_for(20.0))
    found = []
    for _ in range(decisions + 50):
        history = rng.poisson(rng.uniform(5, 40), HISTORY_STEPS).astype(np.float64)
        state = State(history, simulator.fleet[0], np.zeros(len(simulator.fleet[0])))
        began = time.thread_time()
        agent.decide(state)
        found.append(1e3 * (time.thread_time() - began))
    return np.array(found[50:])


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--decisions", type=int, default=2000)
    arguments = parser.parse_args()
    print(f"{'stages x variants':18} {'mean ms':>8} {'p99 ms':>8} {'refused: p99 ms':>16}")
    for stages, variants in SIZES:
        rng = np.random.default_rng([stages, variants])
        problem = random_problem(stages, variants, rng)
        names = tuple(stage.variants[0].name for stage in problem.pipeline.stages)
        baselines = BaselinesModel(fa2_low=names, fa2_high=names, rim_replicas=(1,) * stages)
        definition = Definition(
            "random",
            problem,
            Timing(),
            load_workload("twitter"),
            EpisodesModel(),
            RewardModel(),
            baselines,
            30,
        )
        agent = make_agent(definition, rng)
        took = times_ms(agent, definition, arguments.decisions, rng)
        assert agent.policy.coverage is not None
        agent.policy = replace(agent.policy, coverage=replace(agent.policy.coverage, limit=-1.0))
        refused = times_ms(agent, definition, arguments.decisions, rng)
        print(
            f"{stages} x {variants:<14} {took.mean():8.3f} {np.quantile(took, 0.99):8.3f} "
            f"{np.quantile(refused, 0.99):16.3f}"
        )


if __name__ == "__main__":
    main()
