"""On a node that really runs pods: changes under load lose no request."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import urllib3
from kubernetes.client import ApiClient

from ipa_rl.live.kubernetes import KubernetesCluster
from tests.kubernetes_objects import (
    NO_GAP,
    Document,
    Namespace,
    deployment,
    make_cluster,
    new_namespace,
    send,
    until,
    want,
)

pytestmark = pytest.mark.usefixtures("node")

Shown = tuple[str | None, int | None, int, int]
"""Variant, batch size, current and ready replicas."""

PORT = 8080

SERVER = f"""
import os, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["IPA_VARIANT"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

time.sleep(0.5)  # loads its model
server = ThreadingHTTPServer(("", {PORT}), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stop.wait()
time.sleep(4)  # serves what is still sent to it, while it is taken out of the endpoints
"""
"""A model server: begins late, and drains before it ends."""


def server_pods(name: str) -> Document:
    """Pods that run this machine's Python on the node."""
    server = {
        "name": "server",
        "image": "docker.io/local/base:1",
        "imagePullPolicy": "Never",
        "command": ["chroot", "/host", sys.executable, "-c", SERVER],
        "volumeMounts": [{"name": "host", "mountPath": "/host", "readOnly": True}],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "env": [{"name": "IPA_VARIANT", "value": "small"}, {"name": "IPA_BATCH_SIZE", "value": "1"}],
    }
    spec = {
        "containers": [server],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        "terminationGracePeriodSeconds": 10,
        "enableServiceLinks": False,
    }
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


@pytest.fixture(scope="module")
def serving(kubernetes_api: ApiClient) -> Iterator[Namespace]:
    """A namespace with two replicas of the small variant that serve.

    Each specification goes on with the variant that the one before left, in two replicas.
    """
    with new_namespace(kubernetes_api) as namespace:
        body = deployment("a", template=server_pods("a"), replicas=2, strategy=NO_GAP)
        namespace.apply(body, "ipa-rl")
        service = {"metadata": {"name": "a"}, "spec": {"selector": {"app": "a"}, "ports": [{"port": PORT}]}}
        namespace.add("services", "", service)
        yield namespace


@pytest.fixture
def cluster(serving: Namespace) -> Iterator[KubernetesCluster]:
    """The stage that they are."""
    cluster = make_cluster(serving, {"only": {"name": "a", "cores": {"manage": False}}})
    until(lambda: cluster.look().stages[0].ready == 2, 90)
    yield cluster
    cluster.close()


class Load:
    """Requests to the endpoints of the service, in turn; each answer, and each failure, is counted."""

    def __init__(self, namespace: Namespace) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._namespace = namespace
        self._addresses: list[str] = []
        self._stop = threading.Event()

    @contextmanager
    def running(self, threads: int = 2) -> Iterator["Load"]:
        """Send requests while the block runs."""
        self._follow_once()
        work = [threading.Thread(target=self._follow)]
        work += [threading.Thread(target=self._send) for _ in range(threads)]
        for thread in work:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in work:
                thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(0.2):
            self._follow_once()

    def _follow_once(self) -> None:
        path = f"{self._namespace.path('endpoints')}/a"
        subsets = send(self._namespace.client, "GET", path).get("subsets") or ()
        self._addresses = [one["ip"] for subset in subsets for one in subset.get("addresses") or ()]

    def _send(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=5.0)
        count = 0
        while not self._stop.wait(0.05):
            count += 1
            addresses = self._addresses
            if not addresses:
                self.failures.append("no endpoint")
                continue
            address = addresses[count % len(addresses)]
            try:
                answer = pool.request("GET", f"http://{address}:{PORT}/", headers={"Connection": "close"})
                self.answers[answer.data.decode()] += 1
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self.failures.append(f"{address}: {error}")


def test_a_new_variant_takes_over_with_no_failed_request(
    serving: Namespace, cluster: KubernetesCluster
) -> None:
    began = time.monotonic()
    with Load(serving).running() as load:
        time.sleep(1)
        applied = cluster.apply(want(("large", 4, 2)))
        least = _least_ready_until(cluster, lambda seen: seen == ("large", 4, 2, 2))
        time.sleep(1)

    print(f"rolled in {time.monotonic() - began:.1f} s, answers {dict(load.answers)}")
    assert {change.knob for change in applied.changes} == {"variant", "batch"}
    assert not load.failures
    assert load.answers["small"] > 0
    assert load.answers["large"] > 0
    assert least >= 2


def test_replicas_come_and_go_with_no_failed_request(serving: Namespace, cluster: KubernetesCluster) -> None:
    with Load(serving).running() as load:
        for replicas in (4, 2):
            began = time.monotonic()
            cluster.apply(want(("large", 4, replicas)))
            least = _least_ready_until(
                cluster,
                lambda seen, n=replicas: seen == ("large", 4, n, n),  # type: ignore[misc]
            )
            print(f"{replicas} replicas in {time.monotonic() - began:.1f} s")
            assert least >= 2

    assert not load.failures
    assert load.answers["large"] > 0


def test_fewer_replicas_of_a_new_variant_come_without_a_gap(
    serving: Namespace, cluster: KubernetesCluster
) -> None:
    other = "small" if cluster.look().stages[0].variant == "large" else "large"
    wanted = want((other, 1, 1))
    with Load(serving).running() as load:
        first = cluster.apply(wanted)
        end = time.monotonic() + 90
        while cluster.apply(wanted).waiting:
            assert time.monotonic() < end
            time.sleep(0.5)
        least = _least_ready_until(cluster, lambda seen: seen == (other, 1, 1, 1))
        time.sleep(1)

    assert [str(change) for change in first.waiting] == ["only: replicas 2 -> 1"]
    assert not load.failures
    assert least >= 1


def _least_ready_until(
    cluster: KubernetesCluster, holds: Callable[[Shown], bool], seconds: float = 90.0
) -> int:
    """The fewest ready replicas seen until what is shown holds."""
    least, end = 10**6, time.monotonic() + seconds
    while True:
        seen = cluster.look().stages[0]
        least = min(least, seen.ready)
        if holds((seen.variant, seen.batch, seen.current, seen.ready)):
            return least
        assert time.monotonic() < end, f"is {seen}"
        time.sleep(0.3)
