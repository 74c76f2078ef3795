"""How much longer than its profile says each stage takes to serve, learned from its queue.

Possible scales are held against each other, by stage. For each of them a queue is played forward, by the
loads that came and the replicas that were ready. How far it strays from the queue that is seen, beyond what
chance does, counts against the scale. So a stage for which requests wait all the time tells its scale to a
few percent, one for which none wait only that it is fast enough for what came, and an idle one nothing. What
counts fades slowly. The profile holds until another scale explains far better what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, Record, Records
from ipa_rl.simulation.tables import build_variants
from ipa_rl.simulation.transitions import decide, next_ready_s, pass_time

MOST = 2.0
"""The scale is looked for up to this. Who takes more than twice as long as profiled is another machine or
another model, to be profiled again; and whatever goes wrong in measuring, no more than twice the replicas are
asked for. Nor is it below 1: that a stage is faster than profiled would save some cores, but loads that are
told late, or requests that went lost, look the same, and then requests violate the SLA."""
SCALES = np.geomspace(1.0, MOST, 30)
SPREAD = 0.25
"""Standard deviation of a scale's logarithm, before anything was seen."""
STRAY = 0.05
"""Standard deviation of a queue, as a share of what came in an interval: loads are measured too."""
MOST_AGAINST = 2.0
"""An interval counts so much against a scale at most: it takes several to correct anything."""
NEEDED, STILL_NEEDED = 6.0, 2.0
"""By so much more must count against the profile than against another scale, before that one is found, and
as long as it holds."""
KEPT = 0.99
"""Of what counts, from one interval to the next: half of it after 70."""
DEAD_BAND = 0.08
"""A scale that exceeds 1 by less counts as 1: the profile holds."""
LEAST_CHANGE = 0.05
"""A scale that was found is replaced where another is found that differs by such a share."""
TICKS = 20
"""In which the time between two states is divided at most."""
DROPPING = 0.8
"""Where requests wait for so large a share of the drop limit, some may have been dropped."""


@dataclass
class ServiceMeter:
    """Learns the scales from one state of a pipeline to the next.

    ``definition``: whose profile is held against what is seen. ``interval_s``: between two states; nothing is
    learned where more time has passed, None for the adaptation interval.

    ``scales``: (stages,), what is found, 1 where the profile holds. ``intervals``: (stages,), over about how
    many it was measured; those in which a stage told nothing are left out, and what has faded.
    """

    definition: Definition
    interval_s: float | None = None

    def __post_init__(self) -> None:
        shape = len(self.definition.pipeline.stages), len(SCALES)
        self.scales: FloatArray = np.ones(shape[0])
        self.intervals: FloatArray = np.zeros(shape[0])
        self._drop_limit_s = self.definition.timing.drop_limit_s
        self._variants = build_variants(self.definition.problem, self.definition.timing)
        self._against, self._queues = np.zeros(shape), np.zeros(shape)
        self._before: State | None = None

    def saw(self, state: State) -> FloatArray:
        """The scales, (stages,), with what is seen now."""
        before, self._before = self._before, state
        interval_s = self.interval_s or self.definition.timing.interval_s
        seconds = 0 if before is None else round(state.clock_s - before.clock_s)
        if before is None or not 0 < seconds <= min(1.5 * interval_s, len(state.history_rps)):
            self._queues[:] = state.queued[:, None]
        else:
            self._compare(before, state, seconds)
            self.scales = self._found()
        return self.scales

    def lost_sight(self) -> None:
        """Loads or queues are not known now: nothing is learned from the time around."""
        self._before = None

    def _compare(self, before: State, now: State, seconds: int) -> None:
        """Play the queues of all scales from one state to the next, and count how far they stray."""
        self._against *= KEPT
        self.intervals *= KEPT
        parts = np.array_split(np.arange(-seconds, 0), min(TICKS, seconds))
        lengths_s = np.array([len(part) for part in parts], dtype=np.float64)
        came = np.array([now.history_rps[part].sum() for part in parts])
        most = came_within(now.history_rps, ceil(self._drop_limit_s), [part[-1] + 1 for part in parts])
        may_drop = self._may_drop(before) | self._may_drop(now)
        graph, passed = self.definition.pipeline.graph, dict[int, FloatArray]()
        visits = graph.each_visits(now.fleet["active"])
        for s in graph.order:
            old, new = before.fleet[s], now.fleet[s]
            came = visits[s] * self._come(s, passed) if passed else came
            queued, queues = float(now.queued[s]), self._queues[s]
            ready = ready_replicas(old, new, self._variants[s], lengths_s)
            if ready is None:
                queues[:] = queued
            else:
                variant, k = self._variants[s, int(new["active"])], int(new["batch"])
                served = ready * lengths_s * float(variant["rate_rps"][k])
                for t in range(len(parts)):
                    queues = np.clip(queues + came[t] - served[t] / SCALES, 0.0, most[t])
                # What chance does: replicas hold a batch each, and one is filling.
                chance = float(variant["batch"][k] * (1 + ready.max()))
                self._queues[s] = np.clip(queues, queued - chance, queued + chance)
                strayed = queues - self._queues[s]
                if may_drop[s]:  # then a queue is shorter than it would be
                    strayed = np.minimum(strayed, 0.0)
                against = (strayed / np.hypot(STRAY * came.sum(), 1.0)) ** 2 / 2.0
                self._against[s] += np.minimum(against, MOST_AGAINST)
                self.intervals[s] += bool(strayed.any())
            # What the stage passed on, as if its queue had grown evenly.
            gone = np.maximum(came - (queued - before.queued[s]) * lengths_s / seconds, 0.0)
            passed[s] = gone / visits[s]

    def _come(self, s: int, passed: Mapping[int, FloatArray]) -> FloatArray:
        """What has come as far as a stage by what those before it passed on, in requests of the pipeline."""
        graph = self.definition.pipeline.graph
        before = [passed[graph.ends[k][0]] for k in graph.entering[s]]
        wait = np.maximum if graph.joins.get(s) == "first" else np.minimum
        return np.asarray(reduce(wait, before), dtype=np.float64)

    def _may_drop(self, state: State) -> NDArray[np.bool_]:
        """By stage, whether what waits in it and before it may be old enough to be dropped."""
        recent = came_within(state.history_rps, floor(DROPPING * self._drop_limit_s), [0])
        return np.asarray(np.cumsum(state.queued) > recent)

    def _found(self) -> FloatArray:
        """The scales to act on: those expected of what counts, where that speaks against the profile."""
        logarithms = np.log(SCALES)
        likely = np.exp(-(self._against + (logarithms / SPREAD) ** 2 / 2.0))
        expected = np.exp(likely @ logarithms / likely.sum(axis=1))
        needed = np.where(self.scales == 1.0, NEEDED, STILL_NEEDED)
        is_true = (self._against[:, 0] - self._against.min(axis=1) < needed) | (expected < 1.0 + DEAD_BAND)
        found = np.where(is_true, 1.0, np.round(expected, 2))
        return np.where(abs(found / self.scales - 1.0) < LEAST_CHANGE, self.scales, found)


def came_within(history_rps: FloatArray, seconds: int, ends: list[int]) -> FloatArray:
    """How many came in so many seconds before each of some, 0 for now and -1 for a second ago.

    >>> came_within(np.array([1.0, 2.0, 4.0]), 2, [0, -1, -2])
    array([6., 3., 1.])
    """
    came = np.concatenate([[0.0], np.cumsum(history_rps)])
    at = len(history_rps) + np.array(ends)
    return np.asarray(came[at] - came[np.maximum(at - seconds, 0)])


def ready_replicas(old: Record, new: Record, variants: Records, lengths_s: FloatArray) -> FloatArray | None:
    """Mean replicas that were ready in each stretch of the time between two sights of a stage.

    ``old``, ``new``: FLEET records; what was decided at the beginning is what the newer one shows.
    ``variants``: VARIANT of the stage. None where that is not known: another variant serves, replicas failed,
    or they took another time to start than expected.
    """
    stage = np.array([old])[0]
    decide(stage, variants, int(new["target"]), int(new["target_batch"]), int(new["wanted"]))
    ends_s = np.cumsum(lengths_s)
    at_s, replica_s = [0.0], [0.0]  # replicas become ready at once, so that this is linear in between
    while at_s[-1] < ends_s[-1]:
        passed_s = min(ends_s[-1] - at_s[-1], max(next_ready_s(stage), 1e-3))
        at_s.append(at_s[-1] + passed_s)
        replica_s.append(replica_s[-1] + int(stage["ready"]) * passed_s)
        pass_time(stage, passed_s)
    is_as_seen = stage["active"] == old["active"] == new["active"] and stage["ready"] == new["ready"]
    if not is_as_seen:
        return None
    return np.diff(np.interp(ends_s, at_s, replica_s), prepend=0.0) / lengths_s
