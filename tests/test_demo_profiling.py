"""The profile of the demonstration: what the profiler measured, put right and written as it writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.demo.digits import SIZES, STAGES
from ipa_rl.demo.overhead import Added
from ipa_rl.demo.profiling import _adjusted, _job, _rising, _write_pipeline
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.profiler.cells import MeasuredCell


def cell(batch: int, mean_s: float, p99_s: float) -> MeasuredCell:
    """What the profiler measured of one model at a batch size."""
    return MeasuredCell("detect", "conv8x2", 1, batch, mean_s, p99_s, batch / mean_s, 1.0, 1.0, 200, 20, True)


@given(st.floats(0.01, 2.0), st.integers(1, 8), st.floats(1.0, 2.0), st.floats(0.0, 0.5))
def test_what_ray_serve_adds_lengthens_every_batch_and_takes_from_throughput(
    service_s: float, batch: int, slowdown: float, extra_s: float
) -> None:
    found = _adjusted(cell(batch, service_s, 2 * service_s), Added(slowdown, extra_s))
    longer_s = slowdown * service_s + extra_s
    assert found.latency_mean_s == pytest.approx(longer_s)
    assert found.latency_p99_s == pytest.approx(longer_s + slowdown * service_s)
    assert found.throughput_rps == pytest.approx(batch / longer_s)


@given(st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(1.0, 3.0)), min_size=1, max_size=4))
def test_latencies_of_a_disturbed_machine_do_not_fall_with_the_batch(read: list[tuple[float, float]]) -> None:
    cells = [cell(2**k, mean_s, tail * mean_s) for k, (mean_s, tail) in enumerate(read)]
    found = _rising(cells)
    means_s, tails_s = [one.latency_mean_s for one in found], [one.latency_p99_s for one in found]
    assert means_s == sorted(means_s)
    assert tails_s == sorted(tails_s)
    assert (means_s[0], tails_s[0]) == (cells[0].latency_mean_s, cells[0].latency_p99_s)
    for one in found:
        assert one.latency_p99_s >= one.latency_mean_s
        assert one.throughput_rps * one.latency_mean_s <= one.batch * 1.001


def test_a_profile_is_written_as_the_profiler_writes_it_and_read_back(tmp_path: Path) -> None:
    settings = DemoSettings(tmp_path)
    models = [(stage, variant) for stage in STAGES for variant in SIZES[stage]]
    cells = [
        replace(cell(batch, 0.1 * batch, 0.2 * batch), stage=stage, variant=variant)
        for stage, variant in models
        for batch in settings.effort.batches
    ]
    pipeline = _write_pipeline(tmp_path / "digits", _job(settings, SIZES, "demo", 4.5), cells, [])
    assert [(stage.name, one.name) for stage in pipeline.stages for one in stage.variants] == models
    for stage in pipeline.stages:
        for one in stage.variants:
            assert (one.units, one.start_up_s, one.batches) == (1, 4.5, settings.effort.batches)
            assert one.latency_mean_s[0] == pytest.approx(0.1, rel=1e-3)
