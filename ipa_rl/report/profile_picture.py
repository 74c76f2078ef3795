"""Drawing of profiles: measured service latencies as points, fits as lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.pipeline import CORES
from ipa_rl.profiles import StageProfile
from ipa_rl.profiles.table import CORE_COUNTS, VariantTable
from ipa_rl.report.pyplot import literal, load_pyplot, save

_COLOURS = {1: "#d1495b", 2: "#edae49", 4: "#6a994e", 8: "#0b6e99", 16: "#7b5ea7"}
_OTHER = "#777777"
_MOST_BATCH = 64


def draw_profiles(stages: Sequence[StageProfile], path: Path) -> None:
    """One panel a variant: latency against batch size, a line a count of units; points are measured."""
    columns = max(len(stage.tables) for stage in stages)
    size = (2.6 * columns + 1.2, 2.7 * len(stages) + 0.8)
    figure, axes = load_pyplot().subplots(
        len(stages), columns, figsize=size, squeeze=False, sharex=True, layout="constrained"
    )
    for row, stage in zip(axes, stages, strict=True):
        for axis in row[len(stage.tables) :]:
            axis.set_axis_off()
        for axis, table in zip(row, stage.tables.values(), strict=False):
            _panel(axis, table)
        row[0].set_ylabel(f"{literal(stage.name)}\nservice latency [s]", fontsize=9)
    legends = (zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes.flat)
    lines = {label: line for legend in legends for line, label in legend}
    labels = sorted(lines, key=lambda label: float(label.split()[0]))
    handles = [lines[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure.suptitle("points: measured; lines: fitted model", fontsize=10)
    save(figure, path, dpi=130)


def _panel(axis: Any, table: VariantTable) -> None:
    most = max(_MOST_BATCH, *(batch for _, batch in table.evidence.cells))
    batches = np.geomspace(1, most, 40)
    counts, unit = (CORE_COUNTS, "core") if table.resource == CORES else ((), "unit")
    for cores in sorted({*counts, *table.evidence.cores}):
        colour = _COLOURS.get(cores, _OTHER)
        latencies = [table.mean_fit.latency_s(cores, batch) for batch in batches]
        axis.plot(batches, latencies, color=colour, lw=1.2, label=f"{cores:g} {unit}{'s' * (cores != 1)}")
        points = [(batch, latency_s) for (c, batch), latency_s in table.evidence.mean_s.items() if c == cores]
        measured = np.array(points).reshape(-1, 2).T
        axis.plot(*measured, "o", color=colour, ms=5, mec="black", mew=0.5)
    name = table.variant if len(table.variant) <= 24 else "…" + table.variant[-23:]
    axis.set_title(literal(name), fontsize=8)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    ticks = [4**k for k in range(math.ceil(math.log(most, 4)) + 1)]
    axis.set_xticks(ticks, list(map(str, ticks)))
    axis.set_xlabel("batch size", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
