"""Histories pulled from a real Prometheus, which holds what was scraped of pods that come, restart and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_rl.errors import InputError
from ipa_rl.jit import IntArray
from ipa_rl.live import history
from ipa_rl.live.history import Pulled, pull
from ipa_rl.live.prometheus import PrometheusLoads
from ipa_rl.live.prometheus_api import PrometheusApi
from ipa_rl.live.prometheus_settings import read_settings
from ipa_rl.progress import Silent
from tests.command_line import ipa_rl
from tests.prometheus_server import Prometheus, needs_prometheus

pytestmark = pytest.mark.slow

DAYS = 1
DAY_S = 86_400
LIMITED = ("--query.max-samples=15000",)
GAP = (50_000, 50_700)
"""Nothing was scraped then, in seconds after the begin."""
RESTART_S = 20_000
HANDOVERS_S = (30_007, 70_023)
"""Another pod takes over."""


@dataclass
class Past:
    """Requests in each second since ``begin_s``, and a server that scraped their counters."""

    begin_s: int
    arrivals: IntArray
    server: Prometheus

    def between(self, begin_s: float, end_s: float) -> int:
        """Requests from one moment to another, since 1970."""
        return int(self.arrivals[int(begin_s) - self.begin_s : int(end_s) - self.begin_s].sum())


@dataclass
class Watched:
    """Is told of progress in hours, and interrupts the pull where it is told to."""

    stops_at: int = 10**9
    seen: list[int] = field(default_factory=list)

    def advance(self, part: str, done: int, total: int) -> None:
        self.seen.append(done)
        if done >= self.stops_at:
            raise KeyboardInterrupt


def scraped(past: IntArray, begin_s: int, every_s: int, metric: str, labels: str = "") -> Iterator[str]:
    """Lines of three pods, one after the other; the first restarts once."""
    counted = np.concatenate([[0], np.cumsum(past)])
    edges = (0, *HANDOVERS_S, len(past))
    for pod in range(3):
        first, last = edges[pod], edges[pod + 1]
        for at in range(first + 3 + 2 * pod, last, every_s):
            if not GAP[0] <= at < GAP[1]:
                since = RESTART_S if pod == 0 and at >= RESTART_S else first
                value = counted[at] - counted[since]
                yield f'{metric}{{instance="10.0.0.{pod}:80",pod="p{pod}"{labels}}} {value} {begin_s + at}'


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """A day with a wave; what a pod had when it ended was not scraped."""
    begin_s = int(time.time()) - DAYS * DAY_S
    rates = 5.0 + 3.0 * np.sin(np.arange(DAYS * DAY_S) * 2 * np.pi / DAY_S)
    arrivals = np.random.default_rng(1).poisson(rates)
    server = Prometheus(tmp_path_factory.mktemp("past"), {})
    often = scraped(arrivals, begin_s, 15, "often_total")
    seldom = scraped(arrivals, begin_s, 60, "seldom_total")
    level = (
        f"job:level:rate1m 5.0 {begin_s + at}"
        for at in range(0, DAYS * DAY_S, 60)
        if not GAP[0] <= at < GAP[1]
    )
    twice = [scraped(arrivals, begin_s + k, 30, "twice_total", f',job="{k}"') for k in range(2)]
    kinds = ("often counter", "seldom counter", "twice counter", "job:level:rate1m gauge")
    lines = zip(kinds, (often, seldom, chain(*twice), level), strict=True)
    server.backfill(chain.from_iterable([f"# TYPE {kind}", *some] for kind, some in lines))
    server.start(*LIMITED)
    yield Past(begin_s, arrivals, server)
    server.stop()


def pulled(past: Past, folder: Path, report: Any = None, **asked: str) -> Pulled:
    settings = read_settings({"url": past.server.url, "timeout_s": 30, **asked})
    return pull(settings, DAYS, folder, report or Silent())


def truth(past: Past, found: Pulled) -> tuple[IntArray, IntArray, IntArray]:
    """Counts that were pulled, those that were made, and which of their slots are in a gap."""
    described, counts = found.workload.description, found.workload.recorded.counts
    assert described.start is not None
    assert counts is not None
    begin_s, slot_s = int(described.start.timestamp()), int(described.resolution_s)
    made = np.array(
        [past.between(begin_s + k * slot_s, begin_s + (k + 1) * slot_s) for k in range(len(counts))]
    )
    is_gap = np.zeros(len(counts), dtype=np.int64)
    for begin, end in described.gaps:
        is_gap[begin // slot_s : end // slot_s] = 1
    return counts.astype(np.int64), made, is_gap


@needs_prometheus
@pytest.mark.parametrize(("metric", "every_s"), [("often_total", 15), ("seldom_total", 60)])
def test_a_counter_becomes_counts_at_its_scrape_interval_with_the_gap_as_a_gap(
    metric: str, every_s: int, past: Past, tmp_path: Path
) -> None:
    found = pulled(past, tmp_path / "w", counter=metric)
    described = found.workload.description
    assert described.resolution_s == every_s
    assert described.start is not None
    assert str(described.start.tzinfo) == "UTC"
    counts, made, is_gap = truth(past, found)
    (gap,) = described.gaps
    begin_s = described.start.timestamp() - past.begin_s
    assert GAP[0] - 2 * every_s <= begin_s + gap[0] <= GAP[0]
    assert GAP[1] <= begin_s + gap[1] <= GAP[1] + 2 * every_s
    assert counts.sum() == pytest.approx(made[is_gap == 0].sum(), rel=0.004)
    hours = 3600 // every_s
    off = (counts - made)[: len(counts) // hours * hours].reshape(-1, hours).sum(axis=1)
    touched = is_gap[: len(off) * hours].reshape(-1, hours).any(axis=1)
    assert np.abs(off[~touched]).max() < 0.012 * 5 * 3600


@needs_prometheus
def test_a_query_becomes_counts_at_the_interval_at_which_what_it_names_is_scraped(
    past: Past, tmp_path: Path
) -> None:
    found = pulled(past, tmp_path / "w", query="sum(rate(often_total[1m]))")
    counts, made, is_gap = truth(past, found)
    assert found.workload.description.resolution_s == 15
    assert len(found.workload.description.gaps) == 1
    assert counts.sum() == pytest.approx(made[is_gap == 0].sum(), rel=0.01)


@needs_prometheus
def test_a_value_that_prometheus_holds_for_minutes_after_the_last_sample_is_unknown(
    past: Past, tmp_path: Path
) -> None:
    described = pulled(past, tmp_path / "w", query="job:level:rate1m").workload.description
    assert described.resolution_s == 60
    ((begin, end),) = described.gaps
    assert GAP[1] - GAP[0] - 240 <= end - begin <= GAP[1] - GAP[0] + 60


@needs_prometheus
def test_pages_of_any_length_come_to_the_same_counts(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrometheusApi, "now_s", lambda _: float(past.begin_s + DAYS * DAY_S))
    whole = pulled(past, tmp_path / "whole", counter="often_total")
    monkeypatch.setattr(history, "_LONGEST_PAGE_S", 5000)
    pages = pulled(past, tmp_path / "pages", counter="often_total")
    assert pages.workload.description == whole.workload.description
    (found, _, _), (expected, _, _) = truth(past, pages), truth(past, whole)
    assert np.abs(np.cumsum(found - expected)).max() <= 1


@needs_prometheus
def test_a_page_that_is_refused_is_asked_for_in_halves(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[float] = []
    samples = PrometheusApi.samples

    def refusing(self: PrometheusApi, selector: str, seconds: float, at_s: float) -> Any:
        if seconds > 9000:
            refused.append(seconds)
            selector = f"{selector}[90d:1s] or {selector}"  # more than the server loads
        return samples(self, selector, seconds, at_s)

    monkeypatch.setattr(PrometheusApi, "samples", refusing)
    found = pulled(past, tmp_path / "w", counter="often_total")
    counts, made, is_gap = truth(past, found)
    assert len(refused) == 1
    assert counts.sum() == pytest.approx(made[is_gap == 0].sum(), rel=0.004)


@needs_prometheus
def test_a_pull_that_was_interrupted_goes_on_where_it_was(past: Past, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with pytest.raises(KeyboardInterrupt):
        pulled(past, folder, Watched(stops_at=7), counter="often_total")
    assert not (folder / "workload.yaml").exists()
    with pytest.raises(InputError, match=r"part of another pull: 1 days of often_total"):
        pulled(past, folder, counter="seldom_total")
    watched = Watched()
    counts, made, is_gap = truth(past, pulled(past, folder, watched, counter="often_total"))
    assert watched.seen[0] >= 7
    assert counts.sum() == pytest.approx(made[is_gap == 0].sum(), rel=0.004)
    assert {path.name for path in folder.iterdir()} == {"workload.yaml", "recorded.npz", "fitted"}
    with pytest.raises(InputError, match="holds a workload already"):
        pulled(past, folder, counter="often_total")


@needs_prometheus
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"counter": "misspelt_total"}, "has no samples of misspelt_total in the last 1 days"),
        ({"query": "vector(5)"}, "does not show how often its samples are taken; fix: add --interval"),
        ({"counter": "job:level:rate1m"}, "is already a rate, not a counter; fix: if its value is"),
        (
            {"query": "sum(rate(often_total[1m])"},
            "refuses with HTTP status 400: .* parse error: unclosed left parenthesis",
        ),
    ],
)
def test_what_cannot_be_pulled_is_said_in_one_line(
    asked: dict[str, str], reason: str, past: Past, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason):
        pulled(past, tmp_path / "w", **asked)


@needs_prometheus
@pytest.mark.parametrize(
    "asked",
    [{"query": "sum(rate(often_total[1m]))"}, {"counter": "often_total"}, {"counter": "twice_total"}],
)
def test_the_live_reader_has_histories_longer_than_prometheus_answers_at_once(
    asked: dict[str, str], past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = past.begin_s + DAYS * DAY_S
    monkeypatch.setattr(PrometheusApi, "now_s", lambda _: float(now_s))
    source = PrometheusLoads(read_settings({"url": past.server.url, "timeout_s": 30, **asked}))
    loads = source.loads(15_000)
    assert not loads.stale, loads.problem
    assert loads.history_rps.shape == (15_000,)
    for begin, end in ((0, 5000), (5000, 11_400), (11_400, 15_000)):
        made = past.between(now_s - 15_000 + begin, now_s - 15_000 + end)
        assert loads.history_rps[begin:end].sum() == pytest.approx(made, rel=0.02)


@needs_prometheus
def test_the_command_pulls_and_says_what_it_has(past: Past, tmp_path: Path) -> None:
    words = [
        "--prometheus",
        past.server.url,
        "--counter",
        "seldom_total",
        "--days",
        0.5,
        "--out",
        tmp_path / "w",
    ]
    done = ipa_rl("workload", "pull", *words)
    assert done.returncode == 0, done.stderr
    assert "in slots of 60 s" in done.stdout
    assert "(UTC)" in done.stdout


@needs_prometheus
def test_a_prometheus_that_ends_meanwhile_costs_no_page(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_PAUSES_S", (0.1,))

    class Ending(Watched):
        def advance(self, part: str, done: int, total: int) -> None:
            super().advance(part, done, total)
            if done >= 7:
                past.server.stop()

    try:
        with pytest.raises(InputError, match=r"does not answer: .* what was pulled is kept"):
            pulled(past, tmp_path / "w", Ending(), counter="seldom_total")
    finally:
        past.server.start(*LIMITED)
    watched = Watched()
    pulled(past, tmp_path / "w", watched, counter="seldom_total")
    assert watched.seen[0] >= 7


def test_headers_and_tokens_go_with_every_question_and_into_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str]] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(dict(self.headers))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"not the tenant of hush")

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("TOKEN", "hush")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        access = ["--header", "X-Scope-OrgID: shop", "--bearer-token-env", "TOKEN"]
        words = ["--prometheus", url, "--counter", "a_total", *access, "--out", tmp_path / "w"]
        done = ipa_rl("workload", "pull", *words)
        server.shutdown()
    assert done.returncode == 2
    assert "HTTP status 401: not the tenant of ***" in done.stderr
    assert (asked[0]["X-Scope-OrgID"], asked[0]["Authorization"]) == ("shop", "Bearer hush")


def test_the_sidecars_settings_say_what_is_not_given(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text("load: {url: 'http://127.0.0.1:1', template: istio, name: shop}\n", encoding="utf-8")
    done = ipa_rl("workload", "pull", "--sidecar", file, "--out", tmp_path / "w")
    assert done.returncode == 2
    assert "http://127.0.0.1:1: Prometheus does not answer" in done.stderr
    none = ipa_rl("workload", "pull", "--out", tmp_path / "w")
    assert "fix: give --prometheus URL and --counter or --query, or --sidecar FILE" in none.stderr
