"""Only one writes a field: autoscalers and other field managers are respected, and named."""

from collections.abc import Iterator

import pytest

from ipa_rl.clusters.kubernetes import KubernetesCluster
from tests.kubernetes_objects import (
    Document,
    Namespace,
    asked,
    deployment,
    make_cluster,
    recorded,
    seldon_deployment,
    send,
    want,
)

STAGE = {"name": "a"}


def autoscaler(version: str, name: str = "a", kind: str = "Deployment") -> Document:
    target = {"apiVersion": "apps/v1", "kind": kind, "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5}
    return {"apiVersion": version, "metadata": {"name": "scaler"}, "spec": spec}


def scaled_object(name: str = "a", paused: str = "") -> Document:
    annotations = {"autoscaling.keda.sh/paused": paused} if paused else {}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "follower", "annotations": annotations},
        "spec": {"scaleTargetRef": {"name": name}, "triggers": [{"type": "prometheus"}]},
    }


@pytest.fixture
def cluster(namespace: Namespace) -> Iterator[KubernetesCluster]:
    """A stage that serves the small variant with two replicas."""
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    cluster = make_cluster(namespace, {"only": STAGE})
    yield cluster
    cluster.close()


def refusal(namespace: Namespace, cluster: KubernetesCluster) -> str:
    """Why nothing was written; and nothing was."""
    with recorded(namespace.client) as sent:
        applied = cluster.apply(want(("large", 4, 3)))
    assert not sent.writes
    assert not applied.changes
    assert applied.configuration == want(("small", 1, 2))
    assert len(applied.refused) == 1
    return applied.refused[0]


@pytest.mark.parametrize("version", ["autoscaling/v1", "autoscaling/v2beta2", "autoscaling/v2"])
def test_an_autoscaler_of_the_same_object_is_the_only_writer(
    namespace: Namespace, cluster: KubernetesCluster, version: str
) -> None:
    versions = {one["groupVersion"] for one in _group(namespace, "autoscaling")}
    if version not in versions:
        pytest.skip(f"this release does not serve {version}")
    namespace.add("horizontalpodautoscalers", version, autoscaler(version))

    reason = refusal(namespace, cluster)

    assert "HorizontalPodAutoscaler scaler drives Deployment" in reason
    assert "mode: publish" in reason
    assert "HorizontalPodAutoscaler scaler" in cluster.look().stages[0].problem


def _group(namespace: Namespace, group: str) -> list[Document]:
    versions: list[Document] = send(namespace.client, "GET", f"/apis/{group}")["versions"]
    return versions


def test_an_autoscaler_of_another_object_is_none_of_ours(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    namespace.add("horizontalpodautoscalers", "autoscaling/v1", autoscaler("autoscaling/v1", "b"))

    assert cluster.apply(want(("large", 4, 3))).changes
    assert cluster.look().stages[0].problem == ""


def test_a_scaled_object_is_the_only_writer(
    namespace: Namespace, custom_kinds: None, cluster: KubernetesCluster
) -> None:
    namespace.add("scaledobjects", "keda.sh/v1alpha1", scaled_object())

    assert "ScaledObject follower drives Deployment" in refusal(namespace, cluster)


def test_a_paused_scaled_object_pauses_the_pipeline(
    namespace: Namespace, custom_kinds: None, cluster: KubernetesCluster
) -> None:
    namespace.add("scaledobjects", "keda.sh/v1alpha1", scaled_object(paused="true"))

    assert cluster.look().paused


def test_replicas_may_be_published_for_an_autoscaler_to_follow(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    namespace.add("horizontalpodautoscalers", "autoscaling/v1", autoscaler("autoscaling/v1"))
    cluster = make_cluster(namespace, {"only": {**STAGE, "replicas": {"mode": "publish"}}})

    applied = cluster.apply(want(("large", 4, 3)))

    assert {change.knob for change in applied.changes} == {"variant", "batch"}
    assert not applied.refused
    assert cluster.desired_replicas == {"only": 3}
    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 2


def test_replicas_that_are_written_are_told_too(namespace: Namespace, cluster: KubernetesCluster) -> None:
    cluster.apply(want(("small", 1, 3)))
    assert cluster.desired_replicas == {"only": 3}


def test_a_field_of_another_manager_is_refused_and_the_manager_named(namespace: Namespace) -> None:
    body = asked("a", "small", 1, 1)
    del body["spec"]["replicas"]
    namespace.apply(body, "argocd")
    cluster = make_cluster(namespace, {"only": STAGE})

    with recorded(namespace.client) as sent:
        variant = cluster.apply(want(("large", 1, 1)))

    assert not sent.writes
    assert "argocd" in variant.refused[0]
    assert "IPA_VARIANT" in variant.refused[0]
    assert any("argocd" in problem for problem in cluster.look().problems)


def test_replicas_that_another_applies_are_refused(namespace: Namespace) -> None:
    namespace.apply(deployment("a", replicas=2), "argocd")
    cluster = make_cluster(namespace, {"only": STAGE})

    applied = cluster.apply(want(("small", 1, 3)))

    assert not applied.changes
    assert "argocd applies spec.replicas" in applied.refused[0]


def test_replicas_that_were_set_once_are_taken_over(namespace: Namespace) -> None:
    namespace.add("deployments", "apps/v1", deployment("a", replicas=2))  # as kubectl create does
    cluster = make_cluster(namespace, {"only": STAGE})

    cluster.apply(want(("small", 1, 3)))

    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 3


def test_fields_are_handed_over_without_new_pods(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 2), "argocd")
    cluster = make_cluster(namespace, {"only": STAGE})
    assert cluster.apply(want(("large", 1, 2))).refused

    own = asked("a", "small", 1, 2)["spec"]
    kept = {key: own["template"]["spec"]["containers"][0][key] for key in ("name", "env", "resources")}
    knobs = {"replicas": 2, "template": {"spec": {"containers": [kept]}}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": knobs}
    namespace.apply(body, "ipa-rl")  # the same values once more
    namespace.apply(deployment("a"), "argocd")  # which the team leaves out from now on

    live = namespace.get("Deployment", "a")
    assert live["metadata"]["generation"] == 1
    assert live["spec"]["replicas"] == 2
    applied = cluster.apply(want(("large", 1, 3)))
    assert not applied.refused
    assert {change.knob for change in applied.changes} == {"variant", "replicas"}


def test_a_conflict_that_appears_meanwhile_is_reported_and_never_forced(
    namespace: Namespace, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ipa_rl.clusters.kubernetes import changes

    monkeypatch.setattr(changes, "foreign_fields", lambda view, paths: "")  # managedFields are not looked at
    other = {"name": "server", "env": [{"name": "IPA_VARIANT", "value": "medium"}]}
    body = {"spec": {"template": {"spec": {"containers": [other]}}}}
    path = f"{namespace.path('deployments', 'apps/v1')}/a"
    send(
        namespace.client,
        "PATCH",
        f"{path}?fieldManager=person",
        body,
        "application/strategic-merge-patch+json",
    )

    applied = cluster.apply(want(("large", 1, 2)))

    assert not applied.changes
    assert "person owns" in applied.refused[0]
    container = namespace.get("Deployment", "a")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "IPA_VARIANT", "value": "medium"} in container["env"]


def test_a_seldon_deployment_whose_replicas_stand_elsewhere_is_refused(
    namespace: Namespace, custom_kinds: None
) -> None:
    body = seldon_deployment("a")
    body["spec"]["predictors"][0]["replicas"] = 2
    namespace.apply(body, "ipa-rl")
    cluster = make_cluster(namespace, {"only": {**STAGE, "kind": "SeldonDeployment"}})

    applied = cluster.apply(want(("small", 1, 3)))

    assert not applied.changes
    assert "spec.predictors[0].replicas overrides spec.replicas; fix: remove it" in applied.refused[0]


def test_lists_of_another_manager_are_refused_as_a_whole(namespace: Namespace, custom_kinds: None) -> None:
    namespace.apply(seldon_deployment("a"), "argocd")
    cluster = make_cluster(namespace, {"only": {**STAGE, "kind": "SeldonDeployment"}})

    applied = cluster.apply(want(("small", 1, 1)))

    assert not applied.changes
    assert "argocd owns" in applied.refused[0]
