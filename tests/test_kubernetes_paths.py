"""Paths to fields of Kubernetes objects."""

import pytest

from ipa_rl.live.kubernetes.paths import Item, parse_path, read, show_path


@pytest.mark.parametrize(
    "text",
    ["spec.template.spec.containers[name=a].env[name=X].value", "metadata.annotations['a.b/c-d']", "a[0].b"],
)
def test_a_path_is_shown_as_it_is_written(text: str) -> None:
    assert show_path(parse_path(text)) == text


@pytest.mark.parametrize("text", ["", ".a", "a..b", "a[", "a[x", "a b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(text)


def test_reading_where_nothing_is_gives_nothing() -> None:
    document = {"a": [{"name": "x", "b": 1}]}
    assert read(document, ("a", Item("name", "x"), "b")) == 1
    for path in (("a", Item("name", "y")), ("a", 3), ("a", "b"), ("c", "d"), ("a", 0, "b", "c")):
        assert read(document, path) is None
