"""The card of an agent: what it is, how it was trained, how it did, where it loses, how to repeat it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ipa_rl.agents.trained import AGENT_NAME, FINE_TUNED
from ipa_rl.agents.universal import UNIVERSAL
from ipa_rl.environment.definition import Definition
from ipa_rl.files import write_text
from ipa_rl.judge.evaluation import Evaluation
from ipa_rl.judge.experiment import Controllers, Setup
from ipa_rl.judge.stress import SUITE, by_scenario
from ipa_rl.report.card_training import (
    ablation_section,
    fine_tuning_section,
    front_section,
    read_beside,
    search_section,
    training_section,
)
from ipa_rl.report.cells import markdown, shown, spoken, with_interval
from ipa_rl.report.commands import repeat_commands, tune_command
from ipa_rl.report.verdict import losses, verdict_table, weak_spots
from ipa_rl.workload.moments import said
from ipa_rl.workload.workload import Part


def write_card(setup: Setup, evaluation: Evaluation, path: Path, source: Path | None = None) -> None:
    """Write ``card.md`` from the evaluation of an evaluation, and from what lies beside the policy.

    That is fine-tuning.json or training.json, where `ipa-rl build`, `ipa-rl search` and `ipa-rl ablate` ran
    seeds.json, window.json, front.json, search.json and ablation.json, and attempts.md where somebody wrote
    one.
    ``source``: the folder that it was just built from.
    """
    known = setup.controllers()
    name, folder = known.definition.name, known.folder
    title = f"# {name}: {evaluation.agent or 'no agent'}"
    sections = [
        [title, "", *_setting(known, evaluation)],
        _verdict(setup, evaluation),
        ["## Where it loses", "", *losses(evaluation)] if evaluation.paired else [],
        _repeat(repeat_commands(setup, evaluation, source)),
        training_section(folder) if evaluation.agent == AGENT_NAME else [],
        fine_tuning_section(folder) if evaluation.agent == FINE_TUNED else [],
        _results(known, evaluation),
        *(
            [f"## {evaluation.agent} minus `{one['rival']}`", "", *_differences(one)]
            for one in evaluation.paired
        ),
        _regret(evaluation),
        _attempts(folder),
        _named_window(known, folder),
        front_section(folder),
        search_section(folder),
        ablation_section(folder),
        ["## Under stress", "", *_stress(known, evaluation)],
    ]
    write_text("\n\n".join("\n".join(lines) for lines in sections if lines) + "\n", path)


def _setting(known: Controllers, evaluation: Evaluation) -> list[str]:
    """What is served and how it is judged; how agent and opponents came to be."""
    definition = known.definition
    weights, workload, drawn = definition.weights, definition.workload, definition.episodes
    stages = ", then ".join(html.escape(one.name, quote=False) for one in definition.pipeline.stages)
    loads = f"the {drawn.part} part of the workload `{workload.name}` ({_seconds(definition, drawn.part)})"
    held_out = ", except what is held out around the named windows" if workload.description.held_out else ""
    learned = {
        AGENT_NAME: "Trained with PPO in the fluid simulator, from a clone of the integer program, on "
        f"{loads} and on randomly drawn loads and worlds; hyperparameters are in `hyperparameters.yaml`. ",
        FINE_TUNED: "The policy for any pipeline, fitted further to this one in the fluid simulator, on "
        f"{loads} and on randomly drawn loads and worlds. ",
        UNIVERSAL: "The policy for any pipeline, which did not meet this one in training. ",
    }.get(evaluation.agent, "")
    chosen = "Opponents were" if known.tuned else "Nothing was"
    if evaluation.agent == AGENT_NAME:
        chosen = "Opponents, checkpoint and seed were" if known.tuned else "The checkpoint was"
    return [
        f"Pipeline `{definition.pipeline.name}`: {stages}. SLA {definition.problem.sla_s:.3f} s, "
        f"alpha {weights.alpha:g}, beta {weights.beta:g}, delta {weights.delta:g}, rho {weights.rho:.4g}"
        + (", accuracies normalised by stage." if weights.normalize_accuracy else "."),
        "",
        f"{learned}{chosen} chosen on the validation part ({_seconds(definition, 'validation')}{held_out}); "
        f"the test part ({_seconds(definition, 'test')}) is only reported. "
        f"Judged in the {evaluation.simulator} simulator.",
    ]


def _seconds(definition: Definition, part: Part) -> str:
    """When a part is: by date, where the workload knows it."""
    workload = definition.workload
    begin, end = workload.parts[part]
    if workload.begin is None:
        return f"seconds {begin:,} to {end:,}"
    return f"{said(workload, begin)} to {said(workload, end)}"


def _verdict(setup: Setup, evaluation: Evaluation) -> list[str]:
    known = setup.controllers()
    if not known.tuned:
        return [
            "## Verdict",
            "",
            f"None: the opponents are not tuned ({known.why_untuned}), so beating them says little. "
            "To tune them:",
            "",
            "```console",
            tune_command(setup, known),
            "```",
        ]
    if not evaluation.paired:
        return []
    front, window = (read_beside(known.folder, f"{name}.json") for name in ("front", "window"))
    return ["## Verdict", "", *verdict_table(known, evaluation, front, window)]


def _results(known: Controllers, evaluation: Evaluation) -> list[str]:
    """All controllers on a part of the workload."""
    have = "have the settings that did best on the validation part" if known.tuned else "are not tuned"
    lines = [
        f"## Results: {evaluation.part} part, {_windows(evaluation.windows)} of "
        f"{spoken(known.definition.window_s)}",
        "",
        f"Means over {evaluation.intervals_over}, with 95 % bootstrap intervals in brackets; latencies over "
        f"all requests. {_few(evaluation)}"
        f"Opponents {have}. No controller can have a perfect forecast; those rows show what foresight would "
        "be worth.",
        "",
        *_rows(evaluation.rows),
    ]
    rows = {row["controller"]: row for row in evaluation.rows}
    return [*lines, "", _remarks(known, rows, evaluation.agent)] if evaluation.agent in rows else lines


def _windows(count: int) -> str:
    return f"{count} window{'s' if count > 1 else ''}"


def _few(evaluation: Evaluation) -> str:
    """What few windows leave open."""
    if evaluation.intervals_over == "windows":
        return ""
    many = _windows(evaluation.windows)
    return f"Of {many}, {evaluation.seeds} runs each: the intervals say nothing of other loads. "


def _rows(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    columns = ["controller", "utility", "PAS x 100", "cores", "violations %", "p50 s", "p99 s"]
    return markdown(
        [*columns, "decision p99 ms"],
        (
            [
                row["controller"],
                with_interval(row, "utility", 3),
                *(with_interval(row, figure) for figure in ("pas_x100", "cores", "violations")),
                *(shown(row, figure) for figure in ("p50_s", "p99_s", "decide_p99_ms")),
            ]
            for row in rows
        ),
    )


def _remarks(known: Controllers, rows: Mapping[str, Mapping[str, Any]], agent: str) -> str:
    """Fallbacks, and the cost above what one replica a stage costs."""
    ours, program = rows[agent], rows[known.program.name]
    floor = sum(min(one.cost_cores for one in stage.variants) for stage in known.definition.pipeline.stages)
    text = (
        f"In {100 * ours['fallbacks']:.2f} % of the decisions the guard replaced the agent's answer with the "
        f"program's. One replica in each stage costs at least {floor:g} cores; beyond that the agent costs "
        f"{ours['cores'] - floor:.3f} cores"
    )
    if not known.tuned or program["cores"] <= floor:
        return f"{text}."
    less = 100 * (1 - (ours["cores"] - floor) / (program["cores"] - floor))
    words = f"{abs(less):.0f} % {'less' if less >= 0 else 'more'}"
    return f"{text} and the best program {program['cores'] - floor:.3f}: {words}."


def _differences(paired: Mapping[str, Any]) -> list[str]:
    """The agent beside one rival."""
    rows = []
    for one in paired["figures"]:
        low, high = one["interval_95"]
        rows.append([one["figure"], f"{one['difference']:+.4f}", f"{low:+.4f} to {high:+.4f}"])
    return [
        f"The {paired['role']}, {paired['settings']}.",
        "",
        *markdown(["figure", "difference", "95 % interval"], rows),
    ]


def _regret(evaluation: Evaluation) -> list[str]:
    """The bound, and how much of the gap to it is closed."""
    found = evaluation.regret
    if not found:
        return []
    low, high = (100 * one for one in found.closed_95)
    return [
        "## Regret",
        "",
        f"No controller can have a mean utility above {found.bound:.3f} on these windows, even if it knew "
        "all loads, changed configurations for free and divided replicas (a linear program, "
        f"`ipa_rl.judge.bound`). The best program has {found.program:.3f}, the agent {found.agent:.3f}: it "
        f"closes {100 * found.closed:.0f} % [{low:.0f}, {high:.0f}] of the gap between program and bound.",
    ]


def _attempts(folder: Path) -> list[str]:
    """What was tried, and why what was asked and not reached is out of reach: ``attempts.md``, by hand."""
    path = folder / "attempts.md"
    if not path.is_file():
        return []
    return ["## Attempts", "", *path.read_text(encoding="utf-8").strip().splitlines()]


def _named_window(known: Controllers, folder: Path) -> list[str]:
    """All controllers on the workload's first window that has a name."""
    found = read_beside(folder, "window.json")
    if not found:
        return []
    return [
        f"## The {found['window']} window of `{known.definition.workload.name}`",
        "",
        f"Means over {found['seeds']} runs, each with other arrival and service times; intervals over the "
        "runs.",
        "",
        *_rows(found["rows"]),
    ]


def _stress(known: Controllers, evaluation: Evaluation) -> list[str]:
    """What each scenario does, figures of agent and best opponent, and where the agent is the weaker one.

    Untuned opponents are beside it by a program, and no weak spots are told.
    """
    ours = evaluation.agent or known.program.name
    theirs = (known.best_opponent if known.tuned else known.program).name
    meanings = {stress.name: stress.meaning for stress in SUITE}
    rows = [
        [
            f"{scenario}: {meanings[scenario]}",
            f"{100 * mine.violations:.2f} / {100 * other.violations:.2f}",
            f"{mine.recovery_s:.0f} / {other.recovery_s:.0f}",
            f"{mine.cores:.2f} / {other.cores:.2f}",
            f"{mine.utility:.2f} / {other.utility:.2f}",
            f"{100 * mine.fallbacks:.1f}",
        ]
        for scenario, mine, other in by_scenario(evaluation.stress, ours, theirs)
    ]
    note = " (not tuned)"
    lines = [
        f"Means over {evaluation.stress_draws} draws, {ours} / `{theirs}`{'' if known.tuned else note}. "
        "Recovery: the longest stretch in which more than 1 % of the requests violated the SLA. Fallbacks: "
        "decisions in which the guard took the program's answer.",
        "",
        *markdown(["scenario", "violations %", "recovery s", "cores", "utility", "fallbacks %"], rows),
    ]
    if not known.tuned:
        return lines
    rivals = {known.best_opponent.name: "opponent"}
    rivals.setdefault(known.program.name, "program")
    for name, label in rivals.items():
        spots = weak_spots(evaluation.stress, ours, name)
        lines += ["", f"Weak spots, where a figure is worse than that of the best {label} (`{name}`):", ""]
        lines += [f"- {spot}." for spot in spots] or ["- None in this suite."]
    return lines


def _repeat(commands: list[str]) -> list[str]:
    return [
        "## Repeat it",
        "",
        "```console",
        *commands,
        "```",
        "",
        "On processors with the same vector instructions the same seed gives the same policy, to the digit. "
        "On others, sums are rounded differently in the tenth digit, and from there training takes another "
        "course, as with another seed. Judging the same policy gives the same figures.",
    ]
