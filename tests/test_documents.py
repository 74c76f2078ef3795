"""YAML files of users, checked against the model of what they may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ipa_rl.documents import check, load, load_or_faults
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
        ("servers: [\n", ":2: is not YAML; fix: correct the syntax"),
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


def test_all_faults_are_found_and_the_first_is_raised(tmp_path: Path) -> None:
    path = written(tmp_path, "servers:\n- port: 0\n- colour: red\n")
    found = load_or_faults(path, File, "docs")
    assert isinstance(found, list)
    assert [fault.field for fault in found] == ["servers.0.port", "servers.1.port", "servers.1.colour"]
    with pytest.raises(InputError, match=r"servers\.0\.port"):
        load(path, File, "docs")


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read; fix: give a YAML file; see docs"):
        load(tmp_path / "none.yaml", File, "docs")
    path = tmp_path / "a.yaml"
    path.write_bytes(b"servers:\n- \xff\n")
    with pytest.raises(InputError, match=":2: is not UTF-8"):
        load(path, File, "docs")


def test_a_part_of_a_file_is_named_by_the_field_that_holds_it() -> None:
    with pytest.raises(InputError, match=r"^a\.yaml: server\.port: Field required; fix: add the field$"):
        check({}, Server, "docs", "a.yaml", under="server")
