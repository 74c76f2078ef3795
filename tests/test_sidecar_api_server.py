"""The real command against an API server whose process ends and starts again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tests.control_plane import ControlPlane, needs_control_plane
from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from ipa_rl.clusters.kubernetes import connect
from tests.kubernetes_objects import Namespace, until
from tests.shop import STAGES, WITHIN_S, Copy, Shop, shop_in

pytestmark = [
    needs_control_plane,
    needs_prometheus,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]

BEFORE_RPS, AFTER_RPS = 12.0, 60.0
AWAY_S = 20.0


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


@pytest.mark.slow
def test_an_api_server_that_is_stopped_for_20_s_and_started_again_costs_nothing_but_time(
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
    assert first.process.poll() is None
    assert second.process.poll() is None
    plane.start_server()

    until(lambda: shop.carries(AFTER_RPS), WITHIN_S)
    assert before != [shop.asked(stage) for stage in STAGES]
    until(lambda: leaders(first, second)[-1].acted()[-1]["changes"] == [], WITHIN_S)  # and leaves it at that
    assert shop.holder() in ("a", "b")
    for copy in (first, second):
        assert "the cluster keeps what it has: GET /apis/apps/v1/namespaces/default" in copy.told()
        assert copy.says("steps succeed again")
        assert not copy.says('"level": "error"')
        counts = [step["step"] for step in copy.steps() if "step" in step]
        assert counts == list(range(1, len(counts) + 1))  # none is lost, and none began anew
        assert copy.end() == 0
    assert len(leaders(first, second)) <= 2  # each acts for one time at most, and never both


def leaders(*copies: Copy) -> list[Copy]:
    """Who acted, in the order of time, each once for as long as no other did."""
    acted = sorted((step["time"], i) for i, copy in enumerate(copies) for step in copy.acted())
    return [copies[i] for i, _ in groupby(i for _, i in acted)]
