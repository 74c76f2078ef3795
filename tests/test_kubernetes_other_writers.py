"""Only one writes a field: autoscalers and other field managers are respected, and named."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ipa_rl.live.kubernetes import KubernetesCluster
from ipa_rl.live.kubernetes.description import describe
from ipa_rl.live.kubernetes.kinds import DEPLOYMENT, find_container
from ipa_rl.live.kubernetes.observed_stages import ObservedStage
from ipa_rl.live.kubernetes.other_writers import contested
from ipa_rl.live.set_backs import QUIET_S, AskedFor, SetBacks
from tests.kubernetes_objects import (
    Document,
    Namespace,
    asked,
    deployment,
    inference_service,
    make_cluster,
    recorded,
    seldon_deployment,
    send,
    want,
)
from tests.pipelines import definition_of, one_stage

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
    assert applied.configuration == want(("large", 4, 3))
    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 2


def test_replicas_that_are_written_are_told_too(namespace: Namespace, cluster: KubernetesCluster) -> None:
    assert cluster.apply(want(("small", 1, 3))).configuration == want(("small", 1, 3))


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
    from ipa_rl.live.kubernetes import changes

    monkeypatch.setattr(changes, "foreign_fields", lambda stage, paths: "")  # managedFields are not looked at
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


@dataclass
class Clock:
    """Seconds since 1970, to set."""

    now_s: float

    def __call__(self) -> float:
        """What it says."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock(time.time())


CONTESTED: dict[str, Document] = {
    "Deployment": asked("a", "small", 1, 2),
    "SeldonDeployment": seldon_deployment(
        "a", spec={"containers": asked("a", "small", 1, 2)["spec"]["template"]["spec"]["containers"]}
    ),
}


def rival(
    namespace: Namespace, kind: str, clock: Clock, set_backs: SetBacks | None = None
) -> KubernetesCluster:
    """A stage of that kind, of which ipa-rl owns the fields."""
    body = {**CONTESTED[kind], "spec": {**CONTESTED[kind]["spec"], "replicas": 2}}
    namespace.apply(body, "ipa-rl")
    return make_cluster(
        namespace, {"only": {**STAGE, "kind": kind}}, clock=clock, set_backs=set_backs or SetBacks()
    )


def set_replicas(namespace: Namespace, kind: str, replicas: int) -> None:
    """As `kubectl apply` does it: an update, not server-side apply."""
    namespace.change(kind, "a", {"spec": {"replicas": replicas}}, "kubectl-client-side-apply")


@pytest.mark.parametrize("kind", CONTESTED)
def test_who_sets_replicas_back_twice_is_left_alone_until_it_is_quiet(
    namespace: Namespace, custom_kinds: None, clock: Clock, kind: str
) -> None:
    cluster = rival(namespace, kind, clock)
    assert cluster.apply(want(("small", 1, 3))).changes

    set_replicas(namespace, kind, 1)
    first = cluster.apply(want(("small", 1, 3)))
    assert [str(change) for change in first.changes] == ["only: replicas 1 -> 3"]
    assert first.set_back[0].startswith("only: spec.replicas 3 -> 1 by kubectl-client-side-apply (Update")
    assert not first.refused

    set_replicas(namespace, kind, 1)
    with recorded(namespace.client) as sent:
        second = cluster.apply(want(("small", 1, 3)))
        third = cluster.apply(want(("large", 4, 5)))
    assert not sent.writes
    assert second.configuration == third.configuration == want(("small", 1, 1))
    assert "set back 2 times by another writer" in second.refused[0]
    assert "leave the field out of what kubectl-client-side-apply writes" in second.refused[0]
    assert second.refused == third.refused  # one Event, not one a step
    assert cluster.look().stages[0].problem in second.refused[0]
    assert cluster.plan(want(("small", 1, 3))).refused == second.refused

    clock.now_s += QUIET_S + 1.0
    assert cluster.apply(want(("small", 1, 3))).changes
    set_replicas(namespace, kind, 1)
    assert "set back 3 times" in cluster.apply(want(("small", 1, 3))).refused[0]
    clock.now_s += QUIET_S + 1.0  # it now takes twice as long
    assert cluster.apply(want(("small", 1, 3))).refused


def test_a_writer_that_goes_on_writing_is_not_quiet(namespace: Namespace, clock: Clock) -> None:
    cluster = rival(namespace, "Deployment", clock)
    for replicas in (1, 2):
        cluster.apply(want(("small", 1, 3)))
        set_replicas(namespace, "Deployment", replicas)
    assert cluster.apply(want(("small", 1, 3))).refused
    clock.now_s += 0.75 * QUIET_S
    set_replicas(namespace, "Deployment", 5)
    assert "3 times" not in cluster.apply(want(("small", 1, 3))).refused[0]
    clock.now_s += 0.75 * QUIET_S
    assert cluster.apply(want(("small", 1, 3))).refused
    clock.now_s += 0.75 * QUIET_S
    assert cluster.apply(want(("small", 1, 3))).changes


def test_it_goes_on_leaving_it_alone_after_a_restart_and_under_another_leader(
    namespace: Namespace, clock: Clock
) -> None:
    cluster = rival(namespace, "Deployment", clock)
    cluster.apply(want(("small", 1, 3)))
    set_replicas(namespace, "Deployment", 1)
    cluster.apply(want(("small", 1, 3)))

    kept, set_backs = json.loads(json.dumps(cluster.set_backs.remembered())), SetBacks()
    set_replicas(namespace, "Deployment", 1)  # while nobody looks
    set_backs.remember(kept, asked=True)
    restarted = make_cluster(namespace, {"only": STAGE}, clock=clock, set_backs=set_backs)
    assert "set back 2 times" in restarted.apply(want(("small", 1, 3))).refused[0]

    following = SetBacks()
    following.remember(restarted.set_backs.remembered(), asked=False)
    leader = make_cluster(namespace, {"only": STAGE}, clock=clock, set_backs=following)
    assert "set back 2 times" in leader.apply(want(("small", 1, 3))).refused[0]


def test_a_copy_that_takes_over_takes_nothing_for_a_set_back(namespace: Namespace, clock: Clock) -> None:
    first = rival(namespace, "Deployment", clock)
    second = make_cluster(namespace, {"only": STAGE}, clock=clock)
    for leader, stands_by, replicas in ((first, second, 3), (second, first, 4), (first, second, 5)):
        stands_by.plan(want(("small", 1, 1)))
        assert not leader.apply(want(("small", 1, replicas))).set_back
        assert not leader.apply(want(("small", 1, replicas))).set_back
    assert not first.set_backs.found
    assert not second.set_backs.found


def test_what_another_sets_to_what_is_wanted_anyway_is_no_set_back(
    namespace: Namespace, clock: Clock
) -> None:
    cluster = rival(namespace, "Deployment", clock)
    for replicas in (3, 2, 4, 1):
        set_replicas(namespace, "Deployment", replicas)
        applied = cluster.apply(want(("small", 1, replicas)))
        assert not applied.set_back
        assert not applied.refused


def test_an_object_that_is_made_again_is_no_set_back(namespace: Namespace, clock: Clock) -> None:
    cluster = rival(namespace, "Deployment", clock)
    cluster.apply(want(("small", 1, 3)))
    namespace.remove("Deployment", "a")
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    applied = cluster.apply(want(("small", 1, 3)))
    assert applied.changes
    assert not applied.set_back


def test_who_removes_what_is_owned_here_is_left_alone_too(namespace: Namespace, clock: Clock) -> None:
    """As `kubectl replace` or a tool that replaces objects: a field that is gone has no owner."""
    cluster = rival(namespace, "Deployment", clock)
    containers = deployment("a")["spec"]["template"]["spec"]["containers"]
    bare = {"spec": {"template": {"spec": {"containers": [{**containers[0], "image": "local/server:2"}]}}}}

    told = []
    for _ in range(2):
        cluster.apply(want(("small", 1, 2)))
        namespace.change("Deployment", "a", bare, "kubectl-replace")
        told.append(cluster.apply(want(("small", 1, 2))))

    assert {change.knob for change in told[0].changes} == {"variant", "batch", "cores"}
    assert "env[name=IPA_VARIANT].value small -> None" in told[0].set_back[0]
    assert "kubectl-replace" in told[0].set_back[0]
    assert not told[1].changes
    assert "set back 2 times" in told[1].refused[0]


@pytest.mark.parametrize("field", ["variant", "batch", "cores"])
def test_a_field_that_is_applied_is_left_to_whoever_changes_it_from_the_first_time_on(
    namespace: Namespace, clock: Clock, field: str
) -> None:
    """As `kubectl set env` or `kubectl edit`: the field is theirs then, and is never taken by force."""
    cluster = rival(namespace, "Deployment", clock)
    cluster.apply(want(("small", 1, 2)))
    variables = [{"name": "IPA_VARIANT", "value": "small"}, {"name": "IPA_BATCH_SIZE", "value": "1"}]
    changed: Document = {"name": "server"}
    if field == "cores":
        changed["resources"] = {"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}
    else:
        variables[field == "batch"]["value"] = {"variant": "medium", "batch": "8"}[field]
        changed["env"] = variables
    send(
        namespace.client,
        "PATCH",
        f"{namespace.path('deployments', 'apps/v1')}/a?fieldManager=kubectl-set",
        {"spec": {"template": {"spec": {"containers": [changed]}}}},
        "application/strategic-merge-patch+json",
    )

    with recorded(namespace.client) as sent:
        applied = cluster.apply(want(("small", 1, 4)))

    assert not sent.writes
    assert "kubectl-set owns " in applied.refused[0]
    assert "(Update, recorded 20" in applied.refused[0]
    assert not applied.set_back


def test_an_inference_service_is_left_to_whoever_changes_its_replicas_from_the_first_time_on(
    namespace: Namespace, custom_kinds: None, clock: Clock
) -> None:
    body = inference_service("a")
    body["spec"]["predictor"] |= {"minReplicas": 2, "maxReplicas": 2}
    namespace.apply(body, "ipa-rl")
    stage = {**STAGE, "kind": "InferenceService", "cores": {"manage": False}}
    cluster = make_cluster(namespace, {"only": stage}, clock=clock)
    assert cluster.apply(want(("small", 1, 3))).changes
    change = {"spec": {"predictor": {"minReplicas": 1, "maxReplicas": 1}}}
    namespace.change("InferenceService", "a", change, "kubectl-client-side-apply")

    with recorded(namespace.client) as sent:
        applied = cluster.apply(want(("small", 1, 3)))

    assert not sent.writes
    assert "kubectl-client-side-apply owns spec.predictor.minReplicas" in applied.refused[0]


def scaled_by(manager: str, subresource: str | None, entry_of_ours: bool) -> str:
    """Replicas that were asked for as 3 and are 5 now, by somebody, on a release that records who scales or

    (``subresource`` None) one that does not. ``entry_of_ours``: a person applied the first value in our name.
    """
    definition = definition_of(one_stage())
    content = {"environment": "test", "namespace": "shop", "stages": {"only": STAGE}}
    (stage,) = describe(content, definition, "stages.yaml").stages
    replicas: Document = {"f:spec": {"f:replicas": {}}}
    entries: list[dict[str, Any]] = []
    if entry_of_ours:
        entries.append({"manager": "ipa-rl", "operation": "Apply", "time": "2026-01-01T00:00:00Z"})
    if subresource is not None:
        new = {"manager": manager, "operation": "Update", "time": "2026-01-01T01:00:00Z"}
        entries = [{**new, "subresource": subresource}]
    live = asked("a", "small", 1, 5)
    live["metadata"] |= {"uid": "1", "managedFields": [{**one, "fieldsV1": replicas} for one in entries]}
    container = find_container(DEPLOYMENT, live, None)
    assert not isinstance(container, str)
    observed = ObservedStage(stage, live, container, 5, "small", 1, ())
    set_backs = SetBacks(asked={"only": AskedFor("1", {"spec.replicas": 3})})
    _, told = contested(observed, DEPLOYMENT.replicas, set_backs, 0.0)
    return told


def test_what_another_copy_of_ours_scaled_is_no_set_back() -> None:
    assert not scaled_by("ipa-rl", "scale", entry_of_ours=False)


@pytest.mark.parametrize("subresource", ["scale", "", None])
@pytest.mark.parametrize("entry_of_ours", [True, False])
def test_what_a_person_scales_is_one_whether_or_not_the_release_records_who_scales(
    subresource: str | None, entry_of_ours: bool
) -> None:
    told = scaled_by("kubectl", subresource, entry_of_ours)
    assert "spec.replicas 3 -> 5 by " + ("somebody" if subresource is None else "kubectl (Update") in told
