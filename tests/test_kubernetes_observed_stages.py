"""What a Kubernetes cluster shows of a pipeline: replicas, what really serves, and the fleet."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from ipa_rl.live.kubernetes import KubernetesCluster
from tests.kubernetes_objects import MERGE, Namespace, asked, deployment, make_cluster, send, until, want

STAGES = {"first": {"name": "a"}, "second": {"name": "b"}}


@pytest.fixture
def cluster(namespace: Namespace) -> Iterator[KubernetesCluster]:
    """A stage of one Deployment, asked for two small replicas of batch 1; no pod serves yet."""
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    until(lambda: len(namespace.pods("a")) == 2)
    yield cluster
    cluster.close()


def test_replicas_are_desired_current_and_ready(namespace: Namespace, cluster: KubernetesCluster) -> None:
    namespace.serve("a", pods=1)

    seen = cluster.look().stages[0]

    assert (seen.desired, seen.current, seen.ready) == (2, 2, 1)
    assert (seen.variant, seen.batch, seen.asked) == ("small", 1, ("small", 1))
    assert seen.problem == ""


def test_what_serves_is_read_from_the_pods_not_from_what_was_asked(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    namespace.serve("a")

    cluster.apply(want(("large", 4, 2)))
    until(lambda: len(namespace.pods("a")) == 4)
    before = cluster.look()
    namespace.serve("a")
    until(lambda: len(namespace.pods("a")) == 2)
    after = cluster.look()

    assert (before.stages[0].variant, before.stages[0].batch) == ("small", 1)
    assert before.stages[0].asked == ("large", 4)
    assert (after.stages[0].variant, after.stages[0].batch) == ("large", 4)


def test_the_fleet_shows_starting_replicas_with_the_time_they_still_need(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    namespace.serve("a")
    cluster.apply(want(("small", 1, 5)))
    until(lambda: len(namespace.pods("a")) == 5)

    fleet = cluster.look().state.fleet[0]

    assert (fleet["ready"], fleet["wanted"], fleet["warm"]) == (2, 5, 0)
    assert int(fleet["starting"][: fleet["cohorts"]].sum()) == 3
    left_s = fleet["left_s"][: fleet["cohorts"]]
    assert np.all((left_s >= 5.0) & (left_s <= 12.0))


def test_replicas_of_a_new_variant_are_warm_while_the_old_one_serves(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    cluster.apply(want(("small", 1, 4)))
    namespace.served("a", 4)
    cluster.apply(want(("large", 2, 4)))
    until(lambda: len(namespace.pods("a")) == 8)
    namespace.serve("a", pods=1)
    until(lambda: len(namespace.pods("a")) == 7)

    fleet = cluster.look().state.fleet[0]

    assert (fleet["active"], fleet["target"]) == (0, 1)
    assert (fleet["batch"], fleet["target_batch"]) == (0, 1)
    assert (fleet["ready"], fleet["warm"]) == (3, 1)
    assert int(fleet["starting"][: fleet["cohorts"]].sum()) == 3


def test_a_replica_that_is_overdue_is_about_to_be_ready(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    late = make_cluster(namespace, {"only": {"name": "a"}}, clock=lambda: time.time() + 1000)

    fleet = late.look().state.fleet[0]

    assert int(fleet["starting"][0]) == 2
    assert fleet["left_s"][0] == 1.0


def test_restarts_and_pods_that_find_no_node_are_counted(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    one, other = namespace.pods("a")
    namespace.mark_ready(one, restarts=3)
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    path = f"{namespace.path('pods')}/{other['metadata']['name']}/status"
    send(namespace.client, "PATCH", path, {"status": {"conditions": [unschedulable]}}, MERGE)

    seen = cluster.look()

    assert (seen.stages[0].restarts, seen.stages[0].unschedulable) == (3, 1)
    assert seen.state.fleet[0]["left_s"][0] == 12.0


def test_a_variant_that_nobody_knows_is_shown_as_not_known(
    namespace: Namespace, cluster: KubernetesCluster
) -> None:
    other = {"name": "server", "env": [{"name": "IPA_VARIANT", "value": "huge"}]}
    change = {"spec": {"template": {"spec": {"containers": [other]}}}}
    path = f"{namespace.path('deployments', 'apps/v1')}/a"
    send(namespace.client, "PATCH", path, change, "application/strategic-merge-patch+json")

    seen = cluster.look().stages[0]

    assert seen.asked == (None, 1)
    assert (seen.variant, seen.batch) == (None, None)


def test_an_object_that_is_not_there_is_a_problem_of_its_stage(namespace: Namespace) -> None:
    namespace.apply(deployment("a"))
    cluster = make_cluster(namespace, STAGES)

    seen = cluster.look()

    assert seen.stages[0].problem == ""
    assert "is not there" in seen.stages[1].problem
    assert seen.state.fleet[1]["ready"] == 0
    assert any("second: Deployment" in problem for problem in seen.problems)


@pytest.mark.parametrize("mark", ["ipa-rl.dev/paused", "autoscaling.keda.sh/paused"])
def test_an_annotation_pauses_the_pipeline(
    namespace: Namespace, cluster: KubernetesCluster, mark: str
) -> None:
    assert not cluster.look().paused
    namespace.change("Deployment", "a", {"metadata": {"annotations": {mark: "true"}}})
    assert cluster.look().paused


def test_queues_are_zero_unless_a_source_knows_them(namespace: Namespace) -> None:
    namespace.apply(deployment("a"))
    stages = {"only": {"name": "a"}}
    told = make_cluster(namespace, stages, queue=lambda: np.array([7.0]))
    unknown = make_cluster(namespace, stages, queue=lambda: None)

    assert told.look().state.queued.tolist() == [7.0]
    assert unknown.look().state.queued.tolist() == [0.0]
    assert [one.look().queues_known for one in (told, unknown)] == [True, False]


def test_pods_of_others_do_not_count(namespace: Namespace, cluster: KubernetesCluster) -> None:
    namespace.serve("a")
    stray = {
        "metadata": {"name": "stray", "labels": {"app": "a"}},
        "spec": namespace.pods("a")[0]["spec"] | {"nodeName": None},
    }
    namespace.add("pods", "", stray)

    assert cluster.look().stages[0].current == 2


def test_pods_of_another_kind_are_found_by_its_label(namespace: Namespace, custom_kinds: None) -> None:
    from tests.kubernetes_objects import inference_service, pod_template, seldon_deployment

    variables = [{"name": "IPA_VARIANT", "value": "large"}, {"name": "IPA_BATCH_SIZE", "value": "4"}]
    for kind, label, name in (
        ("SeldonDeployment", "seldon-deployment-id", "server"),
        ("InferenceService", "serving.kserve.io/inferenceservice", "kserve-container"),
    ):
        make = seldon_deployment if kind == "SeldonDeployment" else inference_service
        namespace.apply(make("a"))
        template = pod_template("a", env=variables)
        template["metadata"]["labels"][label] = "a"
        template["spec"]["containers"][0]["name"] = name
        pod = namespace.add(
            "pods", "", {**template, "metadata": {**template["metadata"], "name": kind.lower()}}
        )
        namespace.mark_ready(pod)

        seen = make_cluster(namespace, {"only": {"kind": kind, "name": "a"}}).look().stages[0]

        assert (seen.current, seen.ready, seen.variant, seen.batch) == (1, 1, "large", 4)


def test_names_of_stages_stand_in_the_order_of_the_pipeline(namespace: Namespace) -> None:
    namespace.apply(deployment("a"))
    namespace.apply(deployment("b"))
    cluster = make_cluster(namespace, dict(reversed(STAGES.items())))

    assert [stage.stage for stage in cluster.look().stages] == ["first", "second"]
