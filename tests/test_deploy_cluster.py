"""The manifests of deploy/ on a real API server: their account may do its work and no more."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.prometheus_server import CountingProcess, Prometheus, answers, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from kubernetes.client import ApiClient, Configuration

from tests.kubernetes_objects import Namespace, deployment, send, until
from tests.manifests import Document, in_namespace, kubectl, needs_kustomize, of_kind, settings_text
from tests.pod import USER, Pod, needs_pod, start_pod, token_of

pytestmark = [
    needs_kustomize,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),  # as the kubeconfig says
]

STAGES = ("crop", "classification")
WITHIN_S = 90.0
Right: TypeAlias = tuple[str, str, str, str]
"""API group, resource, verb, name ("" for any)."""

READ: set[Right] = {
    ("apps", "deployments", "get", ""), ("apps", "deployments", "list", ""),
    ("apps", "replicasets", "list", ""),
    ("machinelearning.seldon.io", "seldondeployments", "get", ""),
    ("machinelearning.seldon.io", "seldondeployments", "list", ""),
    ("serving.kserve.io", "inferenceservices", "get", ""),
    ("serving.kserve.io", "inferenceservices", "list", ""),
    ("", "pods", "list", ""), ("", "resourcequotas", "list", ""),
    ("policy", "poddisruptionbudgets", "list", ""),
    ("autoscaling", "horizontalpodautoscalers", "list", ""),
    ("keda.sh", "scaledobjects", "list", ""),
    ("coordination.k8s.io", "leases", "create", ""),
    ("coordination.k8s.io", "leases", "get", "ipa-rl"), ("coordination.k8s.io", "leases", "update", "ipa-rl"),
}  # fmt: skip
WRITE: set[Right] = {
    ("apps", "deployments", "patch", "crop"), ("apps", "deployments/scale", "patch", "crop"),
    ("apps", "deployments", "patch", "classification"),
    ("apps", "deployments/scale", "patch", "classification"),
    ("", "events", "create", ""),
}  # fmt: skip
NEVER: list[Right] = [
    ("", "secrets", "get", ""), ("", "secrets", "list", ""), ("", "configmaps", "get", ""),
    ("", "configmaps", "update", ""), ("", "pods", "delete", ""), ("", "pods", "create", ""),
    ("", "pods/exec", "create", ""), ("", "pods/log", "get", ""), ("", "serviceaccounts/token", "create", ""),
    ("apps", "deployments", "delete", ""), ("apps", "deployments", "create", ""),
    ("apps", "deployments", "update", ""), ("apps", "statefulsets", "patch", ""),
    ("apps", "deployments", "patch", ""), ("apps", "deployments", "patch", "another"),
    ("apps", "deployments/scale", "patch", "another"),
    ("apps", "replicasets", "patch", ""),
    ("autoscaling", "horizontalpodautoscalers", "patch", ""),
    ("autoscaling", "horizontalpodautoscalers", "delete", ""),
    ("policy", "poddisruptionbudgets", "delete", ""), ("coordination.k8s.io", "leases", "update", "other"),
    ("coordination.k8s.io", "leases", "delete", "ipa-rl"),
    ("rbac.authorization.k8s.io", "rolebindings", "create", ""),
    ("rbac.authorization.k8s.io", "roles", "escalate", ""),
]  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a process of 40 requests a second."""
    counting = CountingProcess(free_port(), 40.0)
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), {"router": [counting.port]})
    server.start()
    yield server
    server.stop()
    counting.kill()


def apply(documents: list[Document], *options: str) -> str:
    """kubectl apply of some documents; what it said."""
    return kubectl("apply", *options, "-f", "-", given=yaml.safe_dump_all(documents))


def served(namespace: Namespace, documents: list[Document]) -> list[Document]:
    """The documents, PodDisruptionBudgets as servers before release 1.21 have them: of the same fields."""
    groups = send(namespace.client, "GET", "/apis")["groups"]
    versions = {v["groupVersion"] for group in groups for v in group["versions"]}
    old = {"policy/v1": "policy/v1beta1"} if "policy/v1" not in versions else {}
    return [{**one, "apiVersion": old.get(one["apiVersion"], one["apiVersion"])} for one in documents]


def as_account(namespace: Namespace) -> ApiClient:
    """A client that is the sidecar's account."""
    own = namespace.client.configuration
    settings = Configuration(host=own.host)
    settings.verify_ssl, settings.ssl_ca_cert = own.verify_ssl, own.ssl_ca_cert
    settings.api_key = {"authorization": f"Bearer {token_of(namespace, 'ipa-rl')}"}
    return ApiClient(settings)


def permit(namespace: Namespace, folder: Path, overlay: str) -> list[Document]:
    """Apply what an overlay gives rights by; all its documents."""
    folder.mkdir(exist_ok=True)
    documents = in_namespace(folder, overlay, namespace.name)
    for rule in [rule for one in of_kind(documents, "Role") for rule in one["rules"]]:
        if "deployments/scale" in rule["resources"]:  # as `ipa-rl sidecar --role` prints it
            rule["resourceNames"] = ["classification", "crop"]
    apply(of_kind(documents, "ServiceAccount", "Role", "RoleBinding"))
    return documents


def rights(client: ApiClient, namespace: str) -> set[Right]:
    """What an account may do with the objects of a namespace, but for asking what it may."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = send(client, "POST", path, {**body, "spec": {"namespace": namespace}})["status"]
    assert not status["incomplete"]
    return {
        (group, resource, verb, name)
        for rule in status["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [""]
        if group not in ("authorization.k8s.io", "authentication.k8s.io")
    }


def may(client: ApiClient, namespace: str, right: Right) -> bool:
    """Whether the API server would allow it."""
    group, resource, verb, name = right
    whole, _, part = resource.partition("/")
    asked = {"namespace": namespace, "group": group, "resource": whole, "subresource": part, "verb": verb}
    body = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**asked, "name": name}},
    }  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool(send(client, "POST", path, body)["status"]["allowed"])


@pytest.mark.parametrize("overlay", ["shadow", "act", "sidecar"])
def test_the_api_server_takes_every_document(namespace: Namespace, tmp_path: Path, overlay: str) -> None:
    documents = served(namespace, in_namespace(tmp_path, overlay, namespace.name))
    own = [one for one in documents if one["kind"] != "Namespace"]  # it is there already
    told = apply(own, "--dry-run=server")
    assert told.count("(server dry run)") == len(own)
    assert not namespace.objects("deployments", "apps/v1")


@pytest.mark.usefixtures("custom_kinds")
def test_the_api_server_takes_what_the_prometheus_operator_reads(
    namespace: Namespace, tmp_path: Path
) -> None:
    documents = in_namespace(tmp_path, "monitoring", namespace.name)
    assert {one["kind"] for one in documents} == {"PodMonitor", "PrometheusRule", "ConfigMap"}
    for kept, sent in zip(
        yaml.safe_load(kubectl(
            "apply", "--dry-run=server", "-o", "yaml", "-f", "-", given=yaml.safe_dump_all(documents)
        ))["items"], documents, strict=True,
    ):  # fmt: skip
        assert kept.get("spec") == sent.get("spec")  # nothing was cut off as unknown


def test_in_shadow_mode_the_account_has_these_rights_and_no_others(
    namespace: Namespace, tmp_path: Path
) -> None:
    permit(namespace, tmp_path, "shadow")
    assert rights(as_account(namespace), namespace.name) == READ


def test_to_act_it_has_these_more(namespace: Namespace, tmp_path: Path) -> None:
    permit(namespace, tmp_path, "act")
    assert rights(as_account(namespace), namespace.name) == READ | WRITE


@pytest.mark.parametrize("overlay", ["shadow", "act"])
def test_anything_outside_is_forbidden(
    namespace: Namespace, other_namespace: Namespace, tmp_path: Path, overlay: str
) -> None:
    permit(namespace, tmp_path, overlay)
    client = as_account(namespace)
    assert all(may(client, namespace.name, one) for one in READ)
    assert [one for one in NEVER if may(client, namespace.name, one)] == []
    everything = [*READ, *WRITE, *NEVER]
    assert [one for one in everything if may(client, other_namespace.name, one)] == []
    assert [one for one in everything if may(client, "", one)] == []  # in all namespaces at once
    assert [one for one in WRITE if may(client, namespace.name, one)] == (
        [] if overlay == "shadow" else [*WRITE]
    )


def test_what_is_forbidden_is_refused_when_it_is_tried(namespace: Namespace, tmp_path: Path) -> None:
    permit(namespace, tmp_path, "shadow")
    namespace.apply(deployment("crop"))
    client = as_account(namespace)
    where = f"{namespace.path('deployments', 'apps/v1')}/crop"
    assert send(client, "GET", where)["metadata"]["name"] == "crop"
    body, merge = {"spec": {"replicas": 3}}, "application/merge-patch+json"
    for path, change in ((where, body), (f"{where}/scale", body)):
        with pytest.raises(AssertionError, match="forbidden"):
            send(client, "PATCH", path, change, merge)
    with pytest.raises(AssertionError, match="forbidden"):
        send(client, "GET", namespace.path("secrets"))


Start: TypeAlias = Callable[..., Pod]


@pytest.fixture
def start(namespace: Namespace, measured: Prometheus, tmp_path: Path) -> Iterator[Start]:
    """Starts the controller of an overlay beside a pipeline that has opted in by label."""
    pods: list[Pod] = []
    for stage in STAGES:
        body = deployment(stage)
        body["metadata"] |= {
            "labels": {"ipa-rl.dev/pipeline": "video"},
            "annotations": {"ipa-rl.dev/stage": stage},
        }
        namespace.apply(body)

    def begin(overlay: str, **changes: Any) -> Pod:
        documents = permit(namespace, tmp_path / "overlay", overlay)
        settings = yaml.safe_load(settings_text(documents))
        del settings["latency_query"]
        settings |= {
            "agent": "program",
            "interval_s": 1,
            "load": {"url": measured.url, "counter": 'requests_total{job="router"}', "scrape_interval_s": 1},
            "telemetry": {"host": "127.0.0.1", "port": free_port()},
            **changes,
        }
        pods.append(start_pod(tmp_path, namespace, documents, settings, "ipa-rl-0"))
        return pods[-1]

    yield begin
    for pod in pods:
        if pod.process.poll() is None:
            pod.process.kill()
            pod.process.wait()


def stage_spec(namespace: Namespace, stage: str) -> tuple[int, list[str]]:
    """Replicas of a stage's Deployment, and the names of its container's variables."""
    spec = namespace.get("Deployment", stage)["spec"]
    return spec["replicas"], [
        one["name"] for one in spec["template"]["spec"]["containers"][0].get("env") or ()
    ]


@needs_pod
@needs_prometheus
def test_under_its_account_it_changes_variants_and_replicas(namespace: Namespace, start: Start) -> None:
    port = free_port()
    pod = start("act", telemetry={"host": "127.0.0.1", "port": port})
    until(lambda: all("IPA_VARIANT" in stage_spec(namespace, stage)[1] for stage in STAGES), WITHIN_S)
    until(lambda: max(stage_spec(namespace, stage)[0] for stage in STAGES) > 1, WITHIN_S)
    until(lambda: len([step for step in pod.steps() if step.get("acted")]) >= 3, WITHIN_S)
    assert all(answers(f"http://127.0.0.1:{port}/{probe}") for probe in ("healthz", "readyz"))
    (lease,) = namespace.objects("leases", "coordination.k8s.io/v1")
    assert lease["spec"]["holderIdentity"] == "ipa-rl-0"
    until(lambda: [e for e in namespace.objects("events") if e["reason"] == "Adapted"], WITHIN_S)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(timeout=20) == 0
    written = {one.name: one.stat().st_uid for one in (pod.folder / "state").iterdir()}
    assert written == {"decisions.jsonl": USER, "loads.csv": USER, "state.json": USER}
    assert "forbidden" not in pod.told().lower()
    assert '"level": "error"' not in pod.told()
    assert not [reason for step in pod.steps() for reason in step.get("refused", ())]


@needs_pod
@needs_prometheus
def test_in_shadow_mode_its_rights_suffice_and_nothing_changes(namespace: Namespace, start: Start) -> None:
    pod = start("shadow")
    until(lambda: len(pod.steps()) >= 4, WITHIN_S)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(timeout=20) == 0
    steps = pod.steps()
    assert not [step for step in steps if "failed" in step or step["acted"]]
    assert all(step["why_not"].startswith("shadow mode") for step in steps)
    assert "forbidden" not in json.dumps(steps).lower() + pod.told().lower()
    for stage in STAGES:
        assert stage_spec(namespace, stage) == (1, [])


@needs_pod
@needs_prometheus
def test_acting_with_the_rights_of_shadow_mode_is_refused_and_said_until_they_are_given(
    namespace: Namespace, start: Start, tmp_path: Path
) -> None:
    pod = start("shadow", mode="act")
    until(lambda: [step for step in pod.steps() if step.get("refused")], WITHIN_S)
    assert "allow the verb patch on deployments.apps/scale" in pod.told()
    for stage in STAGES:
        assert stage_spec(namespace, stage) == (1, [])
    permit(namespace, tmp_path / "more", "act")
    until(lambda: all("IPA_VARIANT" in stage_spec(namespace, stage)[1] for stage in STAGES), WITHIN_S)
    until(lambda: pod.steps()[-1].get("acted") and not pod.steps()[-1]["refused"], WITHIN_S)
    assert pod.process.poll() is None
