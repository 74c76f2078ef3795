"""The policy for any pipeline on made-up pipelines, beside two programs and the planner, request by request.

    python scripts/universal_family.py runs/universal/line-1/round-1/scorer.npz --seeds 100 125
    python scripts/universal_family.py --seeds 0 30 --part test
    python scripts/universal_family.py --seeds 0 30 --part test --stages 10 12
    python scripts/universal_family.py runs/universal/scorer.npz --environments video --windows 40

Seeds from 100 are to choose by, those below to report on. Loads take turns: those that ship and are long
enough, and one that is switched at random. Utility above the better of the two programs (the highest of the
last 30 steps, and the 90 % quantile), in mean costs of the program, with its 95 % interval over windows, and
violations in percent.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ipa_rl.agents import Agent
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.opponents import PLANNER, PROGRAM, RECORDED, UNTUNED_FORECASTER, Opponent, build
from ipa_rl.agents.universal import make_universal
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.family import MADE_UP, drawn_definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import interval_95
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import Part, load_workload

LOADS = ("twitter", "servegen-m-large", "azure-conversations", "mooncake-conversations", "on-off")

Make = Callable[[Definition], Agent]


def measuring(definition: Definition, file: Path | None) -> Agent:
    """The policy of a file, or that which ships, as the sidecar runs it."""
    return MeasuringAgent(make_universal(definition, file), meters_of(definition))


def who(definition: Definition, scorers: list[Path]) -> dict[str, Make]:
    """How all that are played are made, programs first."""
    known = {
        "last 30": Opponent(PROGRAM, UNTUNED_FORECASTER, 0.1, {}),
        "90 %": Opponent(PROGRAM, f"quantile:90@{definition.horizon}", 0.0, {}),
        "planner": Opponent(PLANNER, RECORDED, 0.1, {}),
    }
    nothing = np.zeros(0, dtype=np.int64)
    found: dict[str, Make] = {
        name: partial(build, opponent=one, arrivals=nothing) for name, one in known.items()
    }
    found |= {str(path.parent): partial(measuring, file=path) for path in scorers}
    return found if scorers else {**found, "universal": partial(measuring, file=None)}


def drawn(seed: int, stages: tuple[int, int] | None) -> Definition:
    """The made-up pipeline of a seed, with the load whose turn it is."""
    name = LOADS[seed % len(LOADS)]
    workload = made_up("on-off", 6.0, 30.0) if name == "on-off" else load_workload(name)
    ranges = replace(MADE_UP, stages=tuple(range(stages[0], stages[1] + 1))) if stages else MADE_UP
    return drawn_definition(seed, workload, ranges)


def row(
    definition: Definition, scorers: list[Path], part: Part, windows: int
) -> tuple[str, dict[str, tuple[float, ...]]]:
    """What pipeline and load it is; of each the gain, its interval, and violations."""
    played_on = evenly(definition.windows(part), windows)
    found: dict[str, FloatArray] = {}
    for system, make in who(definition, scorers).items():
        each = [figures(definition, play(definition, make(definition), Scenario(one))) for one in played_on]
        found[system] = np.array([(one["utility"], one["violations"]) for one in each])
    best = max(list(found.values())[:2], key=lambda one: float(one[:, 0].mean()))[:, 0]
    told = f"{definition.name} | {definition.workload.name} | {len(definition.pipeline.stages)}"
    gains = {system: (one[:, 0] - best) / definition.mean_cost for system, one in found.items()}
    return told, {
        system: (float(gains[system].mean()), *interval_95(gains[system]), 100.0 * float(one[:, 1].mean()))
        for system, one in found.items()
    }


def main() -> None:
    """Print a row a pipeline, means, and how many are not below the better program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scorers", nargs="*", type=Path, help="that which ships by default")
    parser.add_argument("--seeds", nargs=2, type=int, default=(100, 125))
    parser.add_argument("--stages", nargs=2, type=int, help="of each, from and to; 1 to 9 by default")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--environments", nargs="*", help="to play instead of made-up ones")
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    if arguments.environments:
        definitions = [load_definition(name) for name in arguments.environments]
    else:
        definitions = [drawn(seed, arguments.stages) for seed in range(*arguments.seeds)]
    rows = {}
    play_row = partial(row, scorers=arguments.scorers, part=arguments.part, windows=arguments.windows)
    for position, (told, found) in make_pool(arguments.workers, None).each(play_row, definitions):
        rows[position] = found
        if len(rows) == 1:
            print(f"| pipeline | load | stages | {' | '.join(found)} |\n|---|---|---{'|---' * len(found)}|")
        cells = " | ".join(
            f"{gain:+.3f} ({low:+.3f} to {high:+.3f}), {v:.2f}" for gain, low, high, v in found.values()
        )
        print(f"| {told} | {cells} |", flush=True)
    table = np.array([list(one.values()) for one in rows.values()])
    gains, highs = table[:, :, 0], table[:, :, 2]
    print("| mean | | | " + " | ".join(f"{u:+.3f}, {v:.2f}" for u, *_, v in table.mean(axis=0)) + " |")
    print("| median | | | " + " | ".join(f"{u:+.3f}" for u in np.median(gains, axis=0)) + " |")
    for told, below in (("below", gains < -0.002), ("below by more than chance", highs < 0.0)):
        print(f"| {told}, of {len(rows)} | | | " + " | ".join(map(str, below.sum(axis=0))) + " |")


if __name__ == "__main__":
    main()
