"""The benchmark's results as tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_rl.judge.benchmark import Line, Result
from ipa_rl.report.cells import markdown

_TITLES = {
    "pipelines": "Shipped pipelines on their own load",
    "loads": "Shipped pipelines on other loads",
    "family": "Made-up pipelines",
    "graphs": "Made-up graphs",
    "stress": "Under stress",
    "all": "All groups alike",
}
HEADS = (
    "controller", "above the program", "mean share %", "median", "worst", "where", "violations %",
    "cores / program's", "ms a decision, p99", "trained, minutes",
)  # fmt: skip


def benchmark_tables(lines: Sequence[Line]) -> str:
    """A table a group, that over all groups first."""
    groups = list(dict.fromkeys(line.group for line in lines))
    told: list[str] = []
    for group in sorted(groups, key=lambda one: one != "all"):
        rows = [cells(line) for line in lines if line.group == group]
        told += [f"## {_TITLES[group]}", "", *markdown(HEADS, rows), ""]
    return "\n".join(told)


def cells(line: Line) -> list[str]:
    """A line as text, in the order of HEADS."""
    shares = [f"{100 * share:.0f}" for share in (line.mean, line.median, line.worst)]
    trained = "-" if line.trained_s is None else f"{line.trained_s / 60:.0f}"
    figures = [f"{100 * line.violations:.2f}", f"{line.cost:.2f}", f"{line.decide_ms:.2f}", trained]
    return [line.controller, f"{line.above} of {line.cases}", *shares, line.worst_case, *figures]


def without_gap(results: Sequence[Result]) -> list[str]:
    """The cases in which the program leaves nothing worth a score."""
    return list(dict.fromkeys(one.case for one in results if one.share is None))
