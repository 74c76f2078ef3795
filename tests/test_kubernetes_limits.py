"""ResourceQuota and PodDisruptionBudget are respected, and what they cut is reported."""

from ipa_rl.pipeline import Configuration
from tests.kubernetes_objects import Namespace, asked, make_cluster, recorded, until, want

STAGES = {"first": {"name": "a"}, "second": {"name": "b"}}


def running(namespace: Namespace, name: str, replicas: int) -> None:
    """A stage whose small variant runs."""
    namespace.apply(asked(name, "small", 1, replicas), "ipa-rl")
    namespace.served(name, replicas)


def replicas(configuration: Configuration) -> list[int]:
    return [stage.replicas for stage in configuration.stages]


def test_a_configuration_that_exceeds_a_quota_is_cut_to_what_fits(namespace: Namespace) -> None:
    running(namespace, "a", 2)
    namespace.add_quota("compute", {"requests.cpu": "5", "pods": "20"})
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    applied = cluster.apply(want(("small", 1, 9)))

    assert [str(change) for change in applied.changes] == ["only: replicas 2 -> 5"]
    assert applied.refused == (
        "only: 9 replicas cut to 5: ResourceQuota compute leaves 3 of 5 requests.cpu; fix: raise it",
    )
    assert replicas(applied.configuration) == [5]


def test_the_cut_is_made_where_the_pipeline_loses_least(namespace: Namespace) -> None:
    running(namespace, "a", 1)
    running(namespace, "b", 1)
    namespace.add_quota("compute", {"pods": "8"})
    cluster = make_cluster(namespace, STAGES)

    applied = cluster.apply(want(("small", 1, 9), ("small", 1, 3)))

    assert replicas(applied.configuration) == [5, 3]


def test_a_heavier_variant_that_does_not_fit_is_put_off(namespace: Namespace) -> None:
    running(namespace, "a", 2)
    running(namespace, "b", 1)
    namespace.add_quota("compute", {"limits.cpu": "6"})
    cluster = make_cluster(namespace, STAGES)

    applied = cluster.apply(want(("large", 1, 2), ("small", 1, 2)))

    assert [str(change) for change in applied.changes] == ["second: replicas 1 -> 2"]
    assert "first: large b1 is put off: ResourceQuota compute leaves 3 of 6 limits.cpu" in applied.refused[0]
    assert applied.configuration == want(("small", 1, 2), ("small", 1, 2))


def test_what_fits_is_not_cut(namespace: Namespace) -> None:
    running(namespace, "a", 2)
    namespace.add_quota("compute", {"requests.cpu": "9", "limits.cpu": "9", "pods": "9"})
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    assert not cluster.apply(want(("large", 1, 8))).refused


def test_a_quota_of_other_pods_is_not_ours(namespace: Namespace) -> None:
    running(namespace, "a", 2)
    spec = {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}
    namespace.add("resourcequotas", "", {"metadata": {"name": "rest"}, "spec": spec})
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    assert not cluster.apply(want(("small", 1, 3))).refused


def test_pods_that_a_quota_kept_from_being_made_are_a_problem_to_see(namespace: Namespace) -> None:
    namespace.add_quota("compute", {"requests.cpu": "1"})
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    until(lambda: any("exceeded quota" in problem for problem in cluster.look().problems))


def test_a_disruption_budget_is_the_least_number_of_replicas(namespace: Namespace) -> None:
    running(namespace, "a", 5)
    budget = {
        "metadata": {"name": "enough"},
        "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "a"}}},
    }
    namespace.add("poddisruptionbudgets", "policy/v1beta1", budget)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    applied = cluster.apply(want(("small", 1, 1)))

    assert [str(change) for change in applied.changes] == ["only: replicas 5 -> 3"]
    assert "1 replicas raised to 3: PodDisruptionBudget enough keeps 3 available" in applied.refused[0]


def test_a_budget_of_other_pods_or_of_a_share_forbids_nothing(namespace: Namespace) -> None:
    running(namespace, "a", 3)
    for name, least, app in (("share", "50%", "a"), ("others", 3, "b")):
        spec = {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}
        namespace.add("poddisruptionbudgets", "policy/v1beta1", {"metadata": {"name": name}, "spec": spec})
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    applied = cluster.apply(want(("small", 1, 1)))

    assert not applied.refused
    assert replicas(applied.configuration) == [1]


def test_limits_are_looked_up_only_where_something_differs(namespace: Namespace) -> None:
    running(namespace, "a", 1)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    with recorded(namespace.client) as sent:
        cluster.apply(want(("small", 1, 1)))

    assert not [path for _, path in sent.requests if "quota" in path or "budget" in path]


def test_stages_of_other_namespaces_have_their_own_limits(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    running(namespace, "a", 1)
    running(other_namespace, "b", 1)
    other_namespace.add_quota("compute", {"pods": "2"})
    stages = {"first": {"name": "a"}, "second": {"name": "b", "namespace": other_namespace.name}}
    cluster = make_cluster(namespace, stages)

    applied = cluster.apply(want(("small", 1, 4), ("small", 1, 4)))

    assert replicas(applied.configuration) == [4, 2]
    assert namespace.get("Deployment", "a")["spec"]["replicas"] == 4
    assert other_namespace.get("Deployment", "b")["spec"]["replicas"] == 2


def test_a_pod_that_is_not_ready_makes_no_room_where_there_are_no_more_pods_than_replicas(
    namespace: Namespace,
) -> None:
    """Kubernetes takes no pod away before a new one serves, and the quota lets none come."""
    running(namespace, "a", 1)
    namespace.apply(asked("a", "small", 1, 2), "ipa-rl")
    until(lambda: len(namespace.pods("a")) == 2)
    namespace.add_quota("compute", {"pods": "2"})
    cluster = make_cluster(namespace, {"only": {"name": "a"}})

    applied = cluster.apply(want(("small", 2, 2)))

    assert not applied.changes
    assert "only: small b2 is put off: ResourceQuota compute leaves 0 of 2 pods" in applied.refused[0]


def test_a_change_that_no_quota_lets_come_about_can_be_taken_back(namespace: Namespace) -> None:
    running(namespace, "a", 2)
    namespace.add_quota("compute", {"pods": "2"})
    namespace.apply(asked("a", "small", 2, 2), "ipa-rl")
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    until(lambda: any("exceeded quota" in problem for problem in cluster.look().problems))

    applied = cluster.apply(want(("small", 1, 2)))

    assert [str(change) for change in applied.changes] == ["only: batch 2 -> 1"]
    assert not applied.refused
