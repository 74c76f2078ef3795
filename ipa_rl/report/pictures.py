"""Pictures of a comparison: load, PAS, cores and latency over time, and what each controller trades."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray
from ipa_rl.judge.play import Played
from ipa_rl.report.colours import Style


def load_pyplot() -> Any:
    """pyplot, drawing to files only. Raises MissingExtraError where matplotlib is not installed."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # without a home it keeps its fonts for this process alone, and advises
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot") from error
    finally:
        log.setLevel(level)
    return pyplot


def literal(text: str) -> str:
    """Text that matplotlib shows as it is, where it would read dollar signs as mathematics."""
    return text.replace("$", r"\$")


def draw_timeline(
    definition: Definition,
    loads: NDArray[Any],
    shown: Sequence[Played],
    styles: Mapping[str, Style],
    path: Path,
) -> None:
    """Load and forecast, PAS, cores, and 99th percentile latency against the SLA, over time."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(4, 1, figsize=(9, 9), sharex=True, layout="constrained")
    interval_s = definition.timing.interval_s
    axes[0].plot(np.arange(len(loads)), loads, color="#cccccc", lw=0.8, label="load")
    for played in shown:
        line = {"color": styles[played.name].colour, "ls": _LINES[styles[played.name].dash]}
        seconds = np.arange(len(played.sums)) * interval_s
        for axis, series in zip(axes, _series(played), strict=True):
            axis.step(seconds, series, where="post", lw=1.4, **line, label=literal(played.name))
    axes[3].axhline(definition.problem.sla_s, color="black", ls="--", lw=1, label="SLA")
    titles = ("load, and load planned for [requests/s]", "PAS x 100", "cores", "p99 latency [s]")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
    axes[3].set_yscale("log")
    label_logarithmic(axes[3].yaxis)
    axes[3].set_xlabel("seconds")
    lines = {
        label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9
    )
    figure.suptitle(f"{literal(definition.name)}: controllers on the same arrivals", fontsize=12)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _series(played: Played) -> tuple[FloatArray, ...]:
    """By interval: planned-for load, PAS x 100, cores, 99th percentile latency."""
    served = played.column("served")
    pas = 100.0 * played.column("accuracy") / np.maximum(served, 1e-9)
    cores = played.column("core_s") / played.column("seconds")
    return played.planned_rps, np.where(served > 0, pas, np.nan), cores, played.p99_s


def label_logarithmic(axis: Any) -> None:
    """Numbers at a logarithmic axis, three at least, whatever part of a decade it shows."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    ticks = [tick for tick in LogLocator(subs=(1, 2, 5)).tick_values(low, high) if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [
            t for t in MaxNLocator(5, min_n_ticks=3).tick_values(low, high) if max(low, 1e-12) <= t <= high
        ]
    axis.set_ticks(ticks)
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


_LINES: Mapping[str, Any] = {
    "solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (8, 3)),
}  # fmt: skip
"""Dashes by plotly's names as matplotlib has them."""

_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X", "triangle-up": "^",
    "triangle-down": "v", "star": "*",
}  # fmt: skip


def draw_trade_offs(
    definition: Definition,
    rows: Sequence[dict[str, Any]],
    others: set[str],
    styles: Mapping[str, Style],
    path: Path,
) -> None:
    """PAS and violations against cores, one point a controller; those of ``others`` are small."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 5.5), layout="constrained")
    columns = ("pas_x100", "PAS x 100"), ("violations", "violations [%]")
    for row in rows:
        name, shown = row["controller"], row["controller"] not in others
        style = {
            "color": styles[name].colour,
            "marker": _MARKERS[styles[name].symbol],
            "s": 80 if shown else 40,
            "zorder": 3 if shown else 2,
        }
        for axis, (column, _) in zip(axes, columns, strict=True):
            factor = 100 if column == "violations" else 1
            label = literal(name)
            axis.scatter(row["cores"], factor * row[column], label=label, edgecolors="white", **style)
    for axis, (_, label) in zip(axes, columns, strict=True):
        axis.set_xlabel("mean cores")
        axis.set_title(label, loc="left", fontsize=10)
        axis.grid(alpha=0.3)
        axis.margins(0.1)
        axis.spines[["top", "right"]].set_visible(False)
    lines, labels = axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(
        f"{literal(definition.name)}: more PAS, fewer cores and violations are better", fontsize=12
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
