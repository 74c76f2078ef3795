"""Pictures of a comparison: load, PAS, cores and latency over time, and what each controller trades."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.compiled import FloatArray
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.evaluation.play import Played
from ipa_rl.simulation.accounting import latency_quantile_s

COLOURS = ("#0b6e99", "#d1495b", "#8a8a8a", "#edae49", "#6a994e", "#7b5ea7", "#b08968", "#3d5a80")


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot") from error
    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw_timeline(
    definition: Definition,
    arrivals: NDArray[Any],
    history_s: int,
    shown: Sequence[Played],
    path: Path,
) -> None:
    """Load and forecast, PAS, cores, and 99th percentile latency against the SLA, over time."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(4, 1, figsize=(9, 9), sharex=True, layout="constrained")
    interval_s = definition.settings.interval_s
    loads = arrivals[history_s:]
    axes[0].plot(np.arange(len(loads)), loads, color="#cccccc", lw=0.8, label="load")
    for played, colour in zip(shown, COLOURS, strict=False):
        seconds = np.arange(len(played.totals)) * interval_s
        for axis, series in zip(axes, _series(played), strict=True):
            axis.step(seconds, series, where="post", color=colour, lw=1.4, label=played.name)
    axes[3].axhline(definition.problem.sla_s, color="black", ls="--", lw=1, label="SLA")
    titles = ("load, and load planned for [requests/s]", "PAS x 100", "cores", "p99 latency [s]")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
    axes[3].set_yscale("log")
    axes[3].yaxis.set_major_formatter("{x:g}")
    axes[3].yaxis.set_minor_formatter("")
    axes[3].set_xlabel("seconds")
    lines = {
        label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9
    )
    figure.suptitle(f"{definition.name}: controllers on the same arrivals", fontsize=12)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _series(played: Played) -> tuple[FloatArray, ...]:
    """By interval: planned-for load, PAS x 100, cores, 99th percentile latency."""
    totals = played.totals
    planned = np.array([step.decision.planned_rps for step in played.steps])
    pas = 100.0 * totals["accuracy"] / np.maximum(totals["served"], 1e-9)
    cores = totals["core_s"] / totals["seconds"]
    p99_s = np.array([latency_quantile_s(one, 0.99) for one in totals["histogram"]])
    return planned, np.where(totals["served"] > 0, pas, np.nan), cores, p99_s


def draw_trade_offs(definition: Definition, rows: Sequence[dict[str, Any]], path: Path) -> None:
    """PAS against cores, one point a controller; its size and label give the violations."""
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    cores = np.array([row["cores"] for row in rows])
    pas = np.array([row["pas_x100"] for row in rows])
    late = np.array([100 * row["violations"] for row in rows])
    dots = axis.scatter(
        cores, pas, c=late, s=90, cmap="viridis_r", edgecolors="black", linewidths=0.6, zorder=3
    )
    figure.colorbar(dots, ax=axis, label="violations [%]")
    _label(axis, [row["controller"] for row in rows], cores, pas)
    axis.set_xlabel("mean cores")
    axis.set_ylabel("PAS x 100")
    axis.grid(alpha=0.3)
    axis.margins(0.12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(f"{definition.name}: up and left is better, dark is worse", fontsize=11, loc="left")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _label(axis: Any, names: Sequence[str], x: FloatArray, y: FloatArray) -> None:
    """Names beside the points; those of one heap are listed below each other."""
    x_span, y_span = max(float(np.ptp(x)), 1e-9), max(float(np.ptp(y)), 1e-9)
    placed: list[tuple[float, float]] = []
    for i in np.lexsort((x, -y)).tolist():
        near = sum(abs(x[i] - px) < 0.22 * x_span and abs(y[i] - py) < 0.05 * y_span for px, py in placed)
        placed.append((x[i], y[i]))
        axis.annotate(names[i], (x[i], y[i]), (8, 4 - 11 * near), textcoords="offset points", fontsize=8)
