"""What follows from a definition."""

from __future__ import annotations

import pytest

from ipa_rl.environment.definition_file import load_definition


def test_environments_of_fixed_variants_are_kept_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipa_rl.environment.definition.MOST_KEPT", 2)
    video = load_definition("video").with_problem(sla_s=7.0)
    first = video.keeping((0, 0))
    assert video.keeping((0, 0)) is first
    video.keeping((0, 1))
    video.keeping((1, 1))
    assert video.keeping((0, 0)) is not first
