"""Controllers side by side on the same arrivals: one window in detail, or many with intervals."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.agents import Agent
from ipa_rl.compiled import FloatArray
from ipa_rl.environment.definition import Definition
from ipa_rl.evaluation.bootstrap import interval_95
from ipa_rl.evaluation.controllers import Controllers
from ipa_rl.evaluation.play import Played, figures, play
from ipa_rl.progress import Report
from ipa_rl.simulation.accounting import latency_quantile_s
from ipa_rl.workload.trace import Window

FIGURES = ("utility", "pas_x100", "cores", "violations")
"""What intervals are given for."""


@dataclass(frozen=True)
class Comparison:
    """Everything that the controllers did, by window and controller."""

    definition: Definition
    windows: tuple[Window, ...]
    played: tuple[tuple[Played, ...], ...]
    """(windows, controllers)"""

    def rows(self) -> list[dict[str, Any]]:
        """One row a controller: means over the windows, and times of decision."""
        return [self._row(list(column)) for column in zip(*self.played, strict=True)]

    def _row(self, column: list[Played]) -> dict[str, Any]:
        """Utility, PAS, cores and violations are means over windows; latencies are over all requests."""
        by_window = [figures(self.definition, one) for one in column]
        histogram = np.sum([one.histogram for one in column], axis=0)
        decide_s = np.concatenate([one.decide_s() for one in column])
        row: dict[str, Any] = {"controller": column[0].name}
        row |= {name: float(np.mean([one[name] for one in by_window])) for name in FIGURES}
        row["p50_s"] = latency_quantile_s(histogram, 0.50)
        row["p99_s"] = latency_quantile_s(histogram, 0.99)
        row["decide_p50_ms"] = 1e3 * float(np.quantile(decide_s, 0.50))
        row["decide_p99_ms"] = 1e3 * float(np.quantile(decide_s, 0.99))
        if len(column) > 1:
            for name in FIGURES:
                values = np.array([one[name] for one in by_window])
                row[f"{name}_95"] = interval_95(values)
        return row

    def by_window(self, name: str, figure: str) -> FloatArray:
        """A figure of one controller in every window, (windows,)."""
        return np.array(
            [
                figures(self.definition, one)[figure]
                for window in self.played
                for one in window
                if one.name == name
            ]
        )

    def paired(self, ours: str, theirs: str, figure: str) -> dict[str, Any]:
        """Mean difference of a figure, ours less theirs, with its 95 % interval over the windows."""
        difference = self.by_window(ours, figure) - self.by_window(theirs, figure)
        return {
            "figure": figure,
            "difference": float(difference.mean()),
            "interval_95": interval_95(difference),
            "windows": len(difference),
        }


def compare(controllers: Controllers, windows: Sequence[Window], report: Report) -> Comparison:
    """Play every controller over every window; the arrivals of a window are the same for all."""
    names = len(controllers.names())
    total, done = len(windows) * names, 0
    played = []
    for window in windows:
        arrivals = window.arrivals.astype(np.float64)
        column = []
        for agent in controllers.agents(arrivals):
            column.append(_play(controllers.definition, agent, arrivals, window))
            done += 1
            report.advance("compare", done, total)
        played.append(tuple(column))
    return Comparison(controllers.definition, tuple(windows), tuple(played))


def _play(definition: Definition, agent: Agent, arrivals: FloatArray, window: Window) -> Played:
    return play(definition, agent, arrivals, window.history_s)


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The table as CSV; intervals as two columns."""
    flat = [_flat(row) for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, tuple):
            flat[f"{name}_low"], flat[f"{name}_high"] = value
        else:
            flat[name] = value
    return flat


def write_json(content: Any, path: Path) -> None:
    """Anything of numbers, names and lists, as JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
