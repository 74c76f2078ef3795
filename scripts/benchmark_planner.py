"""Time of a decision of the planner by size of the pipeline, compiled and interpreted.

    python scripts/benchmark_planner.py --decisions 60
    python scripts/benchmark_planner.py --budget-ms 200

Made-up pipelines whose replicas take 50 or 80 s to start, so that the planner looks 110 or 170 s ahead, and
the shipped ones; each along a window of its workload. Time of the processor, as the machine may be shared:
the mean of a decision, and of it what finding load paths, asking the optimum and rollouts take; and the
longest decision. Interpreted is as the sidecar runs it, without numba. Warm: all is decided once before.
Within a budget the first decisions are timed as they come, interpreted.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from benchmark_solvers import random_problem

from ipa_rl.agents import State
from ipa_rl.agents.outlooks import PATHS
from ipa_rl.agents.planner import PlannerAgent, make_planner
from ipa_rl.environment import definition as environments
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import INTERPRETED, INTERPRETED_VARIABLE
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster, SimulatorKind
from ipa_rl.simulation import Timing
from ipa_rl.simulation.outlook import roll_out
from ipa_rl.workload.workload import load_workload

MADE_UP = ((1, 5, 8.0), (2, 5, 8.0), (4, 5, 8.0), (9, 9, 5.0), (9, 9, 8.0))
"""Stages, variants, and how many times the 10 s that replicas else take to start."""
SHIPPED = ("video", "audio-sent", "audio-qa", "sum-qa", "nlp")
SIZES = ("pipeline", "stages x variants", "candidates", "paths", "ahead s", "functions")
PARTS = ("decision", "load paths", "optimum", "rollouts")


class Stopwatch:
    """Milliseconds of the processor by what they were spent on."""

    def __init__(self) -> None:
        self.spent_ms = dict.fromkeys(PARTS, 0.0)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts."""

        def call(*arguments: Any) -> Any:
            began = time.thread_time()
            found = function(*arguments)
            self.spent_ms[part] += 1e3 * (time.thread_time() - began)
            return found

        return call


class TimedFutures:
    """Load paths that take their time."""

    def __init__(self, agent: PlannerAgent, watch: Stopwatch) -> None:
        self.ahead = watch.timed("load paths", agent.futures.ahead)


def made_up(stages: int, variants: int, slower: float) -> Definition:
    """A random pipeline under Twitter's load."""
    problem = random_problem(stages, variants, np.random.default_rng([stages, variants]))
    names = tuple(stage.variants[0].name for stage in problem.pipeline.stages)
    baselines = environments.BaselinesModel(fa2_low=names, fa2_high=names, rim_replicas=(1,) * stages)
    episodes, reward = environments.EpisodesModel(), environments.RewardModel()
    timing, twitter = Timing(start_up_scale=slower), load_workload("twitter")
    made = Definition("made up", problem, timing, twitter, episodes, reward, baselines)
    return made.with_problem(weights=replace(problem.weights, rho=environments.default_rho(made)))


def states_along(agent: PlannerAgent, definition: Definition, decisions: int) -> list[State]:
    """What the planner sees along the first window of the validation part, deciding itself."""
    scenario = Scenario(definition.windows("validation")[0])
    cluster, seen = SimulatedCluster(definition, scenario, SimulatorKind.fluid), []
    for _ in range(decisions):
        state = cluster.observe()
        seen.append(replace(state, fleet=state.fleet.copy()))
        cluster.apply(agent.decide(seen[-1]).configuration)
        cluster.wait()
    return seen


def size(definition: Definition) -> str:
    """Stages and variants."""
    stages = definition.pipeline.stages
    return f"{len(stages)} x {max(len(stage.variants) for stage in stages)}"


def row(definition: Definition, decisions: int) -> str:
    """One row of the table."""
    agent, watch = make_planner(definition), Stopwatch()
    states = states_along(agent, definition, decisions)
    agent.futures = TimedFutures(agent, watch)
    optima = agent._outlooks.optima
    optima.rows = watch.timed("optimum", optima.rows)  # type: ignore[method-assign]
    plan, rollouts = watch.timed("decision", agent.plan), watch.timed("rollouts", roll_out)
    candidates, took_ms = 0, []
    with patch("ipa_rl.agents.planner.roll_out", rollouts):
        for state in states:
            before_ms = watch.spent_ms["decision"]
            candidates += len(plan(state).candidates)
            took_ms.append(watch.spent_ms["decision"] - before_ms)
    cells = [definition.name, size(definition), f"{candidates / decisions:.0f}", str(PATHS)]
    cells += [str(agent.horizon_s), "interpreted" if INTERPRETED else "compiled"]
    cells += [f"{watch.spent_ms[part] / decisions:.2f}" for part in PARTS] + [f"{max(took_ms):.2f}"]
    return "| " + " | ".join(cells) + " |"


def within(definition: Definition, budget_s: float, decisions: int) -> str:
    """How long the first decisions take within a budget, when no answer of the optimum is known yet."""
    agent, watch = make_planner(definition), Stopwatch()
    agent.budget_s = budget_s
    took_ms: list[float] = []
    decide = watch.timed("decision", agent.decide)

    def timed(state: State) -> Any:
        before_ms = watch.spent_ms["decision"]
        decision = decide(state)
        took_ms.append(watch.spent_ms["decision"] - before_ms)
        return decision

    with patch.object(agent, "decide", timed):
        states_along(agent, definition, decisions)
    return (
        f"{definition.name}, {size(definition)}: first {took_ms[0]:.0f} ms, mean of {decisions} "
        f"{np.mean(took_ms):.0f} ms, longest {max(took_ms):.0f} ms"
    )


def main() -> None:
    """Print one row a pipeline and mode, as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--decisions", type=int, default=30)
    parser.add_argument("--mode", choices=("both", "this"), default="both", help="this: as this process runs")
    parser.add_argument("--budget-ms", type=float, help="what the sidecar gives a plan: 2 %% of the interval")
    arguments = parser.parse_args()
    if arguments.mode == "this" and arguments.budget_ms:
        for made in (made_up(*one) for one in MADE_UP):
            print(within(made, arguments.budget_ms / 1e3, arguments.decisions), flush=True)
        return
    if arguments.mode == "this":
        for definition in [made_up(*one) for one in MADE_UP] + [load_definition(one) for one in SHIPPED]:
            print(row(definition, arguments.decisions), flush=True)
        return
    words = [sys.executable, __file__, "--mode", "this", "--decisions", str(arguments.decisions)]
    if arguments.budget_ms:
        words += ["--budget-ms", str(arguments.budget_ms)]
        subprocess.run(words, env={**os.environ, INTERPRETED_VARIABLE: "1"}, check=True)
        return
    heads = [*SIZES, *(f"{part} ms" for part in PARTS), "longest ms"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    for interpreted in ("0", "1"):
        subprocess.run(words, env={**os.environ, INTERPRETED_VARIABLE: interpreted}, check=True)


if __name__ == "__main__":
    main()
