"""Changes and their reasons in words, for Events and people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ipa_rl.live.cluster import Change


def changes_by_stage(changes: Sequence[Change]) -> dict[str, str]:
    """What changed of each stage, in one line each.

    >>> changes_by_stage([Change("detect", "replicas", "2", "3"), Change("detect", "batch", "1", "4")])
    {'detect': 'replicas 2 -> 3, batch 1 -> 4'}
    """
    found: dict[str, list[str]] = {}
    for change in changes:
        found.setdefault(change.stage, []).append(f"{change.knob} {change.before} -> {change.after}")
    return {stage: ", ".join(words) for stage, words in found.items()}


def reason_in_words(entry: Mapping[str, Any]) -> str:
    """Why a step of the decision log did what it did: the load, who decided and for what, what the guard did.

    >>> reason_in_words({"load_rps": 12.0, "by": "ppo", "planned_rps": 14.5, "fallback": "", "guard": []})
    'load 12.0 requests/s, chosen by the agent ppo for 14.5'

    A load that is not known is NaN in the entry, or None where it has been through JSON.
    """
    by, planned_rps = entry["by"], entry["planned_rps"]
    who = {"held": "held", "program": "chosen by the integer program"}.get(by, f"chosen by the agent {by}")
    load = f"{entry['load_rps']:.1f} requests/s" if _known(entry["load_rps"]) else "unknown"
    parts = [f"load {load}, {who}"]
    if _known(planned_rps):
        parts[0] += f" for {planned_rps:.1f}"
    if entry["fallback"]:
        parts.append(entry["fallback"])
    parts += [f"guard: {edit}" for edit in entry["guard"]]
    return "; ".join(parts)


def _known(figure: float | None) -> bool:
    return figure is not None and not math.isnan(figure)


def kind_of(fallback: str) -> str:
    """The words at the beginning of a fallback's reason that stay the same, for counting.

    >>> kind_of("held: stale: no sample for 40 s"), kind_of("ppo failed: ValueError: x; too slow")
    ('stale', 'ppo failed')
    """
    return fallback.removeprefix("held: ").split(";")[0].split(":")[0].strip()
