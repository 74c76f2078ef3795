"""How often a controller changes what runs, and what that costs where batch sizes are cold.

    python scripts/benchmark_changes.py --environments video --poisson 6 --windows 10
    python scripts/benchmark_changes.py --environments video sum-qa nlp --windows 20 --fluid

Each controller (the shipped agent, the program tuned beside it, the untuned program) serves windows of 21
minutes, once as the judge plays it and once with the rule of `ipa_rl.sidecar.change_payoff`: a steady Poisson
load, or windows of the validation part. The simulators change batch sizes at once; "utility, cold" charges
each change of a batch size for the replicas that a Kubernetes starts for it. Differences are paired, with
standard errors.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.agents.trained import PROGRAM_ALONE, load_agents
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.sidecar.change_payoff import (
    ChangePayoff,
    CheckedAgent,
    default_horizon_s,
    serving_of,
    start_core_s,
)
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window, load_workload

SECONDS = 1260


class Counting:
    """An agent whose changes are counted; ``cold_core_s``: cores times seconds that batch sizes cost."""

    def __init__(self, definition: Definition, agent: Agent) -> None:
        self.definition, self.agent, self.name = definition, agent, agent.name
        self.steps, self.cold_core_s = 0, 0.0

    def decide(self, state: State) -> Decision:
        """The agent's."""
        decision = self.agent.decide(state)
        present = serving_of(self.definition.problem, state.fleet)
        stages = decision.configuration.stages
        self.steps += any(a is not None and a != b for a, b in zip(present, stages, strict=True))
        for stage, now, then in zip(self.definition.pipeline.stages, present, stages, strict=True):
            if now is not None and now.variant == then.variant and now.batch != then.batch:
                cold = start_core_s(replace(stage, cold_batch=True), now, then)
                self.cold_core_s += self.definition.timing.start_up_scale * cold
        return decision


def played(definition: Definition, agent: Agent, window: Window, kind: SimulatorKind) -> tuple[float, ...]:
    """Steps with a change, utility, utility with cold batch sizes, share of violations."""
    counting = Counting(definition, agent)
    found = figures(definition, play(definition, counting, Scenario(window), kind))
    cost = definition.weights.beta * counting.cold_core_s / SECONDS
    return counting.steps, found["utility"], found["utility"] - cost, found["violations"]


def paying(definition: Definition, agent: Agent) -> CheckedAgent:
    """The agent with the rule, batch sizes cold."""
    stages = tuple(replace(stage, cold_batch=True) for stage in definition.pipeline.stages)
    problem = definition.with_problem(pipeline=replace(definition.pipeline, stages=stages)).problem
    timing = definition.timing
    horizon_s = default_horizon_s(definition, timing.interval_s)
    return CheckedAgent(agent, ChangePayoff(problem, horizon_s, timing.start_up_scale).checked)


def contenders(definition: Definition) -> Iterator[tuple[str, Agent]]:
    """Who is measured."""
    agents, tuned = load_agents(definition, definition.name)
    yield from (("agent", agents[0]), ("tuned program", tuned))
    yield "untuned program", load_agents(definition, PROGRAM_ALONE)[1]


def chosen(count: int, poisson_rps: float | None) -> list[Window]:
    """Windows of one kind."""
    if poisson_rps is not None:
        draws = [
            np.random.default_rng(seed).poisson(poisson_rps, HISTORY_STEPS + SECONDS) for seed in range(count)
        ]
        return [Window(f"poisson {seed}", counts, HISTORY_STEPS) for seed, counts in enumerate(draws)]
    found = load_workload("twitter").windows("validation", SECONDS, HISTORY_STEPS)
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=["video"])
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--poisson", type=float, help="requests a second; else the validation part")
    parser.add_argument("--fluid", action="store_true", help="in the fluid simulator")
    given = parser.parse_args()
    kind = SimulatorKind.fluid if given.fluid else SimulatorKind.request_level
    print(f"{'':27s} {'steps changed':>14s} {'utility':>18s} {'utility, cold':>18s} {'violations %':>13s}")
    for name in given.environments:
        definition = load_definition(name)
        for label, agent in contenders(definition):
            each = [
                [played(definition, one, window, kind) for window in chosen(given.windows, given.poisson)]
                for one in (agent, paying(definition, agent))
            ]
            then, now = np.array(each)
            apart = now - then
            error = apart.std(axis=0, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.zeros(4)
            mean, change = then.mean(axis=0), apart.mean(axis=0)
            print(
                f"{name:10s} {label:16s} {mean[0]:5.1f} -> {mean[0] + change[0]:5.1f} "
                f"{mean[1]:8.3f} {change[1]:+.3f}±{error[1]:.3f} "
                f"{mean[2]:8.3f} {change[2]:+.3f}±{error[2]:.3f} "
                f"{100 * mean[3]:5.2f} -> {100 * (mean[3] + change[3]):5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
