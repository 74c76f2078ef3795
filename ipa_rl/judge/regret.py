"""How much of what could be gained an agent gains: the gap between the best program and the bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.judge.bound import utility_bound
from ipa_rl.judge.jobs import Setup
from ipa_rl.judge.pools import Pool
from ipa_rl.progress import Report
from ipa_rl.workload.trace import Window

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Regret:
    """Means over windows, and the share of the gap between program and bound that is closed, with 95 %."""

    bound: float
    program: float
    agent: float
    closed: float
    closed_95: tuple[float, float]


def bounds(setup: Setup, windows: Sequence[Window], pool: Pool, report: Report) -> FloatArray:
    """`utility_bound` of each window, (windows,)."""
    found = np.zeros(len(windows))
    for count, (i, value) in enumerate(pool.each(partial(_bound, setup), windows), start=1):
        found[i] = value
        report.advance("bound", count, len(windows))
    return found


def _bound(setup: Setup, window: Window) -> float:
    return utility_bound(setup.definition(), window)


def regret(agent: FloatArray, program: FloatArray, bound: FloatArray) -> Regret:
    """Of utilities by window, (windows,) each; the share is of sums, bootstrapped over windows."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(bound), (_RESAMPLES, len(bound)))
    gained, gap = agent - program, bound - program
    shares = gained[picks].sum(axis=1) / gap[picks].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Regret(
        float(bound.mean()), float(program.mean()), float(agent.mean()), float(gained.sum() / gap.sum()),
        (float(low), float(high)),
    )  # fmt: skip
