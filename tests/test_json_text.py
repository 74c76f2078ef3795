"""JSON within limits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.json_text import DEEPEST, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_json_writes_is_read_back(content: object) -> None:
    assert parse(json.dumps(content)) == content
    assert parse(json.dumps(content, ensure_ascii=False).encode()) == content


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("NaN", "holds NaN, which is not a number in JSON"),
        ('{"a": [-Infinity]}', "holds -Infinity"),
        ("1e999", "a number that is too large"),
        ("[" + "1" * 5000 + "]", "a number of 5000 digits"),
        ("1" * 399, "a number that is too large"),
        ("[" * 100_000, "is nested more than 50 deep"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "is nested more than 50 deep"),
        ('{"a":' * 60 + "1" + "}" * 60, "is nested more than 50 deep"),
        ('{"a": 1', "is not JSON: line 1, column 8; cut off?"),
        ("", "is not JSON"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_what_is_no_plain_json_is_told(text: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|holds) ") as caught:
        parse(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ['"\\ud800"', '["\\uDFFF", 1]', '{"a\\ud8ab": "b\\\\ud800"}'])
def test_half_a_surrogate_pair_becomes_a_question_mark(text: str) -> None:
    json.dumps(parse(text), ensure_ascii=False).encode()
    assert "?" in str(parse(text))


def test_whole_surrogate_pairs_stay() -> None:
    assert parse(json.dumps("🦊 \\ud800")) == "🦊 \\ud800"
