"""Which checkpoint is shipped: the best on validation among those that give nothing up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.documents import load_json
from ipa_rl.files import exists
from ipa_rl.result_files import write_json


@dataclass(frozen=True)
class Checkpoint:
    """A policy in training, and its means over the validation windows; ``wall_s`` since the run began."""

    step: int
    utility: float
    pas_x100: float
    cores: float
    violations: float
    wall_s: float = 0.0


def no_worse(
    checkpoint: Checkpoint, rival: Mapping[str, float], pas_tolerance: float = PAS_TOLERANCE
) -> bool:
    """Whether violations are no more than the rival's and PAS is within the tolerance."""
    return (
        checkpoint.violations <= rival["violations"]
        and checkpoint.pas_x100 >= rival["pas_x100"] - pas_tolerance
    )


def choose(
    checkpoints: Sequence[Checkpoint],
    rivals: Sequence[Mapping[str, float]],
    pas_tolerance: float = PAS_TOLERANCE,
) -> Checkpoint:
    """The highest utility among those no worse than the first rival.

    Where there is none, among those no worse than the next rival; where there is none at all, among all.
    """
    for rival in rivals:
        eligible = [one for one in checkpoints if no_worse(one, rival, pas_tolerance)]
        if eligible:
            return max(eligible, key=lambda one: one.utility)
    return max(checkpoints, key=lambda one: one.utility)


def best_of_parts(
    checkpoints: Sequence[Checkpoint], rivals: Sequence[Mapping[str, float]], parts: int
) -> list[Checkpoint]:
    """The choice among the checkpoints of each of so many equal parts of a run, earliest first."""
    edges = [round(part * len(checkpoints) / parts) for part in range(parts + 1)]
    return [choose(checkpoints[a:b], rivals) for a, b in pairwise(edges) if a < b]


def write_log(checkpoints: Sequence[Checkpoint], path: Path) -> None:
    """All checkpoints so far as JSON, replaced as a whole so that a kill leaves the old or the new."""
    write_json([asdict(one) for one in checkpoints], path)


def read_log(path: Path) -> list[Checkpoint]:
    """The checkpoints written so far; none where there is no file. Raises InputError where it is broken."""
    if not exists(path):
        return []
    return load_json(path, list[Checkpoint], "delete the folder, and train again without --resume")
