"""Changes of each knob on each kind of object, in an order that keeps capacity."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.live.kubernetes import difference
from ipa_rl.live.kubernetes.changes import WriteOrder, plan_of
from ipa_rl.live.kubernetes.description import describe
from ipa_rl.live.kubernetes.kinds import Container
from ipa_rl.live.kubernetes.observed_stages import ObservedStage
from ipa_rl.live.kubernetes.paths import parse_path
from ipa_rl.live.kubernetes.pods import Pod
from ipa_rl.live.kubernetes.shapes import quantity
from ipa_rl.pipeline import StageConfig
from tests.kubernetes_objects import (
    MERGE,
    Document,
    Namespace,
    asked,
    container,
    deployment,
    inference_service,
    is_ready,
    make_cluster,
    recorded,
    seldon_deployment,
    send,
    until,
    want,
)
from tests.pipelines import definition_of, one_stage

NAME = "server"


def variables(container: Document) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env") or ()}


def container_of(kind: str, live: Document) -> Document:
    spec = live["spec"]
    if kind == "Deployment":
        found: Document = spec["template"]["spec"]["containers"][0]
    elif kind == "SeldonDeployment":
        found = spec["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0]
    else:
        found = spec["predictor"].get("model") or spec["predictor"]["containers"][0]
    return found


def replicas_of(kind: str, live: Document) -> Any:
    if kind == "InferenceService":
        return live["spec"]["predictor"]["minReplicas"], live["spec"]["predictor"]["maxReplicas"]
    return live["spec"]["replicas"]


OBJECTS = {
    "Deployment": (deployment(NAME), "team"),
    "SeldonDeployment": (seldon_deployment(NAME), "ipa-rl"),
    "InferenceService": (inference_service(NAME), "team"),
    "InferenceService of containers": (inference_service(NAME, containers=[container()]), "ipa-rl"),
}
"""What a team applies; lists without keys have one owner, so these are handed over to ipa-rl."""


@pytest.fixture(params=OBJECTS)
def case(request: pytest.FixtureRequest) -> str:
    """A kind of object; the custom ones where the API server can hold them."""
    if request.param != "Deployment":
        request.getfixturevalue("custom_kinds")
    return str(request.param)


def test_each_knob_of_each_kind_is_changed(namespace: Namespace, case: str) -> None:
    body, manager = OBJECTS[case]
    kind = body["kind"]
    namespace.apply(body, manager)
    cluster = make_cluster(namespace, {"only": {"kind": kind, "name": NAME}})

    first = cluster.apply(want(("small", 1, 2)))
    assert {change.knob for change in first.changes} >= {"variant", "batch", "cores", "replicas"}
    for wanted in (("small", 1, 3), ("small", 4, 3), ("large", 4, 3), ("small", 2, 4)):
        applied = cluster.apply(want(wanted))
        assert applied.changes
        assert not applied.refused
        live = namespace.get(kind, NAME)
        served = container_of(kind, live)
        assert variables(served) == {"IPA_VARIANT": wanted[0], "IPA_BATCH_SIZE": str(wanted[1])}
        assert quantity(served["resources"]["requests"]["cpu"]) == 1
        assert quantity(served["resources"]["limits"]["cpu"]) == 1
        count = wanted[2]
        assert replicas_of(kind, live) == ((count, count) if kind == "InferenceService" else count)


def test_what_others_wrote_stays_as_it_was(namespace: Namespace, case: str) -> None:
    body, manager = OBJECTS[case]
    before = namespace.apply(body, manager)
    cluster = make_cluster(namespace, {"only": {"kind": body["kind"], "name": NAME}})

    cluster.apply(want(("small", 1, 2)))
    cluster.apply(want(("large", 4, 3)))

    after = namespace.get(body["kind"], NAME)
    served = container_of(body["kind"], after)
    del served["env"]
    served["resources"] = container_of(body["kind"], before).get("resources", {})
    if "resources" not in container_of(body["kind"], before):
        del served["resources"]
    for document in (before, after):
        document["spec"].pop("replicas", None)
        for key in ("minReplicas", "maxReplicas"):
            document["spec"].get("predictor", {}).pop(key, None)
    assert after["spec"] == before["spec"]


def test_an_unchanged_configuration_writes_nothing(namespace: Namespace, case: str) -> None:
    body, manager = OBJECTS[case]
    namespace.apply(body, manager)
    cluster = make_cluster(namespace, {"only": {"kind": body["kind"], "name": NAME}})
    cluster.apply(want(("large", 4, 2)))
    version = namespace.get(body["kind"], NAME)["metadata"]["generation"]

    with recorded(namespace.client) as sent:
        applied = [cluster.apply(want(("large", 4, 2))) for _ in range(5)]

    assert sent.requests
    assert not sent.writes
    assert all(not one.changes and not one.waiting and not one.refused for one in applied)
    assert namespace.get(body["kind"], NAME)["metadata"]["generation"] == version


def test_a_dry_run_tells_what_would_change_and_writes_nothing(namespace: Namespace, case: str) -> None:
    body, manager = OBJECTS[case]
    namespace.apply(body, manager)
    cluster = make_cluster(namespace, {"only": {"kind": body["kind"], "name": NAME}})
    cluster.apply(want(("small", 1, 2)))

    with recorded(namespace.client) as sent:
        planned = cluster.plan(want(("large", 4, 3)))

    assert not sent.writes
    assert difference(planned).splitlines()[0] == "only"
    assert {"- variant: small", "+ variant: large", "+ batch: 4", "+ replicas: 3"} <= set(
        difference(planned).splitlines()
    )
    assert cluster.apply(want(("large", 4, 3))).changes == planned.changes


def test_more_replicas_are_asked_for_before_the_pods_change(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    namespace.served("a", 2)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    with recorded(namespace.client) as sent:
        applied = cluster.apply(want(("large", 1, 4)))

    path = f"{namespace.path('deployments', 'apps/v1')}/a"
    assert sent.writes[0] == ("PATCH", f"{path}/scale")
    assert set(sent.writes[1:]) == {("PATCH", path)}  # more than one where the controllers wrote in between
    assert [change.knob for change in applied.changes] == ["replicas", "variant"]


def test_fewer_replicas_wait_until_the_new_pods_are_ready(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 4), "ipa-rl")
    namespace.served("a", 4)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    wanted = want(("large", 1, 2))

    begun = cluster.apply(wanted)
    until(lambda: len(namespace.pods("a")) == 8)
    meanwhile = cluster.apply(wanted)
    namespace.serve("a", pods=2)
    until(lambda: len(namespace.pods("a")) == 6)
    finished = cluster.apply(wanted)

    assert [change.knob for change in begun.changes] == ["variant"]
    assert [str(change) for change in begun.waiting] == ["only: replicas 4 -> 2"]
    assert not meanwhile.changes
    assert meanwhile.waiting == begun.waiting
    assert [str(change) for change in finished.changes] == ["only: replicas 4 -> 2"]
    until(lambda: len(namespace.pods("a")) == 2)
    assert cluster.look().stages[0].ready == 2
    assert cluster.look().stages[0].variant == "large"


def test_ready_pods_never_become_fewer_than_before_or_than_wanted(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 3), "ipa-rl")
    namespace.served("a", 3)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    wanted, ready = want(("large", 2, 5)), [3]

    def step() -> tuple[int, int, str | None, int | None]:
        cluster.apply(wanted)
        ready.append(sum(is_ready(pod) for pod in namespace.pods("a")))
        namespace.serve("a", pods=1)
        seen = cluster.look().stages[0]
        return seen.current, seen.ready, seen.variant, seen.batch

    until(lambda: step() == (5, 5, "large", 2))
    assert min(ready) == 3
    assert not cluster.apply(wanted).changes


def test_what_was_left_half_done_is_completed_at_the_next_step(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    path = f"{namespace.path('deployments', 'apps/v1')}/a"
    scale = {"spec": {"replicas": 4}}
    send(namespace.client, "PATCH", f"{path}/scale?fieldManager=ipa-rl", scale, MERGE)
    successor = make_cluster(namespace, {"only": {"name": "a"}})

    applied = successor.apply(want(("large", 4, 4)))

    assert [str(change) for change in applied.changes] == [
        "only: variant small -> large",
        "only: batch 1 -> 4",
    ]
    assert not successor.apply(want(("large", 4, 4))).changes


def test_an_update_strategy_that_loses_pods_is_refused(namespace: Namespace) -> None:
    body = asked("a", "small", 1, 4)
    body["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}
    namespace.apply(body, "ipa-rl")
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    with recorded(namespace.client) as sent:
        applied = cluster.apply(want(("large", 1, 4)))

    assert not sent.writes
    assert "takes 1 of 4 replicas away before new ones serve" in applied.refused[0]
    assert "maxUnavailable: 0" in applied.refused[0]
    assert applied.configuration == want(("small", 1, 4))
    assert cluster.apply(want(("small", 1, 5))).changes  # replicas alone lose nothing


def test_the_update_strategy_of_an_inference_service_counts_where_it_makes_deployments(
    namespace: Namespace, custom_kinds: None
) -> None:
    cluster = make_cluster(namespace, {"only": {"kind": "InferenceService", "name": "a"}})
    body = inference_service("a")
    namespace.apply(body)
    assert not cluster.plan(want(("small", 1, 4))).refused
    body["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    namespace.apply(body)
    assert "takes 1 of 4 replicas away" in cluster.plan(want(("small", 1, 4))).refused[0]


@pytest.mark.parametrize("cores", [1, "1000m"])
def test_a_quantity_written_another_way_is_the_same(
    namespace: Namespace, custom_kinds: None, cores: int | str
) -> None:
    variables = [{"name": "IPA_VARIANT", "value": "small"}, {"name": "IPA_BATCH_SIZE", "value": "1"}]
    resources = {"requests": {"cpu": cores}, "limits": {"cpu": cores}}
    namespace.apply(inference_service("a", model={"env": variables, "resources": resources}), "ipa-rl")
    cluster = make_cluster(namespace, {"only": {"kind": "InferenceService", "name": "a"}})

    assert {change.knob for change in cluster.plan(want(("small", 1, 2))).changes} == {"replicas"}


def test_an_object_whose_owners_are_forgotten_loses_nothing(namespace: Namespace, custom_kinds: None) -> None:
    body = seldon_deployment("a")
    body["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"].append(
        container() | {"name": "log"}
    )
    namespace.apply(body, "ipa-rl")
    namespace.change("SeldonDeployment", "a", {"metadata": {"managedFields": [{}]}})
    before = namespace.get("SeldonDeployment", "a")["spec"]["predictors"]
    stage = {"kind": "SeldonDeployment", "name": "a", "container": "server"}
    cluster = make_cluster(namespace, {"only": stage})

    applied = cluster.apply(want(("small", 1, 1)))

    assert "before-first-apply owns" in applied.refused[0]
    assert namespace.get("SeldonDeployment", "a")["spec"]["predictors"] == before


def test_a_variant_may_be_an_image(namespace: Namespace) -> None:
    images = {"small": "local/server:small", "large": "local/server:large"}
    body = asked("a", "small", 1, 1)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = images["small"]
    namespace.apply(body, "ipa-rl")
    stage = {"name": "a", "variant": {"field": "image", "values": images}}
    cluster = make_cluster(namespace, {"only": stage})

    applied = cluster.apply(want(("large", 1, 1)))

    assert [str(change) for change in applied.changes] == ["only: variant small -> large"]
    live = namespace.get("Deployment", "a")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "local/server:large"
    assert cluster.look().stages[0].asked == ("large", 1)


def test_a_variant_may_be_a_field_of_the_object(namespace: Namespace, custom_kinds: None) -> None:
    namespace.apply(inference_service("a"))
    values = {"small": "pvc://models/small", "large": "pvc://models/large"}
    seen = "metadata.annotations['internal.serving.kserve.io/storage-initializer-sourceuri']"
    knob = {"field": "storageUri", "values": values, "seen": seen}
    stage = {
        "kind": "InferenceService",
        "name": "a",
        "variant": {**knob, "field": "spec.predictor.model.storageUri"},
    }
    namespace.apply(inference_service("a", model={"modelFormat": {"name": "onnx"}}))

    cluster = make_cluster(namespace, {"only": stage})

    assert cluster.apply(want(("large", 1, 1))).changes
    assert (
        namespace.get("InferenceService", "a")["spec"]["predictor"]["model"]["storageUri"] == values["large"]
    )
    assert cluster.look().stages[0].asked == ("large", 1)


def rolling(replicas: int, serving: list[str]) -> ObservedStage:
    """A Deployment that asks for small, whose ready pods serve these variants."""
    content = {"environment": "test", "stages": {"only": {"name": "a"}}}
    (stage,) = describe(content, definition_of(one_stage()), "stages.yaml").stages
    pods = tuple(Pod("10.0.0.1", one, 1, True, 0.0, False, 0, "a", {}) for one in serving)
    server = Container(parse_path("spec.template.spec.containers[name=server]"), "server")
    return ObservedStage(stage, asked("a", "small", 1, replicas), server, replicas, "small", 1, pods)


@given(
    replicas=st.integers(1, 5),
    serving=st.lists(st.sampled_from(["small", "large"]), max_size=6),
    wanted=st.builds(
        StageConfig, st.sampled_from(["small", "large"]), st.sampled_from([1, 4]), st.integers(1, 5)
    ),
)
def test_replicas_grow_before_pods_change_and_shrink_only_when_those_that_stay_serve(
    replicas: int, serving: list[str], wanted: StageConfig
) -> None:
    stage = rolling(replicas, serving)
    plan = plan_of(stage, wanted)

    orders = [write.order for write in plan.writes]
    assert orders == sorted(orders)
    changes_pods = (wanted.variant, wanted.batch) != ("small", 1)
    assert (WriteOrder.cold in orders) == changes_pods
    assert (WriteOrder.more_replicas in orders) == (wanted.replicas > replicas)
    if WriteOrder.fewer_replicas in orders:
        assert not changes_pods
        assert serving.count("small") >= min(wanted.replicas, len(serving))
    shrinks = WriteOrder.fewer_replicas in orders or bool(plan.waiting)
    assert shrinks == (wanted.replicas < replicas)
