"""What the cluster shows of a stage, and the FLEET records that agents decide by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipa_rl.jit import Records
from ipa_rl.live.cluster import StageSeen, enter_starting
from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.description import StageObject
from ipa_rl.live.kubernetes.kinds import PAUSED, Container, find_container, keda_paused, replicas_overridden
from ipa_rl.live.kubernetes.paths import Path, read
from ipa_rl.live.kubernetes.placements import placed_paths
from ipa_rl.live.kubernetes.pods import Pod, PodServers, condition, read_pods, said
from ipa_rl.pipeline import StageConfig
from ipa_rl.simulation.transitions import FLEET

_TELLING = ("Progressing", "PredictorReady", "DeploymentsReady", "Ready")
"""Conditions of the kinds of objects that say, where they are false, why replicas do not come."""


@dataclass(frozen=True)
class ObservedStage:
    """One stage as it is now.

    ``live``: the object as it is read, None where there is none; ``container``: the one that serves, None
    where it is not found. ``desired``: replicas that the object asks for, as it does for ``variant`` and
    ``batch`` (of hot and warm knobs: what most servers run with); None where not known. ``pods``: without
    those that are ``ending``. ``problem``: why the stage cannot be driven.
    """

    object: StageObject
    live: Document | None
    container: Container | None
    desired: int
    variant: str | None
    batch: int | None
    pods: tuple[Pod, ...]
    problem: str = ""
    ending: tuple[Pod, ...] = ()

    @property
    def name(self) -> str:
        """Of the stage in its pipeline."""
        return self.object.stage.name

    @property
    def ready(self) -> tuple[Pod, ...]:
        """Pods that serve."""
        return tuple(pod for pod in self.pods if pod.ready)

    @property
    def paused(self) -> bool:
        """Whether an annotation holds the object."""
        mark = read(self.live, ("metadata", "annotations", PAUSED))
        return str(mark).lower() == "true" or keda_paused(self.live)

    @property
    def placed_paths(self) -> tuple[Path, ...]:
        """Paths of what the pods ask for, as far as it follows the variant."""
        if self.container is None:
            return ()
        return placed_paths(self.object.placements, self.object.cores, self.container)

    @property
    def cold_paths(self) -> tuple[Path, ...]:
        """Paths of the object's fields whose change replaces pods."""
        if self.container is None:
            return ()
        cold = (knob.path(self.container) for knob in self.object.knobs.values() if knob.cold)
        return (*cold, *self.placed_paths)

    @property
    def written_paths(self) -> tuple[Path, ...]:
        """Paths of all of the object's fields that are written here."""
        return (*self.cold_paths, *self.object.replicas_paths)

    @property
    def failure(self) -> str:
        """Why replicas could not be made (quota, admission), by the object's status."""
        failed = condition(self.live, "ReplicaFailure")
        return said(failed) if failed.get("status") == "True" else ""

    def held(self, wanted: StageConfig) -> StageConfig:
        """What the stage is asked for now, as far as that is known."""
        if self.variant is None or self.batch is None:
            return wanted
        return StageConfig(self.variant, self.batch, max(self.desired, 1))

    def seen(self, problem: str = "") -> StageSeen:
        """The same in the terms of the controller; ``problem``: another one, where it has none of its own."""
        ready = self.ready
        return StageSeen(
            stage=self.name,
            desired=self.desired,
            current=len(self.pods),
            ready=len(ready),
            variant=_most(pod.variant for pod in ready),
            batch=_most(pod.batch for pod in ready),
            asked=(self.variant, self.batch),
            restarts=sum(pod.restarts for pod in self.pods),
            unschedulable=sum(pod.unschedulable for pod in self.pods),
            problem=self.problem or problem,
            serving=tuple((*pair, n) for pair, n in Counter((p.variant, p.batch) for p in ready).items()),
            trouble=next((pod.trouble for pod in self.pods if pod.trouble), "") or self._trouble(),
            ending=tuple(Counter(self._variant_of(pod) for pod in (*self.ending, *self._left_over)).items()),
        )

    @property
    def serving(self) -> str:
        """The variant of the most ready pods, the old one if both have as many."""
        counts = Counter(pod.variant for pod in self.ready if pod.variant is not None)
        ranks = {name: (count, name != self.variant) for name, count in counts.items()}
        known = max(ranks, key=ranks.__getitem__, default=self.variant)
        return known or self.object.stage.variants[0].name

    @property
    def _left_over(self) -> tuple[Pod, ...]:
        """Pods that `fleet_of` does not count.

        Of other variants than that which serves and that which is asked for, of none that is known, and old
        ones that never became ready.
        """
        if self.object.changes_in_place:
            return ()
        others = (pod for pod in self.pods if pod.variant != (self.variant or self.serving))
        return tuple(pod for pod in others if not pod.ready or pod.variant != self.serving)

    def _variant_of(self, pod: Pod) -> str:
        """Of which it is, the first where that is not known."""
        return pod.variant or self.object.stage.variants[0].name

    def _trouble(self) -> str:
        """Why replicas are missing, by the object's conditions."""
        known = (condition(self.live, kind) for kind in _TELLING)
        return self.failure or next((said(one) for one in known if one.get("status") == "False"), "")


def observe_stage(api: Api, servers: PodServers, stage: StageObject) -> ObservedStage:
    """Read a stage's object and its pods. Raises ClusterError where the cluster does not answer."""
    try:
        live = api.get(stage.path)
    except ApiError as error:
        why = {
            404: "is not there; fix: create it, or correct kind, name and namespace",
            403: f"may not be read; fix: allow the verb get on {stage.kind.resource}",
        }.get(error.status, f"cannot be read: {error}")
        return ObservedStage(stage, None, None, 0, None, None, (), f"{stage} {why}")
    given = read(live, stage.kind.replicas[0])
    desired = 1 if given is None else int(given)
    container = find_container(stage.kind, live, stage.container)
    if isinstance(container, str):
        return ObservedStage(stage, live, None, desired, None, None, (), f"{stage} {container}")
    try:
        found = read_pods(api, servers, stage, live, container.name)
    except ApiError as error:
        fix = "allow the verb list on pods and replicasets"
        problem = f"pods of {stage} cannot be listed: {error}; fix: {fix}"
        return ObservedStage(stage, live, None, desired, None, None, (), problem)
    pods, ending = (tuple(pod for pod in found if pod.ending == ends) for ends in (False, True))
    asked: dict[str, Any] = {}
    for name, knob in stage.knobs.items():
        if not knob.cold:
            asked[name] = _most(getattr(pod, name) for pod in pods if pod.ready)
    if stage.variant.cold:
        value = read(live, stage.variant.path(container))
        asked["variant"] = stage.meant_variant(value, read(live, container.pod), read(live, container.path))
    if stage.batch.cold:
        asked["batch"] = stage.meant_batch(read(live, stage.batch.path(container)))
    overridden = replicas_overridden(stage.kind, live) if stage.writes_replicas else ""
    return ObservedStage(
        object=stage,
        live=live,
        container=container,
        desired=desired,
        **asked,
        pods=pods,
        ending=ending,
        problem=f"{stage}: {overridden}" if overridden else "",
    )


def _most(values: Iterable[Any]) -> Any:
    """The commonest value, None where most are not known or there is none."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def fleet_of(stages: Sequence[ObservedStage], start_up_scale: float, now_s: float) -> Records:
    """FLEET records by stage, as `ipa_rl.simulation.transitions` has them; ``now_s``: seconds since 1970.

    While pods of a new variant start next to the old ones, the variant with the most ready pods serves (the
    old one if both have as many), and ready pods of the new one wait for the switch. Where variants change in
    place, all pods are replicas of the stage, no matter which variant they serve now.
    """
    fleet = np.zeros(len(stages), dtype=FLEET)
    for record, stage in zip(fleet, stages, strict=True):
        model, in_place = stage.object.stage, stage.object.changes_in_place
        active = stage.serving
        target = stage.variant or active
        batches = model.variants[0].batches
        own = [pod for pod in stage.ready if in_place or pod.variant == active]
        batch = _most(pod.batch for pod in own if pod.batch is not None) or stage.batch or batches[0]
        record["active"], record["target"] = model.index(active), model.index(target)
        record["batch"], record["target_batch"] = batches.index(batch), batches.index(stage.batch or batch)
        record["ready"], record["wanted"] = len(own), stage.desired
        record["reload_left_s"] = stage.object.reload_s[target]
        if target != active and not in_place:
            record["warm"] = sum(pod.variant == target for pod in stage.ready)
        of_target = [pod for pod in stage.pods if in_place or pod.variant == target]
        # A pod that finds no node has all of its start-up before it, as if it began now.
        began_s = [now_s if pod.unschedulable else pod.created_s for pod in of_target if not pod.ready]
        start_up_s = model.variant(target).start_up_s * start_up_scale
        enter_starting(record, began_s, stage.desired - len(of_target), start_up_s, now_s)
    return fleet
