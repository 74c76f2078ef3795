"""What Ray Serve adds to a profile, and how it is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.demo.overhead import (
    FULL,
    LOADED,
    Added,
    Probed,
    calibrate,
    loaded_times_s,
    mean_latency_s,
    rate_rps,
    throughput_rps,
)
from ipa_rl.environment.definition import Definition


@pytest.mark.parametrize(("slowdown", "batch_ms"), [(1.0, 0), (1.0, 60), (1.05, 10), (1.2, 35)])
def test_what_ray_serve_adds_is_found_from_a_loaded_and_a_full_pipeline(
    digits: Definition, slowdown: float, batch_ms: int
) -> None:
    alone, added = digits.pipeline, Added(slowdown, batch_ms / 1000)
    slower = added.to(alone)
    loaded_s = [mean_latency_s(slower, one, loaded_times_s(throughput_rps(alone, one))) for one in LOADED]
    found = calibrate(alone, Probed(3.0, 0.5, tuple(loaded_s), throughput_rps(slower, FULL), 1.0))
    assert found.slowdown == pytest.approx(slowdown, abs=0.02)
    assert found.batch_s == pytest.approx(added.batch_s, abs=0.0051)


@given(st.integers(1, 8), st.integers(2, 30), st.floats(0.1, 2.0), st.floats(0.0, 10.0))
def test_a_rate_does_not_depend_on_where_between_batches_it_is_measured(
    batch: int, batches: int, every_s: float, from_s: float
) -> None:
    ended_s = [from_s + k * every_s + 0.001 * i for k in range(batches) for i in range(batch)]
    assert rate_rps(ended_s) == pytest.approx(batch / every_s, rel=1e-3)


def test_a_rate_needs_answers_that_come_after_one_another() -> None:
    for ended_s in ([], [1.0], [1.0, 1.001]):
        with pytest.raises(ValueError, match="together"):
            rate_rps(ended_s)


def test_a_pipeline_faster_than_its_models_alone_has_neither_slowdown_nor_overhead(
    digits: Definition,
) -> None:
    probed = Probed(3.0, 0.5, (0.001,) * len(LOADED), 1e6, 1.0)
    assert calibrate(digits.pipeline, probed) == Added(1.0, 0.0)
