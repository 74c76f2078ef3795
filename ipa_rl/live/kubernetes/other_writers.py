"""Who else writes the objects of stages: autoscalers, field managers, and who sets back what we wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ipa_rl.live.kubernetes.api import MANAGER, Api, ApiError, Document
from ipa_rl.live.kubernetes.description import StageObject
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT, KSERVE
from ipa_rl.live.kubernetes.managed_fields import last_other_writer, other_writers_of, writers_of
from ipa_rl.live.kubernetes.observed_stages import ObservedStage
from ipa_rl.live.kubernetes.paths import Path, read, show_path
from ipa_rl.live.set_backs import LEFT_ALONE_FROM, AskedFor, SetBacks, remedy

MODE = "or publish the replicas for it to follow (replicas: {mode: publish})"


@dataclass(frozen=True)
class Autoscalers:
    """All autoscalers in the stages' namespaces; ``unread``: why some cannot be seen, by namespace."""

    found: tuple[Document, ...]
    unread: Mapping[str, str]


def find_autoscalers(api: Api, namespaces: Iterable[str]) -> Autoscalers:
    """HorizontalPodAutoscalers (v1 shows those of all versions) and, where KEDA is there, ScaledObjects."""
    found: list[Document] = []
    unread: dict[str, str] = {}
    for namespace in namespaces:
        for kind, group, version, plural in (
            ("HorizontalPodAutoscaler", "autoscaling", "v1", "horizontalpodautoscalers"),
            ("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects"),
        ):
            try:
                items = api.items(f"/apis/{group}/{version}/namespaces/{namespace}/{plural}")
                found += [{**item, "kind": kind} for item in items]  # items of lists do not say it
            except ApiError as error:
                if error.status != 404:
                    unread[namespace] = f"{plural}.{group} cannot be listed in {namespace} ({error.reason})"
    return Autoscalers(tuple(found), unread)


def drivers(stage: ObservedStage, autoscalers: Autoscalers) -> list[Document]:
    """Autoscalers that drive a stage's object, or a Deployment that its operator made of it.

    What an InferenceService made for itself follows its own replica fields, and counts as none.
    """
    kind, found = stage.object.kind, []
    targets = {(kind.name, stage.object.name)}
    if kind is not DEPLOYMENT:
        targets |= {(DEPLOYMENT.name, pod.owner.rpartition("-")[0]) for pod in stage.pods}
    uid = read(stage.live, ("metadata", "uid"))
    for one in autoscalers.found:
        metadata, target = one["metadata"], read(one, ("spec", "scaleTargetRef")) or {}
        own = kind is KSERVE and uid in [owner["uid"] for owner in metadata.get("ownerReferences") or ()]
        drives = (target.get("kind", DEPLOYMENT.name), target.get("name", "")) in targets and not own
        if drives and metadata["namespace"] == stage.object.namespace:
            found.append(one)
    return found


def other_scaler(stage: ObservedStage, autoscalers: Autoscalers) -> str:
    """Why a stage's replicas are not ours to write; empty where they are.

    A manager that applies the replicas would set them back; one that set them once, as kubectl create does,
    does not count.
    """
    target, kind = stage.object, stage.object.kind
    if not target.writes_replicas:
        return ""
    for one in drivers(stage, autoscalers):
        return f"{one['kind']} {one['metadata']['name']} drives {target}; fix: delete it, {MODE}"
    if unread := autoscalers.unread.get(target.namespace):
        return f"{unread}, so {target} may have another writer; fix: allow the verb list"
    if stage.live is None or not kind.scales:
        return ""
    for writer in other_writers_of(stage.live, kind.replicas[0], kind.keyed):
        if writer.operation == "Apply":
            fix = f"leave it out of what {writer.manager} applies, {MODE}"
            return f"{writer.manager} applies {show_path(kind.replicas[0])} of {target}; fix: {fix}"
    return ""


def foreign_fields(stage: ObservedStage, paths: Iterable[Path]) -> str:
    """Why fields that are about to be applied are another manager's; empty where none is."""
    if stage.live is None:
        return ""
    for path in paths:
        if others := other_writers_of(stage.live, path, stage.object.kind.keyed):
            owner, where = others[0], f"{show_path(path)} of {stage.object}"
            fix = f"{remedy(owner.manager)}, and hand it over (docs/reference/kubernetes.md)"
            return f"{owner.manager} owns {where} ({owner.how}); fix: {fix}"
    return ""


def conflict(stage: StageObject, error: ApiError) -> str:
    """A conflict (409) of server-side apply in words: which managers own which fields."""
    causes = [c for c in error.causes if c.reason == "FieldManagerConflict"]
    if not causes:
        return f"{stage} was changed meanwhile; tried again at the next step"
    managers = " and ".join(sorted({c.message.split('"')[1] for c in causes if '"' in c.message}))
    fields = ", ".join(sorted({c.field for c in causes}))
    return f"{managers} owns {fields} of {stage}; fix: {remedy(managers)}"


def contested(
    stage: ObservedStage, changing: Iterable[Path], set_backs: SetBacks, now_s: float
) -> tuple[str, str]:
    """Why a stage is left to another writer, and which of another's changes are corrected; each may be empty.

    ``changing``: the fields that are about to change; what another sets to what is wanted anyway is no
    set-back. Of a stage that is left alone each change counts, as its writer is not quiet.
    """
    told = ""
    if set_backs.left_alone(stage.name, now_s):
        changing = stage.written_paths
    if (found := _set_back(stage, changing, set_backs.asked.get(stage.name))) is not None:
        by, what = found
        if set_backs.note(stage.name, by, what, now_s).count < LEFT_ALONE_FROM:
            told = (
                f"{stage.name}: {what}, another writer; corrected this once, left alone from the next time "
                f"on; fix: {remedy(by)}"
            )
    return set_backs.left_alone(stage.name, now_s), told


def _set_back(stage: ObservedStage, paths: Iterable[Path], asked: AskedFor | None) -> tuple[str, str] | None:
    """Who changed what was asked for last, and what, in words; None where nobody did.

    The values are compared, as releases before 1.22 do not record who scales. What another copy of ours wrote
    meanwhile is no set-back.
    """
    live = stage.live
    if asked is None or live is None or read(live, ("metadata", "uid")) != asked.uid:
        return None
    before = {path: asked.values[show_path(path)] for path in paths if show_path(path) in asked.values}
    now = {path: read(live, path) for path in before}
    changed = [path for path in before if now[path] != before[path] and not _written_by_us(stage, path)]
    if not changed:
        return None
    others = other_writers_of(live, changed[0], stage.object.kind.keyed)
    writer = others[0] if others else last_other_writer(live)
    words = ", ".join(f"{show_path(path)} {before[path]} -> {now[path]}" for path in changed)
    return (writer.manager if writer else ""), f"{words} by {writer or 'somebody'}"


def _written_by_us(stage: ObservedStage, path: Path) -> bool:
    """Whether managedFields says that the present value is ours.

    A value written through the scale subresource is so only where that is recorded; on an older release the
    entry may be from before.
    """
    assert stage.live is not None
    kind = stage.object.kind
    scaled = kind.scales and path in kind.replicas
    ours = (one for one in writers_of(stage.live, path, kind.keyed) if one.manager == MANAGER)
    return any(one.subresource == "scale" or not scaled for one in ours)
