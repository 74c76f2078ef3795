"""The planner on made-up pipelines that nobody tuned for, as Markdown tables.

    python scripts/planner_family.py --pipelines 30 --windows 2

Each pipeline of the seeded family (`ipa_rl.environment.family`) is played request by request on test windows
of a made-up load and of a shipped one: the planner as it is, integer programs with a grid of forecasters and
margins, and the program with the perfect forecast. The best program in hindsight is the one that turns out
best on the very windows; the tuned one was the best on as many validation windows, which a user could know.
The share of the gap that the planner closes is (utility - program's) / (bound - program's).
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
from ipa_rl.judge.play import mean_figures
from ipa_rl.judge.pools import in_order, make_pool
from ipa_rl.progress import Bars
from ipa_rl.workload.forecasters import PERFECT
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import Window, Workload, load_workload

MARGINS = (0.0, 0.2, 0.4)
MADE_UP = "on-off"
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Outcome:
    """Means over the windows of one pipeline on one load; ``programs``: utility and violations by name.

    ``tuned``: the name of the program that was best on validation windows.
    """

    name: str
    load: str
    is_made_up: bool
    stages: int
    planner: tuple[float, float]
    programs: dict[str, tuple[float, float]]
    tuned: str
    perfect: float
    bound: float

    @property
    def best(self) -> str:
        """The program of the highest utility, the perfect forecast aside."""
        return max(self.programs, key=lambda name: self.programs[name][0])

    @property
    def has_gap(self) -> bool:
        """Whether the best program leaves something: 1 % of the bound."""
        return self.bound - self.programs[self.best][0] > 0.01 * abs(self.bound)

    def share(self, utility: float, program: str) -> float:
        """Of the gap between a program and the bound."""
        theirs = self.programs[program][0]
        return (utility - theirs) / max(self.bound - theirs, 1e-9)


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
    programs = {
        f"{name} {margin:+.0%}": Opponent(PROGRAM, name, margin, {})
        for name, margin in product(forecasters, MARGINS)
    }
    choosing = evenly(definition.windows("validation"), most_windows)
    chosen = {name: _played(definition, one, choosing)[0] for name, one in programs.items()}
    perfect = [Opponent(PROGRAM, f"{PERFECT}:{definition.horizon}", margin, {}) for margin in MARGINS[:2]]
    return Outcome(
        definition.name,
        definition.workload.name,
        is_made_up,
        len(definition.pipeline.stages),
        _played(definition, Opponent(PLANNER, RECORDED, 0.1, {}), windows),
        {name: _played(definition, one, windows) for name, one in programs.items()},
        max(chosen, key=lambda name: chosen[name]),
        max(_played(definition, one, windows)[0] for one in perfect),
        float(np.mean([utility_bound(definition, window) for window in windows])),
    )


def _played(definition: Definition, opponent: Opponent, windows: list[Window]) -> tuple[float, float]:
    """Utility and violations, means over the windows."""
    found = mean_figures(definition, lambda one: build(definition, opponent, one.arrivals), windows)
    return found["utility"], found["violations"]


def summary(load: str, found: list[Outcome], is_tuned: bool) -> str:
    """A row of the table: how many are better than the programs, and the shares' distribution."""
    program = [one.tuned if is_tuned else one.best for one in found]
    pairs = list(zip(found, program, strict=True))
    shares = np.array([one.share(one.planner[0], name) for one, name in pairs])
    perfect = np.array([one.share(one.perfect, name) for one, name in pairs])
    better = f"{(shares > 0).sum()} / {len(found)}", f"{(shares > perfect).sum()} / {len(found)}"
    ours = 100 * np.mean([one.planner[1] for one in found])
    theirs = 100 * np.mean([one.programs[name][1] for one, name in pairs])
    quantiles = [f"{100 * share:.0f}" for share in np.quantile(shares, SHARES)]
    against = "tuned" if is_tuned else "best in hindsight"
    cells = [load, against, *better, *quantiles, f"{100 * np.median(perfect):.0f}"]
    return f"| {' | '.join([*cells, f'{ours:.2f}', f'{theirs:.2f}'])} |"


def tables(found: list[Outcome]) -> str:
    """The distribution by load and program, and every pipeline, worst first, that has a gap."""
    heads = ["load", "program", "above it", "above the perfect", "worst"]
    heads += [*(f"{100 * share:.0f} %" for share in SHARES[1:-1]), "best"]
    heads += ["perfect, median", "violations %", "program's"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for load in ("made up", "shipped"):
        some = [one for one in found if one.is_made_up == (load == "made up") and one.has_gap]
        lines += [summary(load, some, is_tuned) for is_tuned in (True, False) if some]
    heads = ["pipeline", "stages", "load", "share %", "perfect's %", "violations %"]
    heads += ["best in hindsight, its violations", "tuned, its violations", "share % of the tuned one's gap"]
    lines += ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join(lines + [_line(one) for one in sorted(found, key=_hindsight) if one.has_gap])


def _hindsight(one: Outcome) -> float:
    return one.share(one.planner[0], one.best)


def _line(one: Outcome) -> str:
    figures_of = [_hindsight(one), one.share(one.perfect, one.best), one.planner[1]]
    programs = [f"{name}, {100 * one.programs[name][1]:.2f}" for name in (one.best, one.tuned)]
    cells = [one.name, str(one.stages), one.load, *(f"{100 * value:.2f}" for value in figures_of), *programs]
    return f"| {' | '.join([*cells, f'{100 * one.share(one.planner[0], one.tuned):.2f}'])} |"


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
    print(tables(found))


if __name__ == "__main__":
    main()
