"""Messages: one line each, whatever stands in the input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.consoles import plain_console
from ipa_rl.errors import InputError, one_a_cause, printable, quoted

DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


@given(st.text(st.characters(exclude_categories=()), max_size=5000))
def test_a_text_in_a_message_is_one_short_printable_line(text: str) -> None:
    assert quoted(text).isprintable()
    assert len(quoted(text)) <= 62
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    "value", [DEEP, {"a": DEEP}, 10**6000, -(10**6000), {1, 2}, b"\xff", object, 1e308], ids=type
)
def test_any_value_in_a_message_is_one_short_line_and_is_never_formatted_whole(value: object) -> None:
    assert quoted(value).isprintable()
    assert len(quoted(value)) <= 62


@given(*[st.text(st.characters(exclude_categories=()), max_size=9000)] * 4)
def test_an_error_is_one_line_whatever_its_parts_hold(problem: str, file: str, field: str, fix: str) -> None:
    told = str(InputError(problem, file=file, field=field, fix=fix))
    assert told.isprintable()
    assert len(told) < 1500


def test_names_and_values_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    plain_console().print("root:x:0: [bold]model[/bold] 12.5", soft_wrap=True)
    assert capsys.readouterr().out == "root:x:0: [bold]model[/bold] 12.5\n"


@pytest.mark.slow
def test_the_command_line_prints_a_name_that_looks_like_an_emoji_or_markup_as_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ipa_rl", "explain", ":x: [red]"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: :x: [red]: ")
    assert done.stderr.count("\n") == 1


def fault(line: int | None, problem: str, field: str = "cores", fix: str = "divide by 1000") -> InputError:
    return InputError(problem, file="a.csv", line=line, field=field, fix=fix)


def test_one_cause_at_many_lines_is_one_message() -> None:
    found = one_a_cause([fault(line, f"{line} s is long") for line in range(2, 74)])
    assert [str(one) for one in found] == [
        "a.csv:2: cores: 2 s is long, also in lines 3, 4, 5, 6, 7 and 66 more; fix: divide by 1000"
    ]


def test_two_causes_are_two_messages() -> None:
    faults = [fault(2, "a"), fault(3, "b", field="batch"), fault(4, "c", fix="use 1")]
    assert one_a_cause(faults) == faults


def test_positions_in_a_list_are_no_causes_of_their_own() -> None:
    faults = [fault(k, "a", field=f"stages.{k}.variants.0.accuracy") for k in (3, 7)]
    assert [one.line for one in one_a_cause(faults)] == [3]


def test_faults_without_lines_are_told_one_by_one() -> None:
    faults = [fault(None, "no point of a"), fault(None, "no point of b")]
    assert one_a_cause(faults) == faults
