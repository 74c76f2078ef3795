"""One policy, many preferences: PAS and cost of agent and program as alpha grows beside beta."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.agents.opponents import PROGRAM, best_program, write_opponents
from ipa_rl.clusters import Scenario
from ipa_rl.evaluation.compare import FIGURES, compare
from ipa_rl.evaluation.controllers import AGENT_NAME
from ipa_rl.evaluation.jobs import Setup, make_jobs
from ipa_rl.evaluation.pictures import literal, load_pyplot
from ipa_rl.evaluation.pools import Pool
from ipa_rl.evaluation.runs import RunFolder
from ipa_rl.evaluation.tuning import Validation, tune
from ipa_rl.progress import Report

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
    return [_measure(setup, one, scenarios, folder, pool, report) for one in preferences]


def _measure(
    setup: Setup,
    preference: tuple[float, float],
    scenarios: Sequence[Scenario],
    folder: Path,
    pool: Pool,
    report: Report,
) -> Preferred:
    place = folder / "{:g}-{:g}".format(*preference)
    place.mkdir(parents=True, exist_ok=True)
    preferring = replace(setup, preference=preference, only=None)
    opponents = tune(Validation(preferring, TUNING_WINDOWS), pool, report, FORECASTERS)
    tuned = (place / "opponents.json").resolve()
    write_opponents(opponents, tuned)
    program = best_program(opponents)
    pair = replace(preferring, opponents=tuned, only=(AGENT_NAME, program.name))
    subject = "alpha {:g}, beta {:g}".format(*preference)
    comparison = compare(subject, pair, make_jobs(scenarios, 1), RunFolder(place), pool, report)
    rows = {row["controller"]: row for row in comparison.rows()}
    paired = {name: comparison.paired(AGENT_NAME, program.name, name) for name in FIGURES}
    return Preferred(*preference, rows[AGENT_NAME], rows[program.name], program.margin, paired)


def draw_front(name: str, front: Sequence[Preferred], path: Path) -> None:
    """PAS over cores, a line for the agent and one for the program, alpha / beta written at each point."""
    pyplot = load_pyplot()
    figure, axis = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    ordered = sorted(front, key=lambda one: one.alpha / one.beta)
    for who, colour, marker in ((AGENT_NAME, "#0b84b5", "o"), ("program", "#d1495b", "s")):
        rows = [one.agent if who == AGENT_NAME else one.program for one in ordered]
        cores, pas = [row["cores"] for row in rows], [row["pas_x100"] for row in rows]
        axis.plot(cores, pas, color=colour, marker=marker, ms=5, lw=1.4, label=who)
    for text, x, y in _labels(ordered):
        axis.annotate(
            text, (x, y),
            textcoords="offset points", xytext=(6, -10), ha="left", fontsize=8, color="#0b84b5",
        )  # fmt: skip
    axis.set_xlabel("mean cores")
    axis.set_ylabel("PAS x 100")
    axis.set_title(f"{literal(name)}: one policy, alpha / beta as written", loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _labels(ordered: Sequence[Preferred]) -> list[tuple[str, float, float]]:
    """What stands at the agent's points; those that lie on each other share a label."""
    points = [(one.agent["cores"], one.agent["pas_x100"]) for one in ordered]
    wide, high = (float(np.ptp(column)) for column in np.array(points).T)
    groups: list[list[int]] = []
    for i, (cores, pas) in enumerate(points):
        last = points[groups[-1][0]] if groups else (math.inf, math.inf)
        if abs(cores - last[0]) <= 0.03 * wide and abs(pas - last[1]) <= 0.05 * high:
            groups[-1].append(i)
        else:
            groups.append([i])
    ratios = [f"{one.alpha / one.beta:g}" for one in ordered]
    return [(", ".join(ratios[i] for i in group), *points[group[-1]]) for group in groups]
