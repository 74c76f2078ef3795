"""What ``ipa-rl compare`` and ``ipa-rl evaluate`` share: options, running jobs, printing results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ipa_rl import resources
from ipa_rl.agents.opponents import WINDOW_S, Opponent, rivals
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import err, out, print_table
from ipa_rl.errors import InputError
from ipa_rl.interrupts import hinted
from ipa_rl.judge.comparison import FIGURES, Comparison, compare
from ipa_rl.judge.controllers import Controllers
from ipa_rl.judge.jobs import Job, Setup
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.ranking import Ranked
from ipa_rl.judge.runs import Description, RunFolder, describe
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.stress import SUITE, Endured
from ipa_rl.progress import Bars
from ipa_rl.report.commands import tune_command
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Part, scaled, windows

Environment = Annotated[str, typer.Argument(help="Shipped name (video) or YAML file.")]
AgentFolder = Annotated[
    Path | None, typer.Option(help="Folder of the agent; by default the shipped one of that name.")
]
Fluid = Annotated[bool, typer.Option("--fluid", help="The fast fluid simulator instead of single requests.")]
Most = Annotated[
    int | None, typer.Option("--windows", min=2, help="Only so many windows of the part, evenly spread.")
]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="Runs of each window, with other arrival and service times.")
]
Draws = Annotated[int, typer.Option(min=1, help="Draws of each scenario of the stress suite.")]
DRAWS = 5
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each core.")]
RayAddress = Annotated[
    str | None, typer.Option("--ray", help='Ray cluster to run on instead; "local" starts one.')
]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Folder of the run.")]

COLUMNS = ["controller", "utility", "PAS", "cores", "viol.%", "p99 s", "ms p50", "p99"]


Alpha = Annotated[
    float | None, typer.Option(help="Weight of accuracy instead of the environment's: what to prefer.")
]
Beta = Annotated[float | None, typer.Option(help="Weight of a core instead of the environment's.")]


def make_setup(
    environment: str,
    agent: Path | None,
    fluid: bool,
    alpha: float | None = None,
    beta: float | None = None,
) -> Setup:
    """The setup of a comparison; paths made absolute, for workers and for those who read the run later."""
    path = resources.find(environment, "envs")
    name = environment if environment in resources.shipped_names("envs") else str(path.resolve())
    setup = Setup(
        name,
        agent.resolve() if agent else None,
        SimulatorKind.fluid if fluid else SimulatorKind.request_level,
    )
    if alpha is None and beta is None:
        return setup
    own = setup.definition().weights
    preference = (own.alpha if alpha is None else alpha, own.beta if beta is None else beta)
    return replace(setup, preference=preference)


def part_scenarios(part: Part, most: int | None, scale: float = 1.0) -> list[Scenario]:
    """The windows of a part of the trace, or so many of them, evenly spread, at the scale of a workload."""
    whole = windows(part, WINDOW_S, HISTORY_S)
    if most is not None and most < len(whole):
        whole = [whole[i] for i in np.linspace(0, len(whole) - 1, most).round().astype(int)]
    return [Scenario(scaled(window, scale)) for window in whole]


@dataclass(frozen=True)
class Task:
    """Jobs of one setup, and in words what they are."""

    subject: str
    setup: Setup
    jobs: Sequence[Job]

    def description(self) -> Description:
        """What a run's folder keeps of it."""
        return describe(self.subject, self.setup, self.jobs)


def run_folder(given: Path | None, default: Path, tasks: Mapping[str, Task]) -> Path:
    """The folder of a run, in which each task has the folder of its name, made where it is missing.

    Never one that holds another run, ended or not: raises InputError where it was given; by default the next
    name that is free. What holds the same run is gone on with, or runs again.
    """
    wanted = {name: task.description() for name, task in tasks.items()}
    names = (default.with_name(f"{default.name}-{k}") for k in count(2))
    for folder in [given] if given else chain([default], names):
        held = {name: RunFolder(folder / name).held() for name in wanted}
        others = [held[name] for name in wanted if held[name] not in (None, wanted[name])]
        if not others:
            break
        if given:
            fix = "give another --out, or delete the folder"
            raise InputError(f"holds another run: {others[0]}", file=folder, fix=fix)
    if any(one is not None and one.finished for one in held.values()):
        err.print(f"{folder} holds this run: it runs again, and what showed it goes", soft_wrap=True)
    return output_folder(folder)


def judge(subject: str, setup: Setup, jobs: Sequence[Job], folder: Path, pool: Pool) -> Comparison:
    """Run the jobs with a progress bar. An interruption says that the same command goes on."""
    with hinted(f"what is done stays in {folder}: the same command goes on"), Bars() as bars:
        return compare(subject, setup, jobs, RunFolder(folder), pool, bars)


def print_rows(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """The table of a comparison."""
    print_table(
        title,
        COLUMNS,
        [
            [
                row["controller"],
                row["utility"],
                row["pas_x100"],
                row["cores"],
                f"{100 * row['violations']:.2f}",
                row["p99_s"],
                row["decide_p50_ms"],
                row["decide_p99_ms"],
            ]
            for row in rows
        ],
    )


def print_ranking(ranking: Sequence[Ranked], unit: str) -> None:
    """Places, with who cannot be told apart."""
    if not ranking:
        out.print("one window and one seed show no spread, so there is no ranking: give --seeds or --part")
        return
    print_table(
        f"Ranking by utility; one place: not to be told apart (95 %, paired by {unit})",
        ["controller", "place", "utility", "best of the place is above by"],
        [
            [
                one.controller,
                str(one.place),
                one.utility,
                "-" if one.interval_95 is None else "{:.3f} to {:.3f}".format(*one.interval_95),
            ]
            for one in ranking
        ],
    )


def paired_rows(comparison: Comparison, known: Controllers) -> list[dict[str, Any]]:
    """The agent's differences to each rival; none where no agent was trained."""
    if known.policy is None:
        return []
    return [
        {
            "rival": one.name,
            "role": _role(known, one),
            "settings": _settings(one),
            "figures": [comparison.paired(AGENT_NAME, one.name, figure) for figure in FIGURES],
        }
        for one in rivals(known.opponents)
    ]


def _role(known: Controllers, opponent: Opponent) -> str:
    roles = [
        label
        for label, found in (
            ("best program", known.best_program),
            ("best opponent", known.best_opponent),
            ("best that foresees", known.perfect),
        )
        if found == opponent
    ]
    return " and ".join(roles)


def _settings(opponent: Opponent) -> str:
    words = [f"margin {100 * opponent.margin:.0f} %"]
    if opponent.name == opponent.system:
        words.insert(0, opponent.basis)
    words += [f"{name} {value:g}" for name, value in opponent.options.items()]
    return ", ".join(words)


def print_paired(paired: Sequence[dict[str, Any]], unit: str) -> None:
    """The agent's differences to its rivals."""
    for one in paired:
        out.print(f"{AGENT_NAME} less {one['rival']}, paired by {unit}:")
        for figure in one["figures"]:
            low, high = figure["interval_95"]
            out.print(f"  {figure['figure']:<10} {figure['difference']:+.4f}, 95 % {low:+.4f} to {high:+.4f}")


def print_stress(rows: Sequence[Endured], shown: Sequence[str]) -> None:
    """One table a scenario would fill pages: scenarios down, the controllers that matter below each."""
    wanted = [row for row in rows if row.controller in shown]
    first = {stress.name: shown[0] for stress in SUITE}
    print_table(
        "Stress suite; recovery: longest stretch with more than 1 % of requests violated",
        ["scenario", "controller", "viol.%", "recovery s", "cores", "utility"],
        [
            [
                row.scenario if row.controller == first[row.scenario] else "",
                row.controller,
                f"{100 * row.violations:.2f}",
                f"{row.recovery_s:.0f}",
                row.cores,
                row.utility,
            ]
            for row in rows
            if row in wanted
        ],
        left=2,
    )


def say_notes(setup: Setup, known: Controllers) -> None:
    """What is missing of agent and opponents, and the command that tunes these."""
    if known.note:
        err.print(f"note: {known.note}", soft_wrap=True)
    if not known.tuned:
        beside = "" if known.folder.is_dir() else f", then --agent agents/{known.definition.name}"
        err.print(f"to tune them: {tune_command(setup, known)}{beside}", soft_wrap=True)
