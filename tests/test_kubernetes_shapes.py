"""Answers that are none of an API server's: a cluster that does not answer, never a fault of our own."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("kubernetes")

from ipa_rl.live.calls import Answer, UnansweredError
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.kubernetes import shapes
from ipa_rl.live.kubernetes.api import Api, Retry
from ipa_rl.live.kubernetes.cluster import KubernetesCluster
from ipa_rl.live.kubernetes.description import describe
from ipa_rl.live.kubernetes.lease import LeaseLock
from tests.kubernetes_objects import SteadyLoads, client_of, want
from tests.pipelines import definition_of, one_stage
from tests.slow_servers import at_once, serving

NAMESPACE = "shop"
ODD_VALUES = 3
DEEP: Any = json.loads("[" * 400 + "]" * 400)
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 3.5, 10**400, 1e300, "", "x", "9" * 400, "50%", [], [None], ["a"], [[]], {},
    {"a": None}, {"name": 3}, "\ud800", "\x1b[2J", DEEP, float("nan"),
)  # fmt: skip


def metadata(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": "7",
        "creationTimestamp": "2026-05-04T20:42:03Z", "labels": {"app": "a"}, **more,
    }  # fmt: skip


def owned(by: str) -> list[dict[str, Any]]:
    return [{"uid": f"uid-{by}", "name": by, "controller": True}]


def container() -> dict[str, Any]:
    return {
        "name": "server",
        "env": [{"name": "IPA_VARIANT", "value": "small"}, {"name": "IPA_BATCH_SIZE", "value": "1"}],
        "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }


def pod(name: str) -> dict[str, Any]:
    return {
        "metadata": metadata(name, ownerReferences=owned("set")),
        "spec": {"containers": [container()]},
        "status": {
            "phase": "Running", "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [
                {"name": "server", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"reason": "Error"}}}
            ],
        },
    }  # fmt: skip


def documents() -> dict[str, Any]:
    """By path: what an API server answers of a pipeline of one stage."""
    fields: dict[str, Any] = {
        "f:spec": {"f:template": {"f:spec": {'k:{"name":"server"}': {".": {}, "f:env": {}}}}}
    }
    managed = [
        {"manager": "kubectl", "operation": "Apply", "time": "2026-05-04T20:42:03Z", "fieldsV1": fields},
        {"manager": "ipa-rl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    selector = {
        "matchLabels": {"app": "a"},
        "matchExpressions": [{"key": "b", "operator": "In", "values": ["c"]}],
    }
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("a", managedFields=managed),
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "a"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container()]}},
        },
        "status": {"conditions": [{"type": "Progressing", "status": "True", "reason": "a", "message": "b"}]},
    }  # fmt: skip
    lists = {
        f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets": [
            {"metadata": metadata("set", ownerReferences=owned("a"))}
        ],
        f"/api/v1/namespaces/{NAMESPACE}/pods": [pod("one"), pod("two")],
        f"/apis/autoscaling/v1/namespaces/{NAMESPACE}/horizontalpodautoscalers": [
            {"metadata": metadata("h"), "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "other"}}}
        ],
        f"/apis/keda.sh/v1alpha1/namespaces/{NAMESPACE}/scaledobjects": [
            {"metadata": metadata("k", annotations={"a": "b"}), "spec": {"scaleTargetRef": {"name": "other"}}}
        ],
        f"/api/v1/namespaces/{NAMESPACE}/resourcequotas": [
            {"metadata": metadata("q"), "spec": {"scopes": ["NotTerminating"]},
             "status": {"hard": {"cpu": "40", "pods": "9"}, "used": {"cpu": "2500m", "pods": 2}}}
        ],
        f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets": [
            {"metadata": metadata("b"), "spec": {"minAvailable": 1, "selector": selector}}
        ],
    }  # fmt: skip
    answers: dict[str, Any] = {
        path: {"metadata": {"resourceVersion": "9"}, "items": items} for path, items in lists.items()
    }
    answers[f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/a"] = deployment
    return answers


class Told(Api):
    """An API server that answers from memory; writes are answered with the object."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(client_of("http://127.0.0.1:9"), Retry(deadline_s=0.0))
        self.answers = answers

    def _try(self, method: str, url: str, data: bytes | None, content: str) -> Any:
        del method, data, content
        path = url.removeprefix("http://127.0.0.1:9").partition("?")[0].removesuffix("/scale")
        if path.endswith("/events"):
            return {"apiVersion": "v1", "kind": "Event", "metadata": metadata("e")}
        return Answer(200, {}, json.dumps(self.answers[path]).encode()).document()


def cluster_of(answers: dict[str, Any]) -> KubernetesCluster:
    definition = definition_of(one_stage())
    content = {
        "environment": "test",
        "namespace": NAMESPACE,
        "stages": {"only": {"name": "a"}},
    }
    made = KubernetesCluster(
        definition,
        describe(content, definition, "stages.yaml"),
        SteadyLoads(),
        client_of("http://127.0.0.1:9"),
    )
    made.api = Told(answers)
    return made


def used(cluster: KubernetesCluster) -> None:
    """All that a step asks of it."""
    cluster.look()
    for wanted in (("small", 1, 1), ("large", 4, 3)):
        cluster.plan(want(wanted))
        cluster.apply(want(wanted))
    cluster.record_event("only", "Adapted", "of a specification")


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


def test_what_an_api_server_answers_is_taken() -> None:
    cluster = cluster_of(documents())
    seen = cluster.look()
    assert (seen.stages[0].asked, seen.stages[0].ready, seen.stages[0].restarts) == (("small", 1), 2, 2)
    assert cluster.apply(want(("large", 1, 3))).changes
    used(cluster)


def test_whatever_stands_anywhere_in_an_answer_the_cluster_is_used_or_does_not_answer() -> None:
    """Every field of every answer, with something odd in its place."""
    rng = random.Random(21)
    refused = 0
    for place in places(documents()):
        for odd in rng.sample(ODD, ODD_VALUES):
            answers = documents()
            inner = answers
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = odd
            try:
                used(cluster_of(answers))
            except ClusterError:
                refused += 1
            except Exception as error:
                error.add_note(f"{place} = {str(odd)[:50]}")
                raise
    assert refused > 200


@pytest.mark.parametrize("left_out", [("metadata", "uid"), ("metadata", "creationTimestamp"), ("metadata",)])
def test_what_lacks_a_field_that_every_object_has_is_none(left_out: tuple[str, ...]) -> None:
    answers = documents()
    for path in list(answers):
        one = answers[path]["items"][0] if "items" in answers[path] else answers[path]
        for key in left_out[:-1]:
            one = one[key]
        del one[left_out[-1]]
        with pytest.raises(ClusterError, match="metadata"):
            used(cluster_of({**documents(), path: answers[path]}))


BODIES = [
    b"<html>",
    b"{}",
    b"[]",
    b"3",
    b"null",
    b'{"items": 3, "metadata": {}}',
    b"[" * 99_999,
    b"9" * 400,
    b"",
]


@pytest.mark.parametrize("body", BODIES, ids=[str(body[:12]) for body in BODIES])
def test_a_server_that_is_none_is_a_cluster_and_a_lock_that_do_not_answer(body: bytes) -> None:
    with serving(at_once(body)) as server:
        api = Api(client_of(server), Retry(deadline_s=0.0))
        calls: list[Callable[[], Any]] = [
            lambda: api.get("/a"), lambda: api.items("/a"), lambda: api.scale("/a", 3),
            lambda: api.create("/a", {}),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(ClusterError):
                call()
        with pytest.raises(ClusterError):
            LeaseLock(client_of(server), "default", "a", 5.0).get()


def test_a_refusal_in_another_form_is_a_refusal() -> None:
    for body in (
        b"<html>no</html>",
        b"[3]",
        b'{"details": 3}',
        b'{"details": {"causes": [3, {"field": 4}]}}',
    ):
        with serving(at_once(body, "403 Forbidden")) as server, pytest.raises(ClusterError, match="403"):
            Api(client_of(server), Retry(deadline_s=0.0)).get("/a")


def test_numbers_that_are_too_long_are_not_read() -> None:
    assert shapes.fault({"*": 3}, {"*": lambda value: value == 3}) is None
    with pytest.raises(UnansweredError):
        Answer(200, {}, b'{"replicas": %b}' % (b"9" * 5000)).document()
