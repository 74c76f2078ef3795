"""The real command against an API server whose process ends and starts again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.control_plane import ControlPlane, needs_control_plane
from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from ipa_rl.live.kubernetes import connect
from tests.kubernetes_objects import Namespace, until
from tests.shop import LEASE_S, STAGES, WITHIN_S, Copy, Shop, shop_in

pytestmark = [
    pytest.mark.slow,
    needs_control_plane,
    needs_prometheus,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]

BEFORE_RPS, AFTER_RPS = 12.0, 60.0
AWAY_S = 2.5 * LEASE_S


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of this specification's own."""
    folder = tmp_path / "control-plane"
    folder.mkdir()
    own = ControlPlane(folder)
    try:
        own.start()
        yield own
    finally:
        own.stop()


@pytest.fixture
def counting() -> Iterator[CountingProcess]:
    """A process that counts requests."""
    process = CountingProcess(free_port(), BEFORE_RPS)
    yield process
    process.kill()


@pytest.fixture
def shop(plane: ControlPlane, counting: CountingProcess, tmp_path: Path) -> Iterator[Shop]:
    """The pipeline in that control plane, its load in a Prometheus."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    prometheus = Prometheus(folder, {"router": [counting.port]})
    prometheus.start()
    client = connect(plane.kubeconfig)
    with shop_in(Namespace(client, "default"), prometheus, tmp_path) as shop:
        yield shop
    client.rest_client.pool_manager.clear()
    prometheus.stop()


def test_an_api_server_that_is_away_for_longer_than_a_lease_lasts_costs_nothing_but_time(
    plane: ControlPlane, shop: Shop, counting: CountingProcess
) -> None:
    first, second = (
        shop.start(name, kubeconfig=str(plane.kubeconfig), state="state.json") for name in ("a", "b")
    )
    until(lambda: shop.carries(BEFORE_RPS) and first.steps() and second.steps(), WITHIN_S)
    before = [shop.asked(stage) for stage in STAGES]

    plane.stop_server()
    counting.tell(f"rate {AFTER_RPS}")  # what is right changes meanwhile
    time.sleep(AWAY_S)
    lost = "the cluster keeps what it has: GET /apis/apps/v1/namespaces/default"
    until(lambda: first.says(lost) and second.says(lost), WITHIN_S)  # a step that compiles ends late
    assert first.process.poll() is None
    assert second.process.poll() is None
    plane.start_server()

    until(lambda: shop.carries(AFTER_RPS), WITHIN_S)
    assert before != [shop.asked(stage) for stage in STAGES]
    until(lambda: newest(first, second)["changes"] == [], WITHIN_S)  # and then leaves it at that
    assert shop.holder() in ("a", "b")
    for one in writing(first):
        assert not [other for other in writing(second) if one[0] < other[1] and other[0] < one[1]]
    for copy in (first, second):
        assert copy.says("steps succeed again")
        assert not copy.says('"level": "error"')
        counts = [step["step"] for step in copy.steps() if "step" in step]
        assert counts == list(range(1, len(counts) + 1))  # none is lost, and none began anew
        assert copy.end() == 0


def newest(*copies: Copy) -> dict[str, Any]:
    """The last step in which any of them could write."""
    return max((step for copy in copies for step in copy.acted()), key=lambda step: str(step["time"]))


def writing(copy: Copy) -> list[tuple[float, float]]:
    """When it may have written: from and to, seconds since 1970."""
    ends = [(datetime.fromisoformat(step["time"]).timestamp(), step["apply_s"]) for step in copy.acted()]
    return [(end_s - apply_s, end_s) for end_s, apply_s in ends]
