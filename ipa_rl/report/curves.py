"""The training curves of an agent's seeds, against its opponents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipa_rl.report.pictures import literal, load_pyplot


def beaten_at(training: dict[str, Any], rival: str) -> dict[str, Any] | None:
    """The first checkpoint with more utility than "rival" or "program"; None where there is none."""
    bar = training[rival]["utility"]
    return next((c for c in training["checkpoints"] if c["utility"] > bar), None)


def draw_curves(name: str, trainings: Sequence[dict[str, Any]], path: Path) -> None:
    """Validation utility and violations over steps, in the fluid simulator; a dot where one was chosen."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for training in trainings:
        steps = [one["step"] / 1000 for one in training["checkpoints"]]
        chosen = next(c for c in training["checkpoints"] if c["step"] == training["chosen_step"])
        for axis, figure_name, factor in zip(axes, ("utility", "violations"), (1, 100), strict=True):
            values = [factor * one[figure_name] for one in training["checkpoints"]]
            (line,) = axis.plot(steps, values, lw=1)
            axis.plot(chosen["step"] / 1000, factor * chosen[figure_name], "o", ms=4, color=line.get_color())
    first = trainings[0]
    for axis, figure_name, factor in zip(axes, ("utility", "violations"), (1, 100), strict=True):
        for rival, style, label in (("program", "--", "best program"), ("rival", ":", "best opponent")):
            axis.axhline(factor * first[rival][figure_name], color="black", ls=style, lw=1, label=label)
        axis.set_xlabel("thousand steps")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_title(f"{literal(name)}: validation utility", loc="left", fontsize=10)
    axes[1].set_title("violations, %", loc="left", fontsize=10)
    tail = [one["utility"] for training in trainings for one in training["checkpoints"][1:]]
    bars = [first[rival]["utility"] for rival in ("program", "rival")]
    low, high = min([*sorted(tail)[len(tail) // 20 :], *bars]), max([*tail, *bars])
    axes[0].set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
