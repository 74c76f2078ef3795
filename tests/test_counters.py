"""Metrics that count no requests are refused by name, with what to ask for; those that do are not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from ipa_rl.live.counters import Series, refusal

TIMES = np.arange(0.0, 100.0, 5.0)


def rising(name: str, **labels: str) -> Series:
    """A metric that behaves as counters do."""
    return Series(TIMES, 20.0 * TIMES, {"__name__": name, **labels})


def told(series: Series, **kinds: str) -> str:
    """What is said against it, where the server says this of metrics."""
    return refusal([series], lambda name: {kinds[name]} if name in kinds else set())


REFUSED: Mapping[str, tuple[Series, dict[str, str], str]] = {
    "bucket": (rising("latency_bucket", le="1"), {}, "once a bucket; fix: use latency_count"),
    "bucket under another name": (rising("latency", le="5"), {}, "once a bucket"),
    "quantile": (rising("latency", quantile="0.9"), {}, "quantiles of a summary; fix: use latency_count"),
    "sum": (rising("latency_sum"), {}, "adds up what was measured, not requests; fix: use latency_count"),
    "sum of a histogram": (rising("latency_sum"), {"latency": "histogram"}, "fix: use latency_count"),
    "created": (rising("requests_created"), {}, "fix: use requests_total"),
    "gauge": (rising("in_flight"), {"in_flight": "gauge"}, "in_flight is a gauge, not a counter; fix: "),
    "gauge of totals": (rising("requests_total"), {"requests_total": "gauge"}, "is a gauge"),
    "part of a gauge histogram": (rising("depth_gcount"), {"depth": "gaugehistogram"}, "gaugehistogram"),
    "summary": (rising("latency"), {"latency": "summary"}, "is a summary, not a counter; fix: use "),
    "rate rule": (rising("job:requests:rate5m"), {}, "is already a rate"),
    "rate rule of a sum": (rising("job:requests:sum_irate1m"), {}, "is already a rate"),
    "rate of an exporter": (rising("requests_per_second"), {}, "give it as query, not as counter"),
    "rate by its last word": (rising("router_rps"), {}, "is already a rate"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_counts_no_requests_is_refused_by_name_with_the_fix(
    case: tuple[Series, dict[str, str], str],
) -> None:
    series, kinds, reason = case
    found = told(series, **kinds)
    assert found.startswith(series.labels["__name__"])
    assert reason in found
    assert "; fix: " in found


TAKEN: Mapping[str, tuple[Series, dict[str, str]]] = {
    "counter that nobody describes": (rising("requests_total"), {}),
    "counter": (rising("requests_total"), {"requests_total": "counter"}),
    "counter described without its suffix": (rising("requests_total"), {"requests": "counter"}),
    "count of a histogram": (rising("latency_count"), {"latency": "histogram"}),
    "count of a summary": (rising("latency_count"), {"latency": "summary"}),
    "the bucket that holds all": (rising("latency_bucket", le="+Inf"), {"latency": "histogram"}),
    "a counter that is named like a rate": (rising("error_rate"), {"error_rate": "counter"}),
    "a counter that is named like a sum": (rising("requests_sum"), {"requests_sum": "counter"}),
    "untyped": (rising("requests"), {"requests": "unknown"}),
    "a word within the name": (rising("rate_limited_requests_total"), {}),
    "a recording rule that adds counters": (rising("job:requests:sum"), {}),
    "no name": (Series(TIMES, 20.0 * TIMES), {}),
}


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN)
def test_what_counts_requests_is_taken(case: tuple[Series, dict[str, str]]) -> None:
    series, kinds = case
    assert told(series, **kinds) == ""


@pytest.mark.parametrize("kind", [{}, {"requests": "counter"}], ids=["not described", "said to be a counter"])
def test_what_falls_again_and_again_is_no_counter(kind: dict[str, str]) -> None:
    values = np.array([1000.0, 900_000.0] * 10)
    found = told(Series(TIMES, values, {"__name__": "requests"}), **kind)
    assert found.startswith("requests falls in 9 of 19 scrapes: it is not a counter, or several processes")


def test_processes_that_answer_by_chance_under_one_address_are_no_counter() -> None:
    who = np.random.default_rng(3).integers(0, 2, len(TIMES))
    values = 20.0 * TIMES + np.array([5_000.0, 70_000.0])[who]
    found = told(Series(TIMES, values, {"__name__": "requests_total"}), requests_total="counter")
    assert "several processes answer under one address" in found


def test_a_gauge_that_nobody_describes_is_told_by_its_falls() -> None:
    values = np.random.default_rng(0).poisson(8.0, len(TIMES)).astype(float)
    assert "it is not a counter" in told(Series(TIMES, values, {"__name__": "in_flight"}))


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_process_that_restarts_is_a_counter(restarts: int) -> None:
    values = 20.0 * (TIMES % (100.0 / (restarts + 1)))
    assert told(Series(TIMES, values, {"__name__": "requests_total"})) == ""


def test_a_counter_whose_process_restarts_again_and_again_stays_one() -> None:
    values = 20.0 * (TIMES % 15.0)
    assert told(Series(TIMES, values, {"__name__": "requests_total"}), requests_total="counter") == ""


def test_one_of_several_metrics_that_counts_no_requests_is_enough() -> None:
    found = refusal([rising("a_total"), rising("b_bucket", le="1")], lambda name: set())
    assert found.startswith("b_bucket counts each request once a bucket")
