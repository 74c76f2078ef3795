"""Time, memory and connections of observe-apply cycles against a real API server.

    KUBECONFIG=... python scripts/benchmark_kubernetes.py --cycles 1000

Makes a namespace with one Deployment for each stage of the video pipeline (pods that no scheduler takes),
asks for a configuration, and repeats look and apply without a change. Time is wall clock, and this process's
share of it; memory is resident.
"""

import argparse
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from kubernetes.client import CoreV1Api, V1Namespace, V1ObjectMeta

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.live.cluster import Loads
from ipa_rl.live.kubernetes import Api, KubernetesCluster, connect, difference
from ipa_rl.live.kubernetes.description import describe


class SteadyLoads:
    """Twelve requests a second, always."""

    def loads(self, seconds: int) -> Loads:
        """That many of them."""
        return Loads(np.full(seconds, 12.0), 0.0, stale=False)


def deployment(namespace: str, name: str) -> dict[str, Any]:
    """A Deployment whose pods stay pending."""
    containers = [{"name": "server", "image": "server"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"schedulerName": "nobody", "containers": containers},
            },
        },
    }


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_sockets() -> int:
    """Sockets that this process holds."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:  # the listing's own
            continue
    return found


def main() -> None:
    """Print one line each tenth of the cycles, and the quantiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--kubeconfig", default=None)
    arguments = parser.parse_args()

    definition = load_definition("video")
    client = connect(arguments.kubeconfig)
    api, namespace = Api(client), f"ipa-benchmark-{uuid.uuid4().hex[:6]}"
    names = {stage.name: f"server-{i}" for i, stage in enumerate(definition.pipeline.stages)}
    stages = {stage: {"name": name} for stage, name in names.items()}
    content = {"environment": definition.name, "namespace": namespace, "stages": stages}
    description = describe(content, definition, "benchmark")
    core = CoreV1Api(client)
    core.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=namespace)))
    try:
        for name in names.values():
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
            api.create(path, deployment(namespace, name))
        cluster = KubernetesCluster(definition, description, SteadyLoads(), client)
        print(json.dumps(measure(cluster, arguments.cycles)))
    finally:
        core.delete_namespace(namespace)


def measure(cluster: KubernetesCluster, cycles: int) -> dict[str, float]:
    """Milliseconds of a cycle without change, memory and sockets at the beginning and the end."""
    wanted = cluster.definition.best_for(12.0)
    print(difference(cluster.apply(wanted)))
    deadline = time.monotonic() + 30
    while sum(stage.current for stage in cluster.look().stages) < sum(s.replicas for s in wanted.stages):
        if time.monotonic() > deadline:
            raise SystemExit("error: the controllers of the cluster make no pods")
        time.sleep(0.2)
    for _ in range(20):
        cluster.look()
        cluster.apply(wanted)
    began_mb, began_sockets = resident_mb(), open_sockets()
    wall, own = [], []
    for cycle in range(cycles):
        began, used = time.perf_counter(), time.process_time()
        cluster.look()
        if cluster.apply(wanted).changes:
            print(f"cycle {cycle} changed something")
        wall.append(1e3 * (time.perf_counter() - began))
        own.append(1e3 * (time.process_time() - used))
        if (cycle + 1) % max(cycles // 10, 1) == 0:
            print(f"{cycle + 1:6} cycles  {resident_mb():7.1f} MB  {open_sockets():3} sockets")
    return {
        "cycles": cycles,
        "p50_ms": round(float(np.percentile(wall, 50)), 1),
        "p99_ms": round(float(np.percentile(wall, 99)), 1),
        "own_p50_ms": round(float(np.percentile(own, 50)), 1),
        "own_p99_ms": round(float(np.percentile(own, 99)), 1),
        "memory_growth_mb": round(resident_mb() - began_mb, 2),
        "sockets_more": open_sockets() - began_sockets,
    }


if __name__ == "__main__":
    main()
