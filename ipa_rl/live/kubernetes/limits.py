"""What a namespace allows: ResourceQuota (no more than fits) and PodDisruptionBudget (no fewer replicas)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias

from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.changes import Difference, cold_differences, is_new
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT
from ipa_rl.live.kubernetes.managed_fields import with_fields
from ipa_rl.live.kubernetes.observed_stages import ObservedStage
from ipa_rl.live.kubernetes.paths import read
from ipa_rl.live.kubernetes.pods import selects
from ipa_rl.live.kubernetes.shapes import quantity
from ipa_rl.pipeline import StageConfig

Amounts: TypeAlias = Mapping[str, Decimal]
"""Amounts by resource, as quotas name them: pods, requests.cpu, limits.memory."""

_ZERO = Decimal(0)
_SAME = {"cpu": "requests.cpu", "memory": "requests.memory", "count/pods": "pods"}
_SCOPES = frozenset({"NotTerminating", "NotBestEffort"})
"""Scopes that pods of a server with cores of its own fall under."""


@dataclass(frozen=True, eq=False)
class Quota:
    """What a ResourceQuota leaves free."""

    name: str
    namespace: str
    free: Amounts
    hard: Amounts


Lack: TypeAlias = tuple[Quota, str]
"""A quota, and a resource of which it leaves too little."""


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget that names a number: ``least`` available pods of those ``selector`` selects."""

    name: str
    namespace: str
    least: int
    selector: Mapping[str, Any]


@dataclass(frozen=True)
class Demand:
    """What a stage is to run, and what it takes.

    ``unit``: amounts of one pod of ``wanted``, ``present`` of one as the object asks for now; ``held``: of
    all pods that exist, each by its variant. ``rolls``: whether the change replaces pods; ``there``: how many
    are as wanted already, because a change to others is taken back. ``capacity_rps``: of one replica of
    ``wanted``.
    """

    stage: ObservedStage
    wanted: StageConfig
    unit: Amounts
    present: Amounts
    held: Amounts
    rolls: bool
    there: int
    capacity_rps: float

    @property
    def can_stay(self) -> bool:
        """Whether the pods are to change, and can be left as they are instead."""
        asked = (self.stage.variant, self.stage.batch)
        return self.rolls and None not in asked and asked != (self.wanted.variant, self.wanted.batch)

    @property
    def grows(self) -> bool:
        """Whether there are to be more replicas than pods exist."""
        return self.wanted.replicas > max(len(self.stage.pods), 1)

    def unchanged(self) -> Demand:
        """The stage as it is asked for now."""
        kept = replace(self.stage.held(self.wanted), replicas=self.stage.desired)
        return replace(self, wanted=kept, unit=self.present, rolls=False)

    def growth(self, key: str) -> Decimal:
        """How much more of a resource the stage takes once the change is over."""
        after = self.wanted.replicas * self.unit.get(key, _ZERO)
        return max(after - self.held.get(key, _ZERO), _ZERO)

    def surge(self, key: str) -> Decimal:
        """What a change of pods takes for one more.

        The first new pod stands beside all of the old, the last beside one of them. Those of another
        placement hold none of what the new ones take. Where there are more pods than replicas, one that is
        not ready goes before a new one comes.
        """
        pods, replicas = self.stage.pods, max(self.stage.desired, self.wanted.replicas)
        makes_room = len(pods) > replicas and not all(pod.ready for pod in pods)
        if not self.rolls or makes_room or self.there >= self.wanted.replicas:
            return _ZERO
        return min(self.unit.get(key, _ZERO), self.present.get(key, _ZERO))

    def takes(self, key: str) -> bool:
        """Whether the stage takes more of a resource, for a while or from now on."""
        return self.growth(key) + self.surge(key) > 0


def within_limits(
    api: Api, namespaces: Iterable[str], targets: Iterable[tuple[ObservedStage, StageConfig]]
) -> tuple[dict[str, StageConfig], list[str]]:
    """The targets cut to what quotas leave and raised to what budgets keep, by stage; and both in words.

    Quotas and budgets that may not be read are named, and not respected.
    """
    quotas: list[Quota] = []
    budgets: list[Budget] = []
    unread: list[str] = []
    for namespace in namespaces:
        try:
            quotas += _find_quotas(api, namespace)
        except ApiError as error:
            unread.append(f"resourcequotas cannot be listed in {namespace} ({error.reason})")
        try:
            budgets += _find_budgets(api, namespace)
        except ApiError as error:
            unread.append(f"poddisruptionbudgets cannot be listed in {namespace} ({error.reason})")
    told = [f"{line}; fix: allow the verb list" for line in unread]
    fitting, cuts = _fit([_demand(stage, wanted) for stage, wanted in targets], quotas)
    kept = {}
    for one in fitting:
        kept[one.stage.name], floor = _above_budget(one.stage, one.wanted, budgets)
        told += [floor] if floor else []
    return kept, told + cuts


def _above_budget(
    stage: ObservedStage, wanted: StageConfig, budgets: Iterable[Budget]
) -> tuple[StageConfig, str]:
    """No fewer replicas than the budget keeps that asks for the most; and that they were raised, in words."""
    labels: Mapping[str, str] = stage.pods[0].labels if stage.pods else {}
    if stage.object.kind is DEPLOYMENT:
        labels = read(stage.live, ("spec", "template", "metadata", "labels")) or {}
    own = [b for b in budgets if b.namespace == stage.object.namespace and selects(b.selector, labels)]
    budget = max(own, key=lambda budget: budget.least, default=None)
    if budget is None or not stage.object.writes_replicas:
        return wanted, ""
    least = min(budget.least, stage.desired)
    if wanted.replicas >= least:
        return wanted, ""
    return replace(wanted, replicas=least), (
        f"{stage.name}: {wanted.replicas} replicas raised to {least}: PodDisruptionBudget {budget.name} "
        f"keeps {budget.least} available; fix: lower its minAvailable"
    )


def _find_quotas(api: Api, namespace: str) -> list[Quota]:
    found = []
    for item in api.items(f"/api/v1/namespaces/{namespace}/resourcequotas"):
        spec, status = item.get("spec") or {}, item.get("status") or {}
        if spec.get("scopeSelector") or not set(spec.get("scopes") or ()) <= _SCOPES:
            continue
        hard = {_SAME.get(k, k): quantity(v) for k, v in (status.get("hard") or {}).items()}
        used = {_SAME.get(k, k): quantity(v) for k, v in (status.get("used") or {}).items()}
        free = {key: value - used.get(key, _ZERO) for key, value in hard.items()}
        found.append(Quota(item["metadata"]["name"], namespace, free, hard))
    return found


def _find_budgets(api: Api, namespace: str) -> list[Budget]:
    """Budgets in numbers; a share of the pods that there are forbids no number of them."""
    items: list[Document] = []
    for version in ("v1", "v1beta1"):  # from release 1.21 on, and before
        try:
            items = api.items(f"/apis/policy/{version}/namespaces/{namespace}/poddisruptionbudgets")
            break
        except ApiError as error:
            if error.status != 404 or version == "v1beta1":
                raise
    return [
        Budget(item["metadata"]["name"], namespace, least, read(item, ("spec", "selector")) or {})
        for item in items
        if isinstance(least := read(item, ("spec", "minAvailable")), int)
    ]


def _demand(stage: ObservedStage, wanted: StageConfig) -> Demand:
    variant, differences = stage.object.stage.variant(wanted.variant), cold_differences(stage, wanted)
    present, unit = _amounts_of(stage, ()), _amounts_of(stage, differences)
    held: dict[str, Decimal] = {}
    for name, count in Counter(pod.variant for pod in stage.pods).items():
        own = present
        if name is not None:
            own = _amounts_of(stage, cold_differences(stage, replace(wanted, variant=name)))
        for key, value in own.items():
            held[key] = held.get(key, _ZERO) + count * value
    rate_rps = variant.throughput_rps[variant.batches.index(wanted.batch)]
    is_other = (stage.variant, stage.batch) != (wanted.variant, wanted.batch)
    there = sum(is_new(stage, pod, wanted) for pod in stage.pods) if is_other else 0
    return Demand(stage, wanted, unit, present, held, bool(differences), there, rate_rps)


def _amounts_of(stage: ObservedStage, differences: Iterable[Difference]) -> Amounts:
    """What one pod of a stage takes from quotas once its object differs no more."""
    assert stage.container is not None
    assert stage.live is not None
    live = with_fields(stage.live, {one.path: one.value for one in differences})
    siblings = stage.container.siblings
    total = {"pods": Decimal(1)}
    for container in read(live, siblings) if siblings else [read(live, stage.container.path)]:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        taken = {f"limits.{key}": value for key, value in limits.items()}
        taken |= {f"requests.{key}": value for key, value in (limits | requests).items()}
        for key, value in taken.items():
            total[key] = total.get(key, _ZERO) + quantity(value)
    return total


def _fit(demands: Sequence[Demand], quotas: Sequence[Quota]) -> tuple[list[Demand], list[str]]:
    """The demands cut to what quotas leave, and what was cut.

    A change of pods that would not even fit alone is put off. Then, until it fits, one replica after another
    goes where the pipeline loses least: from the growing stage that keeps the most capacity without it. Once
    no stage grows any more, the change of pods that takes the most of what lacks is put off. Only stages that
    take of it are cut.
    """
    left, lacks = list(demands), [_exceeded([one], quotas) for one in demands]
    for i, one in enumerate(demands):
        if lacks[i] is not None and one.can_stay and not one.grows:
            left[i] = one.unchanged()
    beyond: set[Lack] = set()
    while (exceeded := _exceeded(left, quotas, beyond)) is not None:
        quota, key = exceeded
        concerned = [
            i
            for i, one in enumerate(left)
            if one.stage.object.namespace == quota.namespace and one.takes(key)
        ]
        growing = [i for i in concerned if left[i].grows]
        rolling = [i for i in concerned if left[i].can_stay]
        if growing:
            i = max(growing, key=lambda i: (left[i].wanted.replicas - 1) * left[i].capacity_rps)
            left[i] = replace(left[i], wanted=replace(left[i].wanted, replicas=left[i].wanted.replicas - 1))
        elif rolling:
            i = max(rolling, key=lambda i: left[i].growth(key) + left[i].surge(key))
            left[i] = left[i].unchanged()
        else:
            beyond.add(exceeded)  # what runs already exceeds the quota; it is not for us to take it away
            continue
        lacks[i] = lacks[i] or exceeded
    parts = zip(demands, left, lacks, strict=True)
    return left, [line for one, after, lack in parts if lack and (line := _cut(one.wanted, after, lack))]


def _cut(before: StageConfig, after: Demand, lack: Lack) -> str:
    """What was cut of a stage, and for lack of what, in words; empty where nothing was."""
    (quota, key), kept = lack, after.wanted
    why = f"ResourceQuota {quota.name} leaves {quota.free[key]} of {quota.hard[key]} {key}; fix: raise it"
    if (kept.variant, kept.batch) != (before.variant, before.batch):
        return f"{after.stage.name}: {before.variant} b{before.batch} is put off: {why}"
    if kept.replicas != before.replicas:
        return f"{after.stage.name}: {before.replicas} replicas cut to {kept.replicas}: {why}"
    return ""


def _exceeded(
    demands: Sequence[Demand], quotas: Sequence[Quota], beyond: Collection[Lack] = ()
) -> Lack | None:
    """What the demands exceed, None where they fit; without what is ``beyond`` help."""
    for quota in quotas:
        own = [one for one in demands if one.stage.object.namespace == quota.namespace]
        for key, free in quota.free.items():
            more = sum((one.growth(key) for one in own), _ZERO)
            more += max((one.surge(key) for one in own), default=_ZERO)
            if more > max(free, _ZERO) and (quota, key) not in beyond:
                return quota, key
    return None
