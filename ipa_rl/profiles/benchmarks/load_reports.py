"""Load generators for language models: GuideLLM and inference-perf, JSON with latencies in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from ipa_rl.documents import Count, NonNegative, Positive, check_json
from ipa_rl.profiles.benchmarks.readings import Found, Reading, closed_loop, open_loop

GUIDELLM_MARK, INFERENCE_PERF_MARK = "benchmarks", "load_summary"
"""Fields by which the files are told from others."""


class _Percentiles(BaseModel):
    p99: NonNegative | None = None


class _Distribution(BaseModel):
    mean: NonNegative | None = None
    percentiles: _Percentiles | None = None


class _Measured(BaseModel):
    successful: _Distribution


class _Metrics(BaseModel):
    requests_per_second: _Measured
    request_latency: _Measured


class _Strategy(BaseModel):
    """How requests were sent; ``streams``: those in flight where it is "concurrent"."""

    kind: str = Field(alias="type_")
    streams: Count | None = None
    rate: Positive | None = None

    @property
    def concurrency(self) -> int | None:
        """Requests in flight, where that many were kept."""
        return {"synchronous": 1, "concurrent": self.streams}.get(self.kind)


class _Backend(BaseModel):
    model: str | None = None


class _Settings(BaseModel):
    strategy: _Strategy
    backend: _Backend = _Backend()


class _Benchmark(BaseModel):
    """One of a report's benchmarks; before version 2 of the report the settings stood in ``args``."""

    config: _Settings | None = None
    args: _Settings | None = None
    metrics: _Metrics


class _GuideLLM(BaseModel):
    benchmarks: list[_Benchmark] = Field(min_length=1)


def read_guidellm(path: Path, content: Any) -> Found:
    """GuideLLM's report: one reading a benchmark, of the requests that succeeded."""
    report = check_json(content, _GuideLLM, path, "give the JSON that GuideLLM writes, as it is")
    readings, left_out = [], []
    for k, benchmark in enumerate(report.benchmarks, start=1):
        place = f"{path.name}, benchmark {k}"
        settings = benchmark.config or benchmark.args
        latency = benchmark.metrics.request_latency.successful
        throughput_rps = benchmark.metrics.requests_per_second.successful.mean
        if not throughput_rps or not latency.mean:
            left_out.append(f"{place}: no request succeeded")
            continue
        model = settings.backend.model if settings else None
        p99_s = latency.percentiles.p99 if latency.percentiles else None
        concurrency = settings.strategy.concurrency if settings else None
        figures = throughput_rps, latency.mean, p99_s or None
        if concurrency is not None:
            readings.append(closed_loop(path, place, model, concurrency, 1, *figures))
            continue
        found = open_loop(path, place, model, settings.strategy.rate if settings else None, *figures)
        if isinstance(found, Reading):
            readings.append(found)
        else:
            left_out.append(found)
    return Found(readings, left_out)


class _Latency(BaseModel):
    mean: Positive
    p99: Positive | None = None


class _Latencies(BaseModel):
    request_latency: _Latency


class _Throughput(BaseModel):
    requests_per_sec: Positive


class _Successes(BaseModel):
    latency: _Latencies
    throughput: _Throughput


class _Load(BaseModel):
    requested_rate: Positive | None = None


class _InferencePerf(BaseModel):
    load_summary: _Load
    successes: _Successes


def read_inference_perf(path: Path, content: Any) -> Found:
    """inference-perf's ``stage_N_lifecycle_metrics.json``: one reading; it does not name the model."""
    report = check_json(content, _InferencePerf, path, "give a stage's JSON of inference-perf, as it is")
    latency = report.successes.latency.request_latency
    throughput_rps = report.successes.throughput.requests_per_sec
    offered_rps = report.load_summary.requested_rate
    found = open_loop(path, path.name, None, offered_rps, throughput_rps, latency.mean, latency.p99)
    return Found([found]) if isinstance(found, Reading) else Found([], [found])
