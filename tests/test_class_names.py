"""One name, one thing: no public class is called as another."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import ipa_rl


def test_no_two_public_classes_have_one_name() -> None:
    package = Path(ipa_rl.__file__).parent
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")]
    names = [node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(names) > 100
    assert [name for name, count in Counter(names).items() if count > 1 and not name.startswith("_")] == []
