"""Who is better: a comparison in a sentence or two, and an agent held against what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.judge.comparison import FIGURES, Comparison
from ipa_rl.judge.evaluation import Evaluation, is_stress
from ipa_rl.judge.experiment import Controllers
from ipa_rl.judge.stress import MOST_TIMES, SAME, Endured, by_scenario, endured, overrun
from ipa_rl.report.cells import bracketed, factor, markdown

_BETTER = {"utility": 1, "pas_x100": 1, "cores": -1, "violations": -1}

_IN_WORDS = {
    "utility": "utility",
    "pas_x100": "PAS x 100",
    "cores": "cost in cores",
    "violations": "share of violations",
}


def verdict(comparison: Comparison, known: Controllers) -> str:
    """In sentences: who leads and by how much; the agent and the user's own beside the best program."""
    if not known.tuned:
        return "No verdict: the opponents are not tuned, so beating them says little."
    program = known.program.name
    ours = [one for one in known.ours if {one, program} <= set(comparison.names)]
    if is_stress(comparison):
        return " ".join(_under_stress(endured(comparison), one, program) for one in ours)
    if not ours:
        return _leaders(comparison)
    beside = " ".join(_beside(comparison, one, program) for one in ours)
    known_as = f"{program}, the integer program that did best on the validation part"
    return f"{_leaders(comparison)} Compared with {known_as}, {beside}"


def _leaders(comparison: Comparison) -> str:
    ranking = comparison.ranking()
    if not ranking:
        best = max(comparison.rows(), key=lambda row: float(row["utility"]))["controller"]
        return f"{best} has the highest utility; one window and one seed do not show whether that is luck."
    leaders = [one.controller for one in ranking if one.place == 1]
    value = f"utility {ranking[0].utility:.2f}"
    if len(leaders) > 1:
        return f"{_list(leaders)} cannot be told apart at the top ({value})."
    if len(ranking) == 1:
        return f"Only {leaders[0]} was played ({value})."
    following = ranking[1].controller
    paired = comparison.paired(leaders[0], following, "utility")
    low, high = paired["interval_95"]
    return (
        f"{leaders[0]} leads with {value}, {paired['difference']:.3f} above {following}, the next "
        f"(95 % {low:.3f} to {high:.3f}, paired by {comparison.unit})."
    )


def _beside(comparison: Comparison, ours: str, program: str) -> str:
    paired = comparison.paired(ours, program, "utility")
    mine, other = (
        {figure: float(comparison.units(name, figure).mean()) for figure in FIGURES}
        for name in (ours, program)
    )
    more = "more" if paired["difference"] >= 0 else "less"
    text = f"{ours} has {abs(paired['difference']):.3f} {more} utility"
    if paired["units"] > 1:
        low, high = paired["interval_95"]
        text += f" (95 % {low:+.3f} to {high:+.3f})"
    return (
        f"{text}: PAS x 100 {mine['pas_x100']:.2f} against {other['pas_x100']:.2f}, cores "
        f"{mine['cores']:.2f} against {other['cores']:.2f}, violations {100 * mine['violations']:.2f} % "
        f"against {100 * other['violations']:.2f} %."
    )


def _under_stress(rows: Sequence[Endured], ours: str, theirs: str) -> str:
    """In how many scenarios one controller does better than another, by figure; and where it does not."""
    pairs = [(mine, other) for _, mine, other in by_scenario(rows, ours, theirs)]
    utility = sum(mine.utility > other.utility for mine, other in pairs)
    violations = sum(mine.violations < other.violations for mine, other in pairs)
    recovery = sum(mine.recovery_s < other.recovery_s for mine, other in pairs)
    text = (
        f"Of {len(pairs)} scenarios, {ours} has more utility than {theirs} in {utility}, fewer "
        f"violations in {violations}, and is back within the SLA sooner in {recovery}"
    )
    behind = [mine.scenario for mine, other in pairs if mine.utility < other.utility]
    return f"{text}; less utility under {_list(behind)}." if behind else f"{text}."


def _list(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def weak_spots(rows: Sequence[Endured], ours: str, theirs: str) -> list[str]:
    """In words, in which scenarios one controller does worse than another, and in what."""
    found = []
    for name, mine, other in by_scenario(rows, ours, theirs):
        worse = [
            f"{label} {a:{form}} against {b:{form}}"
            for label, a, b, form in (
                ("violations %", 100 * mine.violations, 100 * other.violations, ".2f"),
                ("seconds out of the SLA", mine.recovery_s, other.recovery_s, ".0f"),
                ("cores", mine.cores, other.cores, ".2f"),
            )
            if a > b and not math.isclose(a, b, rel_tol=1e-6)
        ]
        if worse:
            utility = "lower" if mine.utility < other.utility else "still higher"
            found.append(f"{name}: {', '.join(worse)}; utility {utility}")
    return found


def verdict_table(
    known: Controllers,
    evaluation: Evaluation,
    front: Mapping[str, Any] | None,
    window: Mapping[str, Any] | None,
) -> list[str]:
    """What is asked of an agent beside each rival and under stress, and whether it holds.

    Where they were measured, also under other preferences (``front``) and on a ``window`` that has a name.
    """
    rows = [row for paired in evaluation.paired for row in _against(paired)]
    rows += [_on_window(known, evaluation.agent, window)] if window else []
    rows += [_preferences(front)] if front else []
    best = known.best_opponent.name
    over = overrun(evaluation.stress, evaluation.agent, best)
    asked = f"under stress at most {MOST_TIMES:g} times the violations"
    rows.append(_row(asked, f"`{best}`", "; ".join(over) or "in every scenario", not over))
    return markdown(["asked", "opponent", "found", "holds"], rows)


def _row(asked: str, opponent: str, found: str, holds: bool) -> list[str]:
    return [asked, opponent, found, "yes" if holds else "**no**"]


def _against(paired: Mapping[str, Any]) -> list[list[str]]:
    """Utility clearly higher; violations no higher to a hundredth of a percent; PAS within the tolerance."""
    utility, pas, _, violations = paired["figures"]
    checks = (
        ("utility higher", utility, 3, utility["interval_95"][0] > 0),
        ("violations no higher, %", violations, 2, violations["difference"] <= SAME),
        (f"PAS x 100 at most {PAS_TOLERANCE:g} lower", pas, 2, pas["difference"] >= -PAS_TOLERANCE),
    )
    rows = []
    for asked, one, digits, holds in checks:
        difference = f"{factor(one['figure']) * one['difference']:+.{digits}f}"
        found = f"{difference} {bracketed(one['interval_95'], one['figure'], digits, '+')}"
        rows.append(_row(asked, f"`{paired['rival']}` ({paired['role']})", found, holds))
    return rows


def _on_window(known: Controllers, agent: str, window: Mapping[str, Any]) -> list[str]:
    """Fewer violations on a named window than whoever costs no more, the foreseeing aside."""
    foreseeing = {one.name for one in known.opponents if one.foresees}
    rows = {row["controller"]: row for row in window["rows"] if row["controller"] not in foreseeing}
    ours = rows.pop(agent)
    fewer = [
        row
        for row in rows.values()
        if row["violations"] <= ours["violations"] + SAME and ours["violations"] > 0
    ]
    found = f"{100 * ours['violations']:.2f} % at {ours['cores']:.2f} cores"
    if fewer:
        others = (
            f"`{one['controller']}` {100 * one['violations']:.2f} % at {one['cores']:.2f}" for one in fewer
        )
        found += f"; no more violations: {', '.join(others)}"
    asked = f"on the {window['window']} window fewer violations at no higher cost"
    return _row(asked, "all without foresight", found, all(one["cores"] > ours["cores"] for one in fewer))


def _preferences(front: Mapping[str, Any]) -> list[str]:
    """Under how many of the other preferences a policy has more utility than the program tuned for each."""
    rows = front["rows"]
    behind = [row for row in rows if row["paired"]["utility"]["interval_95"][0] <= 0]
    found = f"in {len(rows) - len(behind)} of {len(rows)}"
    if behind:
        found += f"; not at alpha {', '.join(format(row['alpha'], 'g') for row in behind)}"
    return _row(
        f"utility of {front['who']} higher under each preference",
        "the program tuned for it",
        found,
        not behind,
    )


def losses(evaluation: Evaluation) -> list[str]:
    """What is worse than a rival's, to four digits, or not told apart in utility, and who is above it."""
    ours = next(row for row in evaluation.rows if row["controller"] == evaluation.agent)
    lines = [
        f"- Its {_IN_WORDS[one['figure']]} is worse than that of `{paired['rival']}` by "
        f"{abs(one['difference']):.4f}."
        for paired in evaluation.paired
        for one in paired["figures"]
        if round(one["difference"] * _BETTER[one["figure"]], 4) < 0
    ]
    for paired in evaluation.paired:
        low, high = next(one["interval_95"] for one in paired["figures"] if one["figure"] == "utility")
        if low <= 0 <= high:
            lines.append(f"- Its utility cannot be told apart from that of `{paired['rival']}`.")
    above = [
        f"`{row['controller']}` ({row['utility']:.3f})"
        for row in evaluation.rows
        if row["utility"] > ours["utility"]
    ]
    if above:
        lines.append(f"- Higher utility than the agent's: {', '.join(above)}.")
    return lines or ["Nowhere on these windows: no figure is worse, and no controller has a higher utility."]
