"""The demonstration pipeline on a real node in a fleet: it gives way to a burst elsewhere, and serves all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from ipa_rl.profiles import load_pipeline
from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from tests.example_pipeline import EXAMPLE
from tests.fleet import Watch, cores_of, fleet_settings, fleet_started
from tests.kubernetes_objects import Document, Namespace, deployment, until
from tests.pipelines import write_environment
from tests.shop import variables_of
from tests.test_example_kubernetes import KUBECTL, ROUTER, requests_until, serve

pytestmark = [
    pytest.mark.slow,
    needs_prometheus,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed (apt: kubernetes-client)"),
]

CORES, RESERVE = 16, 0.08
VIDEO_RPS, QUIET_RPS, BURST_RPS = 6.0, 60.0, 800.0
WITHIN_S = 120.0


@pytest.fixture
def calls() -> Iterator[CountingProcess]:
    """A process that counts the requests of the other pipeline."""
    process = CountingProcess(free_port(), QUIET_RPS)
    yield process
    process.kill()


@pytest.fixture
def measured(calls: CountingProcess, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes it and the router."""
    (tmp_path / "prometheus").mkdir()
    ports = {"calls": [calls.port], "video": [int(ROUTER.rpartition(":")[2])]}
    server = Prometheus(tmp_path / "prometheus", ports)
    server.start()
    yield server
    server.stop()


def environment_of_video(folder: Path) -> Path:
    """Accurate models are worth their cores to it, and it looks back for seconds only."""
    shipped = Path(__file__).parent.parent / "envs" / "video.yaml"
    said = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    said["weights"]["alpha"], said["load_window_s"] = 200, 5
    (folder / "video.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    return folder / "video.yaml"


def cores_of_servers(pod: Document) -> float:
    """What a pod of the demonstration would take of its model, and what others ask for."""
    stages = {f"video-{stage.name}": stage for stage in load_pipeline("video").stages}
    stage = stages.get(pod["metadata"]["labels"].get("app.kubernetes.io/name", ""))
    if stage is None:
        return cores_of(pod) if "app" in pod["metadata"]["labels"] else 0.0
    return stage.variant(variables_of(pod["spec"]).get("IPA_VARIANT", stage.variants[0].name)).units


def test_the_demonstration_gives_way_to_a_burst_elsewhere_and_loses_no_request(
    namespace: Namespace, node: str, calls: CountingProcess, measured: Prometheus, tmp_path: Path
) -> None:
    serve(namespace, IPA_SCHEDULED_S="8")  # so that most of a start-up has passed when the process begins
    namespace.apply(deployment("calls"))
    of_calls = {"calls": ("small", "large")}
    other = write_environment(tmp_path / "calls", of_calls, name="calls", load_window_s=5)
    stages = yaml.safe_load((EXAMPLE / "pipeline.yaml").read_text(encoding="utf-8"))
    clusters: dict[str, dict[str, Any]] = {
        "calls": {"environment": "calls", "stages": {"calls": {"name": "calls"}}},
        "video": stages,
    }
    counters = {"calls": "requests_total", "video": "ipa_router_requests_total"}
    environments = {"calls": other, "video": environment_of_video(tmp_path)}
    pipelines: dict[str, dict[str, Any]] = {"calls": {"priority": 9}, "video": {"floor_rps": 1.2 * VIDEO_RPS}}
    for name, one in pipelines.items():
        cluster = {**clusters[name], "namespace": namespace.name}
        counter = f'{counters[name]}{{job="{name}"}}'
        own = fleet_settings(name, environments[name], cluster, counter, measured.url, 3.0)
        (tmp_path / f"{name}.yaml.sidecar").write_text(yaml.safe_dump(own), encoding="utf-8")
        one |= {"environment": str(environments[name]), "sidecar": f"{name}.yaml.sidecar"}
    fleet = {"limits": {"cores": CORES}, "reserve": RESERVE, "pipelines": pipelines}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet), encoding="utf-8")

    with ExitStack() as ends:
        watch = Watch(namespace, cores_of_servers)
        ends.callback(watch.close)

        def runs() -> dict[str, float]:
            """Cores of all pods of each pipeline."""
            found = dict.fromkeys(pipelines, 0.0)
            for pod in watch.now:
                found["calls" if "app" in pod["metadata"]["labels"] else "video"] += cores_of_servers(pod)
            return found

        beside, done = ends.enter_context(ThreadPoolExecutor(1)), Event()
        ends.callback(done.set)
        load = beside.submit(requests_until, done, ROUTER, VIDEO_RPS)
        copy = fleet_started(tmp_path)
        ends.callback(copy.process.kill)
        until(lambda: runs()["video"] >= 8.0, WITHIN_S)
        calls.tell(f"rate {BURST_RPS:g}")
        until(lambda: runs()["calls"] >= 9.0 and runs()["video"] <= 5.0, WITHIN_S)
        calls.tell(f"rate {QUIET_RPS:g}")
        until(lambda: runs()["calls"] <= 2.0 and runs()["video"] >= 8.0, WITHIN_S)
        assert copy.end() == 0
        done.set()
        sent = load.result()
    assert {one.outcome for one in sent} == {"served"}
    assert len({one.variants for one in sent}) > 1
    assert watch.highest <= CORES, "\n".join(watch.pods)
