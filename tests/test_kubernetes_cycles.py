"""A controller runs for months: cycles leave no memory and no connection behind."""

import gc
import tracemalloc

import pytest
from kubernetes.client import ApiClient

from tests.kubernetes_objects import Namespace, asked, make_cluster, recorded, until, want


@pytest.mark.slow
def test_a_thousand_cycles_leave_nothing_behind(kubernetes_api: ApiClient, namespace: Namespace) -> None:
    namespace.apply(asked("a", "small", 1, 3), "ipa-rl")
    until(lambda: len(namespace.pods("a")) == 3)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    wanted = want(("small", 1, 3))
    for _ in range(50):
        cluster.look()
        cluster.apply(wanted)
    pool = kubernetes_api.rest_client.pool_manager.connection_from_url(kubernetes_api.configuration.host)
    connections = pool.num_connections

    gc.collect()
    tracemalloc.start()
    with recorded(kubernetes_api) as sent:
        for _ in range(100):
            cluster.look()
            cluster.apply(wanted)
        sent.requests.clear()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(900):
            cluster.look()
            cluster.apply(wanted)
            assert not sent.writes
            sent.requests.clear()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert pool.num_connections == connections
    assert after - before < 50_000
