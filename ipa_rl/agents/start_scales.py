"""How much longer than its profile says each stage takes to start, learned from the starts that were seen.

What a cluster says is left of a start may be what the profile says is left. So a start tells when it is over,
and before that when it lasts longer than it should. A stage's last starts hold until the next ones tell
otherwise: a registry that was slow a minute ago is taken for slow.
"""

from __future__ import annotations

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, Record
from ipa_rl.simulation.tables import MOST_SLOWER, build_variants

DEAD_BAND = 1.15
"""A scale below this counts as 1: starts are seen at the ends of intervals, and ordered a little after."""


class StartMeter:
    """Learns the scales from one state of a pipeline to the next.

    ``definition``: whose profile is held against what is seen. ``interval_s``: between two states; of starts
    in a longer time it is not known when they began. None for the adaptation interval.

    ``scales``: (stages,), of the last starts of each, 1 where they took as long as profiled or less, or where
    none was seen.
    """

    def __init__(self, definition: Definition, interval_s: float | None = None) -> None:
        stages = len(definition.pipeline.stages)
        self.scales: FloatArray = np.ones(stages)
        self._most_s = 1.5 * (interval_s or definition.timing.interval_s)
        self._start_up_s = build_variants(definition.problem, definition.timing)["start_up_s"]
        # Of the starts under way: since when at least the oldest one lasts, and the slowest of them.
        self._began_s, self._slowest = np.zeros(stages), np.ones(stages)
        self._before: State | None = None

    @property
    def scale(self) -> float:
        """How many times as long as profiled starts are to be expected to take: as the slowest stage's."""
        return float(self.scales.max())

    def saw(self, state: State) -> float:
        """The scale, with what is seen now."""
        before, self._before = self._before, state
        if before is None or not 0 < state.clock_s - before.clock_s <= self._most_s:
            self._began_s[:], self._slowest[:] = state.clock_s, 1.0
        else:
            for s, (old, new) in enumerate(zip(before.fleet, state.fleet, strict=True)):
                self._compare(s, old, new, before.clock_s, state.clock_s)
        return self.scale

    def _compare(self, s: int, old: Record, new: Record, then_s: float, now_s: float) -> None:
        """``old``, ``new``: FLEET records of a stage."""
        expected_s = self._start_up_s[s, int(new["target"])]
        is_another = new["target"] != old["target"]
        became_ready = new["active"] != old["active"] or new["ready"] > old["ready"]
        if expected_s <= 0.0:
            return
        if new["cohorts"]:
            if is_another or not old["cohorts"]:
                was_ordered = is_another or new["wanted"] > old["wanted"]
                self._began_s[s], self._slowest[s] = then_s if was_ordered else now_s, 1.0
            elif became_ready:  # the oldest is over
                self._began_s[s] = now_s
            times = (now_s - self._began_s[s] + new["left_s"][0]) / expected_s
            self._slowest[s] = max(self._slowest[s], times)
            is_stuck = self._slowest[s] > MOST_SLOWER  # which says nothing of others
            self.scales[s] = 1.0 if is_stuck else self._found(max(self.scales[s], self._slowest[s]))
        elif old["cohorts"] and not is_another and became_ready:
            self.scales[s] = self._found(self._slowest[s] if self._slowest[s] <= MOST_SLOWER else 1.0)
        elif became_ready:  # it began and was over between two states
            self.scales[s] = self._found(min(self.scales[s], (now_s - then_s) / expected_s))

    def _found(self, times: float) -> float:
        """The scale to act on."""
        return 1.0 if times < DEAD_BAND else round(float(times), 2)
