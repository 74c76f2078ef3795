"""A controller runs for months: cycles leave no memory, no connection and no thread behind."""

import gc
import sys
import threading

import pytest
from kubernetes.client import ApiClient

from tests.kubernetes_objects import Namespace, asked, make_cluster, recorded, until, want

pytestmark = pytest.mark.slow


def test_hundreds_of_cycles_leave_nothing_behind(kubernetes_api: ApiClient, namespace: Namespace) -> None:
    """Blocks of memory are counted, small and large; to trace them would take three times as long."""
    namespace.apply(asked("a", "small", 1, 3), "ipa-rl")
    until(lambda: len(namespace.pods("a")) == 3)
    cluster = make_cluster(namespace, {"only": {"name": "a"}})
    wanted = want(("small", 1, 3))
    pool = kubernetes_api.rest_client.pool_manager.connection_from_url(kubernetes_api.configuration.host)
    cluster.look()
    cluster.apply(wanted)

    def left_behind(cycles: int) -> tuple[int, int, int]:
        """Blocks, connections and threads that there are more after some cycles."""
        forget_names()
        before = sys.getallocatedblocks(), pool.num_connections, threading.active_count()
        for _ in range(cycles):
            cluster.look()
            cluster.apply(wanted)
            assert not sent.writes
            sent.requests.clear()
        forget_names()
        after = sys.getallocatedblocks(), pool.num_connections, threading.active_count()
        blocks, connections, count = (a - b for a, b in zip(after, before, strict=True))
        return blocks, connections, count

    with recorded(kubernetes_api) as sent:
        left_behind(30)
        blocks, connections, count = left_behind(220)

    assert (connections, count) == (0, 0)
    assert blocks < 220  # not even one a cycle


def forget_names() -> None:
    """Python's cache of looked-up names keeps some of them alive; it fills slowly, as a leak would."""
    sys._clear_type_cache()
    gc.collect()
