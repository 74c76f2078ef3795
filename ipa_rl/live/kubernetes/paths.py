"""Paths to fields of Kubernetes objects, as the YAML names them.

``spec.template.spec.containers[name=server].env[name=IPA_VARIANT].value``: fields, items of a list by a key
(``[name=server]``) or by position (``[0]``), and quoted names (``metadata.annotations['ipa-rl.dev/batch']``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from ipa_rl.errors import quoted


@dataclass(frozen=True, slots=True)
class Item:
    """The item of a list whose field ``key`` is ``value``."""

    key: str
    value: str


Step: TypeAlias = str | int | Item
Path: TypeAlias = tuple[Step, ...]

_STEP = re.compile(
    r"\.(?P<field>[A-Za-z_][\w-]*)"
    r"|\[(?P<position>\d+)\]"
    r"|\[(?P<key>[A-Za-z_]\w*)=(?P<value>[^\]]+)\]"
    r"|\['(?P<quoted>[^']+)'\]"
)


def parse_path(text: str) -> Path:
    """The steps of a path. Raises ValueError for any other text.

    >>> parse_path("spec.containers[name=a].env[0]")
    ('spec', 'containers', Item(key='name', value='a'), 'env', 0)
    """
    steps: list[Step] = []
    rest = text if text.startswith(("[", ".")) else f".{text}"
    while (found := _STEP.match(rest)) is not None:
        if found["position"]:
            steps.append(int(found["position"]))
        elif found["key"]:
            steps.append(Item(found["key"], found["value"]))
        else:
            steps.append(found["field"] or found["quoted"])
        rest = rest[found.end() :]
    if rest or not steps or text.startswith("."):
        raise ValueError(f"{quoted(text)} is not a path such as spec.containers[name=server].image")
    return tuple(steps)


def show_path(path: Path) -> str:
    """A path as the YAML names it.

    >>> show_path(parse_path("metadata.annotations['ipa-rl.dev/batch']"))
    "metadata.annotations['ipa-rl.dev/batch']"
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, Item):
            text += f"[{step.key}={step.value}]"
        else:
            text += ("." if text else "") + step if re.fullmatch(r"[\w-]+", step) else f"['{step}']"
    return text


def find(items: list[Any], item: Item) -> int | None:
    """Position of an item in a list, None where it is not there."""
    found = (k for k, one in enumerate(items) if isinstance(one, dict) and one.get(item.key) == item.value)
    return next(found, None)


def read(document: Any, path: Path) -> Any:
    """The value at a path, None where there is none."""
    for step in path:
        if isinstance(step, str):
            document = document.get(step) if isinstance(document, dict) else None
        elif not isinstance(document, list):
            return None
        else:
            position = step if isinstance(step, int) else find(document, step)
            document = document[position] if position is not None and position < len(document) else None
        if document is None:
            return None
    return document
