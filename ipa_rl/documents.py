"""YAML and JSON files, checked against the model (pydantic) of what they may say.

Every fault names the file, the line where there is one, the field and the fix. ``see`` is where to read what
the file may say: an example or a page of the documentation.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ipa_rl import json_text, yaml_text
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import read_bytes, read_text
from ipa_rl.limits import LONGEST_DELAY_S
from ipa_rl.yaml_text import Yaml


class StrictModel(BaseModel):
    """A file, or a part of it, that holds no other fields than these; it stays as it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, said: ValidationInfo) -> Any:
        """pydantic takes yes for 1; nobody who writes it means that."""
        if _switches(value):
            kinds = set(_kinds(cls.model_fields[str(said.field_name)].annotation))
            if kinds & {int, float} and not kinds & {bool, Any, object, BaseModel}:
                raise ValueError("give a figure")
        return value


def _switches(value: Any) -> bool:
    """Whether it is yes or no, or holds one."""
    if isinstance(value, Mapping):
        return any(map(_switches, value.values()))
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_switches, value)))


def _kinds(annotation: Any) -> Iterator[Any]:
    """What it takes somewhere; BaseModel for parts, which see to what is in them themselves."""
    if isinstance(annotation, type):
        yield BaseModel if issubclass(annotation, BaseModel) else annotation
    elif annotation is Any:
        yield Any
    for part in get_args(annotation):
        yield from _kinds(part)


Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")


def within_an_hour(seconds: float) -> float:
    """The seconds. Raises ValueError where they are more than the simulators were made for."""
    if not seconds <= LONGEST_DELAY_S:
        raise ValueError(f"give at most {LONGEST_DELAY_S:g} s, the longest that the simulators were made for")
    return seconds


def _beside(path: Path, said: ValidationInfo) -> Path:
    return path if said.context is None else said.context / path


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("do not ascend: list them once each, smallest first")
    return values


def _named_once(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    names = [one.name for one in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is listed twice")
    return entries


Whole = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
"""A share that is not 0: an accuracy, a learning rate."""
Delay = Annotated[NonNegative, AfterValidator(within_an_hour)]
"""Seconds until something is ready."""
Name = Annotated[str, Field(min_length=1)]
Ascending = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_ascending)]
UniquelyNamed = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_named_once)]
"""Parts that are told apart by their names."""
Beside = Annotated[Path, AfterValidator(_beside)]
"""A path that is relative to the folder of the file that names it."""
Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+\S*$")]

Place = Sequence[str | int]

MOST_BYTES = 4_000_000
_MOST_FAULTS = 500

_FIXES = {"missing": "add the field", "extra_forbidden": "remove it, or correct its spelling"}
_WANTED = {
    "model_type": "a mapping of fields",
    "dict_type": "a mapping of fields",
    "dataclass_type": "a mapping of fields",
    "tuple_type": "a list",
    "list_type": "a list",
}


def load(path: Path, model: type[Model], see: str) -> Model:
    """What a YAML file says. Raises InputError, its first fault."""
    found = load_or_faults(path, model, see)
    if isinstance(found, list):
        raise found[0]
    return found


def load_or_faults(path: Path, model: type[Model], see: str) -> Model | list[InputError]:
    """What a YAML file says, or all its faults."""
    try:
        found = read_yaml(path, see)
    except InputError as fault:
        return [fault]
    return _checked(found, model, see, path)


def read_yaml(path: Path, see: str) -> Yaml:
    """The values of a YAML file, not checked. Raises InputError."""
    return yaml_text.parse(read_text(path, MOST_BYTES, f"give a YAML file; see {see}"), path)


def check(content: object, model: type[Model], see: str, file: str | Path | None, under: str = "") -> Model:
    """What stands in a part of a file, or in no file; ``under``: the field of ``file`` that holds it.

    Raises InputError, the first fault.

    >>> class Server(BaseModel):
    ...     port: int
    >>> check({}, Server, "the example", "a.yaml", under="server")
    Traceback (most recent call last):
    ipa_rl.errors.InputError: a.yaml: server.port: Field required; fix: add the field
    """
    found = _checked(Yaml(content), model, see, file, under)
    if isinstance(found, list):
        raise found[0]
    return found


def load_json(path: Path, kind: type[T], fix: str, most_bytes: int = MOST_BYTES) -> T:
    """A JSON file as a value of a type (a dataclass, a list of them). Raises InputError, its first fault.

    ``fix``: how such a file is made.
    """
    return check_json(read_json(path, fix, most_bytes), kind, path, fix)


def check_json(content: object, kind: type[T], path: Path, fix: str) -> T:
    """What `read_json` gave as a value of a type. Raises InputError, the first fault."""
    try:
        found: T = _adapter(cast(Hashable, kind)).validate_python(content)
    except ValidationError as error:
        fault = _faults(error, content)[0]
        field = ".".join(map(str, _place(fault, content)))
        raise InputError(_told(fault)[0], file=path, field=field or None, fix=fix) from error
    return found


def read_json(path: Path, fix: str, most_bytes: int = MOST_BYTES) -> Any:
    """The values of a JSON file, not checked. Raises InputError."""
    try:
        return json_text.parse(read_bytes(path, most_bytes, fix))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error), file=path, fix=fix) from error


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _checked(
    found: Yaml, model: type[Model], see: str, file: str | Path | None, under: str = ""
) -> Model | list[InputError]:
    if not isinstance(found.content, Mapping):
        return [InputError("holds no fields", file=file, field=under or None, fix=f"see {see}")]
    try:
        folder = None if file is None else Path(file).parent
        return model.model_validate(found.content, context=folder)
    except ValidationError as error:
        faults = _faults(error, found.content)
    told = []
    for fault in faults:
        place = _place(fault, found.content)
        line, written = _found_at(found, place, is_key="[key]" in fault["loc"])
        problem, fix = _told(fault, see, written)
        field = ".".join(map(str, [under, *place] if under else place))
        told.append(InputError(problem, file=file, line=line, field=field or None, fix=fix))
    return told


def _faults(error: ValidationError, content: Any) -> list[Any]:
    """The faults that pydantic found, those left out that only follow from others.

    Where a value may be of several kinds, each kind has its faults: the likeliest's are kept.
    """
    found: list[Any] = error.errors(include_url=False)[:_MOST_FAULTS]
    choices: dict[tuple[Any, ...], dict[Any, list[Any]]] = {}
    for fault in found:
        place, kind = _alternative(fault, content)
        choices.setdefault(place, {}).setdefault(kind, []).append(fault)
    kept = set()
    for place, kinds in choices.items():
        kept |= {id(one) for one in min(kinds.values(), key=partial(_strangeness, len(place) + 1))}
    below = {tuple(one["loc"][:k]) for one in found for k in range(len(one["loc"]))}
    return [
        fault
        for fault in found
        if id(fault) in kept and not (fault["type"] == "too_short" and tuple(fault["loc"]) in below)
    ]


def _alternative(fault: Any, content: Any) -> tuple[tuple[Any, ...], Any]:
    """Where a value may be of several kinds, and the kind that a fault is of; else the fault's own place."""
    location = fault["loc"]
    for k, part in enumerate(location):
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            if fault["type"] == "missing" and k + 1 == len(location):
                break
            return tuple(location[:k]), part
    return tuple(location), None


def _strangeness(depth: int, faults: Sequence[Any]) -> tuple[bool, int]:
    """How unlikely it is that a kind was meant: it takes no such value at all, or finds more faults."""
    strange = any(
        len(fault["loc"]) == depth
        and (fault["type"].endswith(("_type", "_parsing")) or fault["type"] == "literal_error")
        for fault in faults
    )
    return strange, len(faults)


def _place(fault: Any, content: Any) -> list[str | int]:
    """The part of a fault's location that stands in the file; pydantic names alternatives of types, too."""
    place: list[str | int] = []
    for part in fault["loc"]:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            continue
        place.append(part)
    return [*place, fault["loc"][-1]] if fault["type"] == "missing" else place


def _found_at(found: Yaml, place: Place, is_key: bool) -> tuple[int | None, str | None]:
    """The line of a field, or of what should hold it, and the text of its value or key; None: in no file."""
    line, node, key = None, found.root, None
    for part in place:
        pair = found.child(node, part)
        if pair is None:
            return line, None
        key, node = pair
        line = key.start_mark.line + 1
    told = key if is_key else node
    return line, told.value if told is not None and isinstance(told.value, str) else None


def _told(fault: Any, see: str = "", written: str | None = None) -> tuple[str, str]:
    """A fault in words: problem and fix. ``written``: the value in the YAML; JSON has no ``see``."""
    kind, given = fault["type"], fault["input"]
    problem = fault["msg"].removeprefix("Value error, ")
    if kind in _FIXES:
        return problem, _FIXES[kind]
    wants_text = kind in ("string_type", "enum") or "'" in str(fault.get("ctx", {}).get("expected"))
    if see and wants_text and isinstance(given, (bool, int, float, datetime.date)):
        text = str(given) if written is None else written
        number = "a number" if isinstance(given, (int, float)) else "a date"
        read_as = "yes or no" if isinstance(given, bool) else number
        return f"{quoted(text)} is {read_as} in YAML", f'put it in quotes: "{text}"'
    fix = f"see {see}" if isinstance(given, Mapping) else "correct the value"
    if kind in _WANTED:
        return f"is {quoted(given)}, not {_WANTED[kind]}", fix
    if kind == "too_short":
        return f"is {quoted(given)}", f"give at least {fault['ctx']['min_length']}"
    if isinstance(given, Mapping) or (kind == "value_error" and isinstance(given, (list, tuple))):
        return problem, fix
    if kind == "less_than_equal" and fault["ctx"]["le"] == 1:
        fix = "give a fraction: divide percent by 100"
    return f"{problem}, not {quoted(given)}", fix
