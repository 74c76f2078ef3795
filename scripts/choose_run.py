"""Which of several training runs to ship: the validation part of the trace, in the request-level simulator.

    python scripts/choose_run.py video runs/video-0 runs/video-1 runs/video-2

Prints each run's figures beside the best program's, and last the folder to ship: the highest utility among
those no worse than the program in PAS, cores and violations; where there is none, among all. What was played
stays in the folders, so that the same command goes on after a kill.
"""

import argparse
from pathlib import Path
from typing import Any

from ipa_rl.cli.judging import judge, make_setup, part_scenarios
from ipa_rl.evaluation.controllers import AGENT_NAME
from ipa_rl.evaluation.jobs import Setup, make_jobs
from ipa_rl.training.checkpoints import Checkpoint, choose, no_worse

Row = dict[str, Any]


def played(environment: str, run: Path) -> tuple[Row, Row]:
    """Figures of a run's agent and of its best program over all validation windows."""
    whole = make_setup(environment, run, fluid=False)
    program = whole.controllers().best_program.name
    setup = Setup(whole.environment, whole.agent, whole.kind, only=(AGENT_NAME, program))
    folder = run / "validation"
    folder.mkdir(exist_ok=True)
    rows = judge(str(run), setup, make_jobs(part_scenarios("validation", None), 1), folder, None, None).rows()
    by_name = {row["controller"]: row for row in rows}
    return by_name[AGENT_NAME], by_name[program]


def as_checkpoint(row: Row) -> Checkpoint:
    """A run's chosen policy, for the rule by which checkpoints within a run are chosen."""
    return Checkpoint(0, row["utility"], row["pas_x100"], row["cores"], row["violations"])


def show(name: str, row: Row, remark: str) -> None:
    """One line of figures."""
    print(
        f"{name:32} {row['utility']:9.4f} {row['pas_x100']:7.3f} {row['cores']:8.3f} "
        f"{100 * row['violations']:7.3f}  {remark}"
    )


def main() -> None:
    """Play, print, choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("environment")
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    results = {run: played(arguments.environment, run) for run in arguments.runs}
    program = next(iter(results.values()))[1]
    print(f"{'run':32} {'utility':>9} {'PAS':>7} {'cores':>8} {'viol.%':>7}")
    found = {run: as_checkpoint(ours) for run, (ours, _) in results.items()}
    for run, (ours, _) in results.items():
        show(str(run), ours, "no worse than the program" if no_worse(found[run], program) else "")
    show(program["controller"], program, "")
    best = choose(list(found.values()), program)
    print(next(run for run, one in found.items() if one is best))


if __name__ == "__main__":
    main()
