"""Hot and warm knobs: servers that take another batch size or variant while they run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ipa_rl.live.kubernetes import KubernetesCluster
from tests.kubernetes_objects import MERGE, Namespace, asked, make_cluster, recorded, send, until, want
from tests.model_servers import ModelServers


@pytest.fixture
def servers() -> Iterator[ModelServers]:
    """Three servers, each on an address of its own, that take batch sizes and variants over HTTP."""
    with ModelServers(3) as servers:
        yield servers


@contextmanager
def stage_of(
    namespace: Namespace, servers: ModelServers, replicas: int, **knobs: Any
) -> Iterator[KubernetesCluster]:
    """A stage whose pods are the servers."""
    body = asked("a", "small", 1, replicas)
    namespace.apply(body, "ipa-rl")
    until(lambda: len(namespace.pods("a")) == replicas)
    for pod, address in zip(namespace.pods("a"), servers.addresses, strict=False):
        namespace.mark_ready(pod)
        path = f"{namespace.path('pods')}/{pod['metadata']['name']}/status"
        send(namespace.client, "PATCH", path, {"status": {"podIP": address}}, MERGE)
    cluster = make_cluster(namespace, {"only": {"name": "a", **knobs}})
    yield cluster
    cluster.close()


def knob(servers: ModelServers, name: str, knob_class: str) -> dict[str, str]:
    base = f"http://{{ip}}:{servers.port}/{name}"
    return {"class": knob_class, "put": f"{base}?value={{value}}", "get": base}


def test_a_hot_batch_size_is_taken_by_all_servers_at_once_without_new_pods(
    namespace: Namespace, servers: ModelServers
) -> None:
    with stage_of(namespace, servers, 3, batch=knob(servers, "batch", "hot")) as cluster:
        with recorded(namespace.client) as sent:
            applied = cluster.apply(want(("small", 4, 3)))

        assert [str(change) for change in applied.changes] == ["only: batch 1 -> 4"]
        assert not sent.writes
        assert servers.values("batch") == ["4", "4", "4"]
        seen = cluster.look()
        assert (seen.stages[0].batch, seen.stages[0].asked) == (4, ("small", 4))
        assert seen.state.fleet[0]["batch"] == 2
        assert not cluster.apply(want(("small", 4, 3))).changes


def test_a_server_that_began_later_is_brought_to_the_same_batch_size(
    namespace: Namespace, servers: ModelServers
) -> None:
    with stage_of(namespace, servers, 3, batch=knob(servers, "batch", "hot")) as cluster:
        cluster.apply(want(("small", 4, 3)))
        servers.set(1, "batch", "1")

        assert len(cluster.apply(want(("small", 4, 3))).changes) == 1
        assert servers.values("batch") == ["4", "4", "4"]


def test_a_warm_variant_is_reloaded_by_one_server_at_a_time(
    namespace: Namespace, servers: ModelServers
) -> None:
    with stage_of(namespace, servers, 3, variant=knob(servers, "variant", "warm")) as cluster:
        wanted = want(("large", 1, 3))
        counts = []
        for _ in range(3):
            applied = cluster.apply(wanted)
            counts.append(servers.values("variant").count("large"))
            assert bool(applied.waiting) == (counts[-1] < 3)
            fleet = cluster.look().state.fleet[0]
            assert (fleet["ready"], fleet["warm"], fleet["cohorts"]) == (3, 0, 0)
        assert counts == [1, 2, 3]
        assert not cluster.apply(wanted).changes
        assert cluster.look().stages[0].variant == "large"


def test_a_reload_that_would_leave_a_gap_is_refused(namespace: Namespace, servers: ModelServers) -> None:
    with stage_of(namespace, servers, 1, variant=knob(servers, "variant", "warm")) as cluster:
        applied = cluster.apply(want(("large", 1, 1)))

        assert "one replica cannot reload without a gap" in applied.refused[0]
        assert servers.values("variant")[0] == "small"


def test_a_server_that_does_not_take_a_value_is_reported(namespace: Namespace, servers: ModelServers) -> None:
    with stage_of(namespace, servers, 3, batch=knob(servers, "batch", "hot")) as cluster:
        servers.refuses = True
        applied = cluster.apply(want(("small", 4, 3)))

        assert not applied.changes
        assert "409" in applied.refused[0]
