"""What the pods of a stage ask for where its variants are placed on several kinds of hardware.

A unit of a resource is a core, or one of an extended resource, as device plugins advertise them. The pods of
a variant ask for its units, with the node selector and the tolerations of its placement. What the stage's
other placements name goes in the same write; whatever no placement names stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path as File
from typing import Any, Literal

from pydantic import Field

from ipa_rl.documents import Name, StrictModel, Whole
from ipa_rl.errors import InputError
from ipa_rl.live.kubernetes.api import Document
from ipa_rl.live.kubernetes.kinds import Container
from ipa_rl.live.kubernetes.paths import Path, read
from ipa_rl.live.kubernetes.shapes import quantity
from ipa_rl.pipeline import CORES, Stage, Variant

CPU = "cpu"

_PARTS = ("requests", "limits")
_RESOURCES = tuple(("resources", part) for part in _PARTS)


class Toleration(StrictModel):
    """A toleration of pods, as Kubernetes has it."""

    key: Name | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: Whole | None = Field(None, alias="tolerationSeconds")


class PlacementModel(StrictModel):
    """What a resource of the environment is in the cluster; ``resource``: the extended one that a unit is."""

    resource: Name | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)


@dataclass(frozen=True)
class Placement:
    """Where pods of variants on a resource run; ``resource``: cpu, or the extended one that a unit is."""

    resource: str
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Document, ...] = ()


def placements_of(
    stage: Stage, models: Mapping[str, PlacementModel], file: str | File
) -> dict[str, Placement]:
    """Placements of a stage's variants, by the resource's name in the environment. Raises InputError."""
    found: dict[str, Placement] = {}
    for variant in stage.variants:
        name, whose = variant.resource, f"{variant.name} of stage {stage.name}"
        model = models.get(name, PlacementModel())
        resource = CPU if name == CORES else model.resource or name
        if resource != CPU and "/" not in resource:
            place = f"placements.{name}.resource" if name in models else f"placements.{name}"
            fix = f"give placements.{name}.resource: the extended resource that a unit is, as nvidia.com/gpu"
            raise InputError(f"names no extended resource for {whose}", file=file, field=place, fix=fix)
        if resource != CPU and not float(variant.units).is_integer():
            problem = f"{whose} takes {variant.units:g} of {resource}, and devices come whole"
            fix = "give it whole units; a share of a device is a resource of its own"
            raise InputError(problem, file=file, field=f"placements.{name}", fix=fix)
        tolerations = [one.model_dump(by_alias=True, exclude_none=True) for one in model.tolerations]
        found[name] = Placement(resource, model.node_selector, tuple(tolerations))
    return found


def placed_paths(
    placements: Mapping[str, Placement], cores: Iterable[str], container: Container
) -> tuple[Path, ...]:
    """Paths of all fields that follow the placement and the units of a stage's variants.

    ``cores``: requests, limits or both, where they follow the variant. Those of an extended resource are
    always equal.
    """
    devices = dict.fromkeys(one.resource for one in placements.values() if one.resource != CPU)
    taken = [(part, CPU) for part in cores] + [(part, one) for one in devices for part in _PARTS]
    keys = dict.fromkeys(key for one in placements.values() for key in one.node_selector)
    found: list[Path] = [(*container.path, "resources", *one) for one in taken]
    found += [(*container.pod, "nodeSelector", key) for key in keys]
    if any(one.tolerations for one in placements.values()):
        found.append((*container.pod, "tolerations"))
    return tuple(found)


def placed_value(placements: Mapping[str, Placement], variant: Variant, path: Path, present: Any) -> Any:
    """What a field of `placed_paths` is to say for a variant, None where it is to go.

    ``present``: what it says now. Tolerations have no keys: the whole list is written, with what is there
    beside those of placements.
    """
    own, name = placements[variant.resource], str(path[-1])
    if path[-3:-1] in _RESOURCES:
        return amount(variant.units) if name == own.resource else None
    if path[-2] == "nodeSelector":
        ours = [one.node_selector.get(name) for one in placements.values()]
        return own.node_selector.get(name, None if present in ours else present)
    named = [toleration for one in placements.values() for toleration in one.tolerations]
    kept = [one for one in present or () if one in own.tolerations or one not in named]
    return [*kept, *(one for one in own.tolerations if one not in kept)] or None


def is_placed(path: Path, present: Any, value: Any) -> bool:
    """Whether a field of `placed_paths` says what it is to say; quantities may be written in several ways."""
    if None in (present, value) or path[-3:-1] not in _RESOURCES:
        return bool(present == value)
    return quantity(present) == quantity(value)


def placed_knob(path: Path) -> str:
    """What changes with a field of `placed_paths`, in words."""
    name = str(path[-1])
    if path[-2] == "nodeSelector":
        return f"nodeSelector {name}"
    return "cores" if name == CPU else name


def shown(value: Any) -> str:
    """The value of a field of `placed_paths` in words.

    >>> shown([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]), shown(None)
    ('gpu:NoSchedule', 'unset')
    """
    if isinstance(value, list):
        pairs = (
            (f"{one.get('key', '')}={one.get('value', '')}".strip("="), one.get("effect")) for one in value
        )
        return ", ".join(f"{pair}:{effect or 'all'}" for pair, effect in pairs)
    return "unset" if value is None else str(value)


def best_placed(
    placements: Mapping[str, Placement], variants: list[Variant], pod: Document, container: Document
) -> Variant:
    """Which of some variants, told apart by their placements alone, the spec of a pod is most likely of."""
    devices = {one.resource for one in placements.values()} - {CPU}
    taken = devices & (read(container, ("resources", "limits")) or {}).keys() or {CPU}
    selected = read(pod, ("nodeSelector",)) or {}

    def fit(variant: Variant) -> tuple[bool, int]:
        own = placements[variant.resource]
        return own.resource in taken, -len(own.node_selector.items() - selected.items())

    return max(variants, key=fit)


def amount(units: float) -> str:
    """Units as a quantity, to a thousandth.

    >>> amount(4), amount(4.0), amount(0.5)
    ('4', '4', '0.5')
    """
    return f"{Decimal(str(round(units, 3))).normalize():f}"
