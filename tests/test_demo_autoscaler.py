"""Ray Serve's own autoscaler."""

from __future__ import annotations

import pytest

from ipa_rl.demo import autoscaler
from ipa_rl.environment.definition import Definition


def test_ray_serves_autoscaler_keeps_the_variants_that_were_chosen(digits: Definition) -> None:
    chosen = autoscaler.Chosen(("conv12x3", "conv8x2"), 0.7, 30.0, 0.0)
    base = autoscaler.base(digits, chosen)
    assert tuple(one.variant for one in base.stages) == chosen.variants
    settings = autoscaler.settings_of(digits, chosen)
    for stage, one in zip(("detect", "classify"), base.stages, strict=True):
        assert settings[stage]["target_ongoing_requests"] == pytest.approx(0.7 * one.batch)
        assert settings[stage]["max_replicas"] == digits.problem.max_replicas
