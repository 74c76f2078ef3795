"""YAML within limits: nothing is expanded, nested or repeated without end, and every fault has its line."""

from __future__ import annotations

import resource
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.yaml_text import DEEPEST, MOST_VALUES, parse


def billions(first: str, many: str) -> str:
    """Ten lines that stand for 9 ** 9 values: each holds the one before nine times."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{k}: &a{k} {many % ', '.join([f'*a{k - 1}'] * 9)}" for k in range(1, 10)]
    return "\n".join(lines)


BOMBS = {
    "lists of aliases": billions("[x, x]", "[%s]"),
    "mappings of aliases": billions("{x: 1}", "{y: [%s]}"),
    "merge keys": billions("{x: 1}", "{<<: [%s]}"),
    "an alias of itself": "a: &a [*a]",
    "lists in lists": "[" * 100_000,
    "mappings in mappings": "{a: " * 100_000,
    "blocks in blocks": "\n".join(" " * k + "a:" for k in range(200)),
    "aliases of what is deep": f"a: &a {'[' * 30}{']' * 30}\nb: {'[' * 30}*a{']' * 30}",
    "many values": f"[{'1,' * MOST_VALUES}1]",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_would_grow_without_end_is_refused_before_it_does(kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"more than|a part of itself") as caught:
        parse(BOMBS[kind], "a.yaml")
    assert caught.value.line is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_aliases_and_merge_keys_within_the_limits_mean_what_they_do_in_yaml() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, z: [*a, *a]}\n"
    assert parse(text, None).content == yaml.safe_load(text)
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert parse(deep, None).content == yaml.safe_load(deep)


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=9), below, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_what_yaml_writes_is_read_back(content: object) -> None:
    text = yaml.safe_dump(content, allow_unicode=True)
    assert parse(text, None).content == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("b: 1\na: {c: 1,\n c: 2}\n", "a.yaml:3: 'c' is listed twice, in lines 2 and 3; fix: keep one"),
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3: 'a' is listed twice, in lines 1 and 3; fix: keep one"),
        ("1: a\n0x1: b\n", "a.yaml:2: 1 is listed twice, in lines 1 and 2"),
        ("yes: a\ntrue: b\n", "a.yaml:2: true is listed twice"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "a.yaml:2: '<<' is listed twice"),
        ("- a: 1\n  b:\n  - {d: 1, d: 2}\n", "a.yaml:3: 'd' is listed twice"),
        ("? [a]\n: b\n", "a.yaml:1: has a key that is a list or a mapping"),
    ],
)
def test_a_key_that_is_listed_twice_is_named_with_its_lines(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "a.yaml")
    assert str(caught.value).startswith(told)


def test_a_merged_field_that_is_given_again_is_no_key_that_is_listed_twice() -> None:
    text = "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\n"
    assert parse(text, None).content["c"] == {"x": 3}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("1" * 5000, "is too large a number"),
        ("1" * 350, "is not a number"),
        ("0x" + "f" * 300, "is not a number"),
        ("1e999", "b:"),
        (".inf", "is not a finite number"),
        (".nan", "is not a finite number"),
        ("2024-13-45", "'2024-13-45' is not a date; fix: correct it, or put it in quotes"),
        ("2024-02-30 10:00:00 +99:99", "is not a date"),
        ("!!bool maybe", "'maybe' is not yes or no"),
        ("!!int ''", "'' is not a number"),
        ("!!timestamp x", "is not a date"),
        ('"\\UFFFFFFFF"', "is not YAML"),
        ('"\\ud800"', "is not YAML"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
        ("!other x", "is not YAML"),
        ("\x07", r"holds the control character '\\x07'"),
    ],
)
def test_a_value_that_does_not_exist_is_told_in_one_line(value: str, told: str) -> None:
    if told == "b:":
        assert parse(f"a: 1\nb: {value}", "a.yaml").content["b"] == value  # text, as YAML has it
        return
    with pytest.raises(InputError, match=rf"^a\.yaml:2: .*{told}") as caught:
        parse(f"a: 1\nb: {value}", "a.yaml")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@given(st.text(max_size=300))
def test_any_text_is_yaml_or_an_input_error(text: str) -> None:
    with suppress(InputError):
        parse(text, "a.yaml")
