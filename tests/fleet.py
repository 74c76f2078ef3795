"""A fleet on a real API server: the sidecar of it as a process, and a watch over what all pods occupy."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.kubernetes_objects import Document, GoneError, Namespace, is_ready
from tests.shop import ROOT, Copy, variables_of


def cores_of(pod: Document) -> float:
    """Cores that a pod asks for, whether it serves, starts or ends."""
    each = [one.get("resources", {}).get("requests", {}) for one in pod["spec"]["containers"]]
    return sum(float(one.get("cpu", 0)) for one in each)


class Watch:
    """What a kubelet would do for pods that no node runs, and the most cores that all occupy together."""

    def __init__(self, namespace: Namespace, cores: Callable[[Document], float] = cores_of) -> None:
        self.namespace, self.cores, self.highest = namespace, cores, 0.0
        self.pods: list[str] = []
        self.now: list[Document] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ends.wait(0.1):
            pods = self.now = self.namespace.objects("pods")
            cores = sum(map(self.cores, pods))
            if cores > self.highest:
                self.highest, self.pods = cores, [self._told(pod) for pod in pods]
            for pod in pods:
                waits = not is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
                if waits and pod["spec"].get("schedulerName") == "nobody":
                    with suppress(GoneError):
                        self.namespace.mark_ready(pod)

    def _told(self, pod: Document) -> str:
        """A pod in a line."""
        metadata = pod["metadata"]
        ends = " ends" if "deletionTimestamp" in metadata else ""
        told = (
            f"{variables_of(pod['spec'])}, {self.cores(pod):g} cores, since {metadata['creationTimestamp']}"
        )
        return f"{metadata['name']}: {told}{ends}"

    def close(self) -> None:
        """Stop both."""
        self._ends.set()
        self._thread.join()


def fleet_started(folder: Path) -> Copy:
    """`ipa-rl fleet sidecar` in a folder as a process of its own."""
    words = [sys.executable, "-m", "ipa_rl", "fleet", "sidecar", "fleet.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "sidecar.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stderr=log)
    return Copy(folder, process)


def fleet_settings(
    name: str, environment: Path, cluster: Any, counter: str, url: str, interval_s: float = 1.0
) -> dict[str, Any]:
    """The sidecar's of a pipeline of the fleet; ``counter``: of its requests, in a Prometheus."""
    return {
        "environment": str(environment),
        "agent": "program",
        "mode": "act",
        "interval_s": interval_s,
        "cluster": cluster,
        "load": {"url": url, "counter": counter, "scrape_interval_s": 1},
        "leader_election": {"namespace": cluster["namespace"], "name": f"ipa-rl-{name}"},
        "guard": {"change_horizon_s": 0},
        "rollout": {"least_s": 600},
        "telemetry": False,
        "decision_log": {"path": f"{name}.jsonl"},
    }
