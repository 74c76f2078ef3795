"""From a live HorizontalPodAutoscaler to the agent and back: one writer at any time, and no gap between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from tests.kubernetes_objects import Namespace, asked, send, until
from tests.shop import INTERVAL_S, STAGES, WITHIN_S, Copy, Shop, shop_in

pytestmark = [
    pytest.mark.slow,
    needs_prometheus,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),  # as the kubeconfig says
]

LOAD_RPS = 12.0
KEPT = 6
"""Replicas below which the autoscalers let no stage fall: far more than the load needs."""
AUTOSCALED_WITHIN_S = 120.0
"""The controller looks at an autoscaler every 15 s."""
FIRST = {"crop": "yolov5n", "classification": "resnet18"}
RULE = {"by": 0.1, "for_s": 5 * INTERVAL_S}


@pytest.fixture
def shop(namespace: Namespace, tmp_path: Path) -> Iterator[Shop]:
    """The pipeline with six replicas a stage that serve, as its autoscalers keep it."""
    counting = CountingProcess(free_port(), LOAD_RPS)
    folder = tmp_path / "prometheus"
    folder.mkdir()
    prometheus = Prometheus(folder, {"router": [counting.port]})
    prometheus.start()
    with shop_in(namespace, prometheus, tmp_path) as shop:
        for stage in STAGES:
            namespace.apply(asked(stage, FIRST[stage], 1, KEPT), "ipa-rl")
            autoscale(namespace, stage)
        for stage in STAGES:
            until(lambda stage=stage: shop.serves_alone(stage, KEPT), AUTOSCALED_WITHIN_S)  # type: ignore[misc]
        yield shop
    prometheus.stop()
    counting.kill()


def autoscale(namespace: Namespace, stage: str) -> None:
    """An autoscaler, carried out by the cluster's own controller; without metrics its least counts."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": stage}
    spec = {"scaleTargetRef": target, "minReplicas": KEPT, "maxReplicas": 2 * KEPT}
    body = {"metadata": {"name": f"{stage}-scaler"}, "spec": spec}
    namespace.add("horizontalpodautoscalers", "autoscaling/v1", body)


def remove_autoscalers(namespace: Namespace) -> None:
    """As kubectl delete hpa does."""
    for stage in STAGES:
        path = f"{namespace.path('horizontalpodautoscalers', 'autoscaling/v1')}/{stage}-scaler"
        send(namespace.client, "DELETE", path)


def replicas(shop: Shop) -> list[int]:
    return [shop.asked(stage)[0] for stage in STAGES]


def settled(shop: Shop) -> bool:
    """Let what the stages are asked for serve; whether nothing else is there."""
    alone = [shop.serves_alone(stage, shop.asked(stage)[0]) for stage in STAGES]
    return all(alone)


def changing(copy: Copy) -> list[int]:
    """Which of its steps changed something."""
    return [i for i, step in enumerate(copy.steps()) if step.get("acted") and step["changes"]]


def refused_for_autoscalers(copy: Copy) -> bool:
    """Whether its last step left both stages to their autoscalers."""
    last = copy.steps()[-1] if copy.steps() else {}
    return all(
        any(line.startswith(f"{stage}: HorizontalPodAutoscaler {stage}-scaler drives") for line in refused)
        for refused in [last.get("refused", [])]
        for stage in STAGES
    )


def test_a_promoted_agent_waits_until_the_autoscaler_goes_and_acts_at_once_then(shop: Shop) -> None:
    copy = shop.start("a", mode="shadow", promotion=RULE)
    until(lambda: copy.says("control changes hands"), WITHIN_S)
    compared = [step["shadow"]["accounts"] for step in copy.steps() if "shadow" in step]
    assert compared[0]["present"]["cores"] >= 2 * KEPT
    assert compared[0]["agent"]["cores"] < compared[0]["present"]["cores"]
    until(lambda: copy.acted() and refused_for_autoscalers(copy), WITHIN_S)
    time.sleep(3 * INTERVAL_S)
    assert replicas(shop) == [KEPT, KEPT]
    assert not [change for step in copy.acted() for change in step["changes"]]
    reasons = [e["message"] for e in shop.namespace.objects("events") if e["reason"] == "Refused"]
    assert any("fix: delete it" in reason for reason in reasons)

    remove_autoscalers(shop.namespace)
    known = len(copy.steps())
    until(lambda: changing(copy), WITHIN_S)
    assert changing(copy)[0] - known <= 1  # one step was under way, the next one acts
    until(lambda: settled(shop) and max(replicas(shop)) < KEPT, WITHIN_S)
    assert shop.carries(LOAD_RPS)

    for stage in STAGES:  # and back: the way that the guide gives after a demotion
        autoscale(shop.namespace, stage)
    until(lambda: refused_for_autoscalers(copy), WITHIN_S)
    until(lambda: replicas(shop) == [KEPT, KEPT], AUTOSCALED_WITHIN_S)
    time.sleep(3 * INTERVAL_S)
    assert replicas(shop) == [KEPT, KEPT]
    assert copy.end() == 0
