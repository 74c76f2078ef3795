"""A real Prometheus and real processes that it scrapes, on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

BINARY = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(BINARY is None, reason="prometheus is not installed (apt: prometheus)")

COUNTING = """
import sys, threading, time
from prometheus_client import REGISTRY, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily

waiting = Gauge("waiting", "requests that wait", ["stage"])
odd = Gauge("odd", "what is set")
latency = Histogram("latency_seconds", "of requests")

class Requests:
    # Each sample says when it was counted: a machine under load answers long after the scrape began, and
    # a count that is taken for one of that moment looks like a change of load.

    def __init__(self, rate, begin):
        self.course = (time.time(), begin, rate)

    def at(self, now):
        since, begin, rate = self.course
        return begin + rate * (now - since)

    def change(self, rate):
        now = time.time()
        self.course = (now, self.at(now), rate)

    def collect(self):
        family, now = CounterMetricFamily("requests", "requests"), time.time()
        family.add_metric([], self.at(now), timestamp=now)
        yield family

print("loaded", flush=True)
sys.stdin.readline()
requests = Requests(float(sys.argv[2]), float(sys.argv[3]))
REGISTRY.register(requests)
start_http_server(int(sys.argv[1]), "127.0.0.1")

def observe():
    begin = requests.at(time.time())
    observed = 0
    while True:
        time.sleep(0.02)
        while requests.at(time.time()) - begin >= observed + 1:
            latency.observe(0.2)
            observed += 1

threading.Thread(target=observe, daemon=True).start()
for line in sys.stdin:
    what, *words = line.split()
    if what == "rate":
        requests.change(float(words[0]))
    elif what == "waiting":
        waiting.labels(words[0]).set(float(words[1]))
    elif what == "odd":
        odd.set(float(words[0]))
"""


def free_port() -> int:
    """A port of loopback that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    """Poll until it holds; fail with what did not come."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"{what} within {within_s:g} s")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether a GET is answered with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class CountingProcess:
    """Exposes ``requests_total``, which rises at a rate that the test sets."""

    def __init__(self, port: int, rate_rps: float = 0.0, begin: float = 0.0, serves: bool = True) -> None:
        """``begin``: where the counter starts; without ``serves`` it is loaded, and waits for `serve`."""
        self.port = port
        words = [sys.executable, "-c", COUNTING, str(port), str(rate_rps), str(begin)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "loaded\n"
        if serves:
            self.serve()

    def serve(self) -> None:
        """Begin to count; wait until it answers."""
        self.tell("serve")
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/metrics"), "metrics")

    def tell(self, words: str) -> None:
        """``rate 20``, ``waiting crop 3`` or ``odd nan``."""
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """As if the pod were gone."""
        self._process.kill()
        self._process.wait()


class Prometheus:
    """One server that scrapes jobs (name -> ports of loopback) every second.

    ``web``: its web configuration (TLS, logins). ``federated``: what it scrapes from itself once more.
    """

    def __init__(
        self,
        folder: Path,
        jobs: Mapping[str, Sequence[int]],
        scrape_interval_s: float = 1,
        web: Mapping[str, Any] | None = None,
        federated: str = "",
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        every = f"{round(scrape_interval_s * 1000)}ms"
        listed: list[dict[str, Any]] = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for name, ports in jobs.items()
        ]
        if federated:
            itself = {
                "static_configs": [{"targets": [f"127.0.0.1:{self.port}"]}],
                "metrics_path": "/federate",
            }
            listed.append({"job_name": "federate", "params": {"match[]": [federated]}, **itself})
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every},
            "scrape_configs": listed,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self._web = web is not None
        (folder / "web.yml").write_text(yaml.safe_dump(dict(web or {})), encoding="utf-8")

    def backfill(self, lines: Iterable[str]) -> None:
        """Samples of before in OpenMetrics, ``name{labels} value time``, before it starts."""
        file = self._folder / "before.om"
        file.write_text("\n".join([*lines, "# EOF\n"]), encoding="utf-8")
        words = [
            "promtool",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(file),
            str(self._folder / "data"),
        ]
        subprocess.run(words, check=True, capture_output=True)

    def start(self, *options: str) -> None:
        """Start it, and wait until it is ready."""
        assert BINARY is not None
        words = [
            BINARY, f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.config.file={self._folder / 'web.yml'}", *options,
        ]  # fmt: skip
        with (self._folder / "prometheus.log").open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(words, stdout=log, stderr=log)

        def is_ready() -> bool:
            """Who asks for a login is not asked, but tells its log; before that it answers 503."""
            if not self._web:
                return answers(f"{self.url}/-/ready")
            return b"ready to receive web requests" in Path(log.name).read_bytes()[before:]

        wait_until(is_ready, "Prometheus ready")

    def knows(self, series: str) -> bool:
        """Whether it scraped a series at least three times in the last ten seconds: a rate is known."""
        query = urllib.parse.urlencode({"query": f"count_over_time({series}[10s]) >= 3"})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=10) as answer:
            return bool(json.load(answer)["data"]["result"])

    def stop(self) -> None:
        """Stop it; what it stored stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def counting() -> Iterator[dict[str, CountingProcess]]:
    """Processes by job, each of its own. Only those that a specification is about change."""
    rates = {
        "steady": 40.0, "changing": 40.0, "idle": 0.0, "restarted": 30.0, "replaced": 30.0, "lost": 20.0,
        "odd": 5.0,
    }  # fmt: skip
    processes = {name: CountingProcess(free_port(), rate) for name, rate in rates.items()}
    yield processes
    for process in processes.values():
        process.kill()


@pytest.fixture(scope="module")
def later_ports() -> dict[str, int]:
    """Where processes of the jobs ``grown`` and ``replacing`` may come up."""
    return {"grown": free_port(), "replacing": free_port()}


@pytest.fixture(scope="module")
def prometheus(
    counting: dict[str, CountingProcess],
    later_ports: dict[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """It scrapes all of ``counting`` every second, the steady one twice, and what it has of that itself."""
    jobs = {name: [process.port] for name, process in counting.items()}
    later = {name: [port] for name, port in later_ports.items()}
    server = Prometheus(
        tmp_path_factory.mktemp("prometheus"),
        jobs | later | {"twin": jobs["steady"]},
        federated='requests_total{job="steady"}',
    )
    server.start()
    yield server
    server.stop()
