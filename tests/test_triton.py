"""Files of Triton's tools."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ipa_rl.errors import InputError
from ipa_rl.profiles.benchmarks.triton import read_analyzer, read_perf
from tests.benchmark_files import EXCERPTS, write_csv


def test_configurations_of_one_model_are_variants() -> None:
    names = {one.variant for one in read_analyzer(EXCERPTS / "model_analyzer.csv", None).readings}
    assert names == {"add_sub_config_default", *(f"add_sub_config_{k}" for k in range(4))}


def test_perf_analyzer_is_in_microseconds_and_the_mean_is_the_sum_of_its_parts() -> None:
    first = read_perf(EXCERPTS / "perf_analyzer.csv", None).readings[0]
    assert (first.batch, first.throughput_rps) == (1, 69.2)
    assert (first.latency_mean_s, first.latency_p99_s) == (0.014443, 0.021018)


def test_without_the_parts_of_the_latency_the_batch_of_a_request_is_not_known(tmp_path: Path) -> None:
    header = "Concurrency,Inferences/Second,Client Send,Client Recv,p50 latency,p99 latency"
    path = write_csv(tmp_path / "p.csv", header, [(2, 100, 1, 1, 19000, 30000)])
    assert read_perf(path, None).readings[0].batch is None
    known = read_perf(path, 4).readings[0]
    assert (known.batch, known.latency_mean_s) == (8, 0.08)


def test_a_rate_that_was_kept_up_with_counts_and_one_that_was_not_is_left_out(tmp_path: Path) -> None:
    header = "Request Rate,Inferences/Second,p99 latency,Avg latency"
    rows = [(50, 49.8, 9000, 5000), (100, 99.7, 50000, 40200), (300, 200, 9e6, 4e6)]
    found = read_perf(write_csv(tmp_path / "p.csv", header, rows), 1)
    light, heavy = found.readings
    assert (light.batch, light.load_rps, light.latency_mean_s) == (1, 49.8, 0.005)
    assert (heavy.batch, heavy.load_rps) == (4, math.inf)
    assert "200 of 300" in found.left_out[0]


def test_a_rounded_99th_percentile_below_the_mean_is_left_out_and_noted(tmp_path: Path) -> None:
    header = "Model,Batch,Concurrency,Throughput (infer/sec),p99 Latency (ms)"
    path = write_csv(tmp_path / "m.csv", header, [("m", 1, 1, 8000, 0.1)])
    [reading] = read_analyzer(path, None).readings
    assert (reading.latency_mean_s, reading.latency_p99_s) == (0.000125, None)
    assert "0.0001 s" in reading.note


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (("m", "one", 1, 10, 5), "Batch"),
        (("m", 1, 1, -10, 5), "Throughput (infer/sec)"),
        (("m", 1, 1, 10, "nan"), "p99 Latency (ms)"),
        (("m", 1, 1, 10), None),
        (("m", 1, "9" * 5000, 10, 5), "Concurrency"),
    ],
)
def test_a_broken_row_names_its_line_and_field(
    row: tuple[object, ...], field: str | None, tmp_path: Path
) -> None:
    header = "Model,Batch,Concurrency,Throughput (infer/sec),p99 Latency (ms)"
    path = write_csv(tmp_path / "m.csv", header, [("m", 1, 1, 10, 5), row])
    with pytest.raises(InputError) as broken:
        read_analyzer(path, None)
    assert (broken.value.line, broken.value.field) == (3, field)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", "Model,Batch,Throughput (infer/sec)", [("m", 1, 10)])
    with pytest.raises(InputError, match="Concurrency: column is missing"):
        read_analyzer(path, None)


def test_thousands_may_be_separated_by_commas_and_decimals_only_where_columns_are_not(tmp_path: Path) -> None:
    header = "Model,Concurrency,Batch,Throughput (infer/sec)"
    path = write_csv(tmp_path / "m.csv", header, [("m", 1, 1, '"13,205.5"')])
    assert read_analyzer(path, None).readings[0].throughput_rps == 13205.5
    path = write_csv(tmp_path / "n.csv", header, [("m", 1, 1, 13205.5)], separator=";")
    assert read_analyzer(path, None).readings[0].throughput_rps == 13205.5
    path = write_csv(tmp_path / "o.csv", header, [("m", 1, 1, '"12,5"')])
    with pytest.raises(InputError, match="is '12,5'"):
        read_analyzer(path, None)


def test_a_rate_of_batches_is_kept_up_with_where_all_their_items_are_answered(tmp_path: Path) -> None:
    header = "Request Rate,Inferences/Second,p99 latency,Avg latency"
    path = write_csv(tmp_path / "p.csv", header, [(50, 399, 90000, 20000)])
    assert read_perf(path, None).readings[0].batch == 8
