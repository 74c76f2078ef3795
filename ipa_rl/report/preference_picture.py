"""PAS over cores for one policy under many preferences, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.preference_front import Preferred
from ipa_rl.report.pictures import literal, load_pyplot


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
