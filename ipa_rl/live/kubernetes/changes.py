"""What differs between what is asked for and what is wanted, when it may be written, and each write.

`ipa_rl.live.kubernetes.cluster.KubernetesCluster.apply` puts these together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from ipa_rl.live.cluster import Applied, Change
from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.description import KnobClass
from ipa_rl.live.kubernetes.kinds import update_strategy
from ipa_rl.live.kubernetes.managed_fields import applied_document, other_writers_of
from ipa_rl.live.kubernetes.observed_stages import ObservedStage
from ipa_rl.live.kubernetes.other_writers import conflict, foreign_fields
from ipa_rl.live.kubernetes.paths import Path, read, show_path
from ipa_rl.live.kubernetes.placements import CPU, is_placed, placed_knob, placed_value, shown
from ipa_rl.live.kubernetes.pods import Pod, PodServers
from ipa_rl.live.kubernetes.shapes import share_of
from ipa_rl.live.set_backs import AskedFor
from ipa_rl.pipeline import StageConfig

TRIES = 5
"""How often a write is tried on an object that another changes in between."""


class WriteOrder(IntEnum):
    """When a write comes within a change: capacity grows first and shrinks last."""

    more_replicas = 0
    hot = 1
    warm = 2
    cold = 3
    fewer_replicas = 4


@dataclass(frozen=True)
class Difference:
    """A field of a stage's object that is not as wanted: its path, the wanted value, the same in words.

    ``value``: None where the field is to go.
    """

    path: Path
    value: Any
    change: Change


@dataclass(frozen=True)
class Write:
    """One write of a stage: ``fields`` of its object, or ``puts`` to its servers.

    ``scales``: the fields are the replicas, and go through the scale subresource. ``puts``: URL template,
    pod's address and value.
    """

    stage: ObservedStage
    order: WriteOrder
    changes: tuple[Change, ...]
    fields: Mapping[Path, Any] = field(default_factory=dict)
    scales: bool = False
    puts: tuple[tuple[str, str, str], ...] = ()


@dataclass
class StagePlan:
    """How a stage gets to what is wanted: writes, changes that wait, and what is refused and why."""

    writes: list[Write] = field(default_factory=list)
    waiting: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass
class Done:
    """What came of writes: which were made, which refused and why, and which are left for the next call."""

    made: list[Write] = field(default_factory=list)
    failed: list[tuple[Write, str]] = field(default_factory=list)
    left: list[Write] = field(default_factory=list)


def changes_of(writes: Iterable[Write]) -> tuple[Change, ...]:
    """What writes change, in words."""
    return tuple(change for write in writes for change in write.changes)


def differences_of(stage: ObservedStage, wanted: StageConfig) -> list[Difference]:
    """All fields of a stage's object that are not as wanted: those that take, free or replace pods."""
    return cold_differences(stage, wanted) + replicas_differences(stage, wanted)


def cold_differences(stage: ObservedStage, wanted: StageConfig) -> list[Difference]:
    """Fields whose change replaces pods: those of the cold knobs, and what the pods ask for.

    Where the variant is on a device, cores follow nothing: those that are ours go, others' stay.
    """
    assert stage.container is not None
    found: list[Difference] = []
    for name, knob in stage.object.knobs.items():
        before, after, path = getattr(stage, name), str(getattr(wanted, name)), knob.path(stage.container)
        present = read(stage.live, path)
        if knob.cold and present != knob.written(after):
            told = str(before if before is not None else present or "unset")
            found.append(Difference(path, knob.written(after), Change(stage.name, name, told, after)))
    variant, live = stage.object.stage.variant(wanted.variant), stage.live or {}
    for path in stage.placed_paths:
        present = read(live, path)
        value = placed_value(stage.object.placements, variant, path, present)
        if is_placed(path, present, value):
            continue
        others_stay = path[-1] == CPU and value is None
        if others_stay and other_writers_of(live, path, stage.object.kind.keyed):
            continue
        change = Change(stage.name, placed_knob(path), shown(present), shown(value))
        found.append(Difference(path, value, change))
    return found


def replicas_differences(stage: ObservedStage, wanted: StageConfig) -> list[Difference]:
    """The fields that say how many replicas, where one of them is not as wanted."""
    paths = stage.object.replicas_paths
    present = [read(stage.live, path) for path in paths]
    if all((1 if given is None else given) == wanted.replicas for given in present):
        return []
    change = Change(stage.name, "replicas", str(stage.desired), str(wanted.replicas))
    return [Difference(path, wanted.replicas, change) for path in paths]


def forbidden(stage: ObservedStage, wanted: StageConfig) -> str:
    """Why fields that are applied may not change, or pods not be replaced; empty where they may."""
    cold, replicas = cold_differences(stage, wanted), replicas_differences(stage, wanted)
    applied = cold if stage.object.kind.scales else cold + replicas
    foreign = foreign_fields(stage, [difference.path for difference in applied])
    return foreign or (_loses_capacity(stage, wanted) if cold else "")


def _loses_capacity(stage: ObservedStage, wanted: StageConfig) -> str:
    """Why replacing the pods would take some away before new ones serve; empty where it does not."""
    strategy = update_strategy(stage.object.kind, stage.live or {})
    if strategy is None:
        return ""
    replicas = max(stage.desired, wanted.replicas)
    lost = share_of((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"), replicas)
    if strategy.get("type") == "Recreate":
        taken = "all replicas"
    elif lost:
        taken = f"{lost} of {replicas} replicas"
    else:
        return ""
    fix = "let rollingUpdate be {maxUnavailable: 0, maxSurge: 100%}"
    return f"the update strategy of {stage.object} takes {taken} away before new ones serve; fix: {fix}"


def plan_of(stage: ObservedStage, wanted: StageConfig, sparing: bool = False) -> StagePlan:
    """What to write to a stage now, so that the pods that serve never become fewer than are to serve.

    ``sparing``: no more of the old pods come either: more replicas wait until all pods are new ones.
    """
    cold, replicas = cold_differences(stage, wanted), replicas_differences(stage, wanted)
    growing = wanted.replicas > stage.desired
    plan = _plan_for_servers(stage, wanted)
    # Fewer replicas wait until the pods that stay are ready: Kubernetes might end those that serve. More
    # would first be those of the old template.
    rolls = _has_old_pods(stage, wanted) if growing else _still_rolling(stage, wanted)
    if replicas and (sparing or not growing) and (cold or rolls):
        plan.waiting.append(replicas[0].change)
        replicas = []
    if replicas and stage.object.kind.scales:
        order = WriteOrder.more_replicas if growing else WriteOrder.fewer_replicas
        plan.writes.append(_write_of(stage, order, replicas, scales=True))
        replicas = []
    # Everything that replaces pods goes out in one request, so that there is one rolling update. With it go
    # the replicas of a kind that has no scale subresource.
    if cold or replicas:
        order = WriteOrder.cold if cold or growing else WriteOrder.fewer_replicas
        plan.writes.append(_write_of(stage, order, cold + replicas))
    return plan


def _write_of(
    stage: ObservedStage, order: WriteOrder, differences: Sequence[Difference], scales: bool = False
) -> Write:
    changes = dict.fromkeys(one.change for one in differences)  # of requests and limits there are two
    return Write(stage, order, tuple(changes), {one.path: one.value for one in differences}, scales)


def _has_old_pods(stage: ObservedStage, wanted: StageConfig) -> bool:
    """Whether there are pods of another variant or batch size, which only new pods change."""
    return not all(is_new(stage, pod, wanted) for pod in stage.pods)


def _still_rolling(stage: ObservedStage, wanted: StageConfig) -> bool:
    """Whether fewer pods than are to stay serve what is wanted, while others still serve in their place."""
    staying = sum(is_new(stage, pod, wanted) for pod in stage.ready)
    return staying < min(wanted.replicas, stage.desired) and staying < len(stage.ready)


def is_new(stage: ObservedStage, pod: Pod, wanted: StageConfig) -> bool:
    """Whether a pod is as wanted in all that only new pods change."""
    cold = (name for name, knob in stage.object.knobs.items() if knob.cold)
    return all(getattr(pod, name) == getattr(wanted, name) for name in cold)


def _plan_for_servers(stage: ObservedStage, wanted: StageConfig) -> StagePlan:
    """Values that running servers are to take: all at once where hot, one server at a time where warm."""
    plan = StagePlan()
    for name, knob in stage.object.knobs.items():
        after = getattr(wanted, name)
        odd = [pod for pod in stage.ready if getattr(pod, name) != after]
        if knob.cold or not odd:
            continue
        change = Change(stage.name, name, str(getattr(odd[0], name) or "unknown"), str(after))
        if knob.knob_class is KnobClass.warm:
            if len(stage.ready) == 1:
                gap = "one replica cannot reload without a gap; fix: run two"
                plan.refused.append(f"{stage.name}: {name}: {gap}")
                continue
            if len(stage.ready) < stage.desired:  # a server that reloads would leave one more missing
                plan.waiting.append(change)
                continue
            plan.waiting += [change] if len(odd) > 1 else []
            odd = odd[:1]
        puts = tuple((knob.put or "", pod.ip, knob.written(str(after))) for pod in odd)
        plan.writes.append(Write(stage, WriteOrder[knob.knob_class.value], (change,), puts=puts))
    return plan


def write_in_order(api: Api, servers: PodServers, writes: Iterable[Write]) -> Done:
    """Make writes in their order. Raises ClusterError where the cluster does not answer.

    After a refused write the rest of its stage is left for the next call: without the replicas that were to
    come first, new pods might serve less.
    """
    done = Done()
    for write in writes:
        if any(one.stage is write.stage for one, _ in done.failed):
            done.left.append(write)
        elif problem := _write(api, servers, write, done.made):
            done.failed.append((write, problem))
        else:
            done.made.append(write)
    return done


def asked_after(stage: ObservedStage, made: Iterable[Write]) -> AskedFor:
    """What an object asks for in the fields that are written here, to compare the next look with."""
    fields = {path: read(stage.live, path) for path in stage.written_paths}
    for write in made:
        fields |= write.fields if write.stage is stage else {}
    values = {show_path(path): value for path, value in fields.items()}
    return AskedFor(str(read(stage.live, ("metadata", "uid"))), values)


def still_asked(failed: Write, wanted: StageConfig, made: Iterable[Write]) -> StageConfig:
    """What a stage is asked for once a write was refused.

    A server that refuses a value is asked for it again and again, so that is still what is wanted.
    """
    if failed.puts:
        return wanted
    kept = failed.stage.held(wanted)
    scaled = any(write.scales and write.stage is failed.stage for write in made)
    return replace(kept, replicas=wanted.replicas) if scaled else kept


def _write(api: Api, servers: PodServers, write: Write, made: Iterable[Write]) -> str:
    """Make one write. Why it was refused, empty where it was made."""
    stage = write.stage.object
    try:
        if write.scales:
            api.scale(stage.path, next(iter(write.fields.values())))
        elif write.puts:
            return next((problem for put in write.puts if (problem := servers.take(*put))), "")
        else:
            changed = any(one.fields and one.stage is write.stage for one in made)
            _apply_fields(api, write, api.get(stage.path) if changed else write.stage.live)
    except ApiError as error:
        if error.status == 409:
            return conflict(stage, error)
        if error.status == 404:
            return f"{stage} is gone; it is changed once it is back"
        if error.status == 403:
            resource = f"{stage.kind.resource}/scale" if write.scales else stage.kind.resource
            return f"{stage} may not be changed; fix: allow the verb patch on {resource} ({error.message})"
        return f"{stage} was not changed: {error}"
    return ""


def _apply_fields(api: Api, write: Write, live: Document | None) -> None:
    """Server-side apply; where another changes the object in between, once more on what it is then."""
    stage = write.stage.object
    for left in reversed(range(TRIES)):
        assert live is not None  # a stage without an object has no writes
        try:
            api.apply(stage.path, applied_document(live, write.fields, stage.kind.keyed))
            return
        except ApiError as error:
            owned = any(cause.reason == "FieldManagerConflict" for cause in error.causes)
            if error.status != 409 or owned or not left:
                raise
        live = api.get(stage.path)


def difference(applied: Applied) -> str:
    """Changes as a diff to read: one block a stage, what waits and what is refused beneath.

    >>> from ipa_rl.pipeline import Configuration
    >>> print(difference(Applied(Configuration(()), (Change("detect", "replicas", "2", "3"),))))
    detect
    - replicas: 2
    + replicas: 3
    """
    lines: list[str] = []
    for stage in dict.fromkeys(change.stage for change in applied.changes):
        lines.append(stage)
        for change in (one for one in applied.changes if one.stage == stage):
            lines += [f"- {change.knob}: {change.before}", f"+ {change.knob}: {change.after}"]
    lines += [f"waits: {change}" for change in applied.waiting]
    lines += [f"refused: {line}" for line in applied.refused]
    return "\n".join(lines) or "nothing differs"
