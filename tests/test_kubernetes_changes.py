"""Changes of each knob on each kind of object, in an order that keeps capacity."""

from typing import Any

import pytest

from ipa_rl.clusters.kubernetes import difference
from ipa_rl.clusters.kubernetes.quantities import quantity
from tests.kubernetes_objects import (
    Document,
    Namespace,
    container,
    deployment,
    inference_service,
    make_cluster,
    recorded,
    seldon_deployment,
    want,
)

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
