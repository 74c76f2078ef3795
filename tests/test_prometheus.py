"""Loads from a real Prometheus that scrapes real processes, and from answers that are no good."""

from __future__ import annotations

import json
import math
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from ipa_rl.errors import InputError
from ipa_rl.live.cluster import Loads
from ipa_rl.live.prometheus import PrometheusLoads
from ipa_rl.live.prometheus_api import PrometheusApi
from ipa_rl.live.prometheus_settings import read_settings
from tests.prometheus_server import (
    CountingProcess,
    Prometheus,
    counting,
    free_port,
    later_ports,
    needs_prometheus,
    prometheus,
    wait_until,
)

__all__ = ["counting", "later_ports", "prometheus"]


def source(url: str, **settings: Any) -> PrometheusLoads:
    """Loads of a Prometheus that scrapes every second, stale after 3 s."""
    return PrometheusLoads(read_settings({"url": url, "scrape_interval_s": 1, **settings}))


def of_job(server: Prometheus, job: str, **settings: Any) -> PrometheusLoads:
    return source(server.url, counter=f'requests_total{{job="{job}"}}', **settings)


def eventually(load_source: PrometheusLoads, holds: Callable[[Loads], bool], what: str) -> Loads:
    """The first loads of which it holds."""
    seen: list[Loads] = []

    def look() -> bool:
        seen.append(load_source.loads(30))
        return holds(seen[-1])

    wait_until(look, what)
    return seen[-1]


def is_fresh(loads: Loads) -> bool:
    return not loads.stale


# With a real Prometheus


def asked(server: Prometheus, query: str, at_s: float | None = None) -> Any:
    """The result of a query."""
    fields = {"query": query} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
    with urllib.request.urlopen(f"{server.url}/api/v1/query?{urlencode(fields)}") as answer:
        return json.load(answer)["data"]["result"]


@needs_prometheus
@pytest.mark.parametrize("jobs", ["steady|twin", "steady|federate", "steady|twin|federate"])
def test_a_process_that_is_scraped_more_than_once_counts_once(
    jobs: str, prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    found = source(prometheus.url, counter=f'requests_total{{job=~"{jobs}"}}')
    for job in jobs.split("|"):
        wait_until(lambda job=job: prometheus.knows(f'requests_total{{job="{job}"}}'), "all scrapes")  # type: ignore[misc]
    loads = eventually(found, is_fresh, "fresh loads")
    assert loads.history_rps[-10:].mean() == pytest.approx(40.0, rel=0.2)


@needs_prometheus
@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("latency_seconds_bucket", "counts each request once a bucket; fix: use latency_seconds_count"),
        ("latency_seconds_sum", "adds up what was measured"),
        ("latency_seconds_created", "is the time at which a counter began"),
        ("odd", "odd is a gauge, not a counter"),
        ("process_resident_memory_bytes", "is a gauge, not a counter"),
    ],
)
def test_what_counts_no_requests_is_refused_by_name(
    metric: str, reason: str, prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    none = source(prometheus.url, counter=f'{metric}{{job="steady"}}')
    loads = eventually(none, lambda seen: reason in seen.problem, f"a refusal of {metric}")
    assert loads.stale
    assert np.isnan(loads.history_rps).all()


@needs_prometheus
def test_the_count_of_a_histogram_is_a_counter(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    count = source(prometheus.url, counter='latency_seconds_count{job="steady"}')
    loads = eventually(count, is_fresh, "fresh loads")
    assert loads.history_rps[-5:].mean() == pytest.approx(40.0, rel=0.3)


@needs_prometheus
def test_a_steady_counter_is_its_rate(
    prometheus: Prometheus, counting: dict[str, CountingProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each second is what the counter rose by, judged at the moments of its scrapes."""

    def scraped(at_s: float) -> Any:
        found = asked(prometheus, 'requests_total{job="steady"}[180s]', at_s)
        return np.array(found[0]["values"] if found else [(0.0, 0.0)], dtype=float).T

    wait_until(lambda: len(scraped(time.time())[0]) >= 14, "fourteen scrapes", within_s=60.0)
    now_s = float(asked(prometheus, "time()")[1]) - 1.5  # all that was scraped until then is stored
    monkeypatch.setattr(PrometheusApi, "now_s", lambda _: now_s)
    loads = of_job(prometheus, "steady").loads(120)
    times_s, counted = scraped(now_s)
    assert (loads.stale, loads.problem, loads.history_rps.shape) == (False, "", (120,))
    assert loads.age_s == pytest.approx(now_s - times_s[-1], abs=0.001)
    ends_s = times_s[-1] + math.floor(now_s - times_s[-1]) - np.arange(119.0, -1.0, -1.0)
    risen = np.interp(ends_s, times_s, counted) - np.interp(ends_s - 1.0, times_s, counted)
    known = (ends_s - 1.0 >= times_s[0]) & (ends_s <= times_s[-2])
    assert known.sum() >= 5
    np.testing.assert_allclose(loads.history_rps[known], risen[known], rtol=1e-6)
    assert loads.measured_rps is not None
    assert np.isfinite(loads.measured_rps[known]).all()
    filled_in = (ends_s < times_s[0] - 5.0) | (ends_s > times_s[-1] + 1.0)
    assert np.isnan(loads.measured_rps[filled_in]).all()
    assert loads.history_rps.mean() == pytest.approx(40.0, rel=0.03)


@needs_prometheus
def test_a_change_of_load_is_seen_within_two_scrapes(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    changing = of_job(prometheus, "changing")
    counting["changing"].tell("rate 80")
    time.sleep(4)
    last = changing.loads(30).history_rps
    assert last[-1] == pytest.approx(80.0, rel=0.2)
    assert last[-8] == pytest.approx(40.0, rel=0.2)


@needs_prometheus
def test_a_counter_that_does_not_move_is_a_load_of_zero(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    loads = eventually(of_job(prometheus, "idle"), is_fresh, "fresh loads")
    assert loads.history_rps.tolist() == [0.0] * 30


@needs_prometheus
def test_a_counter_that_is_not_there_is_stale_and_no_load_of_zero(prometheus: Prometheus) -> None:
    loads = of_job(prometheus, "misspelt").loads(30)
    assert loads.stale
    assert "no two recent samples" in loads.problem
    assert np.isnan(loads.history_rps).all()


@needs_prometheus
def test_a_restart_of_the_scraped_process_is_no_spike_and_no_drop(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    process = counting["restarted"]
    restarted = of_job(prometheus, "restarted")
    eventually(restarted, is_fresh, "fresh loads")
    counting["restarted"] = CountingProcess(process.port, 30.0, serves=False)
    process.kill()
    counting["restarted"].serve()
    for _ in range(8):
        loads = restarted.loads(30)
        assert not loads.stale, loads.problem
        np.testing.assert_allclose(loads.history_rps, 30.0, rtol=0.25)
        time.sleep(0.5)


@needs_prometheus
def test_a_second_process_with_a_high_total_adds_its_rate_and_no_spike(
    prometheus: Prometheus, counting: dict[str, CountingProcess], later_ports: dict[str, int]
) -> None:
    both = source(prometheus.url, counter='requests_total{job=~"steady|grown"}')
    eventually(both, is_fresh, "fresh loads")
    second = CountingProcess(later_ports["grown"], 20.0, begin=1e6)
    try:
        highest = 0.0
        for _ in range(12):
            loads = both.loads(30)
            highest = max(highest, float(loads.history_rps[-6:].max()))
            time.sleep(0.5)
        assert loads.history_rps[-1] == pytest.approx(60.0, rel=0.2)
        assert highest < 75.0
    finally:
        second.kill()


@needs_prometheus
def test_a_process_that_replaces_another_makes_no_spike_and_no_hole(
    prometheus: Prometheus, counting: dict[str, CountingProcess], later_ports: dict[str, int]
) -> None:
    both = source(prometheus.url, counter='requests_total{job=~"replaced|replacing"}')
    eventually(both, is_fresh, "fresh loads")
    second = CountingProcess(later_ports["replacing"], 30.0, serves=False)
    try:
        counting["replaced"].kill()
        second.serve()
        for _ in range(12):
            np.testing.assert_allclose(both.loads(10).history_rps, 30.0, rtol=0.35)
            time.sleep(0.5)
    finally:
        second.kill()


@needs_prometheus
def test_a_scraped_process_that_dies_is_stale_with_the_reason(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    lost = of_job(prometheus, "lost")
    eventually(lost, is_fresh, "fresh loads")
    counting["lost"].kill()
    loads = eventually(lost, lambda seen: seen.stale, "stale loads")
    assert "the newest sample is" in loads.problem
    assert "limit 3 s" in loads.problem
    assert loads.age_s > 3.0
    assert loads.history_rps.min() > 15.0


@needs_prometheus
def test_a_query_of_the_user_is_evaluated_each_second(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    query = source(prometheus.url, query='sum(rate(requests_total{job="steady"}[4s]))')
    loads = eventually(query, is_fresh, "fresh loads")
    assert loads.history_rps[-1] == pytest.approx(40.0, rel=0.2)


@needs_prometheus
def test_not_a_number_is_not_known(prometheus: Prometheus, counting: dict[str, CountingProcess]) -> None:
    process = counting["odd"]
    process.tell("odd 7")
    odd = source(prometheus.url, query='odd{job="odd"}', stale_after_s=2)
    eventually(odd, lambda seen: seen.history_rps[-1] == 7.0, "the value")
    process.tell("odd nan")
    wait_until(lambda: odd.scalar('odd{job="odd"}') is None, "no value")
    assert odd.scalar('odd{job="odd"} / 0') is None
    loads = eventually(odd, lambda seen: seen.stale, "stale loads")
    assert loads.history_rps[-1] == 7.0
    process.tell("odd 8")
    assert eventually(odd, is_fresh, "fresh loads").history_rps[-1] == 8.0


@needs_prometheus
def test_scalars_and_queues_are_numbers_or_not_known(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    process = counting["odd"]
    process.tell("waiting crop 3")
    odd = source(prometheus.url, query='odd{job="odd"}', queue_query="sum by (stage) (waiting)")
    wait_until(lambda: odd.queued(["crop"]) is not None, "the queue of one stage")
    assert odd.queued(["crop", "classification"]) is None
    process.tell("waiting classification 0")
    wait_until(lambda: odd.queued(["crop", "classification"]) is not None, "both queues")
    queues = odd.queued(["classification", "crop"])
    assert queues is not None
    assert queues.tolist() == [0.0, 3.0]
    assert odd.scalar("1 + 1") == 2.0
    assert odd.scalar("waiting") is None
    assert odd.scalar("no_such_series") is None
    assert odd.scalar("sum(") is None


@needs_prometheus
def test_a_wrong_query_is_stale_with_what_prometheus_says(prometheus: Prometheus) -> None:
    loads = source(prometheus.url, query="sum(").loads(30)
    assert loads.stale
    assert "parse error" in loads.problem
    assert "\n" not in loads.problem


@needs_prometheus
def test_loads_are_stale_while_prometheus_is_down_and_fresh_when_it_is_back(
    prometheus: Prometheus, counting: dict[str, CountingProcess]
) -> None:
    steady = of_job(prometheus, "steady")
    eventually(steady, is_fresh, "fresh loads")
    prometheus.stop()
    loads = steady.loads(30)
    assert loads.stale
    assert "does not answer" in loads.problem
    assert loads.history_rps.min() > 30.0
    assert steady.scalar("vector(1)") is None
    prometheus.start()
    back = eventually(steady, is_fresh, "fresh loads")
    assert back.history_rps[-1] == pytest.approx(40.0, rel=0.2)


# With a server that answers what is no good


class _Odd(BaseHTTPRequestHandler):
    """Answers ``time()`` well and everything else with what the test says."""

    status, body, wait_s = 200, b"", 0.0
    clock: Any = None

    def do_GET(self) -> None:
        good = "time%28%29" in self.path
        clock = self.clock or {
            "status": "success",
            "data": {"resultType": "scalar", "result": [0, str(time.time())]},
        }
        if not good:
            time.sleep(self.wait_s)
        body = json.dumps(clock).encode() if good else self.body
        self.send_response(200 if good else self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def odd_server() -> Iterator[tuple[str, type[_Odd]]]:
    handler = type("Handler", (_Odd,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def matrix(*series: list[tuple[float, str]], **more: Any) -> bytes:
    result = [{"metric": {"pod": str(i)}, "values": list(one)} for i, one in enumerate(series)]
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}
    ).encode()


def matrix_of(series: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}}).encode()


ODD_SERIES: tuple[Any, ...] = (
    5, [], "a", {"values": 5}, {"values": [[1]]}, {"values": [[1, []]]}, {"values": [[[], "1"]]},
    {"values": [["soon", "1"]]}, {"values": [[10**400, "1"]]}, {"values": {"a": 1}},
    {"metric": [], "values": []}, {"metric": {"a": []}, "values": []}, {"metric": "a"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "no JSON"),
        (502, b"bad gateway", "HTTP status 502: bad gateway"),
        (200, b"[]", "HTTP status 200: []"),
        (200, b"", "no reason given"),
        (200, b"[" * 10**6, "no JSON"),
        (200, b'{"status": "success", "data": ' + b'{"a": ' * 900 + b"1" + b"}" * 901, "unknown form"),
        (200, b'{"status": "success"}', "unknown form"),
        (200, b'{"status": "success", "data": {}}', "unknown form"),
        (200, b'{"status": "success", "data": {"resultType": "matrix", "result": 5}}', "unknown form"),
        (422, b'{"status": "error", "error": "query timed out"}', "query timed out"),
        (422, b'{"status": "error", "error": {"deep": []}}', "HTTP status 422"),
        (200, matrix([(1.0, "1"), (2.0, "2")], warnings=["one store\nis down"]), "one store is down"),
        (200, matrix([(1.0, "1")], warnings=5), "warns that"),
        (200, matrix(), "no two recent samples"),
        *((200, matrix_of(one), "unknown form") for one in ODD_SERIES),
    ],
)
def test_an_answer_that_is_no_good_is_stale_with_the_reason(
    odd_server: tuple[str, type[_Odd]], status: int, body: bytes, reason: str
) -> None:
    url, handler = odd_server
    handler.status, handler.body = status, body
    for asked in ({"counter": "requests_total"}, {"query": "requests"}):
        loads = source(url, **asked).loads(30)
        assert loads.stale
        assert reason in loads.problem
        assert loads.problem.isprintable()
        assert np.isnan(loads.history_rps).all()


@pytest.mark.parametrize(
    "clock",
    [[], {}, [0], [0, "NaN"], [0, "+Inf"], [0, "1" * 400], [0, "soon"], [0, []], [0, "-5"], "soon", None, 5],
    ids=str,
)
def test_a_clock_that_tells_no_time_is_stale_and_no_fault_of_ours(
    clock: Any, odd_server: tuple[str, type[_Odd]]
) -> None:
    url, handler = odd_server
    handler.clock = {"status": "success", "data": {"resultType": "scalar", "result": clock}}
    loads = source(url, counter="requests_total").loads(30)
    assert loads.stale
    assert "Prometheus answers" in loads.problem


@pytest.mark.parametrize("value", [[], {}, [0], [0, []], [0, {}], "7", 7, None, [10**400, "7"]], ids=str)
@pytest.mark.parametrize("kind", ["scalar", "vector", "matrix", "string", "odd"])
def test_a_value_of_another_form_is_not_known(
    kind: str, value: Any, odd_server: tuple[str, type[_Odd]]
) -> None:
    url, handler = odd_server
    result = value if kind == "scalar" else [{"metric": {"stage": "crop"}, "value": value}]
    content = {"status": "success", "data": {"resultType": kind, "result": result}}
    handler.body = json.dumps(content).encode()
    odd = source(url, counter="requests_total", queue_query="waiting")
    assert odd.scalar("odd") is None
    assert odd.queued(["crop"]) is None


def test_an_answer_that_takes_too_long_is_stale(odd_server: tuple[str, type[_Odd]]) -> None:
    url, handler = odd_server
    handler.wait_s = 1.0
    loads = source(url, counter="requests_total", timeout_s=0.2).loads(30)
    assert loads.stale
    assert "no whole answer within 0.2 s" in loads.problem


def test_nothing_that_listens_is_stale() -> None:
    loads = source(f"http://127.0.0.1:{free_port()}", counter="requests_total").loads(30)
    assert loads.stale
    assert "refused" in loads.problem


def test_a_newest_sample_that_is_no_number_is_not_read_as_zero(odd_server: tuple[str, type[_Odd]]) -> None:
    url, handler = odd_server
    now = time.time()
    handler.body = matrix([(now - 2, "10"), (now - 1, "20"), (now, "NaN")])
    loads = source(url, counter="requests_total").loads(5)
    assert not loads.stale
    assert loads.history_rps[-1] == pytest.approx(10.0)


def test_what_was_known_once_is_not_forgotten_by_a_later_look_that_misses_it(
    odd_server: tuple[str, type[_Odd]],
) -> None:
    """A value that was there for less than a second lies between the evaluations of the next look."""
    url, handler = odd_server
    value = source(url, query="odd")
    now = time.time()
    handler.body = matrix([(now - 9, "0"), (now - 8, "7"), (now - 7, "NaN")])
    assert value.loads(30).history_rps[-1] == 7.0
    handler.body = matrix([(now - 9.5, "0"), (now - 7.5, "NaN")])
    loads = value.loads(30)
    assert loads.stale
    assert loads.history_rps[-1] == 7.0


# How old, how often, how much


def scraped(handler: type[_Odd], interval_s: float, age_s: float, rate_rps: float = 20.0) -> None:
    """The server has a counter that is scraped so, its newest sample so old."""
    newest = time.time() - age_s
    times = [newest - interval_s * k for k in reversed(range(12))]
    handler.body = matrix([(at, str(rate_rps * (at - newest + 1e5))) for at in times])


def test_what_is_scraped_once_a_minute_is_acted_on_where_nothing_is_said_of_it(
    odd_server: tuple[str, type[_Odd]],
) -> None:
    url, handler = odd_server
    scraped(handler, 60.0, age_s=55.0)
    loads = PrometheusLoads(read_settings({"url": url, "counter": "requests_total"})).loads(120)
    assert (loads.stale, loads.problem) == (False, "")
    np.testing.assert_allclose(loads.history_rps, 20.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({"scrape_interval_s": 5}, "samples are 60 s apart; fix: scrape_interval_s: 60"),
        ({"stale_after_s": 20}, "samples are 60 s apart; fix: stale_after_s: 180"),
    ],
)
def test_settings_that_do_not_fit_the_samples_are_named_with_the_fix(
    given: dict[str, Any], fix: str, odd_server: tuple[str, type[_Odd]]
) -> None:
    url, handler = odd_server
    scraped(handler, 60.0, age_s=40.0)
    loads = PrometheusLoads(read_settings({"url": url, "counter": "requests_total", **given})).loads(120)
    assert loads.stale
    assert loads.problem.endswith(fix)


def test_a_query_without_a_recent_value_names_the_setting(odd_server: tuple[str, type[_Odd]]) -> None:
    url, handler = odd_server
    handler.body = matrix([(time.time() - 40, "7")])
    loads = PrometheusLoads(read_settings({"url": url, "query": "requests"})).loads(120)
    assert loads.stale
    assert "fix: give scrape_interval_s" in loads.problem


@pytest.mark.parametrize("asked", ["counter", "query"])
def test_one_sample_of_many_times_the_load_is_said_and_waits_for_a_second(
    asked: str, odd_server: tuple[str, type[_Odd]]
) -> None:
    url, handler = odd_server
    now = time.time()
    rates = np.array([20.0] * 55 + [50_020.0])
    values = np.cumsum(rates) if asked == "counter" else rates
    handler.body = matrix([(now - 55 + k, str(value)) for k, value in enumerate(values.tolist())])
    loads = source(url, **{asked: "requests"}).loads(30)
    assert not loads.stale
    assert loads.history_rps.max() == pytest.approx(20.0)
    assert "50,020 requests/s" in loads.problem
    assert "a second sample is waited for" in loads.problem


@pytest.mark.parametrize(
    ("crowd", "acted_on"),
    [([200.0, 200.0], 20.0), ([200.0, 210.0], 210.0), ([200.0] * 30, 200.0), ([60.0], 60.0)],
)
def test_a_crowd_that_a_query_shows_is_acted_on_once_its_value_has_changed(
    crowd: list[float], acted_on: float, odd_server: tuple[str, type[_Odd]]
) -> None:
    url, handler = odd_server
    rates = [20.0] * 20 + crowd
    begin = time.time() - len(rates) + 1
    handler.body = matrix([(begin + k, str(rate)) for k, rate in enumerate(rates)])
    assert source(url, query="requests").loads(60).history_rps[-1] == pytest.approx(acted_on)


def test_a_native_histogram_is_refused_by_name(odd_server: tuple[str, type[_Odd]]) -> None:
    url, handler = odd_server
    native = {"metric": {"__name__": "latency"}, "histograms": [[time.time(), {"count": "5", "sum": "1"}]]}
    handler.body = matrix_of(native)
    loads = source(url, counter="latency").loads(30)
    assert "latency is a native histogram, not a counter; fix: query: sum(histogram_count" in loads.problem


# Settings


@pytest.mark.parametrize(
    ("settings", "counter"),
    [
        (
            {"template": "istio", "name": "router", "namespace": "video"},
            'istio_requests_total{reporter="destination",destination_workload="router",'
            'destination_workload_namespace="video"}',
        ),
        (
            {"template": "seldon", "name": "video"},
            'seldon_api_executor_server_requests_seconds_count{service="predictions",deployment_name="video"}',
        ),
        (
            {"template": "kserve", "name": "crop", "namespace": "video"},
            'request_preprocess_seconds_count{model_name="crop",namespace="video"}',
        ),
        (
            {"template": "nginx", "name": 'sh"op', "labels": {"status": "200"}},
            'nginx_ingress_controller_requests{ingress="sh\\"op",status="200"}',
        ),
    ],
)
def test_a_template_is_the_counter_of_that_server(settings: dict[str, Any], counter: str) -> None:
    assert read_settings({"url": "http://p", **settings}).counter == counter


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "none of template, counter and query"),
        ({"counter": "a", "query": "b"}, "counter and query"),
        ({"template": "istio"}, "destination_workload"),
        ({"counter": "rate(a[1m])"}, "is not a selector"),
        ({"counter": "a", "name": "b"}, "belongs to a template"),
        ({"counter": "a", "scrape_intervall_s": 5}, "scrape_intervall_s"),
        ({"counter": "a", "stale_after_s": 0}, "stale_after_s"),
        ({"counter": "a", "url": "prometheus:9090"}, "url"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=r"sidecar\.yaml") as refused:
        read_settings({"url": "http://p", **settings}, file="sidecar.yaml")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("given", "seen_s", "limit_s"),
    [
        ({}, math.nan, 30.0),
        ({}, 5.0, 30.0),
        ({}, 60.0, 180.0),
        ({"scrape_interval_s": 5}, 60.0, 15.0),
        ({"scrape_interval_s": 5, "stale_after_s": 70}, 60.0, 70.0),
    ],
)
def test_stale_is_what_is_given_or_three_scrapes_and_thirty_seconds_at_least_where_none_is(
    given: dict[str, Any], seen_s: float, limit_s: float
) -> None:
    assert read_settings({"url": "http://p", "counter": "a", **given}).limit_s(seen_s) == limit_s
