"""A comparison in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.comparison import FIGURES, Comparison
from ipa_rl.judge.ranking import rank
from ipa_rl.judge.stress import SUITE, Endured


def verdict(comparison: Comparison, program: str | None) -> str:
    """Who leads and by how much; then the agent beside the best program, where both were compared."""
    sentences = [_leaders(comparison)]
    if program is not None and AGENT_NAME in comparison.description.controllers:
        sentences.append(_beside(comparison, program))
    return " ".join(sentences)


def stress_verdict(rows: Sequence[Endured], ours: str, theirs: str) -> str:
    """In how many scenarios one controller does better than another, by figure; and where it does not."""
    figures = ("utility", "violations", "recovery_s")
    by_name = {(row.scenario, row.controller): row for row in rows}
    pairs = [(by_name[stress.name, ours], by_name[stress.name, theirs]) for stress in SUITE]
    better = {
        name: sum(_is_better(name, getattr(mine, name), getattr(other, name)) for mine, other in pairs)
        for name in figures
    }
    behind = [mine.scenario for mine, other in pairs if mine.utility < other.utility]
    text = (
        f"Of {len(pairs)} scenarios, {ours} has more utility than {theirs} in {better['utility']}, fewer "
        f"violations in {better['violations']}, and is back within the SLA sooner in {better['recovery_s']}"
    )
    return f"{text}; less utility under {_list(behind)}." if behind else f"{text}."


def _is_better(figure: str, mine: float, other: float) -> bool:
    return mine > other if figure == "utility" else mine < other


def _leaders(comparison: Comparison) -> str:
    ranking = rank(comparison)
    if not ranking:
        names = comparison.description.controllers
        best = max(names, key=lambda name: float(comparison.units(name, "utility").mean()))
        return f"{best} has the highest utility; one window and one seed show no spread to judge it by."
    leaders = [one.controller for one in ranking if one.place == 1]
    value = f"utility {ranking[0].utility:.2f}"
    if len(leaders) > 1:
        return f"{_list(leaders)} cannot be told apart at the top ({value})."
    if len(ranking) == 1:
        return f"{leaders[0]} was alone ({value})."
    following = next(one.controller for one in ranking if one.place > 1)
    paired = comparison.paired(leaders[0], following, "utility")
    low, high = paired["interval_95"]
    return (
        f"{leaders[0]} leads with {value}, {paired['difference']:.3f} above {following}, the next "
        f"(95 % {low:.3f} to {high:.3f}, paired by {comparison.unit})."
    )


def _beside(comparison: Comparison, program: str) -> str:
    paired = comparison.paired(AGENT_NAME, program, "utility")
    mine, other = (
        {figure: float(comparison.units(name, figure).mean()) for figure in FIGURES}
        for name in (AGENT_NAME, program)
    )
    words = "more" if paired["difference"] >= 0 else "less"
    text = (
        f"Beside {program}, the integer program that did best on the validation part, {AGENT_NAME} has "
        f"{abs(paired['difference']):.3f} {words} utility"
    )
    if paired["units"] > 1:
        low, high = paired["interval_95"]
        text += f" (95 % {low:+.3f} to {high:+.3f})"
    return (
        f"{text}: PAS x 100 {mine['pas_x100']:.2f} against {other['pas_x100']:.2f}, cores "
        f"{mine['cores']:.2f} against {other['cores']:.2f}, violations {100 * mine['violations']:.2f} % "
        f"against {100 * other['violations']:.2f} %."
    )


def _list(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
