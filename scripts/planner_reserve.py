"""What it is worth that the planner does not count on knowing what comes, as a Markdown table.

    python scripts/planner_reserve.py --windows 10

Request by request on validation windows: of two made-up environments whose replicas take up to two minutes to
start, and of shipped ones. On one in so many load paths the program that goes on in the model does not know
its path (`ipa_rl.agents.outlooks.UNAWARE`). Beside it, on the made-up ones, what the optimum for the highest
usual load is worth, kept for ever.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

import numpy as np

from ipa_rl.agents import outlooks
from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.program import static_agent
from ipa_rl.agents.protocol import Agent
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition, EpisodesModel, RewardModel, default_rho
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.play import mean_figures
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.simulation import Timing
from ipa_rl.workload.synthetic import on_off_rates, poisson_arrivals
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel

ONE_IN = (1_000_000, 4, 2)
DAYS_S = 4 * 86_400
STAGES = (
    ("embed", ((0.71, 1, 15.0, 0.006, 0.022), (0.78, 2, 25.0, 0.014, 0.060))),
    ("rank", ((0.60, 1, 20.0, 0.010, 0.040), (0.74, 4, 45.0, 0.030, 0.135))),
    ("answer", ((0.65, 4, 60.0, 0.060, 0.280), (0.80, 8, 120.0, 0.150, 0.670))),
)
"""Variants by stage: accuracy, cores, start-up s, mean s of one request and of a batch of 8."""


def random_bursts() -> Definition:
    """Video, eight times as slow to start; 8 requests/s, and 20 for 2 minutes, a quarter of an hour apart."""
    video, rng = load_definition("video"), np.random.default_rng(0)
    rates_rps = on_off_rates(DAYS_S, 8.0, 20.0, rng, mean_off_s=900.0, mean_on_s=120.0)
    timing = replace(video.timing, start_up_scale=8.0)
    return replace(video, name="random bursts", timing=timing, workload=_workload(rates_rps))


def half_hours() -> Definition:
    """Three stages; a wave a day, and bursts that begin every half-hour, which nobody is told."""
    at = np.arange(DAYS_S)
    wave = 40.0 + 28.0 * np.sin(2.0 * np.pi * (at / 86_400 - 0.3))
    workload = _workload(wave + np.where(at % 1800 < 150, 25.0, 0.0))
    stages = tuple(Stage(name, tuple(map(_variant, range(2), given))) for name, given in STAGES)
    problem = Problem(Pipeline("half-hours", stages), Weights(60.0, 1.0, 1e-6), 0.9, max_replicas=60)
    definition = Definition(
        "half-hours", problem, Timing(10, 5.0, 0.09), workload, EpisodesModel(), RewardModel()
    )
    return definition.with_problem(weights=replace(problem.weights, rho=default_rho(definition)))


def _variant(v: int, given: tuple[float, int, float, float, float]) -> Variant:
    accuracy, cores, start_up_s, *mean_s = given
    p99_s, rates_rps = (1.25 * mean_s[0], 1.25 * mean_s[1]), (1.0 / mean_s[0], 8.0 / mean_s[1])
    return Variant(f"variant-{v}", accuracy, cores, start_up_s, (1, 8), tuple(mean_s), p99_s, rates_rps)


def _workload(rates_rps: FloatArray) -> Workload:
    return Workload("made up", None, WorkloadModel(title="made up"), partial(_recorded, rates_rps))


def _recorded(rates_rps: FloatArray) -> Recorded:
    return Recorded(counts=poisson_arrivals(rates_rps, np.random.default_rng(0)))


def row(definition: Definition, agent: Agent, words: str, most_windows: int) -> str:
    """Means over the windows."""
    windows = evenly(definition.windows("validation"), most_windows)
    found = mean_figures(definition, lambda _: agent, windows)
    shown = f"{found['utility']:.3f} | {100 * found['violations']:.2f} | {found['cores']:.2f}"
    return f"| {definition.name} | {words} | {shown} | {found['pas_x100']:.2f} |"


def main() -> None:
    """Print a row for each environment and share of paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--names", nargs="*", default=["video", "audio-qa", "sum-qa"], help="shipped ones")
    parser.add_argument("--windows", type=int, default=10, help="at most")
    asked = parser.parse_args()
    print("| environment | who | utility | violations % | cores | PAS x 100 |")
    print("|---|---|---|---|---|---|")
    made_up = random_bursts(), half_hours()
    for definition in (*made_up, *map(load_definition, asked.names)):
        for outlooks.UNAWARE in ONE_IN:
            share = "no path" if outlooks.UNAWARE > outlooks.PATHS else f"1 path in {outlooks.UNAWARE}"
            words = f"planner, not known on {share}"
            print(row(definition, make_planner(definition), words, asked.windows), flush=True)
        if definition in made_up:
            usual_rps = float(np.quantile(definition.workload.part("validation"), 0.99))
            static = static_agent(definition, usual_rps)
            print(row(definition, static, f"static, for {usual_rps:g} requests/s", asked.windows), flush=True)


if __name__ == "__main__":
    main()
