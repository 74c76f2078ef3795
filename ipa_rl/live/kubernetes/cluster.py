"""A pipeline on Kubernetes behind the seam of live clusters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from kubernetes.client import ApiClient

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Applied, LoadSource, Seen, StageSeen
from ipa_rl.live.kubernetes.api import Api, ApiError
from ipa_rl.live.kubernetes.apply import carry_out, foretold
from ipa_rl.live.kubernetes.changes import Plan, cold_paths, make_plan
from ipa_rl.live.kubernetes.description import Description
from ipa_rl.live.kubernetes.events import record_event
from ipa_rl.live.kubernetes.observe import StageView, fleet_of, view_stage
from ipa_rl.live.kubernetes.ownership import (
    Scalers,
    drivers,
    find_scalers,
    foreign_fields,
    other_scaler,
)
from ipa_rl.live.kubernetes.quota import find_limits
from ipa_rl.live.kubernetes.retries import Retry
from ipa_rl.live.kubernetes.rivals import Rivals
from ipa_rl.live.kubernetes.servers import Servers
from ipa_rl.live.set_backs import SetBacks
from ipa_rl.pipeline import Configuration
from ipa_rl.workload.quantiles import HISTORY_S


class KubernetesCluster:
    """Stages that are objects of Kubernetes.

    Reads everything anew at every call, so that what was begun by another copy, or stopped half-way, is seen
    and completed. Only what was asked for last, and who set that back, is remembered: ``set_backs``.
    ``queue``: requests that wait by stage, None where that is not known now; zeros are shown then. ``clock``:
    seconds since 1970; ``clock_offset_s``: what is added to it for agents, whose hour is that of the loads
    they learned from. ``desired_replicas``: by stage, what the last `apply` wanted, for an autoscaler to
    follow where replicas are published.
    """

    def __init__(
        self,
        definition: Definition,
        description: Description,
        loads: LoadSource,
        api: ApiClient,
        clock: Callable[[], float] = time.time,
        queue: Callable[[], FloatArray | None] = lambda: None,
        retry: Retry | None = None,
        timeout_s: float = 5.0,
        clock_offset_s: float = 0.0,
        set_backs: SetBacks | None = None,
    ) -> None:
        self.definition = definition
        self.description = description
        self.api = Api(api, retry, timeout_s)
        self.desired_replicas: dict[str, int] = {}
        self.set_backs = SetBacks() if set_backs is None else set_backs
        self._loads = loads
        self._clock = clock
        self._clock_offset_s = clock_offset_s
        self._queue = queue
        self._servers = Servers()

    def look(self) -> Seen:
        """What is seen now. Raises ClusterError where the cluster does not answer."""
        views = self._views()
        scalers = find_scalers(self.api, self.description.namespaces)
        loads = self._loads.loads(HISTORY_S)
        fleet = fleet_of(views, self.definition.timing.start_up_scale, self._clock())
        queued = self._queue()
        waiting = np.zeros(len(views)) if queued is None else queued
        return Seen(
            state=State(loads.history_rps, fleet, waiting, loads.stale, self._clock() + self._clock_offset_s),
            loads=loads,
            stages=tuple(self._seen(view, scalers) for view in views),
            paused=any(view.paused or any(d.paused for d in drivers(view, scalers)) for view in views),
            problems=tuple(self._problems(views, scalers)),
            queues_known=queued is not None,
        )

    def observe(self) -> State:
        """The State alone, as `ipa_rl.agents.loop.Cluster` has it."""
        return self.look().state

    def apply(self, configuration: Configuration) -> Applied:
        """Move towards a configuration. Raises ClusterError where the cluster does not answer."""
        rivals = Rivals(self.set_backs, self._clock())
        plan = self._plan(configuration, rivals)
        self.set_backs.asked.clear()  # until it is known again what was written
        applied = carry_out(self.api, self._servers, plan, rivals.written)
        self.set_backs.asked.update(rivals.asked)
        self.desired_replicas = dict(plan.replicas)
        return replace(applied, set_back=tuple(rivals.told))

    def plan(self, configuration: Configuration) -> Applied:
        """What `apply` would do, nothing written (dry run)."""
        self.set_backs.asked.clear()  # others may write
        return foretold(self._plan(configuration, Rivals(self.set_backs, self._clock())))

    def record_event(
        self, stage: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """One Kubernetes Event about the object of a stage; nothing where it is not there.

        Raises ClusterError where the cluster does not take it, KeyError for a name that is no stage.
        """
        described = {one.stage.name: one for one in self.description.stages}[stage]
        try:
            live = self.api.get(described.path)
        except ApiError as error:
            if error.status == 404:
                return
            raise
        record_event(self.api, live, reason, message, kind, self._clock)

    def close(self) -> None:
        """Close all connections."""
        self.api.close()
        self._servers.close()

    def _views(self) -> list[StageView]:
        return [view_stage(self.api, stage, self._servers) for stage in self.description.stages]

    def _plan(self, configuration: Configuration, rivals: Rivals) -> Plan:
        namespaces = self.description.namespaces
        views, scalers = self._views(), find_scalers(self.api, namespaces)
        limits = partial(find_limits, self.api, namespaces)
        return make_plan(views, configuration, scalers, limits, rivals.contested)

    def _seen(self, view: StageView, scalers: Scalers) -> StageSeen:
        seen = view.seen()
        return seen if seen.problem else replace(seen, problem=self._not_ours(view, scalers))

    def _not_ours(self, view: StageView, scalers: Scalers) -> str:
        return other_scaler(view, scalers) or self.set_backs.left_alone(view.stage.stage.name, self._clock())

    def _problems(self, views: list[StageView], scalers: Scalers) -> list[str]:
        """In words what needs a person: of the stages, of the objects' status, of fields that others own."""
        found = []
        for view in views:
            name = view.stage.stage.name
            lines = [self._seen(view, scalers).problem, *view.notes]
            if view.container is not None:
                lines.append(foreign_fields(view, cold_paths(view)))
            found += [f"{name}: {line}" for line in lines if line]
        return found
