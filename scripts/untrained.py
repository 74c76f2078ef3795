"""Who needs no training for an environment: the policy for any pipeline or the planner, request by request.

    python scripts/untrained.py video audio-qa audio-sent sum-qa nlp --part test
    python scripts/untrained.py video audio-qa audio-sent sum-qa nlp --part test --planner
    python scripts/untrained.py envs/sum-qa.yaml --part test --scorer runs/sum-qa/scorer.npz

Windows, arrivals and service times are those of `ipa-rl evaluate`, so that the figures stand beside a card's.
Utility, violations in percent, cores, PAS x 100; and the time of a decision, its 50th and 99th percentile.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

from ipa_rl.agents import Agent, Decision, State
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.universal import make_universal
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.play import mean_figures
from ipa_rl.judge.pools import make_pool
from ipa_rl.workload.workload import Part

CHUNK = 12
"""Windows of a job."""
NAMES = ("utility", "violations", "cores", "pas_x100")


class Timed:
    """An agent that remembers how long it took."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.name, self.took_ms = agent, agent.name, list[float]()

    def decide(self, state: State) -> Decision:
        """The agent's."""
        began = time.perf_counter()
        decision = self.agent.decide(state)
        self.took_ms.append(1000.0 * (time.perf_counter() - began))
        return decision


def chunk(
    first: int, environment: str, scorer: Path | None, plans: bool, part: Part, most: int | None
) -> tuple[int, list[float], list[float]]:
    """Windows, sums of figures, and times of decisions of a chunk."""
    definition = load_definition(environment)
    timed = Timed(make_planner(definition) if plans else make_universal(definition, scorer))
    windows = evenly(definition.windows(part), most)[first : first + CHUNK]
    means = mean_figures(definition, lambda _: MeasuringAgent(timed, meters_of(definition)), windows)
    return len(windows), [len(windows) * means[name] for name in NAMES], timed.took_ms


def main() -> None:
    """Print a row an environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("environments", nargs="+")
    parser.add_argument("--scorer", type=Path, help="that which ships by default")
    parser.add_argument("--planner", action="store_true", help="instead of the policy")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--windows", type=int, help="so many, evenly spread")
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    pool = make_pool(arguments.workers, None)
    print("| environment | windows | utility | violations % | cores | PAS x 100 | ms, p50 and p99 |")
    print("|---|---|---|---|---|---|---|")
    for environment in arguments.environments:
        windows = len(evenly(load_definition(environment).windows(arguments.part), arguments.windows))
        play = partial(
            chunk,
            environment=environment,
            scorer=arguments.scorer,
            plans=arguments.planner,
            part=arguments.part,
            most=arguments.windows,
        )
        found = [one for _, one in pool.each(play, range(0, windows, CHUNK))]
        utility, violations, cores, pas = np.sum([sums for _, sums, _ in found], axis=0) / windows
        p50, p99 = np.quantile([ms for *_, took in found for ms in took], [0.5, 0.99])
        figures = f"{utility:.3f} | {100 * violations:.2f} | {cores:.2f} | {pas:.2f} | {p50:.2f}, {p99:.2f}"
        print(f"| {environment} | {windows} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
