"""Names: of files of specifications, so that one is found from the other, and of classes, one each."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SEAMS = ("broken_files", "deploy", "docs", "example", "fuzz", "layout", "package")
"""What crosses modules: files of every kind, deploy/, pages, examples, scripts/fuzz.py, this, the wheel."""

MODULES = [
    path.relative_to(ROOT / "ipa_rl").with_suffix("").parts
    for path in sorted((ROOT / "ipa_rl").rglob("*.py"))
    if not path.stem.startswith("__")
]
PACKAGES = {parts[:k] for parts in MODULES for k in range(1, len(parts))}
FILES = sorted(path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py"))


def names() -> set[str]:
    """What a file may be named after: a module or package, with as many of its packages as tell it apart.

    A verb has the name of what it calls, so that its own begins with "cli".
    """
    every = [*MODULES, *PACKAGES]
    whole = {"_".join(parts) for parts in every}
    tails = Counter("_".join(parts[k:]) for parts in every if parts[0] != "cli" for k in range(len(parts)))
    return whole | {name for name, count in tails.items() if count == 1}


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_named_after_a_module_a_package_or_a_seam_and_what_of_it(file: str) -> None:
    assert any(file == name or file.startswith(f"{name}_") for name in {*names(), *SEAMS})


def test_no_two_public_classes_have_one_name() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "ipa_rl").rglob("*.py")]
    classes = [node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) > 100
    assert [one for one, count in Counter(classes).items() if count > 1 and not one.startswith("_")] == []
