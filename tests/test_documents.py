"""YAML files of users, checked against the model of what they may say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ipa_rl.documents import (
    Count,
    Fraction,
    Name,
    Positive,
    StrictModel,
    check,
    load,
    load_json,
    load_or_faults,
)
from ipa_rl.errors import InputError


class Server(BaseModel):
    model_config = ConfigDict(extra="forbid")

    port: Annotated[int, Field(ge=1)]
    share: Annotated[float, Field(le=1)] = 0.5


class File(BaseModel):
    servers: list[Server]
    limit: float | dict[str, float] = {}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = "servers:\n- port: 1\n- port: 2\n"


def test_a_good_file_is_its_model(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD), File, "docs").servers[1].port == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "servers:\n- port: 1\n- port: 0\n",
            ":3: servers.1.port: Input should be greater than or",
        ),
        ("servers:\n- share: 1\n", ":2: servers.0.port: Field required; fix: add the field"),
        ("servers: [{port: 1}]\n", ""),
        (GOOD + "limit: {a: b}\n", ":4: limit"),
        ("servers:\n- port: 1\n  share: 50\n", "not 50; fix: give a fraction: divide percent by 100"),
        ("servers:\n- port: 1\n  colour: red\n", ":3: servers.0.colour: Extra inputs are not permitted"),
        ("servers: [\n", ":2: is not YAML: did not find expected node content; fix: correct the syntax"),
        ("- 1\n", "holds no fields; fix: see docs"),
        ("", "holds no fields; fix: see docs"),
    ],
)
def test_a_fault_names_file_line_field_and_fix(text: str, told: str, tmp_path: Path) -> None:
    found = load_or_faults(written(tmp_path, text), File, "docs")
    if isinstance(found, list):
        assert told in str(found[0])
        assert str(found[0]).startswith(f"{tmp_path / 'a.yaml'}:")
        assert found[0].fix
    assert isinstance(found, list) == bool(told)


class Figures(StrictModel):
    """Each kind of field."""

    share: Fraction | Name = 0.5
    counts: dict[str, Count] | None = None
    is_on: bool = False
    either: bool | Positive = False
    parts: tuple[dict[str, Fraction | Name], ...] = ()
    anything: Any = None


@pytest.mark.parametrize("text", ["share: yes", "counts: {a: true}", "parts: [{a: 0.5}, {b: on}]"])
def test_yes_is_no_figure(text: str, tmp_path: Path) -> None:
    found = load_or_faults(written(tmp_path, f"{text}\n"), Figures, "docs")
    assert isinstance(found, list)
    assert "give a figure" in str(found[0])


def test_where_yes_is_meant_it_is_taken(tmp_path: Path) -> None:
    text = "is_on: yes\neither: true\nanything: [on]\nshare: 1\ncounts: {a: 1}\n"
    found = load(written(tmp_path, text), Figures, "docs")
    assert (found.is_on, found.either, found.anything) == (True, True, [True])


def test_all_faults_are_found_and_the_first_is_raised(tmp_path: Path) -> None:
    path = written(tmp_path, "servers:\n- port: 0\n- colour: red\n")
    found = load_or_faults(path, File, "docs")
    assert isinstance(found, list)
    assert [fault.field for fault in found] == ["servers.0.port", "servers.1.port", "servers.1.colour"]
    with pytest.raises(InputError, match=r"servers\.0\.port"):
        load(path, File, "docs")


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: no such file .*; fix: give a YAML file; see docs"):
        load(tmp_path / "none.yaml", File, "docs")
    path = tmp_path / "a.yaml"
    path.write_bytes(b"servers:\n- \xff\n")
    with pytest.raises(InputError, match=":2: is not UTF-8"):
        load(path, File, "docs")


def test_a_part_of_a_file_is_named_by_the_field_that_holds_it() -> None:
    with pytest.raises(InputError, match=r"^a\.yaml: server\.port: Field required; fix: add the field$"):
        check({}, Server, "docs", "a.yaml", under="server")


class Named(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    mode: Literal["act", "shadow"] = "act"
    delays: dict[str, float] = {}
    window: float | dict[str, float] | None = None
    server: Server | Literal[False] = False
    servers: Annotated[tuple[Server, ...], Field(min_length=1)] = ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: 50", ":1: name: '50' is a number in YAML; fix: put it in quotes: \"50\""),
        ("name: 1.10", "'1.10' is a number in YAML; fix: put it in quotes: \"1.10\""),
        ("name: 0x1F", "'0x1F' is a number in YAML"),
        ("name: 12:30", "'12:30' is a number in YAML"),
        ("name: no", "'no' is yes or no in YAML; fix: put it in quotes: \"no\""),
        ("name: 2024-01-01", "'2024-01-01' is a date in YAML; fix: put it in quotes: \"2024-01-01\""),
        ("name: a\ndelays: {18: 1.0}", ":2: delays.18: '18' is a number in YAML; fix: put it in quotes"),
        ("name: a\ndelays:\n  on: 1", ":3: delays.1: 'on' is yes or no in YAML"),
        ("name: a\nmode: on", ":2: mode: 'on' is yes or no in YAML"),
    ],
)
def test_a_name_that_yaml_reads_as_something_else_belongs_in_quotes(
    text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, text), Named, "docs")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field", "told"),
    [
        ("window: {crop: no number}", "window.crop", "valid number"),
        ("window: [1]", "window", "not a list of 1"),
        ("window: wide", "window", "not 'wide'"),
        ("server: {prt: 1}", "server.prt", "Extra inputs are not permitted"),
        ("server: {share: 0.1}", "server.port", "Field required"),
        ("server: {port: 0}", "server.port", "greater than or equal to 1, not 0"),
        ("server: true", "server", "is true, not a mapping of fields"),
        ("servers: []", "servers", "is a list of 0; fix: give at least 1"),
        ("servers: [{port: 0}]", "servers.0.port", "not 0"),
        ("servers: a", "servers", "is 'a', not a list"),
    ],
)
def test_where_a_value_may_be_of_several_kinds_the_likeliest_is_meant(
    text: str, field: str, told: str, tmp_path: Path
) -> None:
    found = load_or_faults(written(tmp_path, f"name: a\n{text}\n"), Named, "docs")
    assert isinstance(found, list)
    assert [fault.field for fault in found if fault.field != "server.prt"][:1] in ([field], ["server.port"])
    assert any(fault.field == field and told in str(fault) for fault in found)
    assert len({fault.line for fault in found}) == 1


@pytest.mark.parametrize(
    "value", ["x" * 5000, '"a\\nb"', "{a: [" + "1, " * 5000 + "1]}", "[" * 40 + "]" * 40]
)
def test_a_message_is_one_short_line_whatever_the_value(value: str, tmp_path: Path) -> None:
    found = load_or_faults(written(tmp_path, f"servers:\n- port: {value}\n  {'y' * 3000}: 1\n"), File, "docs")
    assert isinstance(found, list)
    for fault in found:
        assert str(fault).isprintable()
        assert len(str(fault).removeprefix(str(tmp_path))) < 350


@dataclass(frozen=True)
class Kept:
    step: int
    figures: dict[str, float]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"step": 1, "figures": {"a": 1}}]', ""),
        ('[{"step": "x", "figures": {"a": 1}}]', "0.step: Input should be a valid integer"),
        ('[{"figures": {}}]', "0.step: Field required"),
        ('[{"step": 1, "figures": []}]', "0.figures: is a list of 0, not a mapping of fields"),
        ("{}", "is a mapping of 0, not a list"),
        ('[{"step": NaN}]', "holds NaN"),
        ("[", "is not JSON"),
    ],
)
def test_a_json_file_is_its_type_or_its_first_fault(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    if not told:
        assert load_json(path, list[Kept], "write it again") == [Kept(1, {"a": 1.0})]
        return
    with pytest.raises(InputError) as caught:
        load_json(path, list[Kept], "write it again")
    assert str(caught.value).startswith(f"{path}: {told}")
    assert caught.value.fix == "write it again"
