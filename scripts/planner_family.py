"""The planner on made-up pipelines that nobody tuned for, as Markdown tables.

    python scripts/planner_family.py --pipelines 30 --windows 2

Each pipeline of the seeded family (`ipa_rl.environment.family`) is played request by request on test windows
of a made-up load and of a shipped one: the planner as it is, integer programs with a grid of forecasters and
margins, and the program with the perfect forecast. The best program is the one that turns out best on the
very windows. The share of the gap that the planner closes is (utility - best program's) / (bound - best
program's).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from ipa_rl import resources
from ipa_rl.agents.opponents import PLANNER, PROGRAM, RECORDED, Opponent, build
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.family import drawn_definition
from ipa_rl.judge.bound import utility_bound
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.pools import in_order, make_pool
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.progress import Bars
from ipa_rl.workload.forecasters import PERFECT
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import Window, Workload, load_workload

MARGINS = (0.0, 0.2, 0.4)
MADE_UP = "on-off"
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Outcome:
    """Means over the windows of one pipeline on one load; ``programs``: utility and violations by name."""

    name: str
    load: str
    stages: int
    planner: tuple[float, float]
    programs: dict[str, tuple[float, float]]
    perfect: tuple[float, float]
    bound: float

    @property
    def best(self) -> str:
        """The program of the highest utility, the perfect forecast aside."""
        return max(self.programs, key=lambda name: self.programs[name][0])

    @property
    def has_gap(self) -> bool:
        """Whether the best program leaves something: 1 % of the bound."""
        return self.bound - self.programs[self.best][0] > 0.01 * abs(self.bound)

    def share(self, utility: float) -> float:
        """Of the gap between the best program and the bound."""
        best = self.programs[self.best][0]
        return (utility - best) / max(self.bound - best, 1e-9)


def load_of(seed: int, is_made_up: bool) -> Workload:
    """A made-up load; or one of those that ship, in turn."""
    names = resources.shipped_names("workloads")
    return made_up(MADE_UP, 6.0, 30.0) if is_made_up else load_workload(names[seed % len(names)])


def outcome(most_windows: int, case: tuple[int, bool]) -> Outcome:
    """What came of one pipeline on one load."""
    seed, is_made_up = case
    definition = drawn_definition(seed, load_of(seed, is_made_up))
    windows = evenly(definition.windows("test"), most_windows)
    forecasters = ("window-max:30", "moving-average:30", f"quantile:95@{definition.horizon}")
    programs = [Opponent(PROGRAM, name, margin, {}) for name, margin in product(forecasters, MARGINS)]
    perfect = [Opponent(PROGRAM, f"{PERFECT}:{definition.horizon}", margin, {}) for margin in MARGINS[:2]]
    return Outcome(
        definition.name,
        definition.workload.name,
        len(definition.pipeline.stages),
        _played(definition, Opponent(PLANNER, RECORDED, 0.1, {}), windows),
        {f"{one.name} {one.margin:+.0%}": _played(definition, one, windows) for one in programs},
        max(_played(definition, one, windows) for one in perfect),
        float(np.mean([utility_bound(definition, window) for window in windows])),
    )


def _played(definition: Definition, opponent: Opponent, windows: list[Window]) -> tuple[float, float]:
    """Utility and violations, means over the windows."""
    each = [
        figures(definition, play(definition, build(definition, opponent, one.arrivals), Scenario(one)))
        for one in windows
    ]
    utility, violations = (float(np.mean([one[name] for one in each])) for name in ("utility", "violations"))
    return utility, violations


def summary(load: str, found: list[Outcome]) -> str:
    """A row of the table: how many are better than the programs, and the shares' distribution."""
    shares = np.array([one.share(one.planner[0]) for one in found])
    perfect = np.array([one.share(one.perfect[0]) for one in found])
    better = f"{(shares > 0).sum()} / {len(found)}", f"{(shares > perfect).sum()} / {len(found)}"
    ours, theirs = (
        100 * np.mean([one.planner[1] for one in found]),
        100 * np.mean([one.programs[one.best][1] for one in found]),
    )
    quantiles = [f"{100 * share:.0f}" for share in np.quantile(shares, SHARES)]
    cells = [load, *better, *quantiles, f"{100 * np.median(perfect):.0f}", f"{ours:.2f}", f"{theirs:.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the distribution by load, and every pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipelines", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--windows", type=int, default=2, help="at most, of each test part")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cases = list(product(range(arguments.first, arguments.first + arguments.pipelines), (True, False)))
    with Bars() as bars:
        trial = partial(outcome, arguments.windows)
        found = in_order(make_pool(arguments.workers, None), trial, cases, bars, "pipelines")
    heads = ["worst", *(f"{100 * share:.0f} %" for share in SHARES[1:-1]), "best"]
    print(
        f"| load | above the best program | above the perfect | {' | '.join(heads)} | perfect, median "
        "| violations % | best program's |"
    )
    print(f"|---{'|---' * (len(heads) + 5)}|")
    by_load = {True: found[::2], False: found[1::2]}
    for name, some in (("made up", by_load[True]), ("shipped", by_load[False])):
        print(summary(name, [one for one in some if one.has_gap]))
    print(
        "\n| pipeline | stages | load | share % | perfect's % | violations % | best program, its violations |"
    )
    print("|---|---|---|---|---|---|---|")
    for one in sorted(found, key=lambda one: one.share(one.planner[0])):
        best = f"{one.best}, {100 * one.programs[one.best][1]:.2f}"
        figures_of = [one.share(one.planner[0]), one.share(one.perfect[0]), one.planner[1]]
        shown = " | ".join(f"{100 * value:.2f}" for value in figures_of)
        print(f"| {one.name} | {one.stages} | {one.load} | {shown} | {best} |")


if __name__ == "__main__":
    main()
