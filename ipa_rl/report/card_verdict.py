"""The section of a card that holds an agent against what was asked of it (issue 4), and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.controllers import Controllers
from ipa_rl.judge.stress import MOST_TIMES, Endured, overrun
from ipa_rl.report.card_training import read_beside

_BETTER = {"utility": 1, "pas_x100": 1, "cores": -1, "violations": -1}

_ASKED = (
    ("utility above", "utility", 1, 3),
    ("violations no higher, %", "violations", 100, 2),
    (f"PAS x 100 at most {PAS_TOLERANCE:g} lower", "pas_x100", 1, 2),
)
"""In words, figure, factor and digits."""

_SAME = 5e-5
"""Violations that are apart by less read the same in hundredths of a percent."""


def verdict_section(
    controllers: Controllers, content: dict[str, Any], stress: list[Endured], folder: Path
) -> list[str]:
    """What was asked beside each rival, on the bursty window, under other preferences and under stress."""
    rows = [row for paired in content["paired"] for row in _beside(paired)]
    rows += _bursty(controllers, folder) + _preferences(folder)
    over = overrun(stress, AGENT_NAME, controllers.best_opponent.name)
    asked = f"under stress at most {MOST_TIMES:g} times the violations"
    rows.append(
        _row(asked, f"`{controllers.best_opponent.name}`", "; ".join(over) or "in none more", not over)
    )
    return ["## Verdict", "", "| asked | opponent | found | |", "|---|---|---|---|", *rows]


def _row(asked: str, opponent: str, found: str, holds: bool) -> str:
    return f"| {asked} | {opponent} | {found} | {'yes' if holds else '**no**'} |"


def _beside(paired: dict[str, Any]) -> list[str]:
    by_name = {one["figure"]: one for one in paired["figures"]}
    rows = []
    for asked, figure, factor, digits in _ASKED:
        one = by_name[figure]
        low, high = (factor * bound for bound in one["interval_95"])
        found = f"{factor * one['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
        rows.append(_row(asked, f"`{paired['rival']}` ({paired['role']})", found, _holds(one)))
    return rows


def _holds(difference: dict[str, Any]) -> bool:
    """Utility clearly above; violations no higher to a hundredth of a percent; PAS within the tolerance."""
    if difference["figure"] == "utility":
        return bool(difference["interval_95"][0] > 0)
    if difference["figure"] == "violations":
        return bool(difference["difference"] <= _SAME)
    return bool(difference["difference"] >= -PAS_TOLERANCE)


def _bursty(controllers: Controllers, folder: Path) -> list[str]:
    """Fewer violations on the paper's bursty window than whoever costs no more, the foreseeing aside."""
    bursty = read_beside(folder, "bursty.json")
    if not bursty:
        return []
    foreseeing = {one.name for one in controllers.opponents if one.foresees}
    rows = {row["controller"]: row for row in bursty["rows"]}
    ours = rows.pop(AGENT_NAME)
    real = [row for name, row in rows.items() if name not in foreseeing]
    fewer = [
        row for row in real if row["violations"] <= ours["violations"] + _SAME and ours["violations"] > 0
    ]
    at_no_more = [row for row in fewer if row["cores"] <= ours["cores"]]
    found = f"{100 * ours['violations']:.2f} % at {ours['cores']:.2f} cores"
    if fewer:
        others = (
            f"`{row['controller']}` {100 * row['violations']:.2f} % at {row['cores']:.2f}" for row in fewer
        )
        found += f"; no more violations: {', '.join(others)}"
    asked = "on the bursty window fewer violations at no more cost"
    return [_row(asked, "every one that does not foresee", found, not at_no_more)]


def _preferences(folder: Path) -> list[str]:
    """Under how many of the other preferences the agent has more utility than the program tuned for each."""
    front = read_beside(folder, "front.json")
    if not front:
        return []
    rows = front["rows"]
    behind = [row for row in rows if row["paired"]["utility"]["interval_95"][0] <= 0]
    found = f"in {len(rows) - len(behind)} of {len(rows)}"
    if behind:
        found += f"; not at alpha {', '.join(format(row['alpha'], 'g') for row in behind)}"
    return [_row("utility above under each preference", "the program tuned for it", found, not behind)]


def losses_section(content: dict[str, Any]) -> list[str]:
    """What is worse than a rival's or not told apart in utility, and who has a higher utility."""
    ours = next(row for row in content["rows"] if row["controller"] == AGENT_NAME)
    lines = [
        f"- {one['figure']} is worse than that of `{paired['rival']}` by {abs(one['difference']):.4f}."
        for paired in content["paired"]
        for one in paired["figures"]
        if one["difference"] * _BETTER[one["figure"]] < 0
    ]
    for paired in content["paired"]:
        low, high = next(one["interval_95"] for one in paired["figures"] if one["figure"] == "utility")
        if low <= 0 <= high:
            lines.append(f"- In utility it cannot be told apart from `{paired['rival']}`.")
    above = [
        f"`{row['controller']}` ({row['utility']:.3f})"
        for row in content["rows"]
        if row["utility"] > ours["utility"]
    ]
    if above:
        lines.append(f"- Higher utility than the agent's: {', '.join(above)}.")
    nowhere = "Nowhere on these windows: no figure is worse, no controller's utility is higher."
    return ["## Where it loses", "", *(lines or [nowhere])]


def attempts_section(folder: Path) -> list[str]:
    """What was tried, and why what was asked and not reached is out of reach: ``attempts.md``, by hand."""
    path = folder / "attempts.md"
    if not path.is_file():
        return []
    return ["## Attempts", "", *path.read_text(encoding="utf-8").strip().splitlines()]
