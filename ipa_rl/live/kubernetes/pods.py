"""The pods of a stage: what they serve, since when, why not, and what their servers take over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from ipa_rl.errors import one_line, shortened
from ipa_rl.live.calls import Call, UnansweredError, connections
from ipa_rl.live.kubernetes.api import Api, Document
from ipa_rl.live.kubernetes.description import Knob, StageObject
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT
from ipa_rl.live.kubernetes.paths import Item, read

ANSWER_S = 2.0
"""Seconds for a server's whole answer; servers are in the same cluster."""

_LARGEST_BYTES = 4096
_STARTING = ("ContainerCreating", "PodInitializing")
_LONGEST_REASON = 200
"""Most characters of a reason; schedulers write longer ones, a part for every node."""

Told: TypeAlias = Mapping[tuple[str, str], str]
"""What servers run with, by URL template and address."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    ``variant``, ``batch``: what it serves, None where that is not known. ``created_s``: when, seconds since
    1970. ``restarts``: of the serving container. ``trouble``: why it does not become ready, in the cluster's
    words; empty where it is ready or nothing is said. ``ending``: whether it is about to go.
    """

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
    ending: bool = False


class PodServers:
    """Hot and warm knobs: short requests to the servers in pods.

    A server that does not answer is tried again at the next step.
    """

    def __init__(self) -> None:
        self._pool = connections(num_pools=32, maxsize=1)

    def told(self, asked: Iterable[tuple[str, str]]) -> Told:
        """What servers run with, by template and address, asked at once; without those that do not say."""
        calls = {one: self._call("GET", one[0].format(ip=one[1], value="")) for one in dict.fromkeys(asked)}
        told = {}
        for one, call in calls.items():
            with suppress(UnansweredError):
                answer = call.answer()
                if answer.status == 200:
                    told[one] = one_line(answer.text.strip().strip('"'))
        return told

    def take(self, template: str, ip: str, value: str) -> str:
        """Let the server at ``ip`` run with another value; why it did not, empty where it did."""
        url = template.format(ip=ip, value=value)
        try:
            answer = self._call("PUT", url).answer()
        except UnansweredError as error:
            return f"PUT {url}: no answer: {error}"
        return "" if answer.status < 300 else f"PUT {url}: {answer.status}"

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _call(self, method: str, url: str) -> Call:
        return Call(self._pool, method, url, within_s=ANSWER_S, at_most=_LARGEST_BYTES)


def read_pods(
    api: Api, servers: PodServers, stage: StageObject, live: Document, container: str
) -> tuple[Pod, ...]:
    """The pods of a stage's object, those that are about to go among them, and what they serve.

    Servers of live knobs are asked for it, but for those that end. ``container``: the name of the serving
    one. Raises ApiError where pods may not be listed.
    """
    found = _find_pods(api, stage, live)
    ready = [pod for pod in found if _is_ready(pod) and not _ends(pod)]
    ips = [ip for pod in ready if (ip := read(pod, ("status", "podIP")))]
    told = servers.told((knob.get, ip) for knob in stage.knobs.values() if knob.get for ip in ips)
    return tuple(_read_pod(stage, container, pod, told) for pod in found)


def _find_pods(api: Api, stage: StageObject, live: Document) -> list[Document]:
    """Pods by their owners (Deployment), or by the label of their kind, without those that have ended."""
    root = f"/namespaces/{stage.namespace}"
    if stage.kind is DEPLOYMENT:
        selector = label_selector(read(live, ("spec", "selector")) or {})
        sets = api.items(f"/apis/apps/v1{root}/replicasets", selector)
        uids = {one["metadata"]["uid"] for one in sets if _owner(one) == live["metadata"]["uid"]}
        found = api.items(f"/api/v1{root}/pods", selector)
        pods = [pod for pod in found if _owner(pod) in uids or _outlives_its_set(pod, stage.name)]
    else:
        pods = api.items(f"/api/v1{root}/pods", f"{stage.kind.pod_label}={stage.name}")
    ended = ("Succeeded", "Failed")
    return [pod for pod in pods if read(pod, ("status", "phase")) not in ended]


def label_selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as the query of a list has it."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or ():
        key, values = rule["key"], ",".join(rule.get("values") or ())
        written = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(written[rule["operator"]])
    return ",".join(parts)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector that names something selects these labels."""
    rules = selector.get("matchExpressions") or ()
    wanted = selector.get("matchLabels") or {}

    def holds(rule: Mapping[str, Any]) -> bool:
        value, values = labels.get(rule["key"]), rule.get("values") or ()
        return {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]

    return bool(wanted or rules) and wanted.items() <= labels.items() and all(map(holds, rules))


def _read_pod(stage: StageObject, container: str, pod: Document, told: Told) -> Pod:
    metadata, ready, scheduled = pod["metadata"], _is_ready(pod), condition(pod, "PodScheduled")
    statuses = read(pod, ("status", "containerStatuses")) or ()
    server = read(pod, ("spec", "containers", Item("name", container)))
    return Pod(
        ip=read(pod, ("status", "podIP")) or "",
        variant=stage.meant_variant(
            _value(stage.variant, container, pod, told), read(pod, ("spec",)), server
        ),
        batch=stage.meant_batch(_value(stage.batch, container, pod, told)),
        ready=ready,
        created_s=datetime.fromisoformat(metadata["creationTimestamp"]).timestamp(),
        unschedulable=scheduled.get("reason") == "Unschedulable",
        restarts=sum(s.get("restartCount", 0) for s in statuses if s.get("name") == container),
        owner=(metadata.get("ownerReferences") or [{}])[0].get("name", ""),
        labels=metadata.get("labels") or {},
        trouble="" if ready else _trouble(pod),
        ending=_ends(pod),
    )


def _value(knob: Knob, container: str, pod: Document, told: Told) -> Any:
    """What a pod's server says of a knob, or, where it is not asked, the pod's own specification."""
    if knob.get:
        return told.get((knob.get, read(pod, ("status", "podIP")) or ""))
    return read(pod, knob.pod_path(container))


def _trouble(pod: Document) -> str:
    """Why a pod is not ready: no node, a container that waits (image, crash loop, settings) or has ended."""
    scheduled = condition(pod, "PodScheduled")
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
    """Reason and message of a condition or a status in one short line."""
    parts = (str(one[key]) for key in ("reason", "message") if one.get(key))
    return shortened(one_line(": ".join(parts)), _LONGEST_REASON)


def _is_ready(pod: Document) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def _ends(pod: Document) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def condition(live: Document | None, kind: str) -> Document:
    """A condition of an object's status, empty where it is not there."""
    return read(live, ("status", "conditions", Item("type", kind))) or {}


def _outlives_its_set(pod: Document, deployment: str) -> bool:
    """Whether a pod ends of which the ReplicaSet has gone: few old ones are kept (revisionHistoryLimit)."""
    owners = pod["metadata"].get("ownerReferences") or ()
    sets = (str(one.get("name")) for one in owners if one.get("kind") == "ReplicaSet")
    return _ends(pod) and any(name.startswith(f"{deployment}-") for name in sets)


def _owner(one: Document) -> str | None:
    owners = one["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
