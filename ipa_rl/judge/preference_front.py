"""One policy, many preferences: PAS and cost of agent and program as alpha grows beside beta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import PROGRAM, best_program, write_opponents
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.comparison import FIGURES, compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.tuning import Validation, tune
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder

FORECASTERS = tuple(f"{PROGRAM} {kind}" for kind in ("window-max", "moving-average", "clock", "quantile"))
"""The program is tuned anew for each preference, over these forecasters."""

TUNING_WINDOWS = 40


@dataclass(frozen=True)
class Preferred:
    """Agent and program under one preference: their rows of a comparison, and the differences, paired."""

    alpha: float
    beta: float
    agent: dict[str, Any]
    program: dict[str, Any]
    margin: float
    paired: dict[str, dict[str, Any]]


def measure_front(
    setup: Setup,
    preferences: Sequence[tuple[float, float]],
    scenarios: Sequence[Scenario],
    folder: Path,
    pool: Pool,
    report: Report,
) -> list[Preferred]:
    """The agent asked for each preference (alpha, beta), beside the program tuned for it on validation."""
    measured = []
    for alpha, beta in preferences:
        preferring = replace(setup, preference=(alpha, beta), only=None)
        opponents = tune(Validation(preferring, TUNING_WINDOWS), pool, report, FORECASTERS)
        place = output_folder(folder / f"{alpha:g}-{beta:g}")
        tuned = (place / "opponents.json").resolve()
        write_opponents(opponents, tuned)
        program = best_program(opponents)
        pair = replace(preferring, opponents=tuned, only=(AGENT_NAME, program.name))
        experiment = Experiment(f"alpha {alpha:g}, beta {beta:g}", pair, trials(scenarios, 1))
        comparison = compare(experiment, place, pool, report)
        agent, programmed = comparison.rows()
        paired = {name: comparison.paired(AGENT_NAME, program.name, name) for name in FIGURES}
        measured.append(Preferred(alpha, beta, agent, programmed, program.margin, paired))
    return measured
