"""A comparison of three controllers on two short windows, wherever it runs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from ipa_rl.judge.comparison import Comparison, compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.play import Played
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.progress import Silent
from tests.scenarios import short

SETUP = Setup("video", None, SimulatorKind.request_level, ("universal", "fa2-low", "static"))
TRIALS = trials([short("bursty"), short("steady-low")], seeds=2)


def run(folder: Path, pool: Pool) -> Comparison:
    return compare(Experiment("two short windows", SETUP, TRIALS), folder, pool, Silent())


def same_but_for_time(one: Comparison, other: Comparison) -> bool:
    """Whether all figures agree to the bit; how long decisions took may differ."""
    pairs = zip(all_played(one), all_played(other), strict=True)
    names = [field.name for field in fields(Played) if field.name not in ("name", "decide_s")]
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for a, b in pairs for name in names
    )


def all_played(comparison: Comparison) -> list[Played]:
    return [one for scenario in comparison.played for seed in scenario for one in seed]
