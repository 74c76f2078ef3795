"""Who else writes the fields of a stage: autoscalers that drive its object, other field managers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.description import StageObject
from ipa_rl.live.kubernetes.fields import managers_of
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT, KSERVE, PAUSED_KEDA
from ipa_rl.live.kubernetes.observe import StageView
from ipa_rl.live.kubernetes.paths import Path, read, show_path
from ipa_rl.live.set_backs import remedy

MODE = "or publish the replicas for it to follow (replicas: {mode: publish})"


@dataclass(frozen=True, slots=True)
class Scaler:
    """An autoscaler of a namespace and the object that it drives."""

    kind: str
    name: str
    namespace: str
    target_kind: str
    target_name: str
    paused: bool
    owners: frozenset[str]


@dataclass(frozen=True)
class Scalers:
    """All autoscalers beside the stages; ``unread``: why some cannot be seen, by namespace."""

    found: tuple[Scaler, ...]
    unread: Mapping[str, str]


def find_scalers(api: Api, namespaces: Iterable[str]) -> Scalers:
    """HorizontalPodAutoscalers (v1 shows those of all versions) and, where KEDA is there, ScaledObjects."""
    found: list[Scaler] = []
    unread: dict[str, str] = {}
    for namespace in namespaces:
        for kind, group, plural in (
            ("HorizontalPodAutoscaler", "autoscaling/v1", "horizontalpodautoscalers"),
            ("ScaledObject", "keda.sh/v1alpha1", "scaledobjects"),
        ):
            try:
                items = api.items(f"/apis/{group}/namespaces/{namespace}/{plural}")
            except ApiError as error:
                if error.status != 404:
                    right = f"{plural}.{group.partition('/')[0]}"
                    unread[namespace] = f"{right} cannot be listed in {namespace} ({error.reason})"
                continue
            found += [_scaler(kind, namespace, item) for item in items]
    return Scalers(tuple(found), unread)


def _scaler(kind: str, namespace: str, item: Document) -> Scaler:
    target: Mapping[str, Any] = read(item, ("spec", "scaleTargetRef")) or {}
    metadata = item["metadata"]
    return Scaler(
        kind=kind,
        name=metadata["name"],
        namespace=namespace,
        target_kind=target.get("kind", DEPLOYMENT.name),
        target_name=target.get("name", ""),
        paused=(metadata.get("annotations") or {}).get(PAUSED_KEDA, "false") != "false",
        owners=frozenset(owner["uid"] for owner in metadata.get("ownerReferences") or ()),
    )


def drivers(view: StageView, scalers: Scalers) -> list[Scaler]:
    """Autoscalers that drive a stage's object, or a Deployment that its operator made of it.

    What an InferenceService made for itself follows its own replica fields, and counts as none.
    """
    stage = view.stage
    targets = {(stage.kind.name, stage.name)}
    if stage.kind is not DEPLOYMENT:
        targets |= {(DEPLOYMENT.name, pod.owner.rpartition("-")[0]) for pod in view.pods}
    uid = read(view.live, ("metadata", "uid"))
    return [
        one
        for one in scalers.found
        if one.namespace == stage.namespace
        and (one.target_kind, one.target_name) in targets
        and not (stage.kind is KSERVE and uid in one.owners)
    ]


def other_scaler(view: StageView, scalers: Scalers) -> str:
    """Why a stage's replicas are not ours to write; empty where they are."""
    stage = view.stage
    if not stage.writes_replicas:
        return ""
    for one in drivers(view, scalers):
        return f"{one.kind} {one.name} drives {stage}; fix: delete it, {MODE}"
    if stage.namespace in scalers.unread:
        return (
            f"{scalers.unread[stage.namespace]}, so {stage} may have another writer; fix: allow the verb list"
        )
    return _applier_of_replicas(view)


def _applier_of_replicas(view: StageView) -> str:
    """Another who applies the replicas (and would set them back), if there is one.

    A manager that set them once, as kubectl create does, is none.
    """
    if view.live is None or not view.stage.kind.scales:
        return ""
    path = view.stage.kind.replicas[0]
    for writer in managers_of(view.live, path, view.stage.kind.keyed):
        if writer.operation == "Apply":
            fix = f"leave it out of what {writer.manager} applies, {MODE}"
            return f"{writer.manager} applies {show_path(path)} of {view.stage}; fix: {fix}"
    return ""


def conflict(stage: StageObject, error: ApiError) -> str:
    """A conflict (409) of server-side apply in words: which managers own which fields."""
    causes = [c for c in error.causes if c.reason == "FieldManagerConflict"]
    if not causes:
        return f"{stage} was changed meanwhile; done again at the next step"
    managers = sorted({c.message.split('"')[1] for c in causes if '"' in c.message})
    fields = ", ".join(sorted({c.field for c in causes}))
    fix = remedy(" and ".join(managers))
    return f"{' and '.join(managers)} owns {fields} of {stage}; fix: {fix}"


def foreign_fields(view: StageView, paths: Sequence[Path]) -> str:
    """As `conflict`, foretold from managedFields for fields that are about to change; empty where none."""
    if view.live is None:
        return ""
    for path in paths:
        others = managers_of(view.live, path, view.stage.kind.keyed)
        if others:
            owner, where = others[0], f"{show_path(path)} of {view.stage}"
            fix = f"{remedy(owner.manager)}, and hand it over (docs/reference/kubernetes.md)"
            return f"{owner.manager} owns {where} ({owner.how}); fix: {fix}"
    return ""
