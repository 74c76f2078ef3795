"""A made-up fast pipeline, whose requests wait within the second, as a Markdown table.

    python scripts/fast_pipeline.py --windows 3

Three stages of three variants, an SLA of 250 ms, 360 requests/s on average: switched at random between two
levels, and a shipped workload at that scale. Request by request on test windows. Integer programs without and
with waits have the margin that serves each best on validation windows.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product

import numpy as np

from ipa_rl.agents.opponents import PLANNER, PROGRAM, RECORDED, UNTUNED_FORECASTER, WAITING, Opponent, build
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition, EpisodesModel, RewardModel, default_rho
from ipa_rl.judge.play import mean_figures
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.simulation import Timing
from ipa_rl.workload.forecasters import PERFECT
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import Window, Workload, load_workload

SLA_S, MEAN_RPS, START_UP_S, TAIL = 0.25, 360.0, 8.0, 1.4
BATCHES = (1, 2, 4, 8, 16, 32)
SINGLES_MS = ((12.0, 20.0, 40.0), (8.0, 16.0, 30.0), (15.0, 30.0, 50.0))
"""Of a request by itself, by stage and variant."""
ACCURACIES, SAVED = (0.6, 0.75, 0.85), 0.3
"""By variant; of a request by itself, what it takes less in a batch."""
MARGINS = (0.0, 0.1, 0.2, 0.4, 0.75)

Means = dict[str, float]


def fast_definition(workload: Workload) -> Definition:
    """The pipeline on a workload, scaled to MEAN_RPS."""
    stages = tuple(
        Stage(f"stage-{s}", tuple(_variant(v, single) for v, single in enumerate(singles_ms)))
        for s, singles_ms in enumerate(SINGLES_MS)
    )
    problem = Problem(Pipeline("fast", stages), Weights(150.0, 1.0, 1e-6), SLA_S, max_replicas=60)
    definition = Definition(
        name="fast",
        problem=problem,
        timing=Timing(10, 2.0 * SLA_S, 0.1 * SLA_S),
        workload=workload.at_scale(MEAN_RPS / workload.at_scale(1.0).mean_rps),
        episodes=EpisodesModel(),
        reward=RewardModel(),
    )
    return definition.with_problem(weights=replace(problem.weights, rho=default_rho(definition)))


def _variant(v: int, single_ms: float) -> Variant:
    mean_s = single_ms / 1e3 * (1.0 + (1.0 - SAVED) * (np.array(BATCHES) - 1.0))
    return Variant(
        name=f"variant-{v}",
        accuracy=ACCURACIES[v],
        units=1 + v,
        start_up_s=START_UP_S,
        batches=BATCHES,
        latency_mean_s=tuple(mean_s.tolist()),
        latency_p99_s=tuple((TAIL * mean_s).tolist()),
        throughput_rps=tuple((np.array(BATCHES) / mean_s).tolist()),
    )


def played(definition: Definition, opponent: Opponent, windows: list[Window]) -> Means:
    """Means over the windows."""
    return mean_figures(definition, lambda one: build(definition, opponent, one.arrivals), windows)


def best(definition: Definition, system: str, forecaster: str, windows: list[Window]) -> Opponent:
    """The margin of the highest utility."""
    tried = [Opponent(system, forecaster, margin, {}) for margin in MARGINS]
    return max(tried, key=lambda one: played(definition, one, windows)["utility"])


def main() -> None:
    """Print a row for each controller and load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=3, help="at most, of each part")
    parser.add_argument("--load", default="twitter", help="a shipped workload")
    most = parser.parse_args().windows
    print("| load | controller | margin | utility | violations % | cores | PAS x 100 |")
    print("|---|---|---|---|---|---|---|")
    for workload in (made_up("on-off", 300.0, 540.0), load_workload(parser.parse_args().load)):
        definition = fast_definition(workload)
        tuned_on, windows = (evenly(definition.windows(part), most) for part in ("validation", "test"))
        forecasters = UNTUNED_FORECASTER, f"{PERFECT}:{definition.horizon}"
        chosen = [best(definition, *each, tuned_on) for each in product((PROGRAM, WAITING), forecasters)]
        chosen += [Opponent(PLANNER, name, 0.1, {}) for name in (RECORDED, PERFECT)]
        for one in chosen:
            found = played(definition, one, windows)
            shown = found["utility"], 100.0 * found["violations"], found["cores"], found["pas_x100"]
            cells = [workload.name, one.name, f"{one.margin:+.0%}", *(f"{value:.2f}" for value in shown)]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
