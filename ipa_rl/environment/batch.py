"""Whole windows at once: many stretches of arrivals played side by side by one rule of decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window

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


def play_windows(definition: Definition, stretches: Sequence[Window], decide: Decide) -> Figures:
    """Play windows of equal length and with HISTORY_S of history, all at once.

    Raises InputError where there are none, they differ in length or are shorter than an interval, or a
    decision is none of the pipeline's.
    """
    interval_s = definition.timing.interval_s
    lengths = {len(one.arrivals) for one in stretches}
    if len(lengths) != 1 or min(lengths) < HISTORY_S + interval_s:
        fix = f"give windows of one length, {HISTORY_S + interval_s} s or more"
        raise InputError(f"have lengths {sorted(lengths)}", field="windows", fix=fix)
    episode_s = lengths.pop() - HISTORY_S
    workload = definition.workload.model_copy(update={"episode_s": episode_s})
    episodes = Episodes(replace(definition, workload=workload), len(stretches))
    for position, window in enumerate(stretches):
        episodes.begin(position, window.arrivals, window.clock_s)
    for step in range(episode_s // interval_s):
        episodes.step(decide(episodes, step))
    summaries = [episodes.summary(window) for window in range(len(stretches))]
    columns = {name: np.array([one[name] for one in summaries]) for name in summaries[0]}
    return Figures(**columns)
