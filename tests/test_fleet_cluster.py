"""One process that drives two pipelines under one limit, against a real API server and a real Prometheus."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from tests.fleet import Watch, cores_of, fleet_settings, fleet_started
from tests.kubernetes_objects import Namespace, deployment, until
from tests.pipelines import write_environment
from tests.shop import variables_of

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


def test_a_burst_on_one_pipeline_takes_from_the_other_and_gives_back_and_the_limit_holds_throughout(
    namespace: Namespace, loads: dict[str, CountingProcess], measured: Prometheus, tmp_path: Path
) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    pipelines: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        stages = {name: ("small", "large")}
        environment = write_environment(tmp_path / name, stages, name=name, load_window_s=5)
        cluster = {"environment": name, "namespace": namespace.name, "stages": {name: {"name": name}}}
        counter = f'requests_total{{job="{name}"}}'
        own = fleet_settings(name, environment, cluster, counter, measured.url)
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
        watch = Watch(namespace)
        ends.callback(watch.close)
        copy = fleet_started(folder)
        ends.callback(copy.process.kill)
        until(lambda: runs() == {"frames": ("large", 2.0), "calls": ("large", 2.0)}, WITHIN_S)
        loads["frames"].tell(f"rate {BURST_RPS:g}")
        until(lambda: runs() == {"frames": ("small", 10.0), "calls": ("small", 1.0)}, WITHIN_S)
        loads["frames"].tell(f"rate {QUIET_RPS:g}")
        until(lambda: runs() == {"frames": ("large", 2.0), "calls": ("large", 2.0)}, WITHIN_S)
        assert copy.end(signal.SIGTERM) == 0
        assert watch.highest <= CORES, "\n".join(watch.pods)
    told = [step["shared"]["told"] for step in steps_of(folder / "calls.jsonl") if step.get("shared")]
    assert any("gives way" in one for one in told)


def steps_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a decision log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
