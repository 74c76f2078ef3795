"""The card of an agent: what it is, how it was trained, how it did, where it loses, how to repeat it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.errors import InputError
from ipa_rl.evaluation.controllers import AGENT_NAME, Controllers
from ipa_rl.evaluation.curves import beaten_at
from ipa_rl.evaluation.stress import MOST_TIMES, SUITE, Endured, overrun, weak_spots

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
        _training(folder),
        _results(controllers, content),
        *(_paired_section(paired) for paired in content["paired"]),
        _regret(content),
        ["## Where it loses", "", *_losses(content)] if content["paired"] else [],
        _bursty(folder),
        _front(folder),
        _ablation(folder),
        ["## Under stress", "", *_stress(controllers, stress)],
        _repeat(name, content["part"], (folder / "seeds.json").is_file()),
    ]
    path.write_text("\n\n".join("\n".join(lines) for lines in sections if lines) + "\n", encoding="utf-8")


def read_beside(folder: Path, name: str) -> Any:
    """A JSON file beside the policy; None where there is none. Raises InputError where it is broken."""
    path = folder / name
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("is no JSON", file=path, fix="write it again, or delete it") from error


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


def _training(folder: Path) -> list[str]:
    training, seeds = read_beside(folder, "training.json"), read_beside(folder, "seeds.json")
    if training is None:
        return []
    chosen = next(c for c in training["checkpoints"] if c["step"] == training["chosen_step"])
    lines = ["## Training", ""]
    if (folder / "curve.png").is_file():
        lines += ["![Validation utility and violations over training steps, by seed](curve.png)", ""]
    rival = training["rival"]
    lines += [
        f"Of the shipped seed step {chosen['step']:,} of {training['checkpoints'][-1]['step']:,} was chosen: "
        "the highest utility of the checkpoints that violate no more than the best opponent "
        f"(`{rival['name']}`) and are at most {PAS_TOLERANCE:g} points of PAS below it; where there is none, "
        "of those that do so beside the best program, and where there is none either, of all. In the fluid "
        f"simulator: utility {chosen['utility']:.3f}, best opponent "
        f"{rival['utility']:.3f}, best program {training['program']['utility']:.3f}. " + _beaten(training)
    ]
    return lines + (_seeds(seeds) if seeds else [])


def _beaten(training: dict[str, Any]) -> str:
    parts = []
    for rival, label in (("program", "the best program"), ("rival", "the best opponent")):
        first = beaten_at(training, rival)
        if first is None:
            parts.append(f"{label} was never passed")
        else:
            parts.append(
                f"{label} was passed at step {first['step']:,}, {first['wall_s']:.0f} s from nothing"
            )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _seeds(seeds: list[dict[str, Any]]) -> list[str]:
    lines = [
        "",
        f"{len(seeds)} seeds on the validation part, request by request; the same rule chose between them:",
        "",
        "| seed | utility | PAS x 100 | cores | violations % | passes the program after, s | |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in seeds:
        after = "-" if one["passed_s"] is None else f"{one['passed_s']:.0f}"
        lines.append(
            f"| {one['seed']} | {one['utility']:.3f} | {one['pas_x100']:.2f} | {one['cores']:.2f} "
            f"| {100 * one['violations']:.3f} | {after} | {'shipped' if one['shipped'] else ''} |"
        )
    return lines


def _results(controllers: Controllers, content: dict[str, Any]) -> list[str]:
    lines = [
        f"## Results: {content['part']} part, {content['windows']} windows of 20 minutes",
        "",
        "Means over windows, 95 % bootstrap intervals in brackets; latency over all requests. Opponents at "
        "their best on the validation part. Those with a perfect forecast are no controllers.",
        "",
    ]
    lines += _table(content["rows"])
    rows = {row["controller"]: row for row in content["rows"]}
    if AGENT_NAME in rows:
        lines += ["", _remarks(controllers, rows)]
    return lines


def _remarks(controllers: Controllers, rows: dict[str, dict[str, Any]]) -> str:
    """Fallbacks, and the cost above what one replica a stage costs."""
    ours, program = rows[AGENT_NAME], rows[controllers.best_program.name]
    stages = controllers.definition.pipeline.stages
    floor = sum(min(variant.cores for variant in stage.variants) for stage in stages)
    less = 100 * (1 - (ours["cores"] - floor) / (program["cores"] - floor))
    return (
        f"The guard took the program's answer instead of the agent's in {100 * ours['fallbacks']:.2f} % of "
        f"the decisions. One replica a stage costs {floor} cores at least; above that the agent costs "
        f"{ours['cores'] - floor:.3f} cores and the best program {program['cores'] - floor:.3f}: "
        f"{less:.0f} % less."
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


def _paired_section(paired: dict[str, Any]) -> list[str]:
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


def _regret(content: dict[str, Any]) -> list[str]:
    found = content.get("regret")
    if not found:
        return []
    low, high = (100 * one for one in found["closed_95"])
    return [
        "## Regret",
        "",
        f"No controller's mean utility on these windows can be above {found['bound']:.3f}, with all loads "
        "known, changes free and replicas divisible (a linear program, `ipa_rl.evaluation.bound`). The best "
        f"program has {found['program']:.3f}, the agent {found['agent']:.3f}: of the gap between program and "
        f"bound it closes {100 * found['closed']:.0f} % [{low:.0f}, {high:.0f}].",
    ]


def _bursty(folder: Path) -> list[str]:
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


def _front(folder: Path) -> list[str]:
    front = read_beside(folder, "front.json")
    if not front:
        return []
    lines = ["## One policy, other preferences", ""]
    if (folder / "front.png").is_file():
        lines += ["![PAS over cores of agent and program, by preference](front.png)", ""]
    lines += [
        f"The same agent asked for other alpha / beta, not trained again; the program tuned for each on the "
        f"validation part. {front['windows']} windows of the {front['part']} part; agent / program.",
        "",
        "| alpha | beta | PAS x 100 | cores | violations % | utility | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in front["rows"]:
        agent, program, paired = one["agent"], one["program"], one["paired"]["utility"]
        low, high = paired["interval_95"]
        less = 100 * (agent["cores"] / program["cores"] - 1)
        lines.append(
            f"| {one['alpha']:g} | {one['beta']:g} | {agent['pas_x100']:.2f} / {program['pas_x100']:.2f} "
            f"| {agent['cores']:.2f} / {program['cores']:.2f} ({less:+.0f} %) "
            f"| {100 * agent['violations']:.2f} / {100 * program['violations']:.2f} "
            f"| {agent['utility']:.3f} / {program['utility']:.3f} "
            f"| {paired['difference']:+.3f} [{low:+.3f}, {high:+.3f}] |"
        )
    return lines


def _ablation(folder: Path) -> list[str]:
    table = read_beside(folder, "ablation.json")
    if not table:
        return []
    lines = [
        "## Ablation",
        "",
        f"One change a row, {table['seeds']} seeds each of {table['steps']:,} steps; chosen checkpoints on "
        "the validation part in the fluid simulator, mean and range (`ipa-rl ablate`).",
        "",
        "| change | utility | PAS x 100 | cores | violations % |",
        "|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        spread = f"{row['utility']:.3f} [{row['lowest']:.3f}, {row['highest']:.3f}]"
        lines.append(
            f"| {row['change']} | {spread} | {row['pas_x100']:.2f} | {row['cores']:.2f} "
            f"| {100 * row['violations']:.2f} |"
        )
    return lines


def _stress(controllers: Controllers, rows: list[Endured]) -> list[str]:
    """What each scenario does, figures of agent and best opponent, and where the agent is the weaker one."""
    other_name = controllers.best_opponent.name
    ours = AGENT_NAME if controllers.policy else controllers.best_program.name
    lines = [
        f"Means over seeds, {ours} / `{other_name}`. Recovery: the longest stretch in which more than 1 % of "
        "the requests violated the SLA. Fallbacks: decisions in which the guard took the program's answer.",
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
    for label, name in (("opponent", other_name), ("program", controllers.best_program.name)):
        spots = weak_spots(rows, ours, name)
        lines += ["", f"Weak spots, where it does worse than the best {label} (`{name}`) in a figure:", ""]
        lines += [f"- {spot}." for spot in spots] or ["- None in this suite."]
        if controllers.best_program.name == other_name:
            break
    return lines


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
