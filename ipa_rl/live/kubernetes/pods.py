"""The pods of a stage: whose they are, what they serve, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from ipa_rl.errors import one_line
from ipa_rl.live.kubernetes.api import Api, Document
from ipa_rl.live.kubernetes.description import Knob, StageObject
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT
from ipa_rl.live.kubernetes.paths import Item, read
from ipa_rl.live.kubernetes.servers import Servers

_STARTING = ("ContainerCreating", "PodInitializing")
_LONGEST = 200
"""Characters of a reason; schedulers write one that is longer for every node."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod that is not about to go.

    ``variant``, ``batch``: what it serves, None where that is not known. ``created_s``: when, seconds since
    1970. ``restarts``: of the serving container. ``trouble``: why it does not become ready, in the cluster's
    words; empty where it is ready or nothing is said.
    """

    name: str
    ip: str
    variant: str | None
    batch: int | None
    ready: bool
    created_s: float
    unschedulable: bool
    restarts: int
    owner: str
    labels: Mapping[str, str]
    trouble: str = ""


def find_pods(api: Api, stage: StageObject, live: Document) -> list[Document]:
    """The pods of a stage's object that live: by their owners (Deployment), or by the label of their kind."""
    root = f"/namespaces/{stage.namespace}"
    if stage.kind is DEPLOYMENT:
        selector = label_selector(read(live, ("spec", "selector")) or {})
        sets = api.items(f"/apis/apps/v1{root}/replicasets", selector)
        uids = {one["metadata"]["uid"] for one in sets if _owner(one) == live["metadata"]["uid"]}
        pods = api.items(f"/api/v1{root}/pods", selector)
        pods = [pod for pod in pods if _owner(pod) in uids]
    else:
        pods = api.items(f"/api/v1{root}/pods", f"{stage.kind.pod_label}={stage.name}")
    return [pod for pod in pods if _lives(pod)]


def label_selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as the query of a list has it."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or ():
        key, operator, values = rule["key"], rule["operator"], ",".join(rule.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return ",".join(parts)


Told: TypeAlias = Mapping[tuple[str, str], str]
"""What servers run with, by template and address."""


def ask_servers(stage: StageObject, pods: Iterable[Document], servers: Servers) -> Told:
    """What the servers of the ready pods say of a stage's knobs, where they are asked for it."""
    ips = [ip for pod in pods if _is_ready(pod) and (ip := read(pod, ("status", "podIP")))]
    knobs = [knob for knob in (stage.variant, stage.batch) if knob.get]
    return servers.told((knob.get, ip) for knob in knobs for ip in ips)


def read_pod(stage: StageObject, container: str, pod: Document, told: Told) -> Pod:
    """What a pod shows of its stage; ``told``: what its server says."""
    statuses = read(pod, ("status", "containerStatuses")) or ()
    variant = _value(stage.variant, container, pod, told)
    batch = _value(stage.batch, container, pod, told)
    return Pod(
        name=pod["metadata"]["name"],
        ip=read(pod, ("status", "podIP")) or "",
        variant=variant if variant in known_variants(stage) else None,
        batch=batch_size(stage, batch),
        ready=_is_ready(pod),
        created_s=_seconds(pod["metadata"]["creationTimestamp"]),
        unschedulable=_condition(pod, "PodScheduled").get("reason") == "Unschedulable",
        restarts=sum(s.get("restartCount", 0) for s in statuses if s.get("name") == container),
        owner=(pod["metadata"].get("ownerReferences") or [{}])[0].get("name", ""),
        labels=pod["metadata"].get("labels") or {},
        trouble="" if _is_ready(pod) else _trouble(pod),
    )


def known_variants(stage: StageObject) -> tuple[str, ...]:
    """Names of the stage's variants."""
    return tuple(variant.name for variant in stage.stage.variants)


def batch_size(stage: StageObject, text: str | None) -> int | None:
    """A batch size that the stage's variants offer, None for any other text."""
    offered = {str(b): b for b in stage.stage.variants[0].batches}
    return offered.get(text) if text is not None else None


def _is_ready(pod: Document) -> bool:
    return _condition(pod, "Ready").get("status") == "True"


def _condition(pod: Document, kind: str) -> Document:
    """A condition of a pod's status, empty where it is not there."""
    return read(pod, ("status", "conditions", Item("type", kind))) or {}


def _value(knob: Knob, container: str, pod: Document, told: Told) -> str | None:
    if knob.get:
        value = told.get((knob.get, read(pod, ("status", "podIP")) or ""))
    elif knob.of_object:
        value = read(pod, knob.seen)
    else:
        value = read(pod, ("spec", "containers", Item("name", container), *knob.seen))
    return None if value is None else knob.meant(str(value))


def _trouble(pod: Document) -> str:
    """Why a pod is not ready: no node, a container that waits (image, crash loop, settings) or has ended."""
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("reason") == "Unschedulable":
        return said(scheduled)
    lists = (read(pod, ("status", name)) or () for name in ("initContainerStatuses", "containerStatuses"))
    for status in (one for statuses in lists for one in statuses):
        waiting = read(status, ("state", "waiting")) or {}
        ended = read(status, ("lastState", "terminated")) or read(status, ("state", "terminated")) or {}
        if waiting.get("reason") not in (None, *_STARTING):
            return said(waiting) + (f" (ended by {ended['reason']})" if ended.get("reason") else "")
    return ""


def said(one: Document) -> str:
    """Reason and message in one short line."""
    parts = (str(one[key]) for key in ("reason", "message") if one.get(key))
    text = one_line(": ".join(parts))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _owner(one: Document) -> str | None:
    owners = one["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def _lives(pod: Document) -> bool:
    ended = read(pod, ("status", "phase")) in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in pod["metadata"]


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
