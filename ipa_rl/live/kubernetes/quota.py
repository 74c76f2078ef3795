"""What a namespace allows: ResourceQuota and PodDisruptionBudget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT
from ipa_rl.live.kubernetes.observe import StageView
from ipa_rl.live.kubernetes.paths import Item, find, read
from ipa_rl.live.kubernetes.quantities import quantity
from ipa_rl.pipeline import StageConfig

Amounts = Mapping[str, Decimal]
"""Amounts by resource, as quotas name them: pods, requests.cpu, limits.memory."""

_SAME = {"cpu": "requests.cpu", "memory": "requests.memory", "count/pods": "pods"}
_SCOPES = frozenset({"NotTerminating", "NotBestEffort"})
"""Scopes that pods of a server with cores of its own fall under."""


@dataclass(frozen=True)
class Quota:
    """What a ResourceQuota leaves free."""

    name: str
    namespace: str
    free: Amounts
    hard: Amounts


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget that names a number: ``least`` available pods of those ``selector`` selects."""

    name: str
    namespace: str
    least: int
    selector: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """All of the stages' namespaces; ``unread``: what cannot be seen, and so is not respected."""

    quotas: tuple[Quota, ...]
    budgets: tuple[Budget, ...]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Demand:
    """What a stage would run beside what it runs.

    ``pods``: that exist; ``unit``: amounts of one pod of ``wanted``, ``present`` of one that exists.
    ``rolls``: whether the change replaces pods. ``capacity_rps``: of one replica of ``wanted``.
    """

    view: StageView
    wanted: StageConfig
    unit: Amounts
    present: Amounts
    rolls: bool
    capacity_rps: float


def find_limits(api: Api, namespaces: Iterable[str]) -> Limits:
    """Read quotas and budgets; what may not be read is said in ``unread``."""
    quotas: list[Quota] = []
    budgets: list[Budget] = []
    unread: list[str] = []
    for namespace in namespaces:
        try:
            items = api.items(f"/api/v1/namespaces/{namespace}/resourcequotas")
            quotas += [_quota(namespace, item) for item in items if _concerns(item)]
        except ApiError as error:
            unread.append(f"resourcequotas cannot be listed in {namespace} ({error.reason})")
        try:
            items = _list_budgets(api, namespace)
            budgets += [b for item in items if (b := _budget(namespace, item)) is not None]
        except ApiError as error:
            unread.append(f"poddisruptionbudgets cannot be listed in {namespace} ({error.reason})")
    return Limits(tuple(quotas), tuple(budgets), tuple(unread))


def _list_budgets(api: Api, namespace: str) -> list[Document]:
    """policy/v1 from release 1.21 on, v1beta1 before."""
    try:
        return api.items(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")
    except ApiError as error:
        if error.status != 404:
            raise
    return api.items(f"/apis/policy/v1beta1/namespaces/{namespace}/poddisruptionbudgets")


def _concerns(item: Document) -> bool:
    spec = item.get("spec") or {}
    return not spec.get("scopeSelector") and set(spec.get("scopes") or ()) <= _SCOPES


def _quota(namespace: str, item: Document) -> Quota:
    status = item.get("status") or {}
    hard = {_SAME.get(k, k): quantity(v) for k, v in (status.get("hard") or {}).items()}
    used = {_SAME.get(k, k): quantity(v) for k, v in (status.get("used") or {}).items()}
    free = {key: value - used.get(key, Decimal(0)) for key, value in hard.items()}
    return Quota(item["metadata"]["name"], namespace, free, hard)


def _budget(namespace: str, item: Document) -> Budget | None:
    least = read(item, ("spec", "minAvailable"))
    if not isinstance(least, int):
        return None  # a share of the pods that there are forbids no number of them
    return Budget(item["metadata"]["name"], namespace, least, read(item, ("spec", "selector")) or {})


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector that names something selects these labels."""
    rules = selector.get("matchExpressions") or ()
    wanted = selector.get("matchLabels") or {}
    return (
        bool(wanted or rules) and wanted.items() <= labels.items() and all(_holds(r, labels) for r in rules)
    )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values") or ()
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[rule["operator"]]


def least_available(view: StageView, limits: Limits) -> Budget | None:
    """The budget that asks for the most available pods of a stage, None where none does."""
    labels: Mapping[str, str] = view.pods[0].labels if view.pods else {}
    if view.stage.kind is DEPLOYMENT:
        labels = read(view.live, ("spec", "template", "metadata", "labels")) or {}
    own = [
        budget
        for budget in limits.budgets
        if budget.namespace == view.stage.namespace and selects(budget.selector, labels)
    ]
    return max(own, key=lambda budget: budget.least, default=None)


def amounts_of(view: StageView, cores: int | None) -> Amounts:
    """What one pod of a stage takes from quotas, its serving container with ``cores`` (None: as it has)."""
    assert view.container is not None
    path, siblings = view.container.path, view.container.siblings
    containers = read(view.live, siblings) if siblings else [read(view.live, path)]
    own = 0 if siblings is None else find(containers, Item("name", view.container.name))
    total = {"pods": Decimal(1)}
    for position, container in enumerate(containers):
        resources = dict(container.get("resources") or {})
        if position == own and cores is not None:
            resources["requests"] = {**(resources.get("requests") or {}), "cpu": cores}
            if view.stage.core_limits:
                resources["limits"] = {**(resources.get("limits") or {}), "cpu": cores}
        for key, amount in _taken(resources).items():
            total[key] = total.get(key, Decimal(0)) + amount
    return total


def _taken(resources: Mapping[str, Any]) -> dict[str, Decimal]:
    limits = resources.get("limits") or {}
    requests = {**limits, **(resources.get("requests") or {})}
    taken = {f"limits.{key}": quantity(value) for key, value in limits.items()}
    return taken | {f"requests.{key}": quantity(value) for key, value in requests.items()}


def fit(demands: Sequence[Demand], limits: Limits) -> tuple[list[StageConfig], list[str]]:
    """The configuration cut to what quotas leave, and what was cut.

    A change of pods for which there is no room whatever the other stages do is put off. Then, as long as it
    does not fit, one replica goes where the pipeline loses least: from the growing stage that keeps the most
    capacity without it. Where no stage grows any more, the dearest change of pods is put off.
    """
    left = [_kept(one) if _rolls_alone(one) and _short([one], limits) else one for one in demands]
    while (short := _short(left, limits)) is not None:
        concerned = [i for i, one in enumerate(left) if one.view.stage.namespace == short[0].namespace]
        growing = [i for i in concerned if left[i].wanted.replicas > max(len(left[i].view.pods), 1)]
        rolling = [i for i in concerned if _rolls(left[i])]
        if growing:
            i = max(growing, key=lambda i: (left[i].wanted.replicas - 1) * left[i].capacity_rps)
            fewer = replace(left[i].wanted, replicas=left[i].wanted.replicas - 1)
            left[i] = replace(left[i], wanted=fewer)
        elif rolling:
            i = max(rolling, key=lambda i: left[i].unit.get("requests.cpu", Decimal(0)))
            left[i] = _kept(left[i])
        else:
            break  # what runs already exceeds the quota; it is not for us to take it away
    lines = [
        _cut(before, after, limits, demands)
        for before, after in zip(demands, left, strict=True)
        if before.wanted != after.wanted
    ]
    return [one.wanted for one in left], lines


def _rolls(one: Demand) -> bool:
    """Whether the stage can be left with the pods that are asked for now, and is not."""
    asked = (one.view.variant, one.view.batch)
    return one.rolls and None not in asked and asked != (one.wanted.variant, one.wanted.batch)


def _rolls_alone(one: Demand) -> bool:
    """As `_rolls`, with no more replicas than there are: only the change itself needs room."""
    return _rolls(one) and one.wanted.replicas <= max(len(one.view.pods), 1)


def _kept(one: Demand) -> Demand:
    """The stage as it is asked for now."""
    assert one.view.variant is not None
    assert one.view.batch is not None
    kept = StageConfig(one.view.variant, one.view.batch, one.view.desired)
    return replace(one, wanted=kept, unit=one.present, rolls=False)


def _short(demands: Sequence[Demand], limits: Limits) -> tuple[Quota, str] | None:
    """A quota and its resource that the demands exceed, None where they fit."""
    for quota in limits.quotas:
        own = [one for one in demands if one.view.stage.namespace == quota.namespace]
        for key, free in quota.free.items():
            zero = Decimal(0)
            growth = sum((_growth(one, key) for one in own), zero)
            extra = max((one.unit.get(key, zero) for one in own if _needs_more(one)), default=zero)
            if growth + extra > max(free, zero) and growth + extra > zero:
                return quota, key
    return None


def _needs_more(one: Demand) -> bool:
    """Whether a change of pods needs room for one more; one that is not ready goes before a new one comes."""
    return one.rolls and all(pod.ready for pod in one.view.pods)


def _growth(one: Demand, key: str) -> Decimal:
    """How much more of a resource the stage takes once the change is over."""
    after = one.wanted.replicas * one.unit.get(key, Decimal(0))
    now = len(one.view.pods) * (one.present if one.rolls else one.unit).get(key, Decimal(0))
    return max(after - now, Decimal(0))


def _cut(before: Demand, after: Demand, limits: Limits, demands: Sequence[Demand]) -> str:
    name = before.view.stage.stage.name
    short = _short(demands, limits)
    assert short is not None
    quota, key = short
    free, hard = quota.free[key], quota.hard[key]
    if after.wanted.variant != before.wanted.variant or after.wanted.batch != before.wanted.batch:
        what = f"{before.wanted.variant} b{before.wanted.batch} is put off"
    else:
        what = f"{before.wanted.replicas} replicas cut to {after.wanted.replicas}"
    return f"{name}: {what}: ResourceQuota {quota.name} leaves {free} of {hard} {key}; fix: raise it"
