"""The card of an agent: what it is, how it did beside its opponents, where it loses, how to repeat it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipa_rl.agents.tuning import PAS_TOLERANCE
from ipa_rl.evaluation.controllers import AGENT_NAME, Controllers
from ipa_rl.evaluation.stress import SUITE, Endured, weak_spots

_BETTER = {"utility": 1, "pas_x100": 1, "cores": -1, "violations": -1}


def write_card(controllers: Controllers, content: dict[str, Any], stress: list[Endured], path: Path) -> None:
    """Write ``card.md`` from an evaluation's rows, paired differences and stress suite."""
    name = controllers.definition.name
    lines = [f"# Agent {name}", "", *_setting(controllers, content["simulator"]), ""]
    lines += [f"## Results: {content['part']} part, {content['windows']} windows of 20 minutes", ""]
    lines += [
        "Means over windows, 95 % bootstrap intervals in brackets; latency over all requests. The perfect "
        "forecast is no controller.",
        "",
    ]
    lines += _table(content["rows"])
    for paired, what in zip(content["paired"], ("integer program", "other system"), strict=False):
        lines += ["", f"## {AGENT_NAME} less `{paired['rival']}`", ""]
        lines += [
            f"The {what} that did best on the validation part, with a margin of "
            f"{100 * paired['margin']:.0f} %.",
            "",
            *_paired(paired["figures"]),
        ]
    if content["paired"]:
        lines += ["", "## Where it loses", "", *_losses(content)]
    lines += ["", "## Under stress", "", *_stress(controllers, stress)]
    lines += ["", "## Repeat it", "", "```console", f"ipa-rl train {name} --out runs/{name}"]
    lines += [f"ipa-rl evaluate {name} --agent runs/{name} --part {content['part']}", "```", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _setting(controllers: Controllers, simulator: str) -> list[str]:
    definition = controllers.definition
    weights = definition.weights
    stages = ", then ".join(stage.name for stage in definition.pipeline.stages)
    lines = [
        f"Pipeline `{definition.pipeline.name}`: {stages}. SLA {definition.problem.sla_s:.3f} s, "
        f"alpha {weights.alpha:g}, beta {weights.beta:g}, delta {weights.delta:g}, rho {weights.rho:.4g}"
        + (", accuracies normalised by stage." if weights.normalize_accuracy else "."),
        "",
        "PPO from a clone of the integer program, trained in the fluid simulator on the train part of "
        "the trace; hyperparameters and seed in `hyperparameters.yaml`. The checkpoint was chosen on the "
        f"validation part. Judged in the {simulator} simulator.",
    ]
    record = controllers.folder / "training.json"
    if record.is_file():
        training = json.loads(record.read_text(encoding="utf-8"))
        lines += ["", _chosen(training)]
    return lines


def _chosen(training: dict[str, Any]) -> str:
    chosen = next(c for c in training["checkpoints"] if c["step"] == training["chosen_step"])
    program = training["program"]
    worse = [
        label
        for label, is_worse in (
            ("PAS", chosen["pas_x100"] < program["pas_x100"] - PAS_TOLERANCE),
            ("cores", chosen["cores"] > program["cores"]),
            ("violations", chosen["violations"] > program["violations"]),
        )
        if is_worse
    ]
    rule = (
        "no checkpoint was as good as the program in PAS, cores and violations all three; worse in "
        f"{' and '.join(worse)}"
        if worse
        else "the highest utility among those no worse than the program in PAS, cores and violations"
    )
    return (
        f"Chosen: step {chosen['step']:,} of {training['checkpoints'][-1]['step']:,}, validation utility "
        f"{chosen['utility']:.3f} against {program['utility']:.3f} of the best program ({rule})."
    )


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


def _paired(figures: list[dict[str, Any]]) -> list[str]:
    lines = ["| figure | difference | 95 % interval |", "|---|---|---|"]
    for one in figures:
        low, high = one["interval_95"]
        lines.append(f"| {one['figure']} | {one['difference']:+.4f} | {low:+.4f} to {high:+.4f} |")
    return lines


def _stress(controllers: Controllers, rows: list[Endured]) -> list[str]:
    """What each scenario does, figures of agent and best program, and where the agent is the weaker one."""
    program = controllers.best_program.name
    ours = AGENT_NAME if controllers.policy else program
    lines = [
        f"Means over seeds, {ours} / `{program}`. Recovery: the longest stretch in which more than 1 % of "
        "the requests violated the SLA.",
        "",
        "| scenario | violations % | recovery s | cores | utility |",
        "|---|---|---|---|---|",
    ]
    by_name = {(row.scenario, row.controller): row for row in rows}
    for stress in SUITE:
        mine, other = by_name[stress.name, ours], by_name[stress.name, program]
        lines.append(
            f"| {stress.name}: {stress.meaning} "
            f"| {100 * mine.violations:.2f} / {100 * other.violations:.2f} "
            f"| {mine.recovery_s:.0f} / {other.recovery_s:.0f} "
            f"| {mine.cores:.2f} / {other.cores:.2f} "
            f"| {mine.utility:.2f} / {other.utility:.2f} |"
        )
    spots = weak_spots(rows, ours, program)
    lines += ["", "Weak spots, where it does worse than the program in a figure:", ""]
    return lines + ([f"- {spot}." for spot in spots] or ["- None in this suite."])


def _losses(content: dict[str, Any]) -> list[str]:
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
    return lines or ["Nowhere on these windows: no figure is worse, no controller's utility is higher."]
