"""Whole windows at once: many stretches of arrivals played side by side by one rule of decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.workload.quantiles import HISTORY_S

Decide = Callable[[Episodes, int], IntArray]
"""(episodes, number of the step) -> decisions (windows, stages, 3)."""


@dataclass(frozen=True)
class Figures:
    """Results by window, float arrays (windows,)."""

    utility: FloatArray
    pas_x100: FloatArray
    cores: FloatArray
    violations: FloatArray

    def means(self) -> dict[str, float]:
        """Mean over the windows of each figure."""
        return {name: float(getattr(self, name).mean()) for name in self.__dataclass_fields__}


def play_windows(definition: Definition, arrivals: FloatArray, decide: Decide) -> Figures:
    """Play ``arrivals`` (windows, HISTORY_S + seconds) of equal length, all at once."""
    episode_s = arrivals.shape[1] - HISTORY_S
    workload = definition.workload.model_copy(update={"episode_s": episode_s})
    episodes = Episodes(replace(definition, workload=workload), len(arrivals))
    for window, one in enumerate(arrivals):
        episodes.begin(window, one)
    for step in range(episode_s // definition.settings.interval_s):
        episodes.step(decide(episodes, step))
    summaries = [episodes.summary(window) for window in range(len(arrivals))]
    columns = {name: np.array([one[name] for one in summaries]) for name in summaries[0]}
    return Figures(**columns)
