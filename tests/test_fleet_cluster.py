"""One process that drives two pipelines under one limit, against a real API server and a real Prometheus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from tests.kubernetes_objects import GoneError, Namespace, deployment, is_ready, until
from tests.pipelines import write_environment
from tests.shop import ROOT, Copy, variables_of

pytestmark = [
    pytest.mark.slow,
    needs_prometheus,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),  # as the kubeconfig says
]

CORES, RESERVE = 12, 0.08
"""That both pipelines share, and what of it is kept free: one core, for new pods beside old ones."""
QUIET_RPS, BURST_RPS = 60.0, 800.0
NAMES = ("frames", "calls")
WITHIN_S = 90.0


class Cluster:
    """What a kubelet would do, and a watch over the cores that all pods ask for."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace, self.highest, self._ends = namespace, 0.0, threading.Event()
        self.pods: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ends.wait(0.1):
            pods = self.namespace.objects("pods")
            cores = sum(map(cores_of, pods))
            if cores > self.highest:
                self.highest, self.pods = cores, [told_of(pod) for pod in pods]
            for pod in pods:
                if not is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
                    with suppress(GoneError):
                        self.namespace.mark_ready(pod)

    def close(self) -> None:
        """Stop both."""
        self._ends.set()
        self._thread.join()


def told_of(pod: dict[str, Any]) -> str:
    """A pod in a line."""
    metadata = pod["metadata"]
    ends = " ends" if "deletionTimestamp" in metadata else ""
    born = metadata["creationTimestamp"]
    return f"{metadata['name']}: {variables_of(pod['spec'])}, {cores_of(pod):g} cores, since {born}{ends}"


def cores_of(pod: dict[str, Any]) -> float:
    """Cores that a pod asks for, whether it serves, starts or ends."""
    each = [one.get("resources", {}).get("requests", {}) for one in pod["spec"]["containers"]]
    return sum(float(one.get("cpu", 0)) for one in each)


@pytest.fixture
def loads() -> Iterator[dict[str, CountingProcess]]:
    """A process that counts the requests of each pipeline."""
    found = {name: CountingProcess(free_port(), QUIET_RPS) for name in NAMES}
    yield found
    for one in found.values():
        one.kill()


@pytest.fixture
def measured(loads: dict[str, CountingProcess], tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes them."""
    (tmp_path / "prometheus").mkdir()
    server = Prometheus(tmp_path / "prometheus", {name: [one.port] for name, one in loads.items()})
    server.start()
    yield server
    server.stop()


def settings(name: str, environment: Path, namespace: Namespace, measured: Prometheus) -> dict[str, Any]:
    """The sidecar's of a pipeline, whose one stage is the Deployment of its name."""
    load = {"url": measured.url, "counter": f'requests_total{{job="{name}"}}', "scrape_interval_s": 1}
    return {
        "environment": str(environment),
        "agent": "program",
        "mode": "act",
        "interval_s": 1.0,
        "cluster": {"environment": name, "namespace": namespace.name, "stages": {name: {"name": name}}},
        "load": load,
        "leader_election": {"namespace": namespace.name, "name": f"ipa-rl-{name}"},
        "guard": {"change_horizon_s": 0},
        "rollout": {"least_s": 600},
        "telemetry": False,
        "decision_log": {"path": f"{name}.jsonl"},
    }


def test_a_burst_on_one_pipeline_takes_from_the_other_and_gives_back_and_the_limit_holds_throughout(
    namespace: Namespace, loads: dict[str, CountingProcess], measured: Prometheus, tmp_path: Path
) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    pipelines: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        environment = write_environment(tmp_path / name, {name: ("small", "large")}, name=name)
        said = yaml.safe_load(environment.read_text(encoding="utf-8"))
        environment.write_text(yaml.safe_dump({**said, "load_window_s": 5}), encoding="utf-8")
        own = settings(name, environment, namespace, measured)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
        pipelines[name] = {"environment": str(environment), "sidecar": f"{name}.yaml"}
        namespace.apply(deployment(name))
    pipelines["frames"]["priority"] = 5
    fleet = {"limits": {"cores": CORES}, "reserve": RESERVE, "pipelines": pipelines}
    (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet), encoding="utf-8")

    def runs() -> dict[str, tuple[str, float]]:
        """Variant and cores that each is asked for."""
        found = {}
        for name in NAMES:
            spec = namespace.get("Deployment", name)["spec"]
            pod = spec["template"]["spec"]
            cores = float(spec["replicas"]) * cores_of({"spec": pod})
            found[name] = variables_of(pod).get("IPA_VARIANT", ""), cores
        return found

    with ExitStack() as ends:
        watch = Cluster(namespace)
        ends.callback(watch.close)
        copy = started(folder)
        ends.callback(copy.process.kill)
        until(lambda: runs() == {"frames": ("large", 2.0), "calls": ("large", 2.0)}, WITHIN_S)
        loads["frames"].tell(f"rate {BURST_RPS:g}")
        until(lambda: runs() == {"frames": ("small", 10.0), "calls": ("small", 1.0)}, WITHIN_S)
        loads["frames"].tell(f"rate {QUIET_RPS:g}")
        until(lambda: runs() == {"frames": ("large", 2.0), "calls": ("large", 2.0)}, WITHIN_S)
        assert copy.end(signal.SIGTERM) == 0
        assert watch.highest <= CORES, watch.pods
    told = [step["shared"]["told"] for step in steps_of(folder / "calls.jsonl") if step.get("shared")]
    assert any("gives way" in one for one in told)


def started(folder: Path) -> Copy:
    """`ipa-rl fleet sidecar` as a process of its own."""
    words = [sys.executable, "-m", "ipa_rl", "fleet", "sidecar", "fleet.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "sidecar.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stderr=log)
    time.sleep(0.1)
    return Copy(folder, process)


def steps_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a decision log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
