"""What more load paths are worth to the planner, as a Markdown table.

    python scripts/planner_paths.py video sum-qa --windows 8 --seeds 100 104

Environments, and made-up pipelines by their seed (`ipa_rl.environment.family`), are played request by request
on validation windows with the planner over so many paths; all else is the same. Mean utility, and violations.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

from planner_family import load_of

from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.family import drawn_definition
from ipa_rl.judge.play import mean_figures

COUNTS = (1, 4, 8, 16, 32, 64)


def row(definition: Definition, most_windows: int) -> str:
    """A row of the table."""
    planner, windows = make_planner(definition), evenly(definition.windows("validation"), most_windows)
    cells = [definition.name, definition.workload.name]
    for count in COUNTS:
        with patch("ipa_rl.agents.outlooks.PATHS", count):
            found = mean_figures(definition, lambda _: planner, windows)
        cells.append(f"{found['utility']:.3f}, {100 * found['violations']:.2f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a row a pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("environments", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="of made-up pipelines")
    parser.add_argument("--windows", type=int, default=8, help="at most, of each")
    arguments = parser.parse_args()
    definitions = [load_definition(name) for name in arguments.environments]
    definitions += [drawn_definition(seed, load_of(seed, True)) for seed in arguments.seeds]
    heads = ["pipeline", "load", *(f"{count} paths" for count in COUNTS)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for definition in definitions:
        print(row(definition, arguments.windows), flush=True)


if __name__ == "__main__":
    main()
