"""YAML as text, turned into values within limits: nothing is expanded, nested or repeated without limit.

The limits are held against the parser's events, before a value is made.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from ipa_rl.errors import InputError, quoted

MOST_VALUES, DEEPEST, _LONGEST_NUMBER = 50_000, 50, 400
"""Values of a file with its aliases written out; lists and mappings within each other."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER, _SHORTER = "give a number that can be written out", "write it shorter"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Yaml:
    """What a text says. ``root``: its nodes, for the lines; ``keys``: what their keys stand for."""

    content: Any
    root: yaml.Node | None = None
    keys: Mapping[yaml.Node, Any] = field(default_factory=dict)

    def child(self, node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
        """The key and the value under ``part`` of a mapping, or the element of a list twice."""
        if isinstance(node, yaml.MappingNode):
            pairs = reversed(node.value)  # what a merge brought comes first, and is overridden
            known = ((self.keys.get(pair[0]), pair) for pair in pairs)
            return next((pair for key, pair in known if key == part or str(key) == str(part)), None)
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            return node.value[part], node.value[part]
        return None


def parse(text: str, file: str | Path | None, name: str | None = None) -> Yaml:
    """The one document of a text. Raises InputError: not YAML, too much, or a key that is listed twice.

    ``name``: the field that holds the text, where it is a part of a file.
    """
    try:
        if odd := Reader.NON_PRINTABLE.search(text):
            line = text.count("\n", 0, odd.start()) + 1
            holds = f"holds the control character {quoted(odd.group())}"
            raise InputError(holds, line=line, fix="save it as plain text")
        _check_events(yaml.parse(text, _LOADER))
        loader = _Loader(text)
        root = loader.get_single_node()
        _check_keys(loader, root)
        return Yaml(None if root is None else loader.construct_document(root), root, loader.keys)
    except InputError as error:
        raise InputError(error.problem, file=file, line=error.line, field=name, fix=error.fix) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None)
        told = f"is not YAML: {problem}" if problem else "is not YAML"
        at = mark.line + 1 if mark else None
        raise InputError(told, file=file, line=at, field=name, fix="correct the syntax") from error


def _check_events(events: Iterator[Any]) -> None:
    """Hold the limits: how deep, and how many values when every alias is written out."""
    opened = [_Part(None, 0)]  # the document, then the lists and mappings that the event is in
    known: dict[str, tuple[int, int]] = {}  # values and depth by anchor
    for event in events:
        values, depth = 0, 0
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Part(event.anchor, 0))
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = opened.pop()
            values, depth = ended.values + 1, ended.depth + 1
            if ended.anchor:
                known[ended.anchor] = values, depth
        elif isinstance(event, yaml.AliasEvent):
            if any(part.anchor == event.anchor for part in opened):
                raise InputError(f"*{event.anchor} is a part of itself", line=_line(event), fix=_SHORTER)
            values, depth = known.get(event.anchor or "", (1, 0))
        elif isinstance(event, yaml.ScalarEvent):
            values = 1
            if event.anchor:
                known[event.anchor] = 1, 0
        opened[-1].values += values
        opened[-1].depth = max(opened[-1].depth, depth)
        if len(opened) - 1 + depth > DEEPEST:
            raise InputError(f"is nested more than {DEEPEST} deep", line=_line(event), fix=_SHORTER)
        if opened[-1].values > MOST_VALUES:
            raise InputError(f"has more than {MOST_VALUES} values", line=_line(event), fix=_SHORTER)


def _line(at: yaml.Event | yaml.Node) -> int:
    return at.start_mark.line + 1 if at.start_mark else 1


@dataclass
class _Part:
    """A list or mapping that is being read: the values in it so far, and how deep they are nested."""

    anchor: str | None
    values: int
    depth: int = 0


class _Loader(_LOADER):  # type: ignore[misc]
    """Plain values; a scalar that is none of its type is a fault of the YAML, with its line."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.keys: dict[yaml.Node, Any] = {}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A value. Refused where a constructor raises, of a date or number that does not exist."""
        try:
            return super().construct_object(node, deep)
        except InputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            problem = f"{quoted(node.value)} is not {_KINDS.get(node.tag, node.tag.rpartition(':')[2])}"
            raise InputError(problem, line=_line(node), fix="correct it, or put it in quotes") from error

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A finite number that a float can hold."""
        if len(node.value) > _LONGEST_NUMBER:
            raise InputError(f"{quoted(node.value)} is too large a number", line=_line(node), fix=_NUMBER)
        whole = node.tag.endswith(":int")
        value: int | float = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        if not math.isfinite(float(value)):
            raise InputError(f"{quoted(node.value)} is not a finite number", line=_line(node), fix=_NUMBER)
        return value


_KINDS = {
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "yes or no",
    "tag:yaml.org,2002:timestamp": "a date",
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def _check_keys(loader: _Loader, root: yaml.Node | None) -> None:
    """Note what every key stands for. Raises InputError where one stands in a mapping twice."""
    waiting: list[yaml.Node | None] = [root]
    seen: set[yaml.Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        lines: dict[Any, int] = {}
        for key, value in pairs:
            waiting.append(value)
            known = key.value if key.tag == _MERGE else loader.construct_object(key)
            line = _line(key)
            if not isinstance(known, Hashable):
                raise InputError("has a key that is a list or a mapping", line=line, fix="give it a name")
            if known in lines:
                problem = f"{quoted(known)} is listed twice, in lines {lines[known]} and {line}"
                raise InputError(problem, line=line, fix="keep one")
            lines[known], loader.keys[key] = line, known
