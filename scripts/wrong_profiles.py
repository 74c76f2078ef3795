"""The planner where profiles are wrong, with and without the scales that it learns, as a Markdown table.

    python scripts/wrong_profiles.py video audio-qa

Played request by request: the stress suite's profile error (all stages 30 % slower than profiled), and, on
the same loads, the last stage alone 30 % slower. Beside the planner that learns stands one that was told.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from ipa_rl import resources
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.protocol import Agent
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.family import drawn_definition
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Disturbance
from ipa_rl.judge.stress import stress_trials
from ipa_rl.workload.synthetic import made_up

SCENARIO, SCALE = "profile error", 1.3
FAMILY = "made-up-"


def named(name: str) -> Definition:
    """A shipped environment or a file, or the made-up pipeline of a seed ("made-up-3")."""
    if name.startswith(FAMILY):
        return drawn_definition(int(name.removeprefix(FAMILY)), made_up("on-off", 6.0, 30.0))
    return load_definition(name)


def row(told: Definition, scales: list[float], draws: int) -> str:
    """What planners make of a world whose stages take so many times as long as they were told."""
    world = told.with_problem(pipeline=told.pipeline.serving(scales))
    trials = [one for one in stress_trials(told, draws) if one.scenario.name == SCENARIO]
    cells, found = [], np.ones(len(scales))
    for kind in ("as it is", "measures", "knows"):
        each = []
        for trial in trials:
            meters, scenario = meters_of(told), replace(trial.scenario, disturbance=Disturbance())
            agent: Agent = make_planner(world if kind == "knows" else told)
            if kind == "measures":
                agent = MeasuringAgent(agent, meters)
            played = figures(world, play(world, agent, scenario, seed=trial.seed))
            each.append((played["utility"], 100 * played["violations"], played["cores"]))
            found = meters.service.scales if kind == "measures" else found
        cells.append("{:.2f}, {:.1f} %, {:.1f}".format(*np.mean(each, axis=0)))
    slow = "all" if scales[0] > 1.0 else "the last"
    measured = " ".join(f"{one:.2f}" for one in found)
    return f"| {told.name} | {slow} | {' | '.join(cells)} | {measured} |"


def main() -> None:
    """Print a row for each pipeline and kind of error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    shipped = resources.shipped_names("envs")
    parser.add_argument("pipelines", nargs="*", default=shipped, help="shipped, a file, or made-up-SEED")
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    print("| pipeline | slower | planner | it measures | it was told | found in the last draw |")
    print("|---|---|---|---|---|---|")
    for name in arguments.pipelines:
        told = named(name)
        stages = len(told.pipeline.stages)
        errors = [[SCALE] * stages, [1.0] * (stages - 1) + [SCALE]]
        for scales in errors[: 2 if stages > 1 else 1]:
            print(row(told, scales, arguments.draws), flush=True)


if __name__ == "__main__":
    main()
