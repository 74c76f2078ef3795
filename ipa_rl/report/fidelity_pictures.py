"""Pictures of fidelity: replays step by step, and one simulator against the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ipa_rl.judge.fidelity import FIGURES, Agreement
from ipa_rl.judge.replays import SYSTEMS, Replayed, measured_steps
from ipa_rl.report.pictures import load_pyplot

_MEASURED, _SIMULATED = "#444444", "#d1495b"
_COLOURS = ("#0b6e99", "#d1495b", "#edae49", "#6a994e", "#7b5ea7")
_LABELS = {"utility": "utility", "cores": "cores", "violations": "violations [%]", "p99_s": "p99 latency [s]"}


def draw_replays(runs: Sequence[Replayed], path: Path) -> None:
    """Decided cores by step, simulated and measured, of every pipeline whose steps were printed."""
    pyplot = load_pyplot()
    shown = {run.replay.pipeline for run in runs if len(measured_steps(run.replay.pipeline, "ipa")[0])}
    pipelines = [name for name in dict.fromkeys(run.replay.pipeline for run in runs) if name in shown]
    by_name = {(run.replay.pipeline, run.replay.system): run for run in runs}
    size = (11, 2.1 * len(pipelines) + 0.8)
    figure, axes = pyplot.subplots(
        len(pipelines), len(SYSTEMS), figsize=size, sharex=True, squeeze=False, layout="constrained"
    )
    for row, pipeline in zip(axes, pipelines, strict=True):
        for axis, system in zip(row, SYSTEMS, strict=True):
            cores, _ = measured_steps(pipeline, system)
            simulated = by_name[pipeline, system].step_cores
            axis.step(np.arange(len(cores)), cores, color=_MEASURED, lw=1.6, label="measured on a cluster")
            axis.step(np.arange(len(simulated)), simulated, color=_SIMULATED, lw=1.0, label="replayed")
            axis.set_title(f"{pipeline}, {system}", loc="left", fontsize=9)
            axis.set_ylim(bottom=0)
            axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("step of 10 s")
    for row in axes:
        row[0].set_ylabel("cores")
    lines, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle("The paper's systems on its bursty window", fontsize=12)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_agreement(rows: Sequence[Agreement], path: Path) -> None:
    """Fluid against request-level, one point a pipeline and controller."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, len(FIGURES), figsize=(12, 3.6), layout="constrained")
    pipelines = list(dict.fromkeys(row.pipeline for row in rows))
    for axis, name in zip(axes, FIGURES, strict=True):
        factor = 100 if name == "violations" else 1
        for pipeline, colour in zip(pipelines, _COLOURS, strict=False):
            pairs = np.array([row.figures[name] for row in rows if row.pipeline == pipeline]) * factor
            axis.scatter(pairs[:, 0], pairs[:, 1], s=28, color=colour, edgecolors="white", label=pipeline)
        axis.axline((0, 0), slope=1, color="#999999", lw=0.8, zorder=0)
        axis.set_title(_LABELS[name], loc="left", fontsize=10)
        axis.set_xlabel("fluid")
        axis.spines[["top", "right"]].set_visible(False)
        if name in ("violations", "cores"):
            axis.set_xscale("symlog", linthresh=1)
            axis.set_yscale("symlog", linthresh=1)
    axes[0].set_ylabel("request-level")
    lines, labels = axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
