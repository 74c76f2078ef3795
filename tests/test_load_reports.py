"""Reports of load generators for language models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ipa_rl.errors import InputError
from ipa_rl.profiles.benchmarks.load_reports import read_guidellm, read_inference_perf
from tests.benchmark_files import EXCERPTS


def content_of(name: str) -> Any:
    return json.loads((EXCERPTS / name).read_text())


def test_a_rate_of_inference_perf_is_as_many_in_flight_as_littles_law_says() -> None:
    path = EXCERPTS / "inference_perf.json"
    [reading] = read_inference_perf(path, content_of("inference_perf.json")).readings
    assert (reading.variant, reading.batch, reading.load_rps) == (None, 21, math.inf)
    assert reading.latency_mean_s == 0.5643447394640908
    assert reading.latency_p99_s == 0.6254691461927723
    assert reading.throughput_rps == 37.67587543386517


def test_less_than_one_in_flight_is_light_load_and_no_capacity() -> None:
    path = EXCERPTS / "guidellm.json"
    first, second = read_guidellm(path, content_of("guidellm.json")).readings
    assert (first.variant, first.batch) == ("e2e-mock-model", 1)
    assert first.load_rps == first.throughput_rps == 0.39843430656414264
    assert second.latency_mean_s == 0.017633914947509766


def test_benchmarks_without_a_success_are_left_out() -> None:
    content = content_of("guidellm.json")
    content["benchmarks"][0]["metrics"]["requests_per_second"]["successful"]["mean"] = 0.0
    found = read_guidellm(Path("g.json"), content)
    assert len(found.readings) == 1
    assert found.left_out == ["g.json, benchmark 1: no request succeeded"]


def test_a_report_that_is_broken_names_the_field() -> None:
    content = content_of("guidellm.json")
    content["benchmarks"][1]["metrics"]["request_latency"]["successful"]["mean"] = "fast"
    with pytest.raises(InputError, match=r"benchmarks\.1\.metrics\.request_latency\.successful\.mean"):
        read_guidellm(Path("g.json"), content)
    with pytest.raises(InputError, match="successes"):
        read_inference_perf(Path("i.json"), {"load_summary": {}})
