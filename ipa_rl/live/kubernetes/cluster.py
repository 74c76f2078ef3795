"""A pipeline on Kubernetes behind the seam of live clusters: what is seen of it, and how it is changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from kubernetes.client import ApiClient

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import shortened
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Applied, LoadSource, Seen
from ipa_rl.live.kubernetes.api import MANAGER, Api, ApiError, Retry
from ipa_rl.live.kubernetes.changes import (
    Done,
    asked_after,
    changes_of,
    differences_of,
    forbidden,
    plan_of,
    still_asked,
    write_in_order,
)
from ipa_rl.live.kubernetes.description import KubernetesDescription
from ipa_rl.live.kubernetes.kinds import keda_paused
from ipa_rl.live.kubernetes.limits import within_limits
from ipa_rl.live.kubernetes.observed_stages import ObservedStage, fleet_of, observe_stage
from ipa_rl.live.kubernetes.other_writers import (
    Autoscalers,
    contested,
    drivers,
    find_autoscalers,
    foreign_fields,
    other_scaler,
)
from ipa_rl.live.kubernetes.pods import PodServers
from ipa_rl.live.set_backs import SetBacks
from ipa_rl.pipeline import Configuration


@dataclass
class KubernetesCluster:
    """Stages that are objects of Kubernetes.

    Every call reads the cluster again, so it completes what another copy began or what a stop left half done.
    It remembers only what was asked for last and who set that back: ``set_backs``. ``queue``: waiting
    requests by stage, None while they are not known; zeros are shown then. ``clock``: seconds since 1970;
    ``clock_offset_s`` is added to it for agents, whose hour is that of the loads they learned from.
    ``sparing``: as of `plan_of`, where units are limited.
    """

    definition: Definition
    description: KubernetesDescription
    loads: LoadSource
    client: InitVar[ApiClient]
    clock: Callable[[], float] = time.time
    queue: Callable[[], FloatArray | None] = lambda: None
    retry: InitVar[Retry | None] = None
    timeout_s: InitVar[float] = 5.0
    clock_offset_s: float = 0.0
    set_backs: SetBacks = field(default_factory=SetBacks)
    sparing: bool = False

    def __post_init__(self, client: ApiClient, retry: Retry | None, timeout_s: float) -> None:
        self.api = Api(client, retry, timeout_s)
        self._servers = PodServers()

    def look(self) -> Seen:
        """What is seen now. Raises ClusterError where the cluster does not answer."""
        stages, autoscalers = self._read()
        loads, now_s, queued = self.loads.loads(self.definition.history_s), self.clock(), self.queue()
        clock_s = self.definition.workload.clock_at(now_s + self.clock_offset_s)
        fleet = fleet_of(stages, self.definition.timing.start_up_scale, now_s)
        waiting = np.zeros(len(stages)) if queued is None else queued
        seen, problems = [], []
        for stage in stages:
            not_ours = other_scaler(stage, autoscalers) or self.set_backs.left_alone(stage.name, now_s)
            seen.append(stage.seen(not_ours))
            lines = (seen[-1].problem, stage.failure, foreign_fields(stage, stage.cold_paths))
            problems += [f"{stage.name}: {line}" for line in lines if line]
        return Seen(
            state=State(loads.history_rps, fleet, waiting, loads.stale, clock_s),
            loads=loads,
            stages=tuple(seen),
            paused=any(one.paused or any(map(keda_paused, drivers(one, autoscalers))) for one in stages),
            problems=tuple(problems),
            queues_known=queued is not None,
        )

    def apply(self, configuration: Configuration) -> Applied:
        """Move towards a configuration. Raises ClusterError where the cluster does not answer.

        What was written by then stays, and the next call completes it.
        """
        return self._change(configuration, dry_run=False)

    def plan(self, configuration: Configuration) -> Applied:
        """What `apply` would do, nothing written (dry run)."""
        self.set_backs.asked.clear()  # others may write
        return self._change(configuration, dry_run=True)

    def _change(self, configuration: Configuration, dry_run: bool) -> Applied:
        """Move from what is to what shall be, in an order in which capacity never drops."""
        # What is: the objects of all stages, their pods, and who else scales them.
        stages, autoscalers = self._read()
        wanted = {stage.name: one for stage, one in zip(stages, configuration.stages, strict=True)}

        # Which stages may change. One that something forbids to change, or that another writer keeps setting
        # back, is held as it is. The others go on.
        now_s, ours, free, refused, set_back = self.clock(), [], [], [], []
        for stage in stages:
            target = wanted[stage.name]
            reason = stage.problem or other_scaler(stage, autoscalers) or forbidden(stage, target)
            if not reason:
                ours.append(stage)
                changing = [one.path for one in differences_of(stage, target)]
                reason, told = contested(stage, changing, self.set_backs, now_s)
                set_back += [told] if told else []
            if reason:
                refused.append(f"{stage.name}: {reason}")
                wanted[stage.name] = stage.held(target)
            else:
                free.append(stage)

        # What shall be: what quotas leave, and no fewer replicas than disruption budgets keep. Both are read
        # only where pods are to come or go; most calls change nothing.
        if any(differences_of(stage, wanted[stage.name]) for stage in free):
            targets = [(stage, wanted[stage.name]) for stage in free]
            fitting, cuts = within_limits(self.api, self.description.namespaces, targets)
            wanted |= fitting
            refused += cuts

        # In which order: more replicas first, then what running servers take, then new pods. Fewer replicas
        # come last, and wait until the pods that stay are ready.
        plans = [plan_of(stage, wanted[stage.name], self.sparing) for stage in free]
        writes = sorted((write for plan in plans for write in plan.writes), key=lambda write: write.order)
        waiting = [change for plan in plans for change in plan.waiting]
        refused += [line for plan in plans for line in plan.refused]

        # Write. A refusal changes what is asked for from now on.
        if dry_run:
            done = Done(made=writes)
        else:
            self.set_backs.asked.clear()  # until it is known again what was written
            done = write_in_order(self.api, self._servers, writes)
            self.set_backs.asked.update({stage.name: asked_after(stage, done.made) for stage in ours})
        for write, problem in done.failed:
            refused.append(f"{write.stage.name}: {problem}")
            wanted[write.stage.name] = still_asked(write, wanted[write.stage.name], done.made)
        return Applied(
            configuration=Configuration(tuple(wanted.values())),
            changes=changes_of(done.made),
            waiting=(*waiting, *changes_of(done.left)),
            refused=tuple(refused),
            set_back=tuple(set_back),
        )

    def record_event(
        self, stage: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """One Kubernetes Event about the object of a stage; nothing where the object is not there.

        ``reason``: one word in camel case ("Scaled"); ``message``: a sentence. Raises ClusterError where the
        cluster does not take it, KeyError for a name that is no stage.
        """
        described = {one.stage.name: one for one in self.description.stages}[stage]
        try:
            live = self.api.get(described.path)
        except ApiError as error:
            if error.status == 404:
                return
            raise
        metadata, namespace = live["metadata"], live["metadata"]["namespace"]
        about = {key: metadata[key] for key in ("name", "namespace", "uid")}
        stamp = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": {"apiVersion": live["apiVersion"], "kind": live["kind"], **about},
            "reason": reason,
            "message": shortened(message, 1000),  # the API server takes 1024 bytes
            "type": kind,
            "source": {"component": MANAGER},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        self.api.create(f"/api/v1/namespaces/{namespace}/events", body)

    def close(self) -> None:
        """Close all connections."""
        self.api.close()
        self._servers.close()

    def _read(self) -> tuple[list[ObservedStage], Autoscalers]:
        stages = [observe_stage(self.api, self._servers, one) for one in self.description.stages]
        return stages, find_autoscalers(self.api, self.description.namespaces)
