"""What goes wrong on a cluster ends in the right configuration, or in a line that says what to do."""

import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlparse

import pytest
from kubernetes.client import ApiClient

from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.kubernetes import Api, KubernetesCluster
from ipa_rl.live.kubernetes.api import ApiError, PassingError, Retry
from ipa_rl.live.kubernetes.changes import TRIES
from tests.kubernetes_objects import (
    Document,
    Namespace,
    asked,
    client_of,
    make_cluster,
    quick_retry,
    recorded,
    send,
    until,
    want,
)
from tests.kubernetes_proxy import Answer, Line, answering

STAGES = {"only": {"name": "a"}}


PLAIN = {
    "apiVersion": "v1", "kind": "Thing",
    "metadata": {
        "name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1",
        "creationTimestamp": "2026-05-04T20:42:03Z",
    }
}  # fmt: skip
"""As little as every object has."""


@pytest.fixture
def line(kubernetes_api: ApiClient) -> Iterator[Line]:
    """A line to the API server that can be cut."""
    place = urlparse(kubernetes_api.configuration.host)
    line = Line(str(place.hostname), int(place.port or 443))
    yield line
    line.cut()


def account(namespace: Namespace, rules: list[Document]) -> ApiClient:
    """A client under a ServiceAccount that has just these rights."""
    name = "ipa-rl"
    group = "rbac.authorization.k8s.io/v1"
    namespace.add("serviceaccounts", "", {"metadata": {"name": name}})
    namespace.add("roles", group, {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace.name}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    namespace.add("rolebindings", group, {"metadata": {"name": name}, "subjects": [subject], "roleRef": role})
    path = f"{namespace.path('serviceaccounts')}/{name}/token"
    token = send(namespace.client, "POST", path, {"spec": {}})["status"]["token"]
    return client_of(namespace.client.configuration.host, token=token)


def rule(group: str, *resources: str, verbs: tuple[str, ...]) -> Document:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


LOOKING = [
    rule("apps", "deployments", verbs=("get",)),
    rule("apps", "replicasets", verbs=("list",)),
    rule("", "pods", "resourcequotas", verbs=("list",)),
    rule("policy", "poddisruptionbudgets", verbs=("list",)),
]
SCALERS = [
    rule("autoscaling", "horizontalpodautoscalers", verbs=("list",)),
    rule("keda.sh", "scaledobjects", verbs=("list",)),
]
WRITING = [
    rule("apps", "deployments", "deployments/scale", verbs=("patch",)),
    rule("", "events", verbs=("create",)),
]


def test_the_documented_rights_suffice(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES, client=account(namespace, LOOKING + SCALERS + WRITING))

    applied = cluster.apply(want(("large", 4, 2)))
    cluster.record_event("only", "Changed", "because of the load")

    assert {change.knob for change in applied.changes} == {"variant", "batch", "replicas"}
    assert not applied.refused
    assert not cluster.look().problems


def test_who_may_only_look_sees_everything_and_is_told_what_it_may_not(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES, client=account(namespace, LOOKING + SCALERS))

    assert cluster.look().stages[0].desired == 1
    assert cluster.plan(want(("large", 1, 1))).changes
    scaled, changed = cluster.apply(want(("small", 1, 2))), cluster.apply(want(("large", 1, 1)))

    assert "allow the verb patch on deployments.apps/scale" in scaled.refused[0]
    assert "allow the verb patch on deployments.apps (" in changed.refused[0]
    assert not scaled.changes
    assert not changed.changes


def test_who_may_not_read_an_object_is_told_the_right(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES, client=account(namespace, SCALERS))

    assert "allow the verb get on deployments.apps" in cluster.look().stages[0].problem
    assert "allow the verb get on deployments.apps" in cluster.apply(want(("small", 1, 2))).refused[0]


def test_who_cannot_see_autoscalers_writes_nothing(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES, client=account(namespace, LOOKING + WRITING))

    applied = cluster.apply(want(("small", 1, 2)))

    assert not applied.changes
    assert "may have another writer" in applied.refused[0]


def test_quotas_that_cannot_be_seen_are_reported_and_do_not_stop(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    rules = [*LOOKING[:2], rule("", "pods", verbs=("list",)), *SCALERS, *WRITING]
    cluster = make_cluster(namespace, STAGES, client=account(namespace, rules))

    applied = cluster.apply(want(("small", 1, 2)))

    assert applied.changes
    assert any("resourcequotas cannot be listed" in line for line in applied.refused)


def test_an_object_that_is_deleted_and_made_again_is_driven_again(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    cluster = make_cluster(namespace, STAGES)
    cluster.apply(want(("large", 1, 3)))

    namespace.remove("Deployment", "a")
    gone = cluster.apply(want(("large", 1, 3)))
    seen = cluster.look()
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    back = cluster.apply(want(("large", 1, 3)))

    assert not gone.changes
    assert "is not there" in gone.refused[0]
    assert (seen.stages[0].desired, seen.stages[0].ready) == (0, 0)
    assert {change.knob for change in back.changes} == {"variant", "replicas"}
    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 3


def test_an_object_that_goes_between_reading_and_writing_is_not_made_by_us(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES)
    apply = Api.apply

    def remove_first(api: Api, path: str, body: Document) -> Document:
        namespace.remove("Deployment", "a")
        monkeypatch.setattr(Api, "apply", apply)
        return apply(api, path, body)

    monkeypatch.setattr(Api, "apply", remove_first)
    applied = cluster.apply(want(("large", 1, 1)))

    assert not applied.changes
    assert "is gone" in applied.refused[0]
    assert not namespace.objects("deployments", "apps/v1")


@pytest.mark.parametrize("faster", [1, TRIES])
def test_an_object_that_another_changes_meanwhile_is_read_anew_and_at_last_left_for_the_next_step(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, faster: int
) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES)
    apply, left = Api.apply, list(range(faster))

    def after_another(api: Api, path: str, body: Document) -> Document:
        if left:
            note = {"metadata": {"annotations": {"noted": str(left.pop())}}}
            namespace.change("Deployment", "a", note)
        return apply(api, path, body)

    monkeypatch.setattr(Api, "apply", after_another)
    applied = cluster.apply(want(("large", 1, 1)))

    if faster < TRIES:
        assert applied.changes
    else:
        assert applied.refused == (
            f"only: Deployment {namespace.name}/a was changed meanwhile; tried again at the next step",
        )
        assert cluster.apply(want(("large", 1, 1))).changes
    live = namespace.get("Deployment", "a")
    assert live["metadata"]["annotations"]["noted"] == "0"
    assert cluster.look().stages[0].asked == ("large", 1)


def test_a_server_that_stops_and_comes_back_is_waited_for(namespace: Namespace, line: Line) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    client = client_of(f"https://127.0.0.1:{line.port}", namespace.client)
    cluster = make_cluster(namespace, STAGES, client=client, retry=Retry(deadline_s=10.0))
    cluster.look()

    line.cut()
    threading.Timer(1.0, line.mend).start()
    applied = cluster.apply(want(("large", 1, 2)))

    assert not applied.refused
    assert cluster.look().stages[0].desired == 2


def test_a_server_that_stays_away_is_an_error_in_time_and_nothing_is_lost(
    namespace: Namespace, line: Line
) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    client = client_of(f"https://127.0.0.1:{line.port}", namespace.client)
    cluster = make_cluster(namespace, STAGES, client=client, retry=quick_retry())
    line.cut()

    began = time.monotonic()
    for call in (cluster.look, lambda: cluster.apply(want(("large", 1, 2)))):
        with pytest.raises(ClusterError, match="no answer"):
            call()
    assert time.monotonic() - began < 5.0

    line.mend()
    assert {change.knob for change in cluster.apply(want(("large", 1, 2))).changes} == {"variant", "replicas"}


@pytest.mark.slow
def test_a_server_away_for_many_time_limits_ends_in_the_right_configuration(
    namespace: Namespace, line: Line
) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    client = client_of(f"https://127.0.0.1:{line.port}", namespace.client)
    cluster = make_cluster(namespace, STAGES, client=client, retry=Retry(deadline_s=0.75))
    line.cut()
    threading.Timer(6.0, line.mend).start()

    failed = 0
    while True:
        try:
            cluster.apply(want(("large", 4, 3)))
            break
        except ClusterError:
            failed += 1

    assert failed > 3
    seen = cluster.look().stages[0]
    assert (seen.asked, seen.desired) == (("large", 4), 3)
    assert not cluster.apply(want(("large", 4, 3))).changes


def test_what_was_written_before_the_server_stopped_is_completed_after(
    namespace: Namespace, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    client = client_of(f"https://127.0.0.1:{line.port}", namespace.client)
    cluster = make_cluster(namespace, STAGES, client=client)
    scale = Api.scale

    def scale_and_lose(api: Api, path: str, replicas: int) -> Document:
        document = scale(api, path, replicas)
        line.cut()
        return document

    monkeypatch.setattr(Api, "scale", scale_and_lose)
    with pytest.raises(ClusterError):
        cluster.apply(want(("large", 1, 2)))
    monkeypatch.setattr(Api, "scale", scale)
    line.mend()

    assert [str(change) for change in cluster.apply(want(("large", 1, 2))).changes] == [
        "only: variant small -> large"
    ]


def test_no_connection_is_left_behind(namespace: Namespace, line: Line) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(
        namespace, STAGES, client=client_of(f"https://127.0.0.1:{line.port}", namespace.client)
    )

    for _ in range(5):
        cluster.look()
    assert (line.accepted, line.connections) == (1, 1)

    cluster.close()
    until(lambda: line.connections == 0)


def test_throttling_is_waited_out_as_long_as_the_server_asks() -> None:
    slept: list[float] = []
    busy = (429, {"Retry-After": "3"}, b'{"message": "too many requests"}')
    with answering([busy, busy, (200, {}, json.dumps(PLAIN).encode())]) as (host, seen):
        api = Api(client_of(host), Retry(deadline_s=60, sleep=slept.append))
        assert api.get("/api/v1/x") == PLAIN
    assert len(seen) == 3
    assert slept == [3.0, 3.0]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    with answering([(status, {}, b"<html>"), (200, {}, json.dumps(PLAIN).encode())]) as (host, seen):
        assert Api(client_of(host), quick_retry()).get("/x") == PLAIN
    assert len(seen) == 2


def test_a_refusal_is_not_asked_again() -> None:
    body = json.dumps({"reason": "Forbidden", "message": "no"}).encode()
    with answering([(403, {}, body)]) as (host, seen), pytest.raises(ApiError, match="403 Forbidden: no"):
        Api(client_of(host), quick_retry()).get("/x")
    assert len(seen) == 1


def test_a_server_that_hangs_is_given_up_after_the_time_limit() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = Api(
            client_of(f"http://127.0.0.1:{silent.getsockname()[1]}"), Retry(deadline_s=0.0), timeout_s=0.3
        )
        began = time.monotonic()
        with pytest.raises(ClusterError, match="no answer"):
            api.get("/x")
        assert time.monotonic() - began < 4.0


def test_pauses_grow_and_stay_within_the_deadline() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    retry = Retry(deadline_s=10, base_s=0.5, cap_s=4, sleep=sleep, clock=lambda: now[0], draw=lambda: 1.0)

    def fail() -> None:
        raise PassingError("down")

    with pytest.raises(PassingError):
        retry(fail)
    assert slept == [0.5, 1.0, 2.0, 4.0]


def test_pages_of_a_long_list_are_put_together() -> None:
    one, two = PLAIN, {**PLAIN, "kind": "Pod"}
    pages: list[Answer] = [
        (200, {}, json.dumps({"items": [one], "metadata": {"continue": "token"}}).encode()),
        (200, {}, json.dumps({"items": [two], "metadata": {}}).encode()),
    ]
    with answering(pages) as (host, seen):
        assert Api(client_of(host), quick_retry()).items("/pods", "app=a") == [one, two]
    assert "continue=token" in seen[1]


def test_an_event_says_what_was_changed_and_why(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    cluster = make_cluster(namespace, STAGES)

    cluster.record_event("only", "Scaled", "replicas 1 -> 2: the load is forecast to double " + "x" * 2000)

    with recorded(namespace.client):
        events = [one for one in namespace.objects("events") if one["source"].get("component") == "ipa-rl"]
    live = namespace.get("Deployment", "a")
    assert len(events) == 1
    assert events[0]["involvedObject"]["uid"] == live["metadata"]["uid"]
    assert events[0]["reason"] == "Scaled"
    assert events[0]["message"].startswith("replicas 1 -> 2")
    assert isinstance(cluster, KubernetesCluster)
