"""Objects on a real API server, for specifications: what users, kubelets and operators would write."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from kubernetes.client import ApiClient
from kubernetes.client import Configuration as ClientSettings

from ipa_rl.live.cluster import Loads
from ipa_rl.live.kubernetes import KubernetesCluster
from ipa_rl.live.kubernetes.api import Retry
from ipa_rl.live.kubernetes.description import describe
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Configuration, StageConfig
from tests.pipelines import definition_of, one_stage, two_stages

Document = dict[str, Any]

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

DEVICE = "example.com/l4"
"""An extended resource."""
FOREIGN = {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"}
"""A toleration that is not ipa-rl's."""
NO_GAP = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}}
"""An update strategy that never takes a pod away before another serves."""


class SteadyLoads:
    """A load source that always measures the same."""

    def loads(self, seconds: int) -> Loads:
        """Ten requests a second."""
        return Loads(np.full(seconds, 10.0), 0.0, stale=False)


class GoneError(AssertionError):
    """There is no object of that name any more."""


def send(
    client: ApiClient, method: str, path: str, body: Document | None = None, content: str = "application/json"
) -> Document:
    """One request as it is, without retries; AssertionError with the answer where it is refused."""
    headers = {"Content-Type": content, "User-Agent": "kubectl"}
    headers |= {one["key"]: one["value"] for one in client.configuration.auth_settings().values()}
    data = None if body is None else json.dumps(body).encode()
    url = client.configuration.host + path
    answer = client.rest_client.pool_manager.request(method, url, body=data, headers=headers, timeout=10.0)
    if answer.status == 404:
        raise GoneError(f"{method} {path}")
    assert answer.status < 300, f"{method} {path}: {answer.data.decode()}"
    document: Document = json.loads(answer.data)
    return document


def install_kinds(client: ApiClient, folder: Path) -> None:
    """Apply custom resource definitions and wait until they are served."""
    for file in sorted(folder.glob("*.yaml")):
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}"
        send(client, "PATCH", f"{path}?fieldManager=tests&force=true", body, APPLY)
        until(lambda path=path: established(send(client, "GET", path)))  # type: ignore[misc]


def established(definition: Document) -> bool:
    """Whether the kind of a CustomResourceDefinition is served."""
    conditions = definition.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def ready_node(client: ApiClient) -> str | None:
    """The name of a node that is ready, None where there is none."""
    for node in send(client, "GET", "/api/v1/nodes")["items"]:
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions") or ()}
        if conditions.get("Ready") == "True":
            return str(node["metadata"]["name"])
    return None


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds; AssertionError where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


@dataclass
class Namespace:
    """A namespace and what stands in it. Pods are bound to no node: `serve` says what a kubelet would."""

    client: ApiClient
    name: str

    def create(self) -> None:
        """Create it, and wait for the ServiceAccount of its pods (before release 1.24 with its token)."""
        send(self.client, "POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})
        minor = int(send(self.client, "GET", "/version")["minor"].rstrip("+"))
        until(lambda: any(one.get("secrets") or minor >= 24 for one in self.objects("serviceaccounts")))

    def delete(self) -> None:
        """Delete it with all that it holds, without waiting for the end."""
        send(self.client, "DELETE", f"/api/v1/namespaces/{self.name}")

    def path(self, plural: str, group: str = "") -> str:
        """Where a collection of the namespace is."""
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.name}/{plural}"

    def objects(self, plural: str, group: str = "") -> list[Document]:
        """All objects of a collection."""
        items: list[Document] = send(self.client, "GET", self.path(plural, group))["items"]
        return items

    def get(self, kind: str, name: str) -> Document:
        """One stage's object."""
        return send(self.client, "GET", f"{self.path(*PLACES[kind])}/{name}")

    def apply(self, body: Document, manager: str = "team") -> Document:
        """Server-side apply of a stage's object by a field manager."""
        path = f"{self.path(*PLACES[body['kind']])}/{body['metadata']['name']}"
        return send(self.client, "PATCH", f"{path}?fieldManager={manager}", body, APPLY)

    def add(self, plural: str, group: str, body: Document) -> Document:
        """Create any object."""
        return send(self.client, "POST", self.path(plural, group), body)

    def add_quota(self, name: str, amounts: Document) -> None:
        """A quota, once its status says what is used, of pods all that are there."""
        self.add("resourcequotas", "", {"metadata": {"name": name}, "spec": {"hard": amounts}})
        pods = str(len(self.objects("pods")))

        def counted() -> bool:
            used = self.objects("resourcequotas")[0].get("status", {}).get("used")
            return bool(used) and used.get("pods", pods) == pods

        until(counted)

    def change(self, kind: str, name: str, body: Document, manager: str = "kubectl-edit") -> Document:
        """A merge patch of a stage's object."""
        path = f"{self.path(*PLACES[kind])}/{name}"
        return send(self.client, "PATCH", f"{path}?fieldManager={manager}", body, MERGE)

    def remove(self, kind: str, name: str) -> None:
        """Delete a stage's object."""
        send(self.client, "DELETE", f"{self.path(*PLACES[kind])}/{name}")

    def pods(self, name: str | None = None) -> list[Document]:
        """Pods that are not about to go, of an app."""
        pods = [pod for pod in self.objects("pods") if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in pods if name is None or pod["metadata"]["labels"].get("app") == name]

    def serve(self, name: str, pods: int | None = None) -> None:
        """So many pods more of an app become ready (all where None), but for those that go meanwhile."""
        waiting = [pod for pod in self.pods(name) if not is_ready(pod)]
        for pod in waiting[:pods]:
            with suppress(GoneError):
                self.mark_ready(pod)

    def mark_ready(self, pod: Document, restarts: int = 0) -> None:
        """Say of a pod what a kubelet says of one that serves."""
        container = pod["spec"]["containers"][0]
        status = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp()}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": True,
                    "restartCount": restarts,
                }
            ],
        }
        path = f"{self.path('pods')}/{pod['metadata']['name']}/status"
        send(self.client, "PATCH", path, {"status": status}, MERGE)

    def served(self, name: str, pods: int) -> None:
        """Wait for pods of an app, and let them become ready."""
        until(lambda: len(self.pods(name)) == pods)
        self.serve(name)


@contextmanager
def new_namespace(client: ApiClient) -> Iterator[Namespace]:
    """A namespace of its own name, deleted afterwards."""
    own = Namespace(client, f"ipa-{uuid.uuid4().hex[:8]}")
    own.create()
    try:
        yield own
    finally:
        own.delete()


PLACES = {
    "Deployment": ("deployments", "apps/v1"),
    "SeldonDeployment": ("seldondeployments", "machinelearning.seldon.io/v1"),
    "InferenceService": ("inferenceservices", "serving.kserve.io/v1beta1"),
}


def stamp() -> str:
    """Now, as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_ready(pod: Document) -> bool:
    """Whether a pod serves."""
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def container(**more: Any) -> Document:
    """The container of a server."""
    return {"name": "server", "image": "local/server:1", "imagePullPolicy": "Never", **more}


def pod_template(name: str, **more: Any) -> Document:
    """Pods that no scheduler binds to a node."""
    spec = {"schedulerName": "nobody", "containers": [container(**more)]}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def running_pods(name: str, **more: Any) -> Document:
    """Pods that a node runs, and that end at once."""
    command = ["/bin/sh", "-c", "trap exit TERM; while true; do sleep 0.2; done"]
    amounts = {"requests": {"cpu": "20m"}, "limits": {"cpu": "20m"}}
    server = container(image="docker.io/local/base:1", command=command, resources=amounts, **more)
    spec = {"containers": [server], "terminationGracePeriodSeconds": 2, "tolerations": [FOREIGN]}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def deployment(name: str, **spec: Any) -> Document:
    """A Deployment of which nobody has said variant, batch size, cores or replicas."""
    base = {"selector": {"matchLabels": {"app": name}}, "strategy": NO_GAP, "template": pod_template(name)}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}
    return {**body, "spec": {**base, **spec}}


def asked(name: str, variant: str, batch: int, replicas: int, cores: int = 1) -> Document:
    """A Deployment as it stands once a configuration was asked for; apply it as ipa-rl."""
    variables = [{"name": "IPA_VARIANT", "value": variant}, {"name": "IPA_BATCH_SIZE", "value": str(batch)}]
    amounts = {"cpu": str(cores)}
    template = pod_template(name, env=variables, resources={"requests": amounts, "limits": amounts})
    return deployment(name, template=template, replicas=replicas)


def seldon_deployment(name: str, **component: Any) -> Document:
    """A SeldonDeployment of one model server."""
    part = {"spec": {"containers": [container()]}, **component}
    predictor = {"name": "main", "graph": {"name": "server", "type": "MODEL"}, "componentSpecs": [part]}
    body = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name},
    }
    return {**body, "spec": {"name": name, "predictors": [predictor]}}


def inference_service(name: str, **predictor: Any) -> Document:
    """An InferenceService of a model, or of what ``predictor`` says."""
    model = {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "pvc://models/all"}}
    body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name}}
    return {**body, "spec": {"predictor": predictor or model}}


def client_of(host: str, like: ApiClient | None = None, token: str | None = None) -> ApiClient:
    """A client of another address, or of another account."""
    settings = ClientSettings()
    settings.host, settings.verify_ssl = host, False
    settings.api_key = dict(like.configuration.api_key) if like else {}
    if token is not None:
        settings.api_key = {"authorization": f"Bearer {token}"}
    return ApiClient(settings)


def quick_retry() -> Retry:
    """Gives up soon, so that specifications of failures are short."""
    return Retry(deadline_s=1.0, base_s=0.05, cap_s=0.2)


def make_cluster(
    namespace: Namespace,
    stages: dict[str, Document],
    problem: Problem | None = None,
    client: ApiClient | None = None,
    placements: Document | None = None,
    **options: Any,
) -> KubernetesCluster:
    """A cluster whose stages are described as the YAML would."""
    if problem is None:
        problem = one_stage() if len(stages) == 1 else two_stages()
    definition = definition_of(problem)
    content = {"environment": "test", "namespace": namespace.name, "stages": stages}
    description = describe(content | {"placements": placements or {}}, definition, "stages.yaml")
    options.setdefault("retry", quick_retry())
    return KubernetesCluster(definition, description, SteadyLoads(), client or namespace.client, **options)


def want(*stages: tuple[str, int, int]) -> Configuration:
    """A configuration of (variant, batch, replicas) by stage."""
    return Configuration(tuple(StageConfig(*one) for one in stages))


@dataclass
class Sent:
    """Requests that went out: method and path."""

    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Those that change something."""
        return [one for one in self.requests if one[0] != "GET"]


@contextmanager
def recorded(client: ApiClient) -> Iterator[Sent]:
    """Record the requests of a client."""
    sent, pool = Sent(), client.rest_client.pool_manager
    request = pool.request

    def record(method: str, url: str, **options: Any) -> Any:
        sent.requests.append((method, url.removeprefix(client.configuration.host).partition("?")[0]))
        return request(method, url, **options)

    with patch.object(pool, "request", record):
        yield sent
