"""A live cluster behind the loop's seam: remembers what was seen and done, and writes only where it may."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ipa_rl.agents.protocol import State
from ipa_rl.live.cluster import Applied, LiveCluster, Seen, StageSeen
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.fallbacks import Sight
from ipa_rl.sidecar.guard import Now

RECENT_S = 10
"""The observed load is the mean of that many seconds."""


class Driven:
    """The loop's Cluster over a LiveCluster.

    ``withheld``: asked before every write; why nothing may be written now, empty where it may. Then the
    change is planned only. ``ordered``: why somebody wants the pipeline left alone, empty where nobody does.
    ``now``: monotonic seconds, by which ``changed_at`` says when the variant of a stage changed.
    """

    def __init__(
        self,
        cluster: LiveCluster,
        problem: Problem,
        withheld: Callable[[], str],
        ordered: Callable[[], str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._problem = cluster, problem
        self._withheld, self._ordered, self._now = withheld, ordered, now
        self.seen: Seen | None = None
        self.present: tuple[StageConfig | None, ...] = (None,) * len(problem.pipeline.stages)
        self.applied: Applied | None = None
        self.why_not = ""
        self.apply_s = 0.0
        self.changed_at: dict[str, float] = {}

    def observe(self) -> State:
        """What is seen now. Raises ClusterError where the cluster does not answer."""
        self.applied, self.why_not, self.apply_s = None, "", 0.0
        self.seen = self._cluster.look()
        before = self.present
        self.present = tuple(
            _asked(stage, seen)
            for stage, seen in zip(self._problem.pipeline.stages, self.seen.stages, strict=True)
        )
        for stage, old, new in zip(self._problem.pipeline.stages, before, self.present, strict=True):
            if old is not None and new is not None and old.variant != new.variant:
                self.changed_at[stage.name] = self._now()
        return self.seen.state

    def sight(self) -> Sight:
        """What holding needs to know of what was seen."""
        assert self.seen is not None
        loads = self.seen.loads
        return Sight(self.present, self.paused(), loads.stale, loads.problem)

    def paused(self) -> str:
        """Why the pipeline is left alone; empty where it is not.

        A stage of no replicas was switched off by somebody, as for Kubernetes' own autoscaler.
        """
        assert self.seen is not None
        if self.seen.paused:
            return "paused by the annotation"
        if ordered := self._ordered():
            return ordered
        off = [one.stage for one in self.seen.stages if one.desired == 0 and one.asked[0] is not None]
        return f"switched off: 0 replicas of {', '.join(off)}" if off else ""

    def serving(self) -> tuple[StageConfig | None, ...]:
        """What each stage is asked for, None where something else serves still, or that is not known."""
        assert self.seen is not None
        pairs = zip(self.present, self.seen.stages, strict=True)
        return tuple(
            one if seen.ready and (seen.variant, seen.batch) == seen.asked else None for one, seen in pairs
        )

    def now(self) -> Now:
        """What the guard checks a decision against."""
        assert self.seen is not None
        names = [stage.name for stage in self._problem.pipeline.stages]
        since_s = tuple(self._now() - self.changed_at.get(name, -math.inf) for name in names)
        return Now(self.present, since_s, self.load_rps())

    def load_rps(self) -> float:
        """The observed load, requests a second; NaN where it is not known: missing, stale, or never seen."""
        assert self.seen is not None
        known = not (self.seen.loads.stale or self.seen.state.stale)
        return observed_rps(self.seen.state) if known else math.nan

    def apply(self, configuration: Configuration, keeps: bool = False) -> None:
        """Move towards a configuration, or plan to where nothing may be written. Raises ClusterError.

        ``keeps``: it is what is there, of which nothing is to be written anew.
        """
        began = time.perf_counter()
        paused = self.paused()
        self.why_not = paused or self._withheld()
        if paused or keeps:
            self.applied = Applied(configuration)
        elif self.why_not:
            self.applied = self._cluster.plan(configuration)
        else:
            self.applied = self._cluster.apply(configuration)
        self.apply_s = time.perf_counter() - began


def observed_rps(state: State) -> float:
    """The mean load of the last seconds; NaN where it is not known, which is never a load of zero."""
    return float(state.history_rps[-RECENT_S:].mean()) if len(state.history_rps) else math.nan


def _asked(stage: Stage, seen: StageSeen) -> StageConfig | None:
    """What a stage is asked for; None where that is no variant and batch size of the profile."""
    variant, batch = seen.asked
    known = next((one for one in stage.variants if one.name == variant), None)
    if known is None or batch not in known.batches:
        return None
    return StageConfig(known.name, batch, seen.desired)
