"""A pipeline on Ray Serve behind the seam of live clusters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Applied, Change, ClusterError, LoadSource, Seen
from ipa_rl.live.ray_serve.api import Document, ServeApi
from ipa_rl.live.ray_serve.changes import changed_before_shrinking, changes_of, edited
from ipa_rl.live.ray_serve.observe import StageView, fleet_of, is_changing, view_stage
from ipa_rl.live.ray_serve.settings import ServeSettings, ServeStage
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.workload.quantiles import HISTORY_S

_BUSY = frozenset({"DELETING", "NOT_STARTED"})
_CHANGES_WITHIN_S, _POLL_S = 1.0, 0.1


class RayServeCluster:
    """Reads everything anew at every call and remembers nothing of it.

    ``queue``: requests that wait by stage, None where that is not known now; zeros are shown then. ``clock``:
    seconds since 1970; ``clock_offset_s``: what is added to it for agents, whose hour is that of the loads
    they learned from.
    """

    def __init__(
        self,
        definition: Definition,
        settings: ServeSettings,
        loads: LoadSource,
        queue: Callable[[], FloatArray | None] = lambda: None,
        clock: Callable[[], float] = time.time,
        clock_offset_s: float = 0.0,
    ) -> None:
        self.definition, self.settings = definition, settings
        self.api = ServeApi(settings.address, settings.token_file, settings.timeout_s)
        self._loads, self._queue = loads, queue
        self._clock, self._clock_offset_s = clock, clock_offset_s

    def look(self) -> Seen:
        """What is seen now. Raises ClusterError where the cluster does not answer."""
        views = self._views(self.api.applications())
        now_s = self._clock()
        loads, queued = self._loads.loads(HISTORY_S), self._queue()
        state = State(
            history_rps=loads.history_rps,
            fleet=fleet_of(views, self.definition.timing.start_up_scale, now_s),
            queued=np.zeros(len(views)) if queued is None else queued,
            stale=loads.stale,
            clock_s=now_s + self._clock_offset_s,
        )
        lines = [line for view in views for line in (view.problem, view.note) if line]
        stages = tuple(view.seen() for view in views)
        return Seen(state, loads, stages, problems=tuple(lines), queues_known=queued is not None)

    def apply(self, configuration: Configuration) -> Applied:
        """Move towards a configuration. Raises ClusterError where the cluster does not answer.

        By one write, or two: Ray Serve changes replicas in place only when those that are to go are gone,
        which takes as long as they serve, or start, on. Where a stage changes and shrinks, it changes first.

        Ray Serve has no way to write only if nobody else has written since, so what another writes in the
        same moment is lost, or ours is and is written again at the next step.
        """
        instance = self.api.applications()
        applied, wanted = self._plan(instance, configuration)
        if not wanted:
            return applied
        name = self.settings.application
        first = changed_before_shrinking(self._views(instance), wanted)
        if first != wanted:
            self.api.deploy(edited(instance, name, first))
            instance = self._once_changed(list(first))
        self.api.deploy(edited(instance, name, wanted))
        return applied

    def plan(self, configuration: Configuration) -> Applied:
        """What `apply` would do, nothing written (dry run)."""
        return self._plan(self.api.applications(), configuration)[0]

    def close(self) -> None:
        """Close the connection."""
        self.api.close()

    def _once_changed(self, stages: Sequence[ServeStage]) -> Document:
        """The instance when replicas were seen to change and none does, or after _CHANGES_WITHIN_S."""
        end_s, seen = time.monotonic() + _CHANGES_WITHIN_S, False
        while True:
            instance = self.api.applications()
            changing = is_changing(self._application(instance), stages)
            if (seen and not changing) or time.monotonic() >= end_s:
                return instance
            seen = seen or changing
            time.sleep(_POLL_S)

    def _views(self, instance: Document) -> list[StageView]:
        application = self._application(instance)
        return [view_stage(stage, application) for stage in self.settings.stages]

    def _application(self, instance: Document) -> Document:
        name = self.settings.application
        found: Document | None = instance["applications"].get(name)
        if found is None:
            known = ", ".join(instance["applications"]) or "none"
            raise ClusterError(
                f"no application {name} (there are: {known}); fix: deploy it, or correct its name"
            )
        return found

    def _plan(
        self, instance: Document, configuration: Configuration
    ) -> tuple[Applied, dict[ServeStage, StageConfig]]:
        """What changes and what is refused, and the stages to write."""
        locked = _locked(self._application(instance), self.settings.application)
        asked: list[StageConfig] = []
        changes: list[Change] = []
        refused: list[str] = []
        writes: dict[ServeStage, StageConfig] = {}
        for view, one in zip(self._views(instance), configuration.stages, strict=True):
            within = StageConfig(one.variant, one.batch, self._limited(one.replicas))
            own = changes_of(view, within)
            reason = view.problem or (locked if own else "")
            if reason:
                refused.append(f"{view.stage.stage.name}: {reason}")
                asked.append(_present(view, within))
                continue
            asked.append(within)
            changes += own
            if own:
                writes[view.stage] = within
        return Applied(Configuration(tuple(asked)), tuple(changes), refused=tuple(refused)), writes

    def _limited(self, replicas: int) -> int:
        return min(max(replicas, 1), self.definition.problem.max_replicas)


def _locked(application: Document, name: str) -> str:
    """Why an application cannot be changed, empty where it can."""
    if application["status"] in _BUSY:
        return f"application {name} is {application['status']}"
    if application.get("deployed_app_config") is None:
        return (
            f"application {name} was deployed from Python and has no configuration to change; fix: deploy it "
            "from a file (serve build, then serve deploy or serve run FILE)"
        )
    return ""


def _present(view: StageView, wanted: StageConfig) -> StageConfig:
    """What a stage keeps."""
    return StageConfig(view.variant or wanted.variant, view.batch or wanted.batch, max(view.desired, 1))
