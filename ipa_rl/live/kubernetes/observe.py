"""What the cluster shows of a stage, and the FLEET records that agents decide by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipa_rl.errors import one_line
from ipa_rl.jit import Record, Records
from ipa_rl.live.cluster import StageSeen
from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.description import Knob, StageObject
from ipa_rl.live.kubernetes.kinds import PAUSED, PAUSED_KEDA, Container, find_container, own_scalers
from ipa_rl.live.kubernetes.paths import read
from ipa_rl.live.kubernetes.pods import (
    Pod,
    ask_servers,
    batch_size,
    find_pods,
    known_variants,
    read_pod,
    said,
)
from ipa_rl.live.kubernetes.servers import Servers
from ipa_rl.pipeline import Stage
from ipa_rl.simulation.transitions import FLEET, start

OVERDUE_S = 1.0
"""Seconds left that are shown of a replica that should be ready by now."""

_TELLING = ("Progressing", "PredictorReady", "DeploymentsReady", "Ready")
"""Conditions of the kinds of objects that say, where they are false, why replicas do not come."""


@dataclass(frozen=True)
class StageView:
    """One stage as it is now.

    ``live``: the object, None where there is none. ``variant``, ``batch``: asked for by the object (by the
    most of the servers for hot and warm knobs). ``problem``: why it cannot be driven.
    """

    stage: StageObject
    live: Document | None
    container: Container | None
    desired: int
    variant: str | None
    batch: int | None
    pods: tuple[Pod, ...]
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ready(self) -> tuple[Pod, ...]:
        """Pods that serve."""
        return tuple(pod for pod in self.pods if pod.ready)

    @property
    def paused(self) -> bool:
        """Whether an annotation holds the object."""
        marks = read(self.live, ("metadata", "annotations")) or {}
        return str(marks.get(PAUSED)).lower() == "true" or marks.get(PAUSED_KEDA, "false") != "false"

    def seen(self) -> StageSeen:
        """The same in the terms of the controller."""
        ready = self.ready
        return StageSeen(
            stage=self.stage.stage.name,
            desired=self.desired,
            current=len(self.pods),
            ready=len(ready),
            variant=_most(pod.variant for pod in ready),
            batch=_most(pod.batch for pod in ready),
            asked=(self.variant, self.batch),
            restarts=sum(pod.restarts for pod in self.pods),
            unschedulable=sum(pod.unschedulable for pod in self.pods),
            problem=self.problem,
            serving=tuple((*pair, n) for pair, n in Counter((p.variant, p.batch) for p in ready).items()),
            trouble=next((pod.trouble for pod in self.pods if pod.trouble), "") or self._trouble(),
        )

    def _trouble(self) -> str:
        """Why replicas are missing, by the object's conditions."""
        conditions = read(self.live, ("status", "conditions")) or ()
        by_type = {one.get("type"): one for one in conditions}
        failed = by_type.get("ReplicaFailure", {})
        if failed.get("status") == "True":
            return said(failed)
        known = (by_type.get(kind, {}) for kind in _TELLING)
        return next((said(one) for one in known if one.get("status") == "False"), "")


def view_stage(api: Api, stage: StageObject, servers: Servers) -> StageView:
    """Read a stage's object and its pods. Raises ClusterError where the cluster does not answer."""
    try:
        live = api.get(stage.path)
    except ApiError as error:
        return _unseen(stage, None, f"{stage} {_why_unread(stage, error)}")
    container = find_container(stage.kind, live, stage.container)
    if isinstance(container, str):
        return _unseen(stage, live, f"{stage} {container}")
    try:
        found = find_pods(api, stage, live)
    except ApiError as error:
        return _unseen(stage, live, f"pods of {stage} cannot be listed: {error}; fix: see the needed rights")
    told = ask_servers(stage, found, servers)
    pods = tuple(read_pod(stage, container.name, pod, told) for pod in found)
    ready = [pod for pod in pods if pod.ready]
    variant = _asked(stage.variant, live, container, (pod.variant for pod in ready))
    batch = _asked(stage.batch, live, container, (pod.batch for pod in ready))
    return StageView(
        stage=stage,
        live=live,
        container=container,
        desired=_desired(stage, live),
        variant=variant if variant in known_variants(stage) else None,
        batch=batch_size(stage, batch),
        pods=pods,
        problem=_overridden(stage, live),
        notes=_failures(stage, live),
    )


def _unseen(stage: StageObject, live: Document | None, problem: str) -> StageView:
    desired = 0 if live is None else _desired(stage, live)
    return StageView(stage, live, None, desired, None, None, (), problem)


def _why_unread(stage: StageObject, error: ApiError) -> str:
    if error.status == 404:
        return "is not there; fix: create it, or correct kind, name and namespace"
    if error.status == 403:
        return f"may not be read; fix: allow the verb get on {stage.kind.resource}"
    return f"cannot be read: {error}"


def _overridden(stage: StageObject, live: Document) -> str:
    reason = own_scalers(stage.kind, live) if stage.writes_replicas else ""
    return f"{stage}: {reason}" if reason else ""


def _failures(stage: StageObject, live: Document) -> tuple[str, ...]:
    """What the object's status says of replicas that could not be made (quota, admission)."""
    conditions = read(live, ("status", "conditions")) or ()
    failed = [c for c in conditions if c.get("type") == "ReplicaFailure" and c.get("status") == "True"]
    return tuple(f"{stage}: {one_line(str(c.get('message', '')))}" for c in failed)


def _desired(stage: StageObject, live: Document) -> int:
    value = read(live, stage.kind.replicas[0])
    return 1 if value is None else int(value)


def _asked(knob: Knob, live: Document, container: Container, served: Iterable[Any]) -> str | None:
    if not knob.cold:
        most = _most(served)
    else:
        most = read(live, knob.place if knob.of_object else (*container.path, *knob.place))
        most = None if most is None else knob.meant(str(most))
    return None if most is None else str(most)


def _most(values: Iterable[Any]) -> Any:
    """The commonest value, None where most are not known or there is none."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def fleet_of(views: Sequence[StageView], start_up_scale: float, now_s: float) -> Records:
    """FLEET records by stage; ``now_s``: seconds since 1970."""
    fleet = np.zeros(len(views), dtype=FLEET)
    for s, view in enumerate(views):
        _fill(fleet[s], view, start_up_scale, now_s)
    return fleet


def _fill(record: Record, view: StageView, scale: float, now_s: float) -> None:
    """One stage: as `ipa_rl.simulation.transitions` has it.

    While a new variant's pods start beside the old ones', the variant of the most ready pods (the old one of
    as many) serves, and ready pods of the new one wait for the switch. Where variants change in place, all
    pods are replicas of the stage, whatever they serve now.
    """
    stage = view.stage.stage
    serving = Counter(pod.variant for pod in view.ready if pod.variant is not None)
    most = max(serving, key=lambda name: (serving[name], name != view.variant), default=None)
    active = most or view.variant or stage.variants[0].name
    target = view.variant or active
    batches = stage.variants[0].batches
    own = [pod for pod in view.ready if _counts_as(active, pod, view)]
    batch = _most(pod.batch for pod in own if pod.batch is not None) or view.batch or batches[0]
    record["active"], record["target"] = stage.index(active), stage.index(target)
    record["batch"], record["target_batch"] = batches.index(batch), batches.index(view.batch or batch)
    record["ready"], record["wanted"] = len(own), view.desired
    record["reload_left_s"] = view.stage.reload_s[target]
    if target != active and not view.stage.changes_in_place:
        record["warm"] = sum(pod.variant == target for pod in view.ready)
    for left_s, count in _cohorts(view, stage, target, scale, now_s):
        start(record, count, left_s)


def _counts_as(variant: str, pod: Pod, view: StageView) -> bool:
    """Whether a pod is a replica of that variant, or becomes one without being replaced."""
    return pod.variant == variant or view.stage.changes_in_place


def _cohorts(
    view: StageView, stage: Stage, target: str, scale: float, now_s: float
) -> list[tuple[float, int]]:
    """Seconds left and number of the target variant's replicas that start, those that are ready first first.

    Replicas that are asked for and do not exist, or find no node, have all of their start-up before them.
    """
    delay_s = stage.variant(target).start_up_s * scale
    of_target = [pod for pod in view.pods if _counts_as(target, pod, view)]
    left: Counter[float] = Counter()
    for pod in of_target:
        if not pod.ready:
            age_s = 0.0 if pod.unschedulable else max(now_s - pod.created_s, 0.0)  # clocks differ
            left[max(round(delay_s - age_s), OVERDUE_S)] += 1
    missing = view.desired - len(of_target)
    if missing > 0:
        left[max(delay_s, OVERDUE_S)] += missing
    return sorted(left.items())
