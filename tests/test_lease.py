"""Leader election over a real Lease, against a real API server."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ipa_rl.live.cluster import ClusterError
from ipa_rl.sidecar.leader import Campaign, Election, Elector

client: Any = pytest.importorskip("kubernetes.client")
config: Any = pytest.importorskip("kubernetes.config")

pytestmark = pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="KUBECONFIG is not set")

SHORT: dict[str, Any] = {"lease_s": 3.0, "renew_s": 2.0, "retry_s": 0.2}


@pytest.fixture
def lease() -> Iterator[tuple[Any, str]]:
    """An API client and the name of a Lease of this test's own."""
    api = config.new_client_from_config(os.environ["KUBECONFIG"])
    name = f"ipa-rl-{uuid.uuid4().hex[:8]}"
    yield api, name
    with contextlib.suppress(client.exceptions.ApiException):  # never written, or deleted by the test
        client.CoordinationV1Api(api).delete_namespaced_lease(name, "default")
    api.close()


def campaign(lease: tuple[Any, str], identity: str) -> Campaign:
    from ipa_rl.live.kubernetes.lease import LeaseLock

    api, name = lease
    return Campaign(Elector(LeaseLock(api, "default", name), Election(identity=identity, **SHORT)))


def until(true: Any, within_s: float = 10.0) -> float:
    """Seconds until something is true."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, "it never became true"
        time.sleep(0.02)
    return time.monotonic() - began


def test_one_leads_and_the_lease_names_it(lease: tuple[Any, str]) -> None:
    first, second = campaign(lease, "a"), campaign(lease, "b")
    first.start()
    until(first.elector.leads)
    second.start()
    time.sleep(1.0)
    assert not second.elector.leads()
    spec = client.CoordinationV1Api(lease[0]).read_namespaced_lease(lease[1], "default").spec
    assert (spec.holder_identity, spec.lease_duration_seconds) == ("a", 3)
    first.stop()
    assert until(second.elector.leads) < SHORT["lease_s"]  # released, so nobody waits for it to run out
    second.stop()


def test_another_leads_within_the_lease_time_after_a_leader_that_was_killed(lease: tuple[Any, str]) -> None:
    first, second = campaign(lease, "a"), campaign(lease, "b")
    assert first.elector.attempt()  # and never again, as a killed process would
    second.start()
    took_s = until(second.elector.leads)
    assert SHORT["lease_s"] <= took_s + 0.3 <= SHORT["lease_s"] + 1.5
    assert not first.elector.leads()
    second.stop()


def test_a_lease_deleted_by_hand_is_written_again(lease: tuple[Any, str]) -> None:
    first = campaign(lease, "a")
    first.start()
    until(first.elector.leads)
    api = client.CoordinationV1Api(lease[0])
    api.delete_namespaced_lease(lease[1], "default")
    field = {"field_selector": f"metadata.name={lease[1]}"}
    until(lambda: api.list_namespaced_lease("default", **field).items)
    assert api.read_namespaced_lease(lease[1], "default").spec.holder_identity == "a"
    assert first.elector.leads()
    first.stop()


def test_only_one_of_two_writers_of_the_same_version_wins(lease: tuple[Any, str]) -> None:
    first, second = campaign(lease, "a").elector, campaign(lease, "b").elector
    first.attempt()
    first.release()
    lock = first._lock  # both saw the released record
    found = lock.get()
    assert found is not None
    assert second.attempt()
    assert lock.put(found[0], found[1]) is None


def test_a_server_that_does_not_answer_is_a_lock_error_and_not_a_lost_process() -> None:
    from ipa_rl.live.kubernetes.lease import LeaseLock

    nowhere = client.ApiClient(client.Configuration(host="http://127.0.0.1:9"))
    nowhere.configuration.retries = False
    lock = LeaseLock(nowhere, "default", "none", timeout_s=0.5)
    with pytest.raises(ClusterError, match="no answer"):
        lock.get()
    elector = Elector(lock, Election(identity="a"))
    assert not elector.attempt()


def test_what_a_leader_leaves_stands_in_the_lease_for_the_next(lease: tuple[Any, str]) -> None:
    first, second = campaign(lease, "a").elector, campaign(lease, "b").elector
    assert first.attempt()
    assert first.left == ""
    first.handover = '{"a": "\\u00e4"}'
    assert first.attempt()
    first.handover += " "
    first.release()
    assert second.attempt()
    assert second.left == '{"a": "\\u00e4"} '
    assert second.attempt()  # says nothing itself yet, so it stays
    assert second.left == '{"a": "\\u00e4"} '
