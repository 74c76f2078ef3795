"""Variants on several kinds of hardware: what their pods ask for, and how they move between them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ipa_rl.errors import InputError
from ipa_rl.live.kubernetes import KubernetesCluster, difference
from ipa_rl.live.kubernetes.description import KubernetesDescription, describe
from ipa_rl.live.kubernetes.managed_fields import applied_document
from ipa_rl.live.kubernetes.paths import parse_path
from ipa_rl.objective import Problem
from tests.kubernetes_objects import (
    DEVICE,
    FOREIGN,
    Document,
    Namespace,
    asked,
    container,
    deployment,
    inference_service,
    make_cluster,
    recorded,
    running_pods,
    seldon_deployment,
    until,
    want,
)
from tests.pipelines import definition_of, one_stage, placed_stage

TOLERATION = {"key": DEVICE, "operator": "Exists", "effect": "NoSchedule"}
L4 = {"resource": DEVICE, "node_selector": {"accelerator": "l4"}, "tolerations": [TOLERATION]}
SMALL = [{"name": "IPA_VARIANT", "value": "small"}, {"name": "IPA_BATCH_SIZE", "value": "1"}]
CPU_NODES = {"node_selector": {"accelerator": "none"}}


def changed(variant: str, units: float) -> Problem:
    """The stage of which one variant takes other units."""
    problem = placed_stage()
    (stage,) = problem.pipeline.stages
    variants = tuple(replace(one, units=units) if one.name == variant else one for one in stage.variants)
    pipeline = replace(problem.pipeline, stages=(replace(stage, variants=variants),))
    return replace(problem, pipeline=pipeline)


def described(problem: Problem | None = None, stage: Any = None, **more: Any) -> KubernetesDescription:
    content = {"environment": "test", "stages": {"only": {"name": "a", **(stage or {})}}, **more}
    return describe(content, definition_of(problem or placed_stage()), "stages.yaml")


# The description


def test_a_resource_that_is_named_as_in_the_cluster_needs_no_placement() -> None:
    problem = placed_stage()
    (stage,) = problem.pipeline.stages
    variants = tuple(replace(one, resource=DEVICE) for one in stage.variants)
    pipeline = replace(problem.pipeline, stages=(replace(stage, variants=variants),))

    (found,) = described(replace(problem, pipeline=pipeline)).stages

    assert found.placements[DEVICE].resource == DEVICE


HOT = {"class": "hot", "put": "http://{ip}/{value}", "get": "http://{ip}/"}
NAMES = ("small", "small-fast", "small@l4", "small@2l4")


@pytest.mark.parametrize(
    ("stage", "placements", "field", "problem"),
    [
        ({}, {}, "placements.l4", "names no extended resource for small@l4 of stage only"),
        ({}, {"l4": {}}, "placements.l4.resource", "names no extended resource"),
        ({}, {"l4": {"resource": "gpu"}}, "placements.l4.resource", "names no extended resource"),
        ({}, {"l4": L4, "a100": L4}, "placements", "has unknown a100"),
        ({}, {"l4": L4, "cores": L4}, "placements.cores.resource", "is always cpu"),
        ({}, {"l4": {**L4, "colour": "red"}}, "placements.l4.colour", "not permitted"),
        (
            {"variant": HOT},
            {"l4": L4},
            "stages.only.variant.class",
            "is hot, but variants are placed on cores",
        ),
        (
            {"variant": {"values": dict.fromkeys(NAMES, "resnet")}},
            {"l4": L4},
            "stages.only.variant.values",
            "has resnet for both small and small-fast",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(
    stage: Document, placements: Document, field: str, problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        described(stage=stage, placements=placements)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert caught.value.fix


def test_devices_come_whole_and_cores_do_not() -> None:
    with pytest.raises(
        InputError, match=r"placements.l4: small@l4 of stage only takes 0.5 of example.com/l4"
    ):
        described(changed("small@l4", 0.5), placements={"l4": L4})
    described(changed("small", 0.5), placements={"l4": L4})


def test_a_variant_on_another_placement_is_never_taken_in_place() -> None:
    (stage,) = described(stage={"cores": {"manage": False}}, placements={"l4": L4}).stages

    assert set(stage.reload_s.values()) == {math.inf}


# What is written


def test_in_a_map_that_has_one_owner_entries_come_and_go_alone() -> None:
    """Later releases than 1.20 keep node selectors so."""
    selector: Document = {"f:spec": {"f:nodeSelector": {}}}
    managed = [{"manager": "ipa-rl", "operation": "Apply", "fieldsV1": selector}]
    metadata = {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "managedFields": managed}
    own = {"accelerator": "l4"}

    def applied(present: Document, **fields: str | None) -> Any:
        live = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeSelector": present}}
        paths = {parse_path(f"spec.nodeSelector.{key}"): value for key, value in fields.items()}
        return applied_document(live, paths, keyed=True).get("spec")

    assert applied({**own, "disk": "ssd"}, accelerator=None) == {"nodeSelector": {"disk": "ssd"}}
    assert applied(own, accelerator=None, pool="cpu") == {"nodeSelector": {"pool": "cpu"}}
    assert applied(own, accelerator=None) is None


def pod_of(kind: str, live: Document) -> Document:
    """The spec of a stage's pods in its object."""
    spec: Document = live["spec"]
    if kind == "SeldonDeployment":
        spec = spec["predictors"][0]["componentSpecs"][0]["spec"]
    elif kind == "InferenceService":
        spec = spec["predictor"]
    else:
        spec = spec["template"]["spec"]
    return spec


def server_of(pod: Document) -> Document:
    """The serving container."""
    found: Document = pod["model"] if "model" in pod else pod["containers"][0]
    return found


KINDS = {
    "Deployment": (deployment("a"), "team"),
    "SeldonDeployment": (seldon_deployment("a"), "ipa-rl"),
    "InferenceService": (inference_service("a"), "team"),
    "InferenceService of containers": (inference_service("a", containers=[container()]), "ipa-rl"),
}


def placed_cluster(namespace: Namespace, kind: str = "Deployment", **stage: Any) -> KubernetesCluster:
    stages = {"only": {"kind": kind, "name": "a", **stage}}
    return make_cluster(namespace, stages, placed_stage(), placements={"l4": L4, "cores": CPU_NODES})


@pytest.mark.parametrize("case", KINDS)
def test_a_variant_moves_to_devices_and_back(namespace: Namespace, custom_kinds: None, case: str) -> None:
    body, manager = KINDS[case]
    namespace.apply(body, manager)
    cluster = placed_cluster(namespace, body["kind"])
    cluster.apply(want(("small", 1, 1)))
    on_cores = pod_of(body["kind"], namespace.get(body["kind"], "a"))

    with recorded(namespace.client) as sent:
        cluster.apply(want(("small@2l4", 1, 1)))

    assert len({path for _, path in sent.writes}) == 1
    pod = pod_of(body["kind"], namespace.get(body["kind"], "a"))
    assert server_of(pod)["resources"] == {"requests": {DEVICE: "2"}, "limits": {DEVICE: "2"}}
    assert pod["nodeSelector"] == {"accelerator": "l4"}
    assert pod["tolerations"] == [TOLERATION]
    with recorded(namespace.client) as sent:
        assert not cluster.apply(want(("small@2l4", 1, 1))).changes
    assert not sent.writes

    cluster.apply(want(("small", 1, 1)))
    assert pod_of(body["kind"], namespace.get(body["kind"], "a")) == on_cores
    assert on_cores["nodeSelector"] == {"accelerator": "none"}
    assert server_of(on_cores)["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}


def test_what_no_placement_names_stays(namespace: Namespace) -> None:
    body = asked("a", "small", 1, 1)
    pod, server = body["spec"]["template"]["spec"], body["spec"]["template"]["spec"]["containers"][0]
    pod["tolerations"], server["resources"]["limits"]["example.com/other"] = [FOREIGN], "1"
    namespace.apply(body, "ipa-rl")
    selects = {"selector": body["spec"]["selector"], "template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}
    selects["template"] |= {"metadata": {"labels": {"app": "a"}}}
    selects["template"]["spec"] |= {"containers": [{"name": "server", "image": server["image"]}]}
    namespace.apply({**head, "spec": selects}, "team")
    cluster = placed_cluster(namespace)

    assert not cluster.apply(want(("small@l4", 1, 1))).refused
    there = pod_of("Deployment", namespace.get("Deployment", "a"))
    assert not cluster.apply(want(("small", 1, 1))).refused
    back = pod_of("Deployment", namespace.get("Deployment", "a"))

    assert there["tolerations"] == [FOREIGN, TOLERATION]
    assert there["nodeSelector"] == {"disk": "ssd", "accelerator": "l4"}
    assert server_of(there)["resources"]["limits"] == {"example.com/other": "1", DEVICE: "1"}
    assert back["tolerations"] == [FOREIGN]
    assert back["nodeSelector"] == {"disk": "ssd", "accelerator": "none"}


def test_cores_of_another_manager_stay_beside_devices(namespace: Namespace) -> None:
    amounts = {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}
    body = deployment("a")
    server_of(pod_of("Deployment", body))["resources"] = amounts
    namespace.apply(body, "team")
    cluster = placed_cluster(namespace)

    assert not cluster.apply(want(("small@l4", 1, 1))).refused

    resources = server_of(pod_of("Deployment", namespace.get("Deployment", "a")))["resources"]
    assert resources["limits"] == {"cpu": "1", DEVICE: "1"}


def test_tolerations_of_another_manager_are_refused_in_words(namespace: Namespace) -> None:
    body = deployment("a")
    pod_of("Deployment", body)["tolerations"] = [FOREIGN]
    namespace.apply(body, "team")
    cluster = placed_cluster(namespace)

    applied = cluster.apply(want(("small@l4", 1, 1)))

    assert "only: team owns spec.template.spec.tolerations of Deployment" in applied.refused[0]
    assert any("owns spec.template.spec.tolerations" in problem for problem in cluster.look().problems)
    assert pod_of("Deployment", namespace.get("Deployment", "a"))["tolerations"] == [FOREIGN]


def test_a_dry_run_tells_where_the_pods_move(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    told = difference(placed_cluster(namespace).plan(want(("small@l4", 1, 1)))).splitlines()

    assert {"- cores: 1", "+ cores: unset", f"- {DEVICE}: unset", f"+ {DEVICE}: 1"} <= set(told)
    assert {"+ nodeSelector accelerator: l4", f"+ tolerations: {DEVICE}:NoSchedule"} <= set(told)


def test_an_entry_that_another_changed_is_refused_in_words(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = placed_cluster(namespace)
    cluster.apply(want(("small@l4", 1, 1)))
    namespace.change(
        "Deployment", "a", {"spec": {"template": {"spec": {"nodeSelector": {"accelerator": "t4"}}}}}
    )

    applied = cluster.apply(want(("small@l4", 1, 1)))

    assert "kubectl-edit owns spec.template.spec.nodeSelector.accelerator" in applied.refused[0]


def test_variants_of_one_value_are_told_apart_by_their_placement(namespace: Namespace) -> None:
    """A model's image or storage is the same on every kind of hardware."""
    namespace.apply(asked("a", "resnet", 1, 2), "ipa-rl")
    values = {"small": "resnet", "small-fast": "resnet-2", "small@l4": "resnet", "small@2l4": "resnet-2"}
    cluster = placed_cluster(namespace, variant={"values": values})
    namespace.served("a", 2)
    assert cluster.look().stages[0].serving == (("small", 1, 2),)

    cluster.apply(want(("small@l4", 1, 2)))
    until(lambda: len(namespace.pods("a")) == 4)
    namespace.serve("a", 1)
    until(lambda: len(namespace.pods("a")) == 3)

    seen = cluster.look().stages[0]
    assert seen.asked == ("small@l4", 1)
    assert sorted(seen.serving) == [("small", 1, 1), ("small@l4", 1, 1)]


# Quotas


def test_a_move_needs_devices_for_all_replicas_and_no_more(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    namespace.served("a", 2)
    namespace.add_quota("devices", {f"requests.{DEVICE}": "2"})
    cluster = placed_cluster(namespace)

    put_off = cluster.plan(want(("small@2l4", 1, 2)))
    fits = cluster.plan(want(("small@l4", 1, 2)))
    cut = cluster.plan(want(("small@l4", 1, 5)))

    why = f"ResourceQuota devices leaves 2 of 2 requests.{DEVICE}; fix: raise it"
    assert put_off.refused == (f"only: small@2l4 b1 is put off: {why}",)
    assert put_off.configuration == want(("small", 1, 2))
    assert not fits.refused
    assert cut.refused == (f"only: 5 replicas cut to 2: {why}",)


def test_while_pods_move_devices_are_kept_for_those_that_have_not_yet_come(namespace: Namespace) -> None:
    one_by_one = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    for name in ("a", "b"):
        body = asked(name, "small", 1, 2)
        namespace.apply({**body, "spec": {**body["spec"], "strategy": one_by_one}}, "ipa-rl")
        namespace.served(name, 2)
    namespace.add_quota("devices", {f"requests.{DEVICE}": "3"})
    (stage,) = placed_stage().pipeline.stages
    two = (replace(stage, name="first"), replace(stage, name="second"))
    problem = replace(placed_stage(), pipeline=replace(placed_stage().pipeline, stages=two))
    stages = {"first": {"name": "a"}, "second": {"name": "b"}}
    cluster = make_cluster(namespace, stages, problem, placements={"l4": L4})
    cluster.apply(want(("small@l4", 1, 2), ("small", 1, 2)))
    until(lambda: len(namespace.pods("a")) == 3)
    used = f"requests.{DEVICE}"
    until(lambda: namespace.objects("resourcequotas")[0]["status"]["used"][used] == "1")

    applied = cluster.apply(want(("small@l4", 1, 2), ("small@l4", 1, 2)))

    why = f"ResourceQuota devices leaves 2 of 3 {used}; fix: raise it"
    assert applied.refused == (f"second: small@l4 b1 is put off: {why}",)
    assert applied.configuration == want(("small@l4", 1, 2), ("small", 1, 2))


def test_a_stage_on_cores_is_not_cut_where_devices_lack(namespace: Namespace) -> None:
    for name in ("a", "b"):
        namespace.apply(asked(name, "small", 1, 1), "ipa-rl")
        namespace.served(name, 1)
    (stage,), (other,) = placed_stage().pipeline.stages, one_stage().pipeline.stages
    pipeline = replace(placed_stage().pipeline, stages=(stage, replace(other, name="other")))
    stages = {"only": {"name": "a"}, "other": {"name": "b"}}
    problem = replace(placed_stage(), pipeline=pipeline)
    cluster = make_cluster(namespace, stages, problem, placements={"l4": L4})
    namespace.add_quota("devices", {f"requests.{DEVICE}": "2"})

    applied = cluster.plan(want(("small@l4", 1, 4), ("small", 1, 30)))

    assert applied.configuration == want(("small@l4", 1, 2), ("small", 1, 30))


# On a node


def test_pods_move_to_the_devices_of_a_node_and_back_by_one_rolling_update_each(
    namespace: Namespace, devices: str
) -> None:
    namespace.apply(deployment("a", template=running_pods("a", env=SMALL), replicas=2), "ipa-rl")
    stages = {"only": {"name": "a"}}
    cluster = make_cluster(namespace, stages, changed("small", 0.1), placements={"l4": L4})

    def serves(variant: str) -> bool:
        seen = cluster.look().stages[0]
        return (seen.serving, seen.current) == (((variant, 1, 2),), 2)

    def revision() -> int:
        marks = namespace.get("Deployment", "a")["metadata"]["annotations"]
        return int(marks["deployment.kubernetes.io/revision"])

    until(lambda: serves("small"), 60)
    before = revision()

    cluster.apply(want(("small@l4", 1, 2)))
    until(lambda: serves("small@l4"), 60)

    for pod in (one["spec"] for one in namespace.pods("a")):
        assert server_of(pod)["resources"] == {"requests": {DEVICE: "1"}, "limits": {DEVICE: "1"}}
        assert (pod["nodeName"], pod["nodeSelector"]) == (devices, {"accelerator": "l4"})
        assert all(one in pod["tolerations"] for one in (FOREIGN, TOLERATION))
    assert revision() == before + 1

    cluster.apply(want(("small", 1, 2)))
    until(lambda: serves("small"), 60)

    for pod in (one["spec"] for one in namespace.pods("a")):
        assert server_of(pod)["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}}
        assert "nodeSelector" not in pod
        assert FOREIGN in pod["tolerations"]
        assert TOLERATION not in pod["tolerations"]
    assert revision() == before + 2


def test_a_quota_of_devices_leaves_replicas_out_and_the_rest_serves(
    namespace: Namespace, devices: str
) -> None:
    namespace.apply(deployment("a", template=running_pods("a", env=SMALL), replicas=1), "ipa-rl")
    namespace.add_quota("devices", {f"requests.{DEVICE}": "2"})
    stages = {"only": {"name": "a"}}
    cluster = make_cluster(namespace, stages, changed("small", 0.1), placements={"l4": L4})
    until(lambda: cluster.look().stages[0].ready == 1, 60)

    applied = cluster.apply(want(("small@l4", 1, 4)))

    why = f"ResourceQuota devices leaves 2 of 2 requests.{DEVICE}; fix: raise it"
    assert applied.refused == (f"only: 4 replicas cut to 2: {why}",)
    assert applied.configuration == want(("small@l4", 1, 2))
    until(lambda: cluster.look().stages[0].serving == (("small@l4", 1, 2),), 60)
    assert namespace.objects("resourcequotas")[0]["status"]["used"] == {f"requests.{DEVICE}": "2"}
