"""Which observations a policy sees; hidden ones read 0, for ablation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipa_rl.environment.observation import observation_names
from ipa_rl.objective import Problem

GROUPS: dict[str, tuple[str, ...]] = {
    "history": ("s ago", "s back"),
    "clock": ("clock, ",),
    "forecast": ("forecast, ",),
    "queue": (": wait in queue", "SLA slack"),
    "pending": (": target", ": share starting", ": time to ready"),
}
"""Groups by what stands in the names of their entries."""


def visible(problem: Problem, hidden: Sequence[str]) -> NDArray[np.float32]:
    """1 for every entry that is seen, 0 for those of the hidden groups, (entries,)."""
    marks = [mark for group in hidden for mark in GROUPS[group]]
    names = observation_names(problem)
    return np.array([not any(mark in name for mark in marks) for name in names], dtype=np.float32)
