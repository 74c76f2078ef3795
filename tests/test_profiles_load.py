"""Pipelines with other base allocations."""

from __future__ import annotations

import pytest

from ipa_rl.profiles.load import Allocation, load_pipeline

pytestmark = pytest.mark.slow


def test_another_threshold_gives_other_base_allocations_and_leaves_out_pins() -> None:
    described = load_pipeline("sum-qa").stages[0]
    lower = load_pipeline("sum-qa", Allocation(threshold_rps=1.0)).stages[0]
    assert described.variant("sshleifer-distilbart-xsum-12-6").cores == 16
    assert lower.variant("sshleifer-distilbart-xsum-12-6").cores < 16
    pinned = Allocation(1.0, base_cores=(("sshleifer-distilbart-xsum-12-3", 2),))
    assert load_pipeline("sum-qa", pinned).stages[0].variant("sshleifer-distilbart-xsum-12-3").cores == 2
