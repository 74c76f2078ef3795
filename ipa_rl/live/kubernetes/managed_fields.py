"""Who owns which field of an object (``managedFields``), and what to apply so that only what is ours changes.

A document of server-side apply holds all that its manager wants to own; what it leaves out is given up. So
each one holds what the manager owns already, and the fields that shall change. Lists that the
object's schema declares atomic (all of the lists above a SeldonDeployment's containers, and an
InferenceService's ``containers``) have one owner as a whole, and are sent whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ipa_rl.live.kubernetes.api import MANAGER, Document
from ipa_rl.live.kubernetes.paths import Item, Path, find, read


@dataclass(frozen=True, slots=True)
class Writer:
    """An entry of managedFields: who, by which operation, through which subresource, and when."""

    manager: str
    operation: str
    subresource: str
    time: str

    @property
    def how(self) -> str:
        """The operation, and when it was recorded."""
        return f"{self.operation}, recorded {self.time}" if self.time else self.operation

    def __str__(self) -> str:
        return f"{self.manager} ({self.how})"


def writers_of(live: Document, path: Path, keyed: bool) -> list[Writer]:
    """Who owns the field at a path, or the atomic list that holds it, we included; the latest first.

    ``keyed``: lists of which nobody says how they merge have keys (as in the built-in kinds); else they are
    taken for atomic.
    """
    trees = [(entry, entry["fieldsV1"]) for entry in _entries(live) if "fieldsV1" in entry]
    here: Any = live
    for step in path:
        if isinstance(step, int) or _is_atomic(here, [tree for _, tree in trees], keyed):
            break
        trees = [(entry, below) for entry, tree in trees for below in _below([tree], step)]
        here = read(here, (step,))
    return _latest_first(entry for entry, _ in trees)


def other_writers_of(live: Document, path: Path, keyed: bool) -> list[Writer]:
    """Who else owns the field at a path, or the atomic list that holds it; the latest first."""
    return [writer for writer in writers_of(live, path, keyed) if writer.manager != MANAGER]


def last_other_writer(live: Document) -> Writer | None:
    """Who else wrote anything of what the object asks for last; None where nobody is recorded."""
    others = (e for e in _entries(live) if "f:spec" in e.get("fieldsV1", {}) and e["manager"] != MANAGER)
    return next(iter(_latest_first(others)), None)


def applied_document(live: Document, fields: Mapping[Path, Any], keyed: bool) -> Document:
    """What to apply so that ``fields`` hold and what else is ours stays; ``keyed`` as in `writers_of`.

    A field whose value is None is left out: it goes, unless another owns it too.

    The document holds for this very object in this very version: a change of another's in between is a
    conflict.
    """
    entries = _entries(live)
    own = next((e for e in entries if e["manager"] == MANAGER and e["operation"] == "Apply"), None)
    body = {} if own is None else owned_part(live, own.get("fieldsV1", {}))
    trees = [entry["fieldsV1"] for entry in entries if "fieldsV1" in entry]
    for path, value in sorted(fields.items(), key=lambda field: field[1] is None):
        body = _graft(body, live, path, value, trees, keyed)  # a mapping that is emptied first would be lost
    identity = {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    metadata = {**body.get("metadata", {}), **identity}
    return {**body, "apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}


def with_fields(document: Document, fields: Mapping[Path, Any]) -> Document:
    """An object in which ``fields`` hold, without those whose value is None; the object stays as it is."""
    for path, value in fields.items():
        document = _graft(document, None, path, value, [], keyed=True)
    return document


def owned_part(value: Any, fields: Mapping[str, Any]) -> Any:
    """The part of a value that ``fields`` (FieldsV1) names."""
    if not fields or not isinstance(value, dict | list):
        return value
    if isinstance(value, dict):
        named = ((key[2:], below) for key, below in fields.items() if key.startswith("f:"))
        return {name: owned_part(value[name], below) for name, below in named if name in value}
    keys = [(json.loads(key[2:]), below) for key, below in fields.items() if key.startswith("k:")]
    single = [json.loads(key[2:]) for key in fields if key.startswith("v:")]
    found = []
    for item in value:
        if item in single:
            found.append(item)
        for key, below in keys:
            if isinstance(item, dict) and key.items() <= item.items():
                found.append({**key, **owned_part(item, below)})
    return found


def _graft(body: Any, live: Any, path: Path, value: Any, trees: list[Mapping[str, Any]], keyed: bool) -> Any:
    """``body`` with a value at ``path``; ``trees``: FieldsV1 of all managers at this place.

    Raises IndexError for a position that the list does not have.
    """
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, int) or _is_atomic(live, trees, keyed):
        body, live, trees = body or live, None, []  # it has one owner, so all of it is sent
    if isinstance(step, str):
        fields, there = dict(body or {}), (live or {}).get(step)
        fields[step] = _graft(fields.get(step), there, rest, value, _below(trees, step), keyed)
        if value is None and not fields[step]:
            del fields[step]  # and with the last field of a mapping the mapping itself
        return fields
    items = list(body or [])
    if isinstance(step, int):
        items[step] = _graft(items[step], None, rest, value, [], keyed)
        return items
    at, live_at = find(items, step), find(live or [], step)
    if at is None:
        at = len(items)
        items.append({step.key: step.value})
    there = None if live_at is None else live[live_at]
    items[at] = _graft(items[at], there, rest, value, _below(trees, step), keyed)
    return items


def _is_atomic(live: Any, trees: list[Mapping[str, Any]], keyed: bool) -> bool:
    """Whether a list or map is owned as a whole: all who own it own no part of it."""
    if not live or not isinstance(live, list | dict):
        return False
    if not trees:
        return isinstance(live, list) and not keyed
    return all(not tree for tree in trees)


def _below(trees: Iterable[Mapping[str, Any]], step: str | Item) -> list[Mapping[str, Any]]:
    """FieldsV1 one step further on."""
    if isinstance(step, str):
        return [tree[f"f:{step}"] for tree in trees if f"f:{step}" in tree]
    wanted = {step.key: step.value}
    pairs = (pair for tree in trees for pair in tree.items())
    return [below for key, below in pairs if key[:2] == "k:" and json.loads(key[2:]) == wanted]


def _entries(live: Document) -> list[Document]:
    return live["metadata"].get("managedFields") or []


def _latest_first(entries: Iterable[Document]) -> list[Writer]:
    found = [
        Writer(e["manager"], e["operation"], e.get("subresource", ""), e.get("time") or "") for e in entries
    ]
    return sorted(found, key=lambda writer: writer.time, reverse=True)
