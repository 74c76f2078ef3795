"""Pods that never become ready on a real API server: why is told, and what served before goes on serving."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest

from ipa_rl.agents.program import ProgramAgent
from ipa_rl.live.kubernetes import KubernetesCluster
from ipa_rl.live.kubernetes.observed_stages import ObservedStage
from ipa_rl.objective import Allotment, Problem
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.fallbacks import MissingMetrics
from ipa_rl.sidecar.observed import Observed
from ipa_rl.sidecar.promotion import ACT, Rule
from ipa_rl.sidecar.sharing import Shared
from ipa_rl.sidecar.sidecar import Sidecar
from ipa_rl.solvers.transition import most_on_the_way
from ipa_rl.workload.forecasters import WindowMaximum
from tests.kubernetes_objects import (
    APPLY,
    MERGE,
    Document,
    Namespace,
    asked,
    deployment,
    is_ready,
    make_cluster,
    send,
    until,
    want,
)
from tests.live import FREE, Told, Wants
from tests.model_servers import ModelServers
from tests.pipelines import one_stage
from tests.shop import variables_of
from tests.test_kubernetes_live_knobs import knob, stage_of

LONG_S = 61.0
"""Longer than five start-up delays of 12 s."""


@dataclass
class Driver:
    """A sidecar in act mode whose agent wants one configuration for ever, and its clock."""

    cluster: KubernetesCluster
    wanted: Configuration
    now_s: float = 0.0
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        definition = self.cluster.definition
        self.sidecar = Sidecar(
            definition=definition, cluster=self.cluster, agents=(Wants(self.wanted),),
            program=ProgramAgent("ip", definition, WindowMaximum(30), margin=0.1), limits=FREE,
            missing=MissingMetrics(), rule=Rule(ACT, "agent", None, None),
            logs=(self.told,), events=self.cluster, now=lambda: self.now_s,
        )  # fmt: skip

    def step(self, after_s: float = 0.0) -> None:
        """One step, so much later."""
        self.now_s += after_s
        self.sidecar.attempt()
        assert self.told.failures == []


def driven(
    namespace: Namespace, replicas: int, wanted: Configuration, problem: Problem | None = None
) -> Driver:
    """A Deployment of ready pods of the small variant, and who wants something else of it."""
    namespace.apply(asked("a", "small", 1, replicas), "ipa-rl")
    namespace.served("a", replicas)
    return Driver(make_cluster(namespace, {"only": {"name": "a"}}, problem), wanted)


def mark(namespace: Namespace, pod: Document, status: Document) -> None:
    """Say of a pod what a kubelet or a scheduler says."""
    send(namespace.client, "PATCH", f"{namespace.path('pods')}/{pod['metadata']['name']}/status",
         {"status": status}, MERGE)  # fmt: skip


def waiting(reason: str, message: str, **more: Document) -> Document:
    container = {"name": "server", "image": "x", "imageID": "", "ready": False, "restartCount": 3}
    return {
        "containerStatuses": [
            {**container, "state": {"waiting": {"reason": reason, "message": message}}, **more}
        ]
    }


NO_NODE = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
         "message": "0/3 nodes are available: 3 Insufficient cpu.",
         "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]
}  # fmt: skip
ENDED = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
TROUBLES = {
    "ImagePullBackOff: Back-off pulling image": waiting("ImagePullBackOff", 'Back-off pulling image "x:9"'),
    "ErrImagePull: not found": waiting("ErrImagePull", "not found"),
    "CrashLoopBackOff: back-off 40s (ended by OOMKilled)": waiting(
        "CrashLoopBackOff", "back-off 40s", **ENDED
    ),
    "CreateContainerConfigError: no such secret": waiting("CreateContainerConfigError", "no such secret"),
    "Unschedulable: 0/3 nodes are available": NO_NODE,
    "start-up delay 12 s); not asked for again": {},
}


def variants(namespace: Namespace) -> list[str]:
    return [variables_of(pod["spec"])["IPA_VARIANT"] for pod in namespace.pods("a")]


def ready(namespace: Namespace) -> set[str]:
    return {pod["metadata"]["name"] for pod in namespace.pods("a") if is_ready(pod)}


def given_up(namespace: Namespace) -> list[str]:
    return [one["message"] for one in namespace.objects("events") if one["reason"] == "GaveUp"]


@pytest.mark.parametrize("words", TROUBLES)
def test_a_variant_whose_pods_never_become_ready_is_given_up_and_its_predecessor_serves_on(
    namespace: Namespace, words: str
) -> None:
    driver = driven(namespace, 2, want(("large", 1, 3)))
    before = ready(namespace)
    driver.step()
    until(lambda: variants(namespace).count("large") == 3)
    for pod in namespace.pods("a"):
        if not is_ready(pod) and TROUBLES[words]:
            mark(namespace, pod, TROUBLES[words])

    driver.step(LONG_S)

    assert words in given_up(namespace)[0]
    assert "only: 0 of 3 replicas serve large b1 after 61 s" in given_up(namespace)[0]
    for _ in range(3):
        driver.step(10.0)
    until(lambda: set(variants(namespace)) == {"small"})
    assert before <= ready(namespace)
    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 2
    assert len(given_up(namespace)) == 1


def test_replicas_that_find_no_node_are_given_up_and_those_that_serve_stay(namespace: Namespace) -> None:
    driver = driven(namespace, 2, want(("small", 1, 5)))
    before = ready(namespace)
    driver.step()
    until(lambda: len(namespace.pods("a")) == 5)
    for pod in namespace.pods("a"):
        if not is_ready(pod):
            mark(namespace, pod, NO_NODE)

    driver.step(LONG_S)

    assert "2 of 5 replicas serve small b1" in given_up(namespace)[0]
    until(lambda: len(namespace.pods("a")) == 2)
    assert ready(namespace) == before


def test_pods_that_are_not_even_made_are_told_with_the_reason(namespace: Namespace) -> None:
    driver = driven(namespace, 2, want(("small", 1, 5)))
    limits = [{"type": "Container", "max": {"cpu": "500m"}}]
    namespace.add("limitranges", "", {"metadata": {"name": "small"}, "spec": {"limits": limits}})
    driver.step()
    until(lambda: "FailedCreate" in driver.cluster.look().stages[0].trouble)

    driver.step(LONG_S)

    assert "maximum cpu usage per Container is 500m" in given_up(namespace)[0]
    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 2
    assert len(ready(namespace)) == 2


def test_a_quota_that_is_full_of_pods_that_never_serve_does_not_keep_from_going_back(
    namespace: Namespace,
) -> None:
    driver = driven(namespace, 1, want(("large", 1, 2)))
    before = ready(namespace)
    driver.step()
    until(lambda: variants(namespace).count("large") == 2)
    namespace.add_quota("compute", {"pods": str(len(namespace.pods("a")))})

    driver.step(LONG_S)
    until(lambda: variants(namespace).count("small") == 2)
    for pod in namespace.pods("a"):
        if variables_of(pod["spec"])["IPA_VARIANT"] == "small":
            namespace.mark_ready(pod)

    until(lambda: set(variants(namespace)) == {"small"})
    assert before <= ready(namespace)


def test_what_the_api_server_refused_was_not_asked_for_and_is_not_given_up(namespace: Namespace) -> None:
    driver = driven(namespace, 2, want(("large", 1, 3)))
    variables = [{"name": "IPA_VARIANT", "value": "small"}]
    container = {"name": "server", "env": variables}
    spec = {"template": {"spec": {"containers": [container]}}}
    owned = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}
    path = f"{namespace.path('deployments', 'apps/v1')}/a?fieldManager=team&force=true"
    send(namespace.client, "PATCH", path, owned, APPLY)

    driver.step()
    driver.step(LONG_S)

    entry = driver.told.entries[-1]
    assert "team" in entry["refused"][0]
    assert [one["variant"] for one in entry["asked"]] == ["small"]
    assert entry["worth"]["pas_x100"] == 50.0
    assert given_up(namespace) == []


@pytest.mark.parametrize("how", ["deaf", "refuses"])
@pytest.mark.parametrize("name", ["variant", "batch"])
def test_a_change_in_place_that_servers_do_not_take_is_given_up(
    namespace: Namespace, name: str, how: str
) -> None:
    wanted = want(("large", 1, 2)) if name == "variant" else want(("small", 8, 2))
    with ModelServers(2) as servers:
        setattr(servers, how, True)
        with stage_of(namespace, servers, 2, **{name: knob(servers, name, "hot")}) as cluster:
            driver = Driver(cluster, wanted)
            for after_s in (0.0, LONG_S, 10.0):
                driver.step(after_s)

    first, *_, last = driver.told.entries
    assert first["asked"][0][name] == getattr(wanted.stages[0], name)
    assert len(given_up(namespace)) == 1
    assert (last["changes"], last["refused"]) == ([], [])
    assert last["asked"][0][name] == getattr(want(("small", 1, 2)).stages[0], name)


def test_pods_that_become_ready_late_but_one_by_one_are_not_given_up(namespace: Namespace) -> None:
    driver = driven(namespace, 1, want(("small", 1, 4)))
    driver.step()
    until(lambda: len(namespace.pods("a")) == 4)
    for _ in range(3):
        driver.step(50.0)
        namespace.serve("a", 1)
        driver.step(1.0)
    driver.step(LONG_S)

    assert given_up(namespace) == []
    assert driver.told.entries[-1]["overdue"] == []


@pytest.mark.parametrize(
    ("kind", "condition", "words"),
    [
        ("Deployment", ("Progressing", "ProgressDeadlineExceeded", "no progress"), "no progress"),
        ("InferenceService", ("PredictorReady", "RevisionFailed", "no image"), "RevisionFailed: no image"),
        ("SeldonDeployment", ("DeploymentsReady", "Waits", "a\n deployment"), "Waits: a deployment"),
    ],
)
def test_where_no_pod_says_why_the_object_of_any_kind_does(
    namespace: Namespace, kind: str, condition: tuple[str, str, str], words: str
) -> None:
    cluster = make_cluster(namespace, {"only": {"name": "a", "kind": kind}})
    shown = dict(zip(("type", "reason", "message"), condition, strict=True), status="False")
    live = {"status": {"conditions": [shown]}}
    observed = ObservedStage(cluster.description.stages[0], live, None, 3, "small", 1, ())
    assert observed.seen().trouble.endswith(words)


def held_back(namespace: Namespace, pod: Document, holds: bool) -> None:
    """A finalizer, so that the pod ends, and is not gone."""
    body = {"metadata": {"finalizers": ["ipa-rl.dev/specification"] if holds else None}}
    send(namespace.client, "PATCH", f"{namespace.path('pods')}/{pod['metadata']['name']}", body, MERGE)


def test_pods_that_end_are_told_also_where_their_replica_set_has_gone(namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 1), "ipa-rl")
    namespace.change("Deployment", "a", {"spec": {"revisionHistoryLimit": 0}})
    namespace.served("a", 1)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    (old,) = namespace.pods("a")
    held_back(namespace, old, True)
    try:
        cluster.apply(want(("large", 1, 1)))
        until(lambda: len(namespace.pods("a")) == 2)
        namespace.serve("a")
        until(lambda: len(namespace.objects("replicasets", "apps/v1")) == 1)
        seen = cluster.look().stages[0]
        assert (seen.serving, seen.ending) == ((("large", 1, 1),), (("small", 1),))
    finally:
        held_back(namespace, old, False)
    until(lambda: not cluster.look().stages[0].ending)


def test_pods_of_which_nobody_knows_what_they_serve_are_not_taken_for_nothing(namespace: Namespace) -> None:
    namespace.apply(deployment("a"))  # one replica, of which nobody says what it serves
    namespace.served("a", 1)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    cluster.apply(want(("large", 1, 1)))
    until(lambda: len(namespace.pods("a")) == 2)
    assert cluster.look().stages[0].ending == (("small", 1),)


def test_who_goes_back_while_a_rolling_update_may_end_counts_new_pods_beside_the_old_ones(
    namespace: Namespace,
) -> None:
    """Between a look and the write that follows it the old pods may go."""
    small = want(("small", 1, 2))
    driver = driven(namespace, 2, want(("large", 1, 2)))
    driver.step()
    until(lambda: variants(namespace).count("large") == 2)
    look, problem = driver.cluster.look(), driver.cluster.definition.problem
    observed = Observed(look, look.state, (None,), math.nan)
    seen = {pod["metadata"]["name"] for pod in namespace.pods("a")}

    namespace.serve("a")
    until(lambda: set(variants(namespace)) == {"large"})
    driver.cluster.apply(small)
    until(lambda: variants(namespace).count("small") == 2)

    exist = seen | {pod["metadata"]["name"] for pod in namespace.pods("a")}
    assert len(exist) == 6
    assert most_on_the_way(problem.pipeline, small, observed.occupied(problem))["cores"] >= len(exist)


def test_under_a_limit_what_was_given_up_makes_way_for_what_serves(namespace: Namespace) -> None:
    """It needs no room beside what runs, so nobody holds it back or gives room away for it."""
    problem, small = replace(one_stage(), limits=(("cores", 4.0),)), want(("small", 1, 2))
    driver = driven(namespace, 2, want(("large", 1, 2)), problem)
    before, needed = ready(namespace), list[float]()

    def share(observed: Observed, *_: object) -> Shared:
        needed.append(most_on_the_way(problem.pipeline, small, observed.occupied(problem))["cores"])
        return Shared(Allotment((("cores", 4.0),)), "")

    driver.sidecar.share = share
    driver.step()
    until(lambda: variants(namespace).count("large") == 2)
    driver.step()
    driver.step(LONG_S)

    until(lambda: set(variants(namespace)) == {"small"})
    assert ready(namespace) == before
    assert needed == [2.0, 6.0, 4.0]
