"""The fields of objects that the code relies on, and their types as the API server keeps them.

A real API server never answers otherwise; a proxy in front of it, or what listens on its port now, may.
Quantities are as ``500m`` cores or ``1Gi`` bytes, shares as ``25%`` of the replicas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

from kubernetes.utils.quantity import parse_quantity

Check: TypeAlias = Callable[[Any], bool]
Shape: TypeAlias = "type | Check | list[Shape] | Mapping[str, Shape]"
"""A type or check of a value, the shape of the items of a list (in a list of one), or shapes by field.

A field may be missing, unless its name ends with ``!``; ``*`` stands for every field.
"""

DEEPEST = 100
"""Most levels of an object; real ones have a third of them."""

_MOST = 2**31
_LONGEST = 64
"""Most characters of a number."""


def without_nulls(value: Any, deepest: int = DEEPEST) -> Any:
    """The value without fields that are null, which mean the same as none, and without what is too deep."""
    if deepest < 0:
        return None
    if isinstance(value, dict):
        inner = ((key, without_nulls(one, deepest - 1)) for key, one in value.items())
        return {key: one for key, one in inner if one is not None}
    return [without_nulls(one, deepest - 1) for one in value] if isinstance(value, list) else value


def fault(value: Any, shape: Shape, at: str = "") -> str | None:
    """Where a value has another shape; None where it has this one.

    >>> fault({"spec": {"replicas": "two"}}, {"spec": {"replicas": int}})
    'spec.replicas'
    """
    if isinstance(shape, type):
        return None if isinstance(value, shape) else at
    if callable(shape):
        return None if shape(value) else at
    parts: Iterator[str | None]
    if isinstance(shape, list) and isinstance(value, list):
        parts = (fault(one, shape[0], f"{at}[{k}]") for k, one in enumerate(value))
    elif isinstance(shape, Mapping) and isinstance(value, dict):
        parts = _of_fields(value, shape, at)
    else:
        return at
    return next((one for one in parts if one is not None), None)


def _of_fields(value: dict[str, Any], shape: Mapping[str, Shape], at: str) -> Iterator[str | None]:
    for name, own in shape.items():
        for field in value if name == "*" else (name.removesuffix("!"),):
            place, given = f"{at}.{field}" if at else field, value.get(field)
            if given is not None:
                yield fault(given, own, place)
            elif name.endswith("!"):
                yield place


def quantity(text: object) -> Decimal:
    """A quantity as a number. Raises ValueError for any other text.

    >>> quantity("1500m"), quantity("1Ki"), quantity(2)
    (Decimal('1.500'), Decimal('1024'), Decimal('2'))
    """
    return Decimal(parse_quantity(str(text)))  # type: ignore[no-untyped-call]


def share_of(share: object, of: int) -> int:
    """A count, given as such or in percent of ``of``, rounded down (as ``maxUnavailable`` is).

    >>> share_of("25%", 5), share_of(3, 5)
    (1, 3)
    """
    text = str(share)
    return int(text[:-1]) * of // 100 if text.endswith("%") else int(text)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _parses(parse: Callable[[Any], Any], value: Any) -> bool:
    try:
        short = not isinstance(value, bool) and len(str(value)) <= _LONGEST
        return short and bool(abs(parse(value)) < 1e30)
    except (ValueError, TypeError, ArithmeticError):
        return False


_amount = partial(_parses, quantity)
_share = partial(_parses, lambda value: share_of(value, 1))
_moment = partial(_parses, lambda value: datetime.fromisoformat(value).timestamp())
_operator = ("In", "NotIn", "Exists", "DoesNotExist").__contains__


def _fields(value: Any) -> bool:
    """FieldsV1: names of fields, keys and values as JSON, nested."""
    return isinstance(value, dict) and all(map(_field, value)) and all(map(_fields, value.values()))


def _field(name: str) -> bool:
    if name[:2] not in ("k:", "v:"):
        return name == "." or name[:2] in ("f:", "i:")
    try:
        content = json.loads(name[2:])
    except (ValueError, RecursionError):
        return False
    return name[0] == "v" or isinstance(content, dict)


_TEXTS: Shape = {"*": str}
_AMOUNTS: Shape = {"*": _amount}
_SELECTOR: Shape = {
    "matchLabels": _TEXTS,
    "matchExpressions": [{"key!": str, "operator!": _operator, "values": [str]}],
}
_STRATEGY: Shape = {"type": str, "rollingUpdate": {"maxUnavailable": _share, "maxSurge": _share}}
_CONTAINER: Shape = {
    "name": str,
    "env": [{"name": str, "value": str}],
    "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
}
_POD: Mapping[str, Shape] = {"containers": [_CONTAINER], "nodeSelector": _TEXTS, "tolerations": [dict]}
_SAID: Mapping[str, Shape] = {"reason": str, "message": str}
_STATE: Shape = {"waiting": _SAID, "terminated": _SAID}
_STATUSES: Shape = [{"name": str, "restartCount": _count, "state": _STATE, "lastState": _STATE}]

_METADATA: Shape = {
    "name!": str,
    "namespace!": str,
    "uid!": str,
    "resourceVersion!": str,
    "creationTimestamp!": _moment,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "ownerReferences": [{"uid!": str, "name!": str, "controller": bool}],
    "managedFields": [
        {
            "manager!": str, "operation!": str, "subresource": str, "time": str, "fieldsV1": _fields,
        }
    ],
}  # fmt: skip

_ITEM: Mapping[str, Shape] = {
    "metadata!": _METADATA,
    "spec": {
        **_POD,
        "replicas": _count,
        "selector": _SELECTOR,
        "strategy": _STRATEGY,
        "template": {"metadata": {"labels": _TEXTS}, "spec": _POD},
        "predictor": {
            **_POD,
            "minReplicas": _count, "maxReplicas": _count, "model": _CONTAINER,
            "deploymentStrategy": _STRATEGY,
        },
        "predictors": [{"componentSpecs": [{"spec": _POD}]}],
        "scaleTargetRef": {"kind": str, "name": str},
        "scopes": [str],
        "holderIdentity": str, "leaseDurationSeconds": _count, "leaseTransitions": _count,
        "acquireTime": _moment, "renewTime": _moment,
    },
    "status": {
        "conditions": [{"type": str, "status": str, **_SAID}],
        "phase": str,
        "podIP": str,
        "containerStatuses": _STATUSES,
        "initContainerStatuses": _STATUSES,
        "hard": _AMOUNTS,
        "used": _AMOUNTS,
    },
}  # fmt: skip

OBJECT: Shape = {"apiVersion!": str, "kind!": str, **_ITEM}
"""One object, of whichever kind is read here."""

PAGE: Shape = {"metadata!": {"continue": str}, "items": [_ITEM]}
"""One answer to a list, whose items need not name their kind."""
