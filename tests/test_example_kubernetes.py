"""The manifests and the router of deploy/examples/video on a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import yaml

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.live.kubernetes import discover, load_description
from ipa_rl.live.kubernetes.api import Api
from tests.example_pipeline import EXAMPLE, Server, python_path, replica
from tests.kubernetes_objects import Namespace, quick_retry

sys.path.insert(0, str(EXAMPLE))

from serving.load import Sent, replay

ROUTER = "http://127.0.0.1:18080"
SERVERS = ("deployment/video-crop", "deployment/video-classification")
OVERLAY = Path(__file__).parent / "overlays" / "node"
KUBECTL = shutil.which("kubectl", path=f"{os.environ.get('KUBEBUILDER_ASSETS', '')}:{os.environ['PATH']}")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed (apt: kubernetes-client)"),
]


def kubectl(*words: str, given: str | None = None) -> str:
    """Standard output of kubectl; fails with what it says."""
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(folder: Path, namespace: Namespace) -> str:
    """What a folder builds, for a namespace that there is."""
    built = yaml.safe_load_all(kubectl("kustomize", str(folder)))
    kept = [one for one in built if one["kind"] != "Namespace"]
    return yaml.safe_dump_all(kept).replace("namespace: video", f"namespace: {namespace.name}")


def test_the_api_server_takes_the_manifests_and_the_stages_have_opted_in(namespace: Namespace) -> None:
    kubectl("apply", "-f", "-", given=manifests(EXAMPLE, namespace))
    kubectl("apply", "-n", namespace.name, "--dry-run=server", "-f", str(EXAMPLE / "load.yaml"))
    definition = load_definition("video")
    found = discover(Api(namespace.client, quick_retry()), namespace.name, definition)
    described = load_description(EXAMPLE / "pipeline.yaml", definition)
    assert [str(one.batch) for one in found.stages] == [str(one.batch) for one in described.stages]
    assert [one.name for one in found.stages] == [one.name for one in described.stages]


def test_the_router_serves_with_the_ready_addresses_of_the_endpoints(namespace: Namespace) -> None:
    servers = [
        replica("crop", "yolov5n", host="0.0.0.0"),
        replica("crop", "yolov5s", host="0.0.0.0"),
        replica("classification", "resnet18", host="0.0.0.0"),
    ]
    namespace.add("endpoints", "", endpoints("video-crop", [servers[0]], unready=[servers[1]]))
    namespace.add("endpoints", "", endpoints("video-classification", [servers[2]]))
    router = Server(
        "router",
        stages="crop,classification",
        replicas="endpoints:crop=video-crop,classification=video-classification",
        namespace=namespace.name,
    )
    try:
        router.wait_ready()
        known = json.loads(router.get("/status"))["crop"]["replicas"]
        assert [one["variant"] for one in known] == ["yolov5n"]
        assert router.post("/infer", {})[0] == 200
    finally:
        for server in (*servers, router):
            server.kill()


def endpoints(name: str, ready: list[Server], unready: list[Server] | None = None) -> dict[str, Any]:
    """Endpoints as Kubernetes writes them for pods."""
    ip = own_address()
    subsets = [{"addresses": [{"ip": ip}], "ports": [{"port": server.port}]} for server in ready]
    subsets += [{"notReadyAddresses": [{"ip": ip}], "ports": [{"port": one.port}]} for one in unready or []]
    return {"metadata": {"name": name}, "subsets": subsets}


def own_address() -> str:
    """An address of this machine that is not loopback, which Endpoints refuse."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def serve(namespace: Namespace, **variables: str) -> None:
    """The demonstration and its router on the node, once they serve; ``variables``: of the stages."""
    text = manifests(OVERLAY, namespace)
    for name, value in {
        "PYTHON": sys.executable,
        "PYTHONPATH": python_path()["PYTHONPATH"],
        "KUBECONFIG": os.environ["KUBECONFIG"],
    }.items():
        text = text.replace(f"@{name}@", value)
    kubectl("apply", "-f", "-", given=text)
    own = ("-n", namespace.name)
    kubectl(*own, "set", "env", "deployment/video-router", f"IPA_NAMESPACE={namespace.name}")
    for name, value in variables.items():
        kubectl(*own, "set", "env", *SERVERS, f"{name}={value}")
    for name in (*SERVERS, "deployment/video-router"):
        kubectl(*own, "rollout", "status", name, "--timeout=120s")


def requests_until(end: Event, url: str, rps: float) -> list[Sent]:
    """Requests at a steady rate, three seconds at a time, however long it takes until the end."""
    sent: list[Sent] = []
    while not end.is_set():
        sent += asyncio.run(replay(url, np.arange(0.0, 3.0, 1.0 / rps), 1.0))
    return sent
