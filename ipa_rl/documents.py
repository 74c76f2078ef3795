"""YAML files that users write, checked against the model (pydantic) of what they may say.

Every fault names the file, the line where there is one, the field and the fix. ``see`` is where to read what
the file may say: an example or a page of the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ipa_rl.errors import InputError, quoted

Model = TypeVar("Model", bound=BaseModel)
Place = Sequence[str | int]

_FIXES = {
    "missing": "add the field",
    "extra_forbidden": "remove it, or correct its spelling",
    "model_type": "give a mapping of fields",
}


def load(path: Path, model: type[Model], see: str) -> Model:
    """What a file says. Raises InputError, its first fault."""
    found = load_or_faults(path, model, see)
    if isinstance(found, list):
        raise found[0]
    return found


def load_or_faults(path: Path, model: type[Model], see: str) -> Model | list[InputError]:
    """What a file says, or all its faults."""
    try:
        text = _read(path, see)
        root = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except InputError as fault:
        return [fault]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        return [InputError("is not YAML", file=path, line=line, fix="correct the syntax")]
    return _checked(content, model, see, path, root)


def check(content: object, model: type[Model], see: str, file: str | Path | None, under: str = "") -> Model:
    """What stands in a part of a file, or in no file; ``under``: the field of ``file`` that holds it.

    Raises InputError, the first fault.

    >>> class Server(BaseModel):
    ...     port: int
    >>> check({}, Server, "the example", "a.yaml", under="server")
    Traceback (most recent call last):
    ipa_rl.errors.InputError: a.yaml: server.port: Field required; fix: add the field
    """
    found = _checked(content, model, see, file, None, under)
    if isinstance(found, list):
        raise found[0]
    return found


def _read(path: Path, see: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError("cannot be read", file=path, fix=f"give a YAML file; see {see}") from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError("is not UTF-8", file=path, line=line, fix="save it as UTF-8") from error


def _checked(
    content: object,
    model: type[Model],
    see: str,
    file: str | Path | None,
    root: yaml.Node | None,
    under: str = "",
) -> Model | list[InputError]:
    if not isinstance(content, Mapping):
        return [InputError("holds no fields", file=file, field=under or None, fix=f"see {see}")]
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults: list[Any] = error.errors()
    found = []
    for fault in faults:
        place = _place(fault["loc"], content, fault["type"] == "missing")
        field = ".".join(map(str, [under, *place] if under else place))
        problem, fix = _told(fault, see)
        found.append(InputError(problem, file=file, line=_line(root, place), field=field, fix=fix))
    return found


def _place(location: Place, content: Any, missing: bool) -> list[str | int]:
    """The part of a fault's location that stands in the file; pydantic names alternatives of types, too."""
    place: list[str | int] = []
    for part in location:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            continue
        place.append(part)
    return [*place, location[-1]] if missing else place


def _line(node: yaml.Node | None, place: Place) -> int | None:
    """The line of a field, or of what should hold it; None where no file was read."""
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode):
            pair = (node.value[int(part)], node.value[int(part)])
        else:
            pair = None
        if pair is None:
            return line
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line


def _told(fault: Any, see: str) -> tuple[str, str]:
    """A fault in words: problem and fix."""
    kind, given = fault["type"], fault["input"]
    problem = fault["msg"].removeprefix("Value error, ")
    if kind in _FIXES:
        return problem, _FIXES[kind]
    if isinstance(given, Mapping):
        return problem, f"see {see}"
    is_share = kind == "less_than_equal" and fault["ctx"]["le"] == 1
    fix = "give a fraction: divide percent by 100" if is_share else "correct the value"
    return f"{problem}, not {quoted(given)}", fix
