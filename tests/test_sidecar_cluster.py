"""The real command against a real API server and a real Prometheus: who acts, and what happens in trouble."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from tests.kubernetes_objects import Namespace, deployment, send, until
from tests.kubernetes_proxy import Line

pytestmark = needs_prometheus

ROOT = Path(__file__).parent.parent
LEASE_S, RENEW_S, RETRY_S, INTERVAL_S = 4.0, 3.0, 0.4, 1.0
STAGES = ("crop", "classification")
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a process of 12 requests a second."""
    counting = CountingProcess(free_port(), 12.0)
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), {"router": [counting.port]})
    server.start()
    yield server
    server.stop()
    counting.kill()


@dataclass
class Copy:
    """One sidecar as a process of its own, in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes]

    def steps(self) -> list[dict[str, Any]]:
        """The lines of its decision log that are whole."""
        path = self.folder / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def acted(self) -> list[dict[str, Any]]:
        """Those in which it could write."""
        return [step for step in self.steps() if step.get("acted")]

    def told(self) -> str:
        """Its log."""
        return (self.folder / "sidecar.log").read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@dataclass
class Shop:
    """A pipeline of two Deployments that a team applied, and the copies of the sidecar that drive it."""

    namespace: Namespace
    measured: Prometheus
    folder: Path
    copies: list[Copy]

    def settings(self, name: str, **changes: Any) -> dict[str, Any]:
        """Those of a copy."""
        return {
            "environment": "video",
            "agent": "program",
            "mode": "act",
            "interval_s": INTERVAL_S,
            "cluster": {
                "environment": "video",
                "namespace": self.namespace.name,
                "stages": {stage: {"name": stage} for stage in STAGES},
            },
            "load": {
                "url": self.measured.url,
                "counter": 'requests_total{job="router"}',
                "scrape_interval_s": 1,
            },
            "leader_election": {
                "namespace": self.namespace.name, "identity": name,
                "lease_s": LEASE_S, "renew_s": RENEW_S, "retry_s": RETRY_S,
            },
            "telemetry": {"host": "127.0.0.1", "port": 0},
            "decision_log": {"path": "decisions.jsonl"},
            **changes,
        }  # fmt: skip

    def start(self, name: str, **changes: Any) -> Copy:
        """Another copy."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "sidecar.yaml").write_text(yaml.safe_dump(self.settings(name, **changes)), encoding="utf-8")
        words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (folder / "sidecar.log").open("wb") as log:
            process = subprocess.Popen(words, cwd=folder, env=environment, stderr=log)
        self.copies.append(Copy(folder, process))
        return self.copies[-1]

    def asked(self, stage: str) -> tuple[int, dict[str, str]]:
        """Replicas and environment variables of a stage's Deployment."""
        spec = self.namespace.get("Deployment", stage)["spec"]
        variables = spec["template"]["spec"]["containers"][0].get("env") or []
        return spec["replicas"], {one["name"]: one["value"] for one in variables}

    def is_right(self) -> bool:
        """Whether both stages are asked for a variant and enough replicas for 12 requests a second."""
        return all("IPA_VARIANT" in self.asked(stage)[1] for stage in STAGES)

    def holder(self) -> str:
        """Who holds the Lease."""
        leases = self.namespace.objects("leases", "coordination.k8s.io/v1")
        return str(leases[0]["spec"].get("holderIdentity") or "") if leases else ""


@pytest.fixture
def shop(namespace: Namespace, measured: Prometheus, tmp_path: Path) -> Iterator[Shop]:
    """The pipeline without any sidecar yet."""
    for stage in STAGES:
        namespace.apply(deployment(stage))
    found = Shop(namespace, measured, tmp_path, [])
    yield found
    for copy in found.copies:
        if copy.process.poll() is None:
            copy.process.kill()
            copy.process.wait()


def test_it_asks_for_a_configuration_and_says_why_in_events(shop: Shop) -> None:
    copy = shop.start("a")
    until(shop.is_right, WITHIN_S)
    until(lambda: [e for e in shop.namespace.objects("events") if e["reason"] == "Adapted"], WITHIN_S)
    messages = [e["message"] for e in shop.namespace.objects("events") if e["reason"] == "Adapted"]
    assert any("requests/s" in message for message in messages)
    until(lambda: copy.acted() and not copy.acted()[-1]["changes"], WITHIN_S)  # and then leaves it at that
    assert copy.end() == 0


def test_a_leader_that_is_killed_is_followed_within_the_lease_time_and_never_two_act(shop: Shop) -> None:
    first = shop.start("a")
    until(first.acted, WITHIN_S)
    second = shop.start("b")
    until(lambda: len(second.steps()) >= 3, WITHIN_S)
    assert not second.acted()
    assert "a leads" in [step["why_not"] for step in second.steps()]
    first.end(signal.SIGKILL)
    killed_at = time.monotonic()
    until(second.acted, WITHIN_S)
    took_s = time.monotonic() - killed_at
    assert took_s < LEASE_S + 1.2 * RETRY_S + 2 * INTERVAL_S + 1.0
    assert first.acted()[-1]["time"] < second.acted()[0]["time"]
    assert shop.holder() == "b"


def test_sigterm_releases_the_lease_and_another_acts_at_once(shop: Shop) -> None:
    first, second = shop.start("a"), shop.start("b")
    until(lambda: first.acted() or second.acted(), WITHIN_S)
    leader, other = (first, second) if first.acted() else (second, first)
    until(other.steps, WITHIN_S)
    assert leader.end() == 0
    ended_at = time.monotonic()
    assert "released the lease" in leader.told()
    until(other.acted, WITHIN_S)
    assert time.monotonic() - ended_at < 1.2 * RETRY_S + 2 * INTERVAL_S + 1.0
    assert other.end() == 0
    assert shop.holder() == ""


def test_an_api_server_that_is_away_for_a_while_costs_nothing_but_time(shop: Shop) -> None:
    content = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    server = content["clusters"][0]["cluster"]
    where = urlsplit(server["server"])
    line = Line(str(where.hostname), int(where.port or 443))
    server["server"] = f"{where.scheme}://127.0.0.1:{line.port}"
    (shop.folder / "kubeconfig").write_text(yaml.safe_dump(content), encoding="utf-8")
    copy = shop.start("a", kubeconfig=str(shop.folder / "kubeconfig"))
    until(copy.acted, WITHIN_S)
    line.cut()
    until(lambda: [step for step in copy.steps() if step.get("failed") == "cluster"], WITHIN_S)
    assert copy.process.poll() is None
    known = len(copy.acted())
    line.mend()
    until(lambda: len(copy.acted()) > known, WITHIN_S)
    assert "the cluster keeps what it has" in copy.told()
    assert shop.is_right()
    assert copy.end() == 0


def test_while_prometheus_is_down_the_last_good_configuration_holds(shop: Shop) -> None:
    copy = shop.start("a")
    until(lambda: copy.acted() and shop.is_right(), WITHIN_S)
    before = [shop.asked(stage) for stage in STAGES]
    shop.measured.stop()
    try:
        until(lambda: copy.acted()[-1]["by"] == "held", WITHIN_S)
        time.sleep(2 * INTERVAL_S)
        assert [shop.asked(stage) for stage in STAGES] == before
        assert "stale: " in copy.acted()[-1]["fallback"]
        assert '"by": "held"' in copy.told()
    finally:
        shop.measured.start()
    until(lambda: copy.acted()[-1]["by"] == "program", WITHIN_S)
    assert copy.end() == 0


def test_an_object_deleted_and_made_again_gets_its_configuration_again(shop: Shop) -> None:
    copy = shop.start("a")
    until(lambda: copy.acted() and shop.is_right(), WITHIN_S)
    shop.namespace.remove("Deployment", "crop")
    until(lambda: copy.steps()[-1]["stages"][0]["problem"], WITHIN_S)
    shop.namespace.apply(deployment("crop"))
    until(shop.is_right, WITHIN_S)
    assert copy.end() == 0


def test_in_shadow_mode_nothing_of_the_cluster_changes(shop: Shop) -> None:
    before = {s: shop.namespace.get("Deployment", s)["metadata"]["generation"] for s in STAGES}
    copy = shop.start("a", mode="shadow", agent="video")
    until(lambda: len(copy.steps()) >= 4, WITHIN_S)
    assert copy.end() == 0
    after = {s: shop.namespace.get("Deployment", s)["metadata"]["generation"] for s in STAGES}
    assert after == before
    assert not [e for e in shop.namespace.objects("events") if e["reason"] == "Adapted"]
    assert all(step["why_not"].startswith("shadow mode") for step in copy.steps())


def test_dry_run_prints_the_difference_and_takes_no_lease(shop: Shop) -> None:
    (shop.folder / "sidecar.yaml").write_text(yaml.safe_dump(shop.settings("a")), encoding="utf-8")
    words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=shop.folder, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "crop: variant" in done.stdout
    assert not shop.is_right()
    assert shop.holder() == ""
    assert send(shop.namespace.client, "GET", shop.namespace.path("events"))["kind"] == "EventList"
