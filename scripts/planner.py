"""The planner beside the agents, the programs and the best opponents, on the test part, request by request.

    python scripts/planner.py

For each shipped pipeline: the planner's margin is chosen on the validation part, as the opponents' are; then
all windows of the test part are played. Prints a table of Markdown; what was done stays in the folder, and a
run that was cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ipa_rl import resources
from ipa_rl.agents.opponents import PLANNER, best_foreseeing, best_program, best_real
from ipa_rl.agents.opponents_file import read_opponents, write_opponents
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.cli.tables import figure
from ipa_rl.files import is_file
from ipa_rl.judge.comparison import compare
from ipa_rl.judge.experiment import Experiment, Setup, make_setup, repeated
from ipa_rl.judge.pools import Pool, make_pool
from ipa_rl.judge.simulated_cluster import part_scenarios
from ipa_rl.judge.tuning import Validation, tune
from ipa_rl.progress import Bars, Report

HEAD = (
    "pipeline", "controller", "utility", "planner less it", "PAS x 100", "cores", "violations %",
    "decides in ms",
)  # fmt: skip


def tuned(name: str, out: Path, pool: Pool, report: Report) -> Setup:
    """The shipped environment and agent, with the planner among the opponents."""
    setup, path = make_setup(name), out / f"{name}-opponents.json"
    if not is_file(path):
        others = read_opponents(resources.find(name, "agents") / "opponents.json")
        planners = tune(Validation(setup), pool, report, only=[PLANNER])
        known = [one for one in others if one.system != PLANNER]
        write_opponents([*known, *planners], setup.definition(), path)
    return replace(setup, opponents=path)


def rows(name: str, out: Path, windows: int | None, pool: Pool, report: Report) -> Iterator[tuple[str, ...]]:
    """The lines of a pipeline: the planner first, then by what they are."""
    setup = tuned(name, out, pool, report)
    opponents = setup.controllers().opponents
    others = [one for one in opponents if one.system != PLANNER]
    planners = [one.name for one in opponents if one.system == PLANNER]
    rivals = [best(others).name for best in (best_program, best_real, best_foreseeing)]
    shown = [*planners, AGENT_NAME, *dict.fromkeys(rivals)]
    setup = replace(setup, only=tuple(shown))
    scenarios = part_scenarios(setup.definition(), "test", windows)
    experiment = Experiment(f"test part of {name}", setup, repeated(setup, scenarios))
    found = compare(experiment, out / name, pool, report)
    means = {row["controller"]: row for row in found.rows()}
    for one in shown:
        row = means[one]
        paired = found.paired(planners[0], one, "utility")
        low, high = paired["interval_95"]
        apart = f"{paired['difference']:+.3f} [{low:.3f}, {high:.3f}]" if one != planners[0] else "-"
        figures = row["utility"], row["pas_x100"], row["cores"], 100 * row["violations"], row["decide_p50_ms"]
        utility, *rest = map(figure, figures)
        yield (name, one, utility, apart, *rest)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", default=list(resources.shipped_names("envs")))
    parser.add_argument("--windows", type=int, help="fewer windows, for a quick try")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/planner"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    with Bars() as bars:
        for name in asked.pipelines:
            for cells in rows(name, asked.out, asked.windows, make_pool(asked.workers, None), bars):
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
