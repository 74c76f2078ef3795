"""The card of an agent: what it is, how it was trained, how it did, where it loses, how to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.evaluation.card_results import (
    bursty_section,
    paired_section,
    regret_section,
    results_section,
    stress_section,
)
from ipa_rl.evaluation.card_training import ablation_section, front_section, training_section
from ipa_rl.evaluation.controllers import AGENT_NAME, Controllers
from ipa_rl.evaluation.stress import MOST_TIMES, Endured, overrun

_BETTER = {"utility": 1, "pas_x100": 1, "cores": -1, "violations": -1}


def write_card(controllers: Controllers, content: dict[str, Any], stress: list[Endured], path: Path) -> None:
    """Write ``card.md`` from an evaluation's content, the stress suite, and what lies beside the policy.

    That is training.json, and where `ipa-rl build` and `ipa-rl ablate` ran seeds.json, front.json and
    ablation.json.
    """
    name, folder = controllers.definition.name, controllers.folder
    sections = [
        [f"# Agent {name}", "", *_setting(controllers, content["simulator"])],
        _verdict(controllers, content, stress) if content["paired"] else [],
        training_section(folder),
        results_section(controllers, content),
        *(paired_section(paired) for paired in content["paired"]),
        regret_section(content),
        ["## Where it loses", "", *_losses(content)] if content["paired"] else [],
        bursty_section(folder),
        front_section(folder),
        ablation_section(folder),
        ["## Under stress", "", *stress_section(controllers, stress)],
        _repeat(name, content["part"], (folder / "seeds.json").is_file()),
    ]
    path.write_text("\n\n".join("\n".join(lines) for lines in sections if lines) + "\n", encoding="utf-8")


def _setting(controllers: Controllers, simulator: str) -> list[str]:
    definition = controllers.definition
    weights = definition.weights
    stages = ", then ".join(stage.name for stage in definition.pipeline.stages)
    return [
        f"Pipeline `{definition.pipeline.name}`: {stages}. SLA {definition.problem.sla_s:.3f} s, "
        f"alpha {weights.alpha:g}, beta {weights.beta:g}, delta {weights.delta:g}, rho {weights.rho:.4g}"
        + (", accuracies normalised by stage." if weights.normalize_accuracy else "."),
        "",
        "PPO from a clone of the integer program. It learned in the fluid simulator, on the train part of "
        "the trace (seconds 0 to 1,200,000) and on loads and worlds drawn at random; hyperparameters in "
        "`hyperparameters.yaml`. Opponents, checkpoint and seed were chosen on the validation part "
        "(1,200,000 to 1,500,000, but an hour around the paper's windows); the test part (1,500,000 to "
        f"1,800,000) is reported only. Judged in the {simulator} simulator.",
    ]


def _verdict(controllers: Controllers, content: dict[str, Any], stress: list[Endured]) -> list[str]:
    """What issue 4 asks of an agent, held against the best opponent and against the one that foresees."""
    lines = ["## Verdict", "", "| asked | opponent | found | |", "|---|---|---|---|"]
    for paired in content["paired"]:
        by_name = {one["figure"]: one for one in paired["figures"]}
        for asked, figure, factor, digits in _ASKED:
            one = by_name[figure]
            low, high = (factor * bound for bound in one["interval_95"])
            found = f"{factor * one['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
            answer = "yes" if _holds(one) else "**no**"
            lines.append(f"| {asked} | `{paired['rival']}` ({paired['role']}) | {found} | {answer} |")
    best = controllers.best_opponent.name
    over = overrun(stress, AGENT_NAME, best)
    where = "; ".join(over) or "in none more"
    lines.append(
        f"| under stress at most {MOST_TIMES:g} times the violations | `{best}` | {where} "
        f"| {'**no**' if over else 'yes'} |"
    )
    return lines


_ASKED = (
    ("utility above", "utility", 1, 3),
    ("violations no higher, %", "violations", 100, 2),
    (f"PAS x 100 at most {PAS_TOLERANCE:g} lower", "pas_x100", 1, 2),
)
"""In words, figure, factor and digits."""


def _holds(difference: dict[str, Any]) -> bool:
    """Utility clearly above; violations no higher to a hundredth of a percent; PAS within the tolerance."""
    if difference["figure"] == "utility":
        return bool(difference["interval_95"][0] > 0)
    if difference["figure"] == "violations":
        return bool(difference["difference"] <= 5e-5)
    return bool(difference["difference"] >= -PAS_TOLERANCE)


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


def _repeat(name: str, part: str, built: bool) -> list[str]:
    if built:
        commands = [f"ipa-rl build {name}  # opponents, seeds, choice, evaluation and this card"]
    else:
        commands = [f"ipa-rl train {name} --out runs/{name}"]
        commands += [f"ipa-rl evaluate {name} --agent runs/{name} --part {part}"]
    return ["## Repeat it", "", "```console", *commands, "```"]
