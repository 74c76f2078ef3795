"""Changes and their reasons in words, for Events and people."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_rl.clusters.live import Change
from ipa_rl.controller.loop import Step


def changes_by_stage(changes: Sequence[Change]) -> dict[str, str]:
    """What changed of each stage, in one line each.

    >>> changes_by_stage([Change("detect", "replicas", "2", "3"), Change("detect", "batch", "1", "4")])
    {'detect': 'replicas 2 -> 3, batch 1 -> 4'}
    """
    found: dict[str, list[str]] = {}
    for change in changes:
        found.setdefault(change.stage, []).append(f"{change.knob} {change.before} -> {change.after}")
    return {stage: ", ".join(words) for stage, words in found.items()}


def reason_in_words(step: Step, by: str, load_rps: float, edits: Sequence[str]) -> str:
    """Why something changed: the load, what was planned for, who decided, what the guard changed."""
    decision = step.decision
    who = {"held": "held", "program": "chosen by the integer program"}.get(by, f"chosen by the agent {by}")
    parts = [f"load {load_rps:.1f} requests/s, {who}"]
    if decision.planned_rps == decision.planned_rps:  # not NaN
        parts[0] += f" for {decision.planned_rps:.1f}"
    if decision.fallback:
        parts.append(decision.fallback)
    parts += [f"guard: {edit}" for edit in edits]
    return "; ".join(parts)


def kind_of(fallback: str) -> str:
    """The words at the beginning of a fallback's reason that stay the same, for counting.

    >>> kind_of("held: stale: no sample for 40 s"), kind_of("ppo failed: ValueError: x; too slow")
    ('stale', 'ppo failed')
    """
    return fallback.removeprefix("held: ").split(";")[0].split(":")[0].strip()
