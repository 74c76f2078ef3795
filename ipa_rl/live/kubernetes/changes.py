"""What differs between what is asked for and what is wanted, and in which order it may change.

Capacity never drops: more replicas come before new pods, fewer replicas only once the pods that stay are
ready. Within an apply hot changes come before warm ones, and these before cold ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from ipa_rl.live.cluster import Change
from ipa_rl.live.kubernetes.description import Knob
from ipa_rl.live.kubernetes.kinds import update_strategy
from ipa_rl.live.kubernetes.observe import StageView
from ipa_rl.live.kubernetes.ownership import Scalers, foreign_fields, other_scaler
from ipa_rl.live.kubernetes.paths import Path, read
from ipa_rl.live.kubernetes.pods import Pod
from ipa_rl.live.kubernetes.quantities import quantity, resolved
from ipa_rl.live.kubernetes.quota import Demand, Limits, amounts_of, fit, least_available
from ipa_rl.live.kubernetes.schema import KnobClass
from ipa_rl.pipeline import Configuration, StageConfig


class Order(IntEnum):
    """When a write comes within an apply."""

    more_replicas = 0
    hot = 1
    warm = 2
    cold = 3
    fewer_replicas = 4


@dataclass(frozen=True)
class Write:
    """One thing to write to a stage: replicas through ``scale``, ``fields`` by apply, or ``puts`` to servers.

    ``puts``: URL template, pod's address and value.
    """

    view: StageView
    order: Order
    changes: tuple[Change, ...]
    scale: int | None = None
    fields: Mapping[Path, Any] = field(default_factory=dict)
    puts: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Plan:
    """All of an apply, in order. ``configuration``: what is asked for once it is done, by view."""

    views: tuple[StageView, ...]
    configuration: Configuration
    writes: tuple[Write, ...]
    waiting: tuple[Change, ...]
    refused: tuple[str, ...]
    replicas: Mapping[str, int]


@dataclass(frozen=True)
class _Differences:
    """Fields whose value is not the wanted one, and the same in words."""

    fields: Mapping[Path, Any]
    changes: tuple[Change, ...]


def make_plan(
    views: Sequence[StageView],
    configuration: Configuration,
    scalers: Scalers,
    find_limits: Callable[[], Limits],
    contested: Callable[[StageView, Sequence[Path]], str],
) -> Plan:
    """How to get from what is asked for to a configuration; limits are looked up only where anything differs.

    A stage that something forbids is held as it is, with the reason. ``contested``: why a stage is left to
    another writer, given the fields that are about to change; empty where it is not.
    """
    refused = [
        view.problem
        or other_scaler(view, scalers)
        or _forbidden(view, wanted)
        or contested(view, _differing(view, wanted))
        for view, wanted in zip(views, configuration.stages, strict=True)
    ]
    lines = [f"{view.stage.stage.name}: {line}" for view, line in zip(views, refused, strict=True) if line]
    free = [i for i, line in enumerate(refused) if not line]
    wanted = [
        held(view, one) if line else one
        for view, one, line in zip(views, configuration.stages, refused, strict=True)
    ]
    replicas = {views[i].stage.stage.name: wanted[i].replicas for i in free}
    if any(_differs(views[i], wanted[i]) for i in free):
        limits = find_limits()
        lines += [f"{line}; fix: allow the verb list" for line in limits.unread]
        fitting, cuts = fit([_demand(views[i], wanted[i]) for i in free], limits)
        for i, cut in zip(free, fitting, strict=True):
            wanted[i], floor = _above_budget(views[i], cut, limits)
            lines += [floor] if floor else []
        lines += cuts
    parts = [_stage_plan(views[i], wanted[i]) for i in free]
    writes = sorted((w for own, _, _ in parts for w in own), key=lambda write: write.order)
    waiting = tuple(change for _, own, _ in parts for change in own)
    lines += [line for _, _, own in parts for line in own]
    asked = Configuration(tuple(wanted))
    return Plan(tuple(views), asked, tuple(writes), waiting, tuple(lines), replicas)


def _stage_plan(view: StageView, wanted: StageConfig) -> tuple[list[Write], list[Change], list[str]]:
    """Writes, changes that wait, and refusals of one stage."""
    writes, waiting, refused = _live_writes(view, wanted)
    cold = _cold_differences(view, wanted)
    name = view.stage.stage.name
    replicas = _replicas_differences(view, wanted)
    growing = wanted.replicas > view.desired
    if replicas.changes and (cold.changes or _still_rolling(view, wanted)) and not growing:
        waiting += replicas.changes
    elif replicas.changes and view.stage.kind.scales:
        order = Order.more_replicas if growing else Order.fewer_replicas
        writes.append(Write(view, order, replicas.changes, scale=wanted.replicas))
    elif replicas.changes:
        fields = {**cold.fields, **replicas.fields}
        order = Order.cold if cold.changes or growing else Order.fewer_replicas
        return [*writes, Write(view, order, cold.changes + replicas.changes, fields=fields)], waiting, refused
    if cold.changes:
        writes.append(Write(view, Order.cold, cold.changes, fields=cold.fields))
    return writes, waiting, [f"{name}: {line}" for line in refused]


def _differs(view: StageView, wanted: StageConfig) -> bool:
    """Whether anything is to change that takes or frees pods."""
    return bool(_replicas_differences(view, wanted).changes or _cold_differences(view, wanted).changes)


def _differing(view: StageView, wanted: StageConfig) -> tuple[Path, ...]:
    """Paths of the object's fields that are about to change."""
    return (*_cold_differences(view, wanted).fields, *_replicas_differences(view, wanted).fields)


def own_paths(view: StageView) -> tuple[Path, ...]:
    """Paths of all of the object's fields that are written here."""
    return (*cold_paths(view), *(view.stage.kind.replicas if view.stage.writes_replicas else ()))


def cold_paths(view: StageView) -> tuple[Path, ...]:
    """Paths of the fields of the cold knobs, cores included."""
    assert view.container is not None
    knobs = [knob for knob in (view.stage.variant, view.stage.batch) if knob.cold]
    return (*(_place(view, knob) for knob in knobs), *_core_paths(view))


def _cold_differences(view: StageView, wanted: StageConfig) -> _Differences:
    stage, fields, changes = view.stage, {}, []
    for knob, name, before, after in (
        (stage.variant, "variant", view.variant, wanted.variant),
        (stage.batch, "batch", view.batch, wanted.batch),
    ):
        path, value = _place(view, knob), knob.written(str(after))
        if knob.cold and read(view.live, path) != value:
            fields[path] = value
            shown = before if before is not None else read(view.live, path) or "unset"
            changes.append(Change(stage.stage.name, name, str(shown), str(after)))
    cores = stage.stage.variant(wanted.variant).cores
    for path in _core_paths(view):
        present = read(view.live, path)
        if present is None or quantity(present) != cores:
            fields[path] = str(cores)
            changes.append(Change(stage.stage.name, "cores", str(present or "unset"), str(cores)))
    return _Differences(fields, tuple(dict.fromkeys(changes)))


def _place(view: StageView, knob: Knob) -> Path:
    assert view.container is not None
    return knob.place if knob.of_object else (*view.container.path, *knob.place)


def _core_paths(view: StageView) -> tuple[Path, ...]:
    assert view.container is not None
    parts = (("requests",) if view.stage.cores else ()) + (("limits",) if view.stage.core_limits else ())
    return tuple((*view.container.path, "resources", p, "cpu") for p in parts) if view.stage.cores else ()


def _replicas_differences(view: StageView, wanted: StageConfig) -> _Differences:
    if not view.stage.writes_replicas:
        return _Differences({}, ())
    paths = view.stage.kind.replicas
    if all((1 if (now := read(view.live, p)) is None else now) == wanted.replicas for p in paths):
        return _Differences({}, ())
    change = Change(view.stage.stage.name, "replicas", str(view.desired), str(wanted.replicas))
    return _Differences(dict.fromkeys(paths, wanted.replicas), (change,))


def _still_rolling(view: StageView, wanted: StageConfig) -> bool:
    """Whether fewer pods than are to stay serve what is wanted, while others still serve in their place."""
    staying = sum(_serves(view, pod, wanted) for pod in view.ready)
    return staying < min(wanted.replicas, view.desired) and staying < len(view.ready)


def _serves(view: StageView, pod: Pod, wanted: StageConfig) -> bool:
    right_batch = pod.batch == wanted.batch or not view.stage.batch.cold
    return right_batch and (pod.variant == wanted.variant or not view.stage.variant.cold)


def _live_writes(view: StageView, wanted: StageConfig) -> tuple[list[Write], list[Change], list[str]]:
    """Values that running servers are to take: all at once where hot, one server at a time where warm."""
    writes: list[Write] = []
    waiting: list[Change] = []
    refused: list[str] = []
    stage = view.stage
    for knob, name, after in (
        (stage.variant, "variant", wanted.variant),
        (stage.batch, "batch", wanted.batch),
    ):
        odd = [pod for pod in view.ready if getattr(pod, name) != after]
        if knob.cold or not odd:
            continue
        change = Change(stage.stage.name, name, str(getattr(odd[0], name) or "unknown"), str(after))
        if knob.knob_class is KnobClass.warm:
            if len(view.ready) == 1:
                refused.append(f"{name}: one replica cannot reload without a gap; fix: run two")
                continue
            if len(view.ready) < view.desired:
                waiting.append(change)
                continue
            waiting += [change] if len(odd) > 1 else []
            odd = odd[:1]
        puts = tuple((knob.put, pod.ip, knob.written(str(after))) for pod in odd)
        writes.append(Write(view, Order[knob.knob_class.value], (change,), puts=puts))
    return writes, waiting, refused


def _forbidden(view: StageView, wanted: StageConfig) -> str:
    """Why fields that are applied may not change, or new pods not come as they must; empty where they may."""
    applied = _cold_differences(view, wanted).fields
    if not view.stage.kind.scales:
        applied = {**applied, **_replicas_differences(view, wanted).fields}
    rolls = bool(_cold_differences(view, wanted).fields)
    return foreign_fields(view, tuple(applied)) or (_drops_capacity(view, wanted) if rolls else "")


def _drops_capacity(view: StageView, wanted: StageConfig) -> str:
    strategy = update_strategy(view.stage.kind, view.live or {})
    if strategy is None:
        return ""
    rolling = strategy.get("rollingUpdate") or {}
    replicas = max(view.desired, wanted.replicas)
    lost = resolved(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if strategy.get("type") != "Recreate" and not lost:
        return ""
    what = (
        "takes all replicas" if strategy.get("type") == "Recreate" else f"takes {lost} of {replicas} replicas"
    )
    fix = "let rollingUpdate be {maxUnavailable: 0, maxSurge: 100%}"
    return f"the update strategy of {view.stage} {what} away before new ones serve; fix: {fix}"


def _demand(view: StageView, wanted: StageConfig) -> Demand:
    variant = view.stage.stage.variant(wanted.variant)
    rate = variant.throughput_rps[variant.batches.index(wanted.batch)]
    cores = variant.cores if view.stage.cores else None
    rolls = bool(_cold_differences(view, wanted).changes)
    return Demand(view, wanted, amounts_of(view, cores), amounts_of(view, None), rolls, rate)


def _above_budget(view: StageView, wanted: StageConfig, limits: Limits) -> tuple[StageConfig, str]:
    budget = least_available(view, limits)
    if budget is None or wanted.replicas >= min(budget.least, view.desired) or not view.stage.writes_replicas:
        return wanted, ""
    floor = min(budget.least, view.desired)
    line = (
        f"{view.stage.stage.name}: {wanted.replicas} replicas raised to {floor}: PodDisruptionBudget "
        f"{budget.name} keeps {budget.least} available; fix: lower its minAvailable"
    )
    return replace(wanted, replicas=floor), line


def held(view: StageView, wanted: StageConfig) -> StageConfig:
    """What a stage is asked for now, as far as that is known."""
    if view.variant is None or view.batch is None:
        return wanted
    return StageConfig(view.variant, view.batch, max(view.desired, 1))
