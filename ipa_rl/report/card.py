"""The card of an agent: what it is, how it was trained, how it did, where it loses, how to repeat it."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from ipa_rl.judge.controllers import Controllers
from ipa_rl.judge.jobs import Setup
from ipa_rl.judge.stress import Endured
from ipa_rl.report.card_results import (
    bursty_section,
    paired_section,
    regret_section,
    results_section,
    stress_section,
)
from ipa_rl.report.card_training import (
    ablation_section,
    front_section,
    search_section,
    training_section,
)
from ipa_rl.report.card_verdict import attempts_section, losses_section, verdict_section
from ipa_rl.report.commands import repeat_commands, tune_command


def write_card(
    setup: Setup, content: dict[str, Any], stress: list[Endured], path: Path, source: Path | None = None
) -> None:
    """Write ``card.md`` from an evaluation's content, the stress suite, and what lies beside the policy.

    That is training.json, where `ipa-rl build`, `ipa-rl search` and `ipa-rl ablate` ran seeds.json,
    bursty.json, front.json, search.json and ablation.json, and attempts.md where somebody wrote one.
    ``source``: the folder that it was just built from.
    """
    controllers = setup.controllers()
    name, folder = controllers.definition.name, controllers.folder
    title = f"# Agent {name}" if controllers.policy else f"# {name}, without an agent"
    sections = [
        [title, "", *_setting(controllers, content["simulator"])],
        _untuned(setup, controllers) if not controllers.tuned else [],
        verdict_section(controllers, content, stress, folder) if content["paired"] else [],
        training_section(folder) if controllers.policy else [],
        results_section(controllers, content),
        *(paired_section(paired) for paired in content["paired"]),
        regret_section(content),
        losses_section(content) if content["paired"] else [],
        attempts_section(folder),
        bursty_section(folder),
        front_section(folder),
        search_section(folder),
        ablation_section(folder),
        ["## Under stress", "", *stress_section(controllers, stress, content["stress_draws"])],
        _repeat(repeat_commands(setup, controllers, content, source), controllers.policy is not None),
    ]
    path.write_text("\n\n".join("\n".join(lines) for lines in sections if lines) + "\n", encoding="utf-8")


def _setting(controllers: Controllers, simulator: str) -> list[str]:
    definition = controllers.definition
    weights = definition.weights
    stages = ", then ".join(html.escape(one.name, quote=False) for one in definition.pipeline.stages)
    return [
        f"Pipeline `{definition.pipeline.name}`: {stages}. SLA {definition.problem.sla_s:.3f} s, "
        f"alpha {weights.alpha:g}, beta {weights.beta:g}, delta {weights.delta:g}, rho {weights.rho:.4g}"
        + (", accuracies normalised by stage." if weights.normalize_accuracy else "."),
        "",
        _origin(controllers) + f"Judged in the {simulator} simulator.",
    ]


def _origin(controllers: Controllers) -> str:
    """How agent and opponents came to be; nothing of what nobody trained or tuned."""
    learned = (
        "PPO from a clone of the integer program. It learned in the fluid simulator, on "
        f"{_loads(controllers)} and on loads and worlds drawn at random; hyperparameters in "
        "`hyperparameters.yaml`. "
    )
    if controllers.policy is None:
        learned, chosen = "", "Opponents were" if controllers.tuned else "Nothing was"
    else:
        chosen = "Opponents, checkpoint and seed were" if controllers.tuned else "The checkpoint was"
    return (
        f"{learned}{chosen} chosen on the validation part (1,200,000 to 1,500,000, but an hour around the "
        "paper's windows); the test part (1,500,000 to 1,800,000) is reported only. "
    )


def _loads(controllers: Controllers) -> str:
    """What the environment's episodes hold."""
    workload = controllers.definition.workload
    if workload.kind != "trace":
        return f"made-up loads ({workload.kind})"
    seconds = " (seconds 0 to 1,200,000)" if workload.part == "train" else ""
    return f"the {workload.part} part of the trace{seconds}"


def _untuned(setup: Setup, controllers: Controllers) -> list[str]:
    return [
        "## Verdict",
        "",
        "None: the opponents are not tuned, so none of them is the best, and being above them says little. "
        "To tune them:",
        "",
        "```console",
        tune_command(setup, controllers),
        "```",
    ]


def _repeat(commands: list[str], is_trained: bool) -> list[str]:
    lines = ["## Repeat it", "", "```console", *commands, "```"]
    if is_trained:
        lines += [
            "",
            "On processors with the same vector instructions the same seed gives the same policy, to the "
            "digit. On others sums are rounded otherwise in the tenth digit, and a run goes its own way from "
            "there, as with another seed; judging the shipped policy gives the same figures.",
        ]
    return lines
