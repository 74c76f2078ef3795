"""Triton's tools: Model Analyzer and perf_analyzer, both with inferences (items) a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ipa_rl.errors import InputError
from ipa_rl.profiles.benchmarks.readings import Found, Hardware, Reading, closed_loop, open_loop
from ipa_rl.profiles.benchmarks.tables import Row, Table, read_table

ANALYZER_MARK, PERF_MARK = "Throughput (infer/sec)", "Inferences/Second"
"""Columns by which the files are told from others."""

_ANALYZER, _PERF = "Triton Model Analyzer", "perf_analyzer"
_BATCHES = ("Batch", "Batch Size", "Client Batch Size")
_PARTS = (
    "Client Send", "Network+Server Send/Recv", "Server Queue", "Server Compute", "Server Compute Input",
    "Server Compute Infer", "Server Compute Output", "Client Recv",
)  # fmt: skip
_MS_PER_S, _US_PER_S = 1e3, 1e6


def read_analyzer(path: Path, request_batch: int | None) -> Found:
    """Model Analyzer's ``metrics-model-inference.csv``, latencies in milliseconds.

    A model of several configurations is one variant a configuration. One with an instance on a GPU takes one.
    """
    table = read_table(path)
    table.need(("Model", "Concurrency", ANALYZER_MARK), _ANALYZER)
    configurations: dict[str, set[str]] = {}
    for row in table.rows:
        configurations.setdefault(row.text("Model"), set()).add(_configuration(row))
    found = []
    for row in table.rows:
        variant = row.text("Model")
        if len(configurations[variant]) > 1:
            variant = _configuration(row)
        mean_ms, p99_ms = row.known("Avg Latency (ms)"), row.known("p99 Latency (ms)")
        batch = row.count(*_BATCHES) or request_batch
        figures = row.number(ANALYZER_MARK), _seconds(mean_ms, _MS_PER_S), _seconds(p99_ms, _MS_PER_S)
        reading = _reading(row, variant, batch, *figures)
        if isinstance(reading, Reading) and ":GPU" in row.text("Instance Group"):
            reading = replace(reading, placement=Hardware("gpu"))
        found.append(reading)
    return _sorted_out(found)


def _configuration(row: Row) -> str:
    """The configuration's name, without those of an ensemble's parts."""
    return row.text("Model Config Path").partition(":")[0] or row.text("Model")


def read_perf(path: Path, request_batch: int | None) -> Found:
    """The CSV of perf_analyzer's ``-f``, latencies in microseconds; it names neither model nor batch.

    The batch of a request follows from Little's law, if the latency's parts are there.
    """
    table = read_table(path)
    table.need((PERF_MARK,), _PERF)
    found = []
    for row in table.rows:
        throughput_rps = row.number(PERF_MARK)
        mean_s, p99_s = _mean_s(table, row), _seconds(row.known("p99 latency"), _US_PER_S)
        batch, concurrency = row.count(*_BATCHES) or request_batch, row.count("Concurrency")
        if batch is None and mean_s is not None and concurrency is not None:
            items = throughput_rps * mean_s / concurrency
            batch = round(items) if round(items) and abs(items - round(items)) < 0.1 * items else None
        found.append(_reading(row, None, batch, throughput_rps, mean_s, p99_s))
    return _sorted_out(found)


def _mean_s(table: Table, row: Row) -> float | None:
    """Mean latency: given, or the sum of its parts where the server's are among them."""
    if row.text("Avg latency"):
        return row.number("Avg latency") / _US_PER_S
    parts = [row.number(name, least=-1.0) for name in _PARTS if row.text(name)]
    return sum(parts) / _US_PER_S if "Server Queue" in table.columns else None


def _reading(
    row: Row,
    variant: str | None,
    request_batch: int | None,
    throughput_rps: float,
    mean_s: float | None,
    p99_s: float | None,
) -> Reading | str:
    concurrency = row.count("Concurrency")
    if concurrency is not None:
        figures = throughput_rps, mean_s, p99_s
        return closed_loop(row.path, row.place, variant, concurrency, request_batch, *figures)
    if mean_s is None:
        problem, fix = "no concurrency and no mean latency", "measure with --concurrency-range"
        raise InputError(problem, file=row.path, line=row.line, fix=fix)
    rate_rps = row.number("Request Rate")
    offered_rps = rate_rps * (request_batch or max(1, round(throughput_rps / rate_rps)))
    return open_loop(row.path, row.place, variant, offered_rps, throughput_rps, mean_s, p99_s)


def _sorted_out(found: list[Reading | str]) -> Found:
    left_out = [one for one in found if isinstance(one, str)]
    return Found([one for one in found if isinstance(one, Reading)], left_out)


def _seconds(value: float | None, per_s: float) -> float | None:
    return None if value is None else value / per_s
