"""Pictures by matplotlib: comparisons, training curves, preferences, fidelity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.judge.comparison import Comparison
from ipa_rl.judge.evaluation import in_front
from ipa_rl.judge.experiment import Controllers
from ipa_rl.judge.fidelity import FIGURES, SYSTEMS, Agreement, Replayed, measured_steps
from ipa_rl.judge.play import Played
from ipa_rl.judge.runs import RunFolder
from ipa_rl.report.cells import factor
from ipa_rl.report.colours import Style, controller_styles
from ipa_rl.report.pyplot import label_logarithmic, legend_below, literal, load_pyplot, save, title
from ipa_rl.report.resolution import LONG_S, bucketed

_BUCKETS = 300
"""Most buckets of a series in a picture, one every three or four pixels."""

_AGENT, _PROGRAM, _MEASURED = "#0b84b5", "#d1495b", "#444444"
_PIPELINES = ("#0b6e99", "#d1495b", "#edae49", "#6a994e", "#7b5ea7")
_TITLES = {
    "utility": "utility", "pas_x100": "PAS x 100", "cores": "cores", "violations": "violations [%]",
    "p99_s": "p99 latency [s]", "planned_rps": "load, and load planned for [requests/s]",
}  # fmt: skip

_LINES: Mapping[str, Any] = {
    "solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (8, 3)),
}  # fmt: skip
"""Dashes by plotly's names as matplotlib has them."""

_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X", "triangle-up": "^",
    "triangle-down": "v", "star": "*",
}  # fmt: skip


def draw_comparison(comparison: Comparison, known: Controllers, folder: Path) -> list[Path]:
    """Both pictures of a single window: its first run over time, and what each controller trades."""
    front = in_front(comparison, known)
    best_program = next((name for name in front if name in known.programs), "")
    styles = controller_styles(comparison.names, best_program)
    shown = [one for one in comparison.played[0][0] if one.name in front]
    small = known.programs - {best_program}
    paths = [folder / "timeline.png", folder / "trade-offs.png"]
    _draw_timeline(comparison, RunFolder(folder).loads(0, comparison.description), shown, styles, paths[0])
    _draw_trade_offs(comparison, small, styles, paths[1])
    return paths


def _draw_timeline(
    comparison: Comparison, loads: Any, shown: Sequence[Played], styles: Mapping[str, Style], path: Path
) -> None:
    """Load and forecast, PAS, cores, and 99th percentile latency against the SLA, over time."""
    definition = comparison.definition
    figure, axes = load_pyplot().subplots(4, 1, figsize=(9, 9), sharex=True, layout="constrained")
    unit, unit_s = ("hours", 3600) if len(loads) > LONG_S else ("seconds", 1)
    _draw_series(axes[0], loads, 1 / unit_s, color="#999999", lw=0.8, label="load")
    for played in shown:
        line = {"color": styles[played.name].colour, "ls": _LINES[styles[played.name].dash]}
        every = definition.timing.interval_s / unit_s
        for axis, values in zip(axes, played.series(), strict=True):
            _draw_series(axis, values, every, lw=1.2, **line, label=literal(played.name))
    axes[3].axhline(definition.problem.sla_s, color="black", ls="--", lw=1, label="SLA")
    for axis, name in zip(axes, ("planned_rps", "pas_x100", "cores", "p99_s"), strict=True):
        title(axis, _TITLES[name])
        axis.margins(x=0)
    axes[3].set_yscale("log")
    label_logarithmic(axes[3].yaxis)
    axes[3].set_xlabel(unit)
    legend_below(figure, axes, columns=len(shown) + 2)
    figure.suptitle(f"{literal(definition.name)}: controllers on the same arrivals", fontsize=12)
    save(figure, path, dpi=130)


def _draw_series(axis: Any, values: FloatArray | IntArray, every: float, color: str, **line: Any) -> None:
    """The mean of each bucket; a band from the lowest to the highest where that holds several values."""
    found = bucketed(values, _BUCKETS)
    starts = np.arange(len(found.mean)) * found.size * every
    if found.size > 1:
        axis.fill_between(starts, found.low, found.high, step="post", color=color, alpha=0.2, lw=0)
    axis.step(starts, found.mean, where="post", color=color, **line)


def _draw_trade_offs(
    comparison: Comparison, small: set[str], styles: Mapping[str, Style], path: Path
) -> None:
    """PAS and violations against cores, one point a controller."""
    figure, axes = load_pyplot().subplots(1, 2, figsize=(10, 5.5), layout="constrained")
    for axis, column in zip(axes, ("pas_x100", "violations"), strict=True):
        for row in comparison.rows():
            name = row["controller"]
            axis.scatter(
                row["cores"],
                factor(column) * row[column],
                label=literal(name),
                edgecolors="white",
                color=styles[name].colour,
                marker=_MARKERS[styles[name].symbol],
                s=40 if name in small else 80,
                zorder=2 if name in small else 3,
            )
        axis.set_xlabel("mean cores")
        title(axis, _TITLES[column])
        axis.grid(alpha=0.3)
        axis.margins(0.1)
    legend_below(figure, axes[:1], columns=4)
    heading = f"{literal(comparison.definition.name)}: more PAS, fewer cores and violations are better"
    figure.suptitle(heading, fontsize=12)
    save(figure, path, dpi=130)


def draw_curves(name: str, trainings: Sequence[dict[str, Any]], path: Path) -> None:
    """Validation utility and violations over steps, in the fluid simulator; a dot where one was chosen."""
    figure, axes = load_pyplot().subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    first = trainings[0]
    for axis, column in zip(axes, ("utility", "violations"), strict=True):
        for training in trainings:
            steps = [one["step"] / 1000 for one in training["checkpoints"]]
            values = [factor(column) * one[column] for one in training["checkpoints"]]
            (line,) = axis.plot(steps, values, lw=1)
            chosen = next(c for c in training["checkpoints"] if c["step"] == training["chosen_step"])
            at = chosen["step"] / 1000, factor(column) * chosen[column]
            axis.plot(*at, "o", ms=4, color=line.get_color())
        for rival, style, label in (("program", "--", "best program"), ("rival", ":", "best opponent")):
            axis.axhline(factor(column) * first[rival][column], color="black", ls=style, lw=1, label=label)
        axis.set_xlabel("thousand steps")
    title(axes[0], f"{literal(name)}: validation utility")
    title(axes[1], "violations, %")
    tail = [one["utility"] for training in trainings for one in training["checkpoints"][1:]]
    bars = [first[rival]["utility"] for rival in ("program", "rival")]
    low, high = min([*sorted(tail)[len(tail) // 20 :], *bars]), max([*tail, *bars])
    room = 0.1 * (high - low) or 1.0
    axes[0].set_ylim(low - room, high + room)
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    save(figure, path, dpi=100)


def draw_front(name: str, who: str, front: Sequence[dict[str, Any]], path: Path) -> None:
    """PAS over cores, a line for ``who`` and one for the program, alpha / beta written at each point."""
    figure, axis = load_pyplot().subplots(figsize=(6.4, 4.4), layout="constrained")
    ordered = sorted(front, key=lambda one: float(one["alpha"] / one["beta"]))
    for key, label, colour, marker in (
        ("agent", who, _AGENT, "o"),
        ("program", "program", _PROGRAM, "s"),
    ):
        cores, pas = ([one[key][name] for one in ordered] for name in ("cores", "pas_x100"))
        axis.plot(cores, pas, color=colour, marker=marker, ms=5, lw=1.4, label=label)
    for text, *at in _labels(ordered):
        axis.annotate(
            text, at, textcoords="offset points", xytext=(6, -10), ha="left", fontsize=8, color=_AGENT
        )
    axis.set_xlabel("mean cores")
    axis.set_ylabel("PAS x 100")
    title(axis, f"{literal(name)}: one policy, alpha / beta as written")
    axis.legend(frameon=False, loc="lower right")
    save(figure, path)


def _labels(ordered: Sequence[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """What stands at the agent's points; those that lie on each other share a label."""
    points = [(one["agent"]["cores"], one["agent"]["pas_x100"]) for one in ordered]
    wide, high = (float(np.ptp(column)) for column in np.array(points).T)
    groups: list[list[int]] = []
    for i, (cores, pas) in enumerate(points):
        last = points[groups[-1][0]] if groups else (math.inf, math.inf)
        if abs(cores - last[0]) <= 0.03 * wide and abs(pas - last[1]) <= 0.05 * high:
            groups[-1].append(i)
        else:
            groups.append([i])
    ratios = [f"{one['alpha'] / one['beta']:g}" for one in ordered]
    return [(", ".join(ratios[i] for i in group), *points[group[-1]]) for group in groups]


def draw_fidelity(simulators: Sequence[Agreement], first: Sequence[Replayed], folder: Path) -> list[Path]:
    """Replays step by step, where steps were printed, and one simulator against the other."""
    path = folder / "simulators.png"
    _draw_agreement(simulators, path)
    printed = [run for run in first if len(measured_steps(run.replay.pipeline, "ipa")[0])]
    if not printed:
        return [path]
    _draw_replays(printed, folder / "replays.png")
    return [folder / "replays.png", path]


def _draw_replays(runs: Sequence[Replayed], path: Path) -> None:
    """Decided cores by step, simulated and measured, of pipelines whose steps were printed."""
    pipelines = list(dict.fromkeys(run.replay.pipeline for run in runs))
    by_name = {(run.replay.pipeline, run.replay.system): run for run in runs}
    size = (11, 2.1 * len(pipelines) + 0.8)
    figure, axes = load_pyplot().subplots(
        len(pipelines), len(SYSTEMS), figsize=size, sharex=True, squeeze=False, layout="constrained"
    )
    for row, pipeline in zip(axes, pipelines, strict=True):
        for axis, system in zip(row, SYSTEMS, strict=True):
            measured, _ = measured_steps(pipeline, system)
            simulated = by_name[pipeline, system].step_cores
            axis.step(
                np.arange(len(measured)), measured, color=_MEASURED, lw=1.6, label="measured on a cluster"
            )
            axis.step(np.arange(len(simulated)), simulated, color=_PROGRAM, lw=1.0, label="replayed")
            axis.set_ylim(bottom=0)
            title(axis, f"{pipeline}, {system}")
        row[0].set_ylabel("cores")
    for axis in axes[-1]:
        axis.set_xlabel("step of 10 s")
    legend_below(figure, axes[0][:1], columns=2)
    figure.suptitle("The paper's systems on its bursty window", fontsize=12)
    save(figure, path)


def _draw_agreement(rows: Sequence[Agreement], path: Path) -> None:
    """Fluid against request-level, one point a pipeline and controller."""
    figure, axes = load_pyplot().subplots(1, len(FIGURES), figsize=(12, 3.6), layout="constrained")
    pipelines = list(dict.fromkeys(row.pipeline for row in rows))
    for axis, name in zip(axes, FIGURES, strict=True):
        for pipeline, colour in zip(pipelines, _PIPELINES, strict=False):
            pairs = np.array([row.figures[name] for row in rows if row.pipeline == pipeline]) * factor(name)
            axis.scatter(pairs[:, 0], pairs[:, 1], s=28, color=colour, edgecolors="white", label=pipeline)
        axis.axline((0, 0), slope=1, color="#999999", lw=0.8, zorder=0)
        title(axis, _TITLES[name])
        axis.set_xlabel("fluid")
        if name in ("violations", "cores"):
            axis.set_xscale("symlog", linthresh=1)
            axis.set_yscale("symlog", linthresh=1)
    axes[0].set_ylabel("request-level")
    legend_below(figure, axes[:1], columns=5)
    save(figure, path)
