"""Which checkpoint is shipped: the best on validation among those that give nothing up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ipa_rl.agents.tuning import PAS_TOLERANCE


@dataclass(frozen=True)
class Checkpoint:
    """A policy in training, and its means over the validation windows."""

    step: int
    utility: float
    pas_x100: float
    cores: float
    violations: float


def no_worse(checkpoint: Checkpoint, program: dict[str, float]) -> bool:
    """Whether cost and violations are no higher than the best program's and PAS is no lower."""
    return (
        checkpoint.cores <= program["cores"]
        and checkpoint.violations <= program["violations"]
        and checkpoint.pas_x100 >= program["pas_x100"] - PAS_TOLERANCE
    )


def choose(checkpoints: list[Checkpoint], program: dict[str, float]) -> Checkpoint:
    """The highest utility among those no worse in each figure; where there is none, among all."""
    eligible = [one for one in checkpoints if no_worse(one, program)]
    return max(eligible or checkpoints, key=lambda one: one.utility)


def write_log(checkpoints: list[Checkpoint], path: Path) -> None:
    """All checkpoints so far as JSON, replaced as a whole so that a kill leaves the old or the new."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(one) for one in checkpoints], indent=1), encoding="utf-8")
    partial.replace(path)


def read_log(path: Path) -> list[Checkpoint]:
    """The checkpoints written so far; none where there is no file."""
    if not path.exists():
        return []
    return [Checkpoint(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
