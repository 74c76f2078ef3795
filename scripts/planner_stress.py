"""The planner in the stress suite beside the best of the opponents that do not plan, as a table in Markdown.

    python scripts/planner_stress.py video audio-qa sum-qa --draws 8
    python scripts/planner_stress.py video audio-qa sum-qa --draws 8 --first 100

Draws from 100 are to choose by, those below to report on. Means over the draws: violations in percent of the
planner and of that opponent, and by how much the planner's utility is higher; both serve the same requests.
Where the planner violates more than 1.5 times as much, it is marked.
"""

import argparse

import numpy as np

from ipa_rl.agents.opponents import PLANNER, RECORDED, Opponent, best_real, build
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.stress import MOST_TIMES, SAME, SUITE, stress_trials


def cells(definition: Definition, draws: int, first: int) -> tuple[str, dict[str, str]]:
    """The head of an environment's column, and its cell for each scenario."""
    opponents = [one for one in controllers(definition, None).opponents if one.system != PLANNER]
    planner, best = Opponent(PLANNER, RECORDED, 0.1, {}), best_real(opponents)
    found: dict[str, list[list[dict[str, float]]]] = {}
    for trial in stress_trials(definition, draws, first):
        both = [build(definition, one, trial.scenario.window.arrivals) for one in (planner, best)]
        played = [figures(definition, play(definition, a, trial.scenario, seed=trial.seed)) for a in both]
        found.setdefault(trial.scenario.name, []).append(played)
    return f"{definition.name}, `{best.name}`", {name: cell(trials) for name, trials in found.items()}


def cell(trials: list[list[dict[str, float]]]) -> str:
    """Violations of both, and by how much the planner's utility is higher."""
    mine, theirs = (float(np.mean([both[i]["violations"] for both in trials])) for i in (0, 1))
    higher = float(np.mean([both[0]["utility"] - both[1]["utility"] for both in trials]))
    mark = "**" if mine > MOST_TIMES * theirs + SAME else ""
    return f"{mark}{100 * mine:.2f}{mark}, {100 * theirs:.2f}; {higher:+.2f}"


def main() -> None:
    """Print a column for each environment, a row for each scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("environments", nargs="*", default=["video", "audio-qa", "sum-qa"])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="draw")
    arguments = parser.parse_args()
    heads, columns = zip(
        *(cells(load_definition(name), arguments.draws, arguments.first) for name in arguments.environments),
        strict=True,
    )
    print(f"| scenario | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for stress in SUITE:
        print(f"| {stress.name} | {' | '.join(column[stress.name] for column in columns)} |")


if __name__ == "__main__":
    main()
