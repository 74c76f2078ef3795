"""A pipeline of Deployments on a real API server, and copies of the sidecar as processes beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ipa_rl.environment.definition_file import environment_name, load_definition
from ipa_rl.pipeline import Configuration, Pipeline, StageConfig
from ipa_rl.sidecar.model_estimate import capacities_rps
from tests.kubernetes_objects import Document, Namespace, deployment, is_ready, pod_template
from tests.prometheus_server import Prometheus, wait_until

ROOT = Path(__file__).parent.parent
LEASE_S, RENEW_S, RETRY_S, INTERVAL_S = 4.0, 3.0, 0.4, 1.0
STAGES = ("crop", "classification")
WITHIN_S = 90.0


@dataclass
class Copy:
    """One sidecar as a process of its own, in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes]

    def steps(self) -> list[dict[str, Any]]:
        """The lines of its decision log that are whole."""
        path = self.folder / "decisions.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def acted(self) -> list[dict[str, Any]]:
        """Those in which it could write."""
        return [step for step in self.steps() if step.get("acted")]

    def told(self) -> str:
        """Its log, as far as its lines are whole."""
        text = (self.folder / "sidecar.log").read_text()
        return text[: text.rfind("\n") + 1]

    def says(self, words: str) -> list[dict[str, Any]]:
        """The lines of its log that hold these words, each a JSON object."""
        return [json.loads(line) for line in self.told().splitlines() if words in line]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@dataclass
class Shop:
    """A pipeline of Deployments that a team applied, and the copies of the sidecar that drive it.

    ``environment``: a shipped name, or a file.
    """

    namespace: Namespace
    measured: Prometheus
    folder: Path
    copies: list[Copy] = field(default_factory=list)
    environment: str = "video"

    @property
    def pipeline(self) -> Pipeline:
        """What is served."""
        return load_definition(self.environment).pipeline

    def cluster(self, placements: Mapping[str, Any] | None = None, **knobs: Any) -> dict[str, Any]:
        """Where its stages are; ``knobs``: of each of them."""
        found = {
            "environment": environment_name(self.environment),
            "namespace": self.namespace.name,
            "stages": {stage.name: {"name": stage.name, **knobs} for stage in self.pipeline.stages},
        }
        return found if placements is None else {**found, "placements": placements}

    def settings(self, name: str, **changes: Any) -> dict[str, Any]:
        """Those of a copy."""
        return {
            "environment": self.environment,
            "agent": "program",
            "mode": "act",
            "interval_s": INTERVAL_S,
            "cluster": self.cluster(),
            "load": {
                "url": self.measured.url,
                "counter": 'requests_total{job="router"}',
                "scrape_interval_s": 1,
            },
            "leader_election": {
                "namespace": self.namespace.name, "identity": name,
                "lease_s": LEASE_S, "renew_s": RENEW_S, "retry_s": RETRY_S,
            },
            "rollout": {"least_s": 600},  # no kubelet makes the pods ready
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
        return spec["replicas"], variables_of(spec["template"]["spec"])

    def carries(self, load_rps: float) -> bool:
        """Whether all stages are asked for a variant, a batch size and enough replicas for a load."""
        found, pipeline = [], self.pipeline
        for stage in pipeline.stages:
            replicas, variables = self.asked(stage.name)
            if not {"IPA_VARIANT", "IPA_BATCH_SIZE"} <= variables.keys():
                return False
            found.append(StageConfig(variables["IPA_VARIANT"], int(variables["IPA_BATCH_SIZE"]), replicas))
        return min(capacities_rps(pipeline, Configuration(tuple(found)))) >= load_rps

    def serves_alone(self, stage: str, pods: int) -> bool:
        """Let the pods of a stage's newest template become ready; whether there are so many and no others."""
        variables, found = self.asked(stage)[1], self.namespace.pods(stage)
        newest = [pod for pod in found if variables_of(pod["spec"]) == variables]
        for pod in newest:
            if not is_ready(pod):
                self.namespace.mark_ready(pod)
        return len(found) == len(newest) == pods

    def holder(self) -> str:
        """Who holds the Lease."""
        leases = self.namespace.objects("leases", "coordination.k8s.io/v1")
        return str(leases[0]["spec"].get("holderIdentity") or "") if leases else ""

    def end(self) -> None:
        """End the copies that still run."""
        for copy in self.copies:
            if copy.process.poll() is None:
                copy.process.kill()
                copy.process.wait()


def variables_of(pod: dict[str, Any]) -> dict[str, str]:
    """Environment variables of the server in the spec of a pod."""
    return {one["name"]: one["value"] for one in pod["containers"][0].get("env") or ()}


@contextmanager
def shop_in(
    namespace: Namespace,
    measured: Prometheus,
    folder: Path,
    environment: str = "video",
    pods: Callable[[str], Document] = pod_template,
) -> Iterator[Shop]:
    """The pipeline as a team applied it, without any sidecar yet."""
    shop = Shop(namespace, measured, folder, environment=environment)
    for stage in shop.pipeline.stages:
        namespace.apply(deployment(stage.name, template=pods(stage.name)))
    wait_until(lambda: measured.knows('requests_total{job="router"}'), "scrapes")
    try:
        yield shop
    finally:
        shop.end()
