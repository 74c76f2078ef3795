"""The card of an agent: what it is, how it was trained, how it did, where it loses, how to repeat it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ipa_rl.evaluation.card_results import (
    bursty_section,
    paired_section,
    regret_section,
    results_section,
    stress_section,
)
from ipa_rl.evaluation.card_training import (
    ablation_section,
    front_section,
    read_beside,
    search_section,
    training_section,
)
from ipa_rl.evaluation.card_verdict import attempts_section, losses_section, verdict_section
from ipa_rl.evaluation.controllers import Controllers
from ipa_rl.evaluation.stress import Endured


def write_card(controllers: Controllers, content: dict[str, Any], stress: list[Endured], path: Path) -> None:
    """Write ``card.md`` from an evaluation's content, the stress suite, and what lies beside the policy.

    That is training.json, where `ipa-rl build`, `ipa-rl search` and `ipa-rl ablate` ran seeds.json,
    bursty.json, front.json, search.json and ablation.json, and attempts.md where somebody wrote one.
    """
    name, folder = controllers.definition.name, controllers.folder
    sections = [
        [f"# Agent {name}", "", *_setting(controllers, content["simulator"])],
        verdict_section(controllers, content, stress, folder) if content["paired"] else [],
        training_section(folder),
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
        _repeat(name, content, folder),
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


def _repeat(name: str, content: dict[str, Any], folder: Path) -> list[str]:
    seeds = read_beside(folder, "seeds.json")
    if seeds:
        options = _effort(seeds, read_beside(folder, "front.json"), content["stress_draws"])
        commands = [f"ipa-rl build {name} {options}"]
    else:
        commands = [f"ipa-rl train {name} --out runs/{name}"]
        commands += [f"ipa-rl evaluate {name} --agent runs/{name} --part {content['part']}"]
    return [
        "## Repeat it",
        "",
        "```console",
        *commands,
        "```",
        "",
        "On processors with the same vector instructions the same seed gives the same policy, to the digit. "
        "On others sums are rounded otherwise in the tenth digit, and a run goes its own way from there, as "
        "with another seed; judging the shipped policy gives the same figures.",
    ]


def _effort(seeds: list[dict[str, Any]], front: dict[str, Any] | None, draws: int) -> str:
    """Options of `ipa-rl build`, by what it left: seeds, checkpoints of each, draws, windows of the front."""
    judged = Counter(one["seed"] for one in seeds)
    words = f"--seeds {len(judged)} --candidates {max(judged.values())} --draws {draws}"
    return words + (f" --front-windows {front['windows']}" if front else "")
