"""Sections of a card on results: tables with intervals, paired differences, regret, stress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.controllers import Controllers
from ipa_rl.judge.stress import SUITE, Endured, weak_spots
from ipa_rl.report.card_training import read_beside


def results_section(controllers: Controllers, content: dict[str, Any]) -> list[str]:
    """All controllers on a part of the trace."""
    lines = [
        f"## Results: {content['part']} part, {content['windows']} windows of 20 minutes",
        "",
        "Means over windows, 95 % bootstrap intervals in brackets; latency over all requests. Opponents "
        f"{'at their best on the validation part' if controllers.tuned else 'are not tuned'}. Those with a "
        "perfect forecast are no controllers.",
        "",
    ]
    lines += _table(content["rows"])
    rows = {row["controller"]: row for row in content["rows"]}
    if AGENT_NAME in rows:
        lines += ["", _remarks(controllers, rows)]
    return lines


def _remarks(controllers: Controllers, rows: dict[str, dict[str, Any]]) -> str:
    """Fallbacks, and the cost above what one replica a stage costs."""
    ours, program = rows[AGENT_NAME], rows[controllers.program.name]
    stages = controllers.definition.pipeline.stages
    floor = sum(min(variant.cores for variant in stage.variants) for stage in stages)
    text = (
        f"The guard took the program's answer instead of the agent's in {100 * ours['fallbacks']:.2f} % of "
        f"the decisions. One replica a stage costs {floor} cores at least; above that the agent costs "
        f"{ours['cores'] - floor:.3f} cores"
    )
    if not controllers.tuned:
        return f"{text}."
    less = 100 * (1 - (ours["cores"] - floor) / (program["cores"] - floor))
    return f"{text} and the best program {program['cores'] - floor:.3f}: {less:.0f} % less."


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| controller | utility | PAS x 100 | cores | violations % | p50 s | p99 s | decision p99 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["controller"],
            _with_interval(row, "utility", 1, 3),
            _with_interval(row, "pas_x100", 1, 2),
            _with_interval(row, "cores", 1, 2),
            _with_interval(row, "violations", 100, 2),
            f"{row['p50_s']:.2f}",
            f"{row['p99_s']:.2f}",
            f"{row['decide_p99_ms']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _with_interval(row: dict[str, Any], name: str, factor: float, digits: int) -> str:
    low, high = (factor * bound for bound in row[f"{name}_95"])
    return f"{factor * row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def paired_section(paired: dict[str, Any]) -> list[str]:
    """The differences to one rival."""
    lines = [
        f"## {AGENT_NAME} less `{paired['rival']}`",
        "",
        f"The {paired['role']} on the validation part; {paired['settings']}.",
        "",
        "| figure | difference | 95 % interval |",
        "|---|---|---|",
    ]
    for one in paired["figures"]:
        low, high = one["interval_95"]
        lines.append(f"| {one['figure']} | {one['difference']:+.4f} | {low:+.4f} to {high:+.4f} |")
    return lines


def regret_section(content: dict[str, Any]) -> list[str]:
    """The bound, and how much of the gap to it is closed."""
    found = content.get("regret")
    if not found:
        return []
    low, high = (100 * one for one in found["closed_95"])
    return [
        "## Regret",
        "",
        f"No controller's mean utility on these windows can be above {found['bound']:.3f}, with all loads "
        "known, changes free and replicas divisible (a linear program, `ipa_rl.judge.bound`). The best "
        f"program has {found['program']:.3f}, the agent {found['agent']:.3f}: of the gap between program and "
        f"bound it closes {100 * found['closed']:.0f} % [{low:.0f}, {high:.0f}].",
    ]


def bursty_section(folder: Path) -> list[str]:
    """All controllers on the window of the paper's figures."""
    bursty = read_beside(folder, "bursty.json")
    if not bursty:
        return []
    lines = [
        "## The paper's bursty window",
        "",
        f"Means over {bursty['seeds']} runs with other arrival and service times; intervals over these.",
        "",
    ]
    return lines + _table(bursty["rows"])


def stress_section(controllers: Controllers, rows: list[Endured], draws: int) -> list[str]:
    """What each scenario does, figures of agent and best opponent, and where the agent is the weaker one.

    Untuned opponents are beside it by a program, and no weak spots are told.
    """
    other_name = (controllers.best_opponent if controllers.tuned else controllers.program).name
    ours = AGENT_NAME if controllers.policy else controllers.program.name
    lines = [
        f"Means over {draws} draws, {ours} / `{other_name}`"
        f"{'' if controllers.tuned else ' (not tuned)'}. Recovery: the longest stretch in which more "
        "than 1 % of the requests violated the SLA. Fallbacks: decisions in which the guard took the "
        "program's answer.",
        "",
        "| scenario | violations % | recovery s | cores | utility | fallbacks % |",
        "|---|---|---|---|---|---|",
    ]
    by_name = {(row.scenario, row.controller): row for row in rows}
    for stress in SUITE:
        mine, other = by_name[stress.name, ours], by_name[stress.name, other_name]
        lines.append(
            f"| {stress.name}: {stress.meaning} "
            f"| {100 * mine.violations:.2f} / {100 * other.violations:.2f} "
            f"| {mine.recovery_s:.0f} / {other.recovery_s:.0f} "
            f"| {mine.cores:.2f} / {other.cores:.2f} "
            f"| {mine.utility:.2f} / {other.utility:.2f} | {100 * mine.fallbacks:.1f} |"
        )
    if not controllers.tuned:
        return lines
    for label, name in (("opponent", other_name), ("program", controllers.best_program.name)):
        spots = weak_spots(rows, ours, name)
        lines += ["", f"Weak spots, where it does worse than the best {label} (`{name}`) in a figure:", ""]
        lines += [f"- {spot}." for spot in spots] or ["- None in this suite."]
        if controllers.best_program.name == other_name:
            break
    return lines
