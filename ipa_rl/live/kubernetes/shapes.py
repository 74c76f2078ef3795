"""What of an object is relied on: fields and their types, as the API server keeps them.

A real API server never answers otherwise; a proxy before it, or what listens on its port now, may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from ipa_rl.live.kubernetes.quantities import quantity, resolved

Check: TypeAlias = Callable[[Any], bool]
Shape: TypeAlias = "Check | list[Shape] | Mapping[str, Shape]"
"""A check of a value, the shape of the items of a list (in a list of one), or shapes by field.

Fields that are not there pass, unless their name ends with ``!``; ``*`` stands for every field.
"""

DEEPEST = 100
"""Levels of an object; real ones have a third of them."""

_MOST = 2**31
_LONGEST = 64
"""Characters of a number."""


def without_nulls(value: Any, deepest: int = DEEPEST) -> Any:
    """The value without fields that are null, as good as not there, and what is nested too deep."""
    if deepest < 0:
        return None
    if isinstance(value, dict):
        inner = ((key, without_nulls(one, deepest - 1)) for key, one in value.items())
        return {key: one for key, one in inner if one is not None}
    return [without_nulls(one, deepest - 1) for one in value] if isinstance(value, list) else value


def fault(value: Any, shape: Shape, at: str = "") -> str | None:
    """Where a value has another shape; None where it has this one.

    >>> fault({"spec": {"replicas": "two"}}, {"spec": {"replicas": lambda value: isinstance(value, int)}})
    'spec.replicas'
    """
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


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _amount(value: Any) -> bool:
    """A quantity, such as 500m."""
    return _parses(quantity, value)


def _share(value: Any) -> bool:
    """A count, or percent."""
    return _parses(lambda given: resolved(given, 1, round_up=True), value)


def _moment(value: Any) -> bool:
    return isinstance(value, str) and _parses(lambda given: datetime.fromisoformat(given).timestamp(), value)


def _parses(parse: Callable[[Any], Any], value: Any) -> bool:
    try:
        if isinstance(value, bool) or len(str(value)) > _LONGEST:
            return False
        parsed = parse(value)
    except (ValueError, TypeError, ArithmeticError):
        return False
    return bool(abs(parsed) < 1e30)


def _operator(value: Any) -> bool:
    return value in ("In", "NotIn", "Exists", "DoesNotExist")


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


_TEXTS: Shape = {"*": _text}
_AMOUNTS: Shape = {"*": _amount}
_SELECTOR: Shape = {
    "matchLabels": _TEXTS,
    "matchExpressions": [{"key!": _text, "operator!": _operator, "values": [_text]}],
}
_STRATEGY: Shape = {"type": _text, "rollingUpdate": {"maxUnavailable": _share, "maxSurge": _share}}
_CONTAINER: Shape = {
    "name": _text,
    "env": [{"name": _text, "value": _text}],
    "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
}
_POD: Mapping[str, Shape] = {"containers": [_CONTAINER]}
_SAID: Mapping[str, Shape] = {"reason": _text, "message": _text}
_STATE: Shape = {"waiting": _SAID, "terminated": _SAID}
_STATUSES: Shape = [{"name": _text, "restartCount": _count, "state": _STATE, "lastState": _STATE}]

_METADATA: Shape = {
    "name!": _text,
    "namespace!": _text,
    "uid!": _text,
    "resourceVersion!": _text,
    "creationTimestamp!": _moment,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "ownerReferences": [{"uid!": _text, "name!": _text, "controller": _flag}],
    "managedFields": [
        {
            "manager!": _text, "operation!": _text, "subresource": _text, "time": _text, "fieldsV1": _fields,
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
        "scaleTargetRef": {"kind": _text, "name": _text},
        "scopes": [_text],
    },
    "status": {
        "conditions": [{"type": _text, "status": _text, **_SAID}],
        "phase": _text,
        "podIP": _text,
        "containerStatuses": _STATUSES,
        "initContainerStatuses": _STATUSES,
        "hard": _AMOUNTS,
        "used": _AMOUNTS,
    },
}  # fmt: skip

OBJECT: Shape = {"apiVersion!": _text, "kind!": _text, **_ITEM}
"""One object, of whichever kind is read here."""

PAGE: Shape = {"metadata!": {"continue": _text}, "items": [_ITEM]}
"""One answer to a list, whose items need not name their kind."""
