"""The real command against a real API server and a real Prometheus: who acts, and what happens in trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.prometheus_server import CountingProcess, Prometheus, free_port, needs_prometheus

pytest.importorskip("kubernetes")

from tests.kubernetes_objects import (
    DEVICE,
    MERGE,
    Namespace,
    deployment,
    is_ready,
    running_pods,
    send,
    until,
)
from tests.kubernetes_proxy import Line
from tests.pipelines import write_environment
from tests.shop import INTERVAL_S, LEASE_S, RETRY_S, ROOT, STAGES, WITHIN_S, Shop, shop_in, variables_of

pytestmark = [
    pytest.mark.slow,
    needs_prometheus,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),  # as the kubeconfig says
]

LOAD_RPS = 12.0
FORGOTTEN_S = 120.0
"""After so long the program plans no more for a load that has gone: its forecast is the maximum of 30 s."""


@pytest.fixture(scope="module")
def counting() -> Iterator[CountingProcess]:
    """A process of 12 requests a second."""
    process = CountingProcess(free_port(), LOAD_RPS)
    yield process
    process.kill()


@pytest.fixture(scope="module")
def measured(counting: CountingProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes it."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), {"router": [counting.port]})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def loaded(counting: CountingProcess) -> Iterator[CountingProcess]:
    """The process, for specifications that change its rate."""
    yield counting
    counting.tell(f"rate {LOAD_RPS}")


@pytest.fixture
def shop(namespace: Namespace, measured: Prometheus, tmp_path: Path) -> Iterator[Shop]:
    """The pipeline without any sidecar yet."""
    with shop_in(namespace, measured, tmp_path) as shop:
        yield shop


def test_it_asks_for_a_configuration_and_says_why_in_events(shop: Shop) -> None:
    copy = shop.start("a")
    until(lambda: shop.carries(LOAD_RPS), WITHIN_S)
    until(lambda: [e for e in shop.namespace.objects("events") if e["reason"] == "Adapted"], WITHIN_S)
    messages = [e["message"] for e in shop.namespace.objects("events") if e["reason"] == "Adapted"]
    assert any("requests/s" in message for message in messages)
    until(lambda: copy.acted() and not copy.acted()[-1]["changes"], WITHIN_S)  # and then leaves it at that
    assert copy.end() == 0


@pytest.mark.parametrize("agent", ["program", "planner"])
def test_each_stage_of_a_graph_gets_the_replicas_for_what_comes_to_it(
    agent: str, namespace: Namespace, measured: Prometheus, tmp_path: Path
) -> None:
    """Of 12 frames a second 60 or 108 cars come to one classifier, and a tenth of these to the other."""
    stages = {"detect": ("small", "large"), "cars": ("small", "large"), "plates": ("only",)}
    edges: list[dict[str, object]] = [
        {"from": "detect", "to": "cars", "requests": {"small": 5, "large": 9}},
        {"from": "cars", "to": "plates", "probability": 0.1},
    ]
    environment = str(write_environment(tmp_path / "served", stages, edges=edges))
    with shop_in(namespace, measured, tmp_path, environment) as shop:
        copy = shop.start("a", agent=agent)
        until(lambda: shop.carries(LOAD_RPS), WITHIN_S)
        assert copy.end() == 0


def test_a_stage_of_a_graph_moves_to_the_devices_of_a_node_within_their_quota_and_back(
    namespace: Namespace, devices: str, measured: Prometheus, loaded: CountingProcess, tmp_path: Path
) -> None:
    """Of 120 frames a second 600 cars come, for eight cores or a device; of 390 too many for two devices."""
    stages = dict.fromkeys(("detect", "cars", "plates"), ("small",))
    edges: list[dict[str, object]] = [
        {"from": "detect", "to": "cars", "requests": 5},
        {"from": "cars", "to": "plates", "probability": 0.1},
    ]
    served = tmp_path / "served"
    environment = str(
        write_environment(served, stages, edges=edges, device=DEVICE, placed=["cars"], load_window_s=5)
    )
    used = f"requests.{DEVICE}"
    namespace.add_quota("devices", {used: "2"})

    def serves(stage: str, variant: str, pods: int) -> bool:
        """Whether so many pods serve a variant on the node, and no others are there but such as end."""
        found = [
            (is_ready(pod), variables_of(pod["spec"]).get("IPA_VARIANT")) for pod in namespace.pods(stage)
        ]
        return found == pods * [(True, variant)]

    with shop_in(namespace, measured, tmp_path, environment, running_pods) as shop:
        copy = shop.start("a", cluster=shop.cluster(cores={"manage": False}, placements={DEVICE: {}}))
        for stage in stages:
            until(lambda stage=stage: serves(stage, "small", 1), WITHIN_S)  # type: ignore[misc]
        loaded.tell("rate 120")
        until(lambda: serves("cars", "small@l4", 1) and serves("detect", "small", 2), WITHIN_S)
        assert {pod["spec"]["nodeName"] for pod in namespace.pods()} == {devices}
        loaded.tell("rate 390")
        # 5, or 6 where a busy machine's late scrapes show a seventh more than comes
        until(
            lambda: serves("cars", "small@l4", 2) and any(serves("detect", "small", n) for n in (5, 6)),
            WITHIN_S,
        )
        until(lambda: "cut to 2" in str(copy.acted()[-1]), WITHIN_S)
        assert namespace.objects("resourcequotas")[0]["status"]["used"] == {used: "2"}
        loaded.tell(f"rate {LOAD_RPS}")
        until(lambda: all(serves(stage, "small", 1) for stage in stages), FORGOTTEN_S)
        assert copy.end() == 0


def test_a_leader_that_is_killed_is_followed_within_the_lease_time_and_never_two_act(shop: Shop) -> None:
    first = shop.start("a")
    until(first.acted, WITHIN_S)
    second = shop.start("b")
    until(lambda: len(second.steps()) >= 3, WITHIN_S)
    assert not second.acted()
    assert "a leads" in [step["why_not"] for step in second.steps()]
    first.end(signal.SIGKILL)
    killed_at = time.monotonic()
    until(second.acted, WITHIN_S)
    took_s = time.monotonic() - killed_at
    assert took_s < 2 * LEASE_S + 1.2 * RETRY_S + 2 * INTERVAL_S
    assert first.acted()[-1]["time"] < second.acted()[0]["time"]
    assert shop.holder() == "b"
    assert second.says('"leads now"')
    assert shop.carries(LOAD_RPS)


def test_sigterm_releases_the_lease_and_another_acts_at_once(shop: Shop) -> None:
    first, second = shop.start("a"), shop.start("b")
    until(lambda: first.acted() or second.acted(), WITHIN_S)
    leader, other = (first, second) if first.acted() else (second, first)
    until(other.steps, WITHIN_S)
    assert leader.end() == 0
    ended_at = time.monotonic()
    assert "released the lease" in leader.told()
    until(other.acted, WITHIN_S)
    assert time.monotonic() - ended_at < LEASE_S
    assert other.end() == 0
    assert shop.holder() == ""


def test_an_api_server_that_is_away_for_a_while_costs_nothing_but_time(shop: Shop) -> None:
    content = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    server = content["clusters"][0]["cluster"]
    where = urlsplit(server["server"])
    line = Line(str(where.hostname), int(where.port or 443))
    server["server"] = f"{where.scheme}://127.0.0.1:{line.port}"
    (shop.folder / "kubeconfig").write_text(yaml.safe_dump(content), encoding="utf-8")
    copy = shop.start("a", kubeconfig=str(shop.folder / "kubeconfig"))
    until(copy.acted, WITHIN_S)
    line.cut()
    until(lambda: [step for step in copy.steps() if step.get("failed") == "cluster"], WITHIN_S)
    assert copy.process.poll() is None
    known = len(copy.acted())
    line.mend()
    until(lambda: len(copy.acted()) > known, WITHIN_S)
    assert "the cluster keeps what it has" in copy.told()
    assert copy.says("steps succeed again")
    assert shop.carries(LOAD_RPS)
    assert copy.end() == 0


def test_while_prometheus_is_down_what_is_there_is_kept_and_so_is_what_a_person_sets(shop: Shop) -> None:
    copy = shop.start("a")
    until(lambda: copy.acted() and shop.carries(LOAD_RPS), WITHIN_S)
    before = [shop.asked(stage) for stage in STAGES]
    shop.measured.stop()
    try:
        until(lambda: copy.acted()[-1]["by"] == "held", WITHIN_S)
        assert [shop.asked(stage) for stage in STAGES] == before
        replicas, variables = before[0]
        shop.namespace.change("Deployment", "crop", {"spec": {"replicas": replicas + 4}})
        time.sleep(2 * INTERVAL_S)
        assert shop.asked("crop") == (replicas + 4, variables)
        assert shop.asked("classification") == before[1]
        assert "stale: " in copy.acted()[-1]["fallback"]
        assert '"by": "held"' in copy.told()
    finally:
        shop.measured.start()
    until(lambda: copy.acted()[-1]["by"] == "program", WITHIN_S)
    assert shop.carries(LOAD_RPS)
    assert copy.end() == 0


def test_an_object_deleted_and_made_again_gets_its_configuration_again(shop: Shop) -> None:
    copy = shop.start("a")
    until(lambda: copy.acted() and shop.carries(LOAD_RPS), WITHIN_S)
    kept = shop.asked("classification")
    shop.namespace.remove("Deployment", "crop")
    until(lambda: copy.steps()[-1]["stages"][0]["problem"], WITHIN_S)
    until(lambda: copy.says(f"Deployment {shop.namespace.name}/crop is not there; fix: create it"), WITHIN_S)
    assert shop.asked("classification") == kept
    shop.namespace.apply(deployment("crop"))
    until(lambda: shop.carries(LOAD_RPS), WITHIN_S)
    assert copy.end() == 0


def test_variants_batch_sizes_and_replicas_follow_the_load_up_and_down(
    shop: Shop, loaded: CountingProcess
) -> None:
    copy = shop.start("a")
    until(lambda: shop.carries(LOAD_RPS) and copy.acted() and not copy.acted()[-1]["changes"], WITHIN_S)
    before = [shop.asked(stage) for stage in STAGES]
    loaded.tell("rate 60")
    until(lambda: shop.carries(60.0), WITHIN_S)
    loaded.tell(f"rate {LOAD_RPS}")
    until(lambda: [shop.asked(stage) for stage in STAGES] == before, FORGOTTEN_S)
    changed = {change.split(" ")[1] for line in copy.says('"stepped"') for change in line["changes"]}
    assert {"variant", "batch", "replicas"} <= changed
    assert not [step for step in copy.steps() if step.get("refused") or step.get("failed")]
    assert copy.end() == 0


def test_what_a_quota_leaves_no_room_for_is_asked_for_as_soon_as_there_is_room(
    shop: Shop, loaded: CountingProcess
) -> None:
    copy = shop.start("a")
    until(lambda: shop.carries(LOAD_RPS), WITHIN_S)
    for stage in STAGES:  # the pods of before go once those of the variants serve
        until(lambda stage=stage: shop.serves_alone(stage, 1), WITHIN_S)  # type: ignore[misc]
    shop.namespace.add_quota("compute", {"pods": "4"})
    loaded.tell("rate 60")
    until(lambda: copy.says("cut to"), WITHIN_S)
    assert "ResourceQuota compute leaves" in str(copy.says("cut to")[0]["refused"])
    assert shop.carries(LOAD_RPS)
    assert not shop.carries(60.0)
    more = {"spec": {"hard": {"pods": "40"}}}
    send(shop.namespace.client, "PATCH", f"{shop.namespace.path('resourcequotas')}/compute", more, MERGE)
    until(lambda: shop.carries(60.0), WITHIN_S)
    assert copy.end() == 0


def test_in_shadow_mode_nothing_of_the_cluster_changes(shop: Shop) -> None:
    before = {s: shop.namespace.get("Deployment", s)["metadata"]["generation"] for s in STAGES}
    copy = shop.start("a", mode="shadow", agent="video")
    until(lambda: len(copy.steps()) >= 4, WITHIN_S)
    assert copy.end() == 0
    after = {s: shop.namespace.get("Deployment", s)["metadata"]["generation"] for s in STAGES}
    assert after == before
    assert not [e for e in shop.namespace.objects("events") if e["reason"] == "Adapted"]
    assert all(step["why_not"].startswith("shadow mode") for step in copy.steps())


def test_dry_run_prints_the_difference_and_takes_no_lease(shop: Shop) -> None:
    (shop.folder / "sidecar.yaml").write_text(yaml.safe_dump(shop.settings("a")), encoding="utf-8")
    words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=shop.folder, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "crop: variant" in done.stdout
    assert not shop.carries(LOAD_RPS)
    assert shop.holder() == ""
    assert send(shop.namespace.client, "GET", shop.namespace.path("events"))["kind"] == "EventList"


def test_who_sets_replicas_back_is_named_and_left_alone_by_this_leader_and_the_next(shop: Shop) -> None:
    def told(reason: str) -> list[str]:
        events = shop.namespace.objects("events")
        return [event["message"] for event in events if event["reason"] == reason]

    def replicas() -> int:
        return shop.asked("crop")[0]

    def set_back() -> None:
        shop.namespace.change("Deployment", "crop", {"spec": {"replicas": own + 3}}, "argocd-controller")

    first = shop.start("a")
    until(lambda: shop.carries(LOAD_RPS) and first.acted() and not first.acted()[-1]["changes"], WITHIN_S)
    own = replicas()
    set_back()
    until(lambda: told("SetBack") and replicas() == own, WITHIN_S)
    assert f"spec.replicas {own} -> {own + 3}" in told("SetBack")[0]
    set_back()
    until(lambda: any("set back 2 times by another writer" in one for one in told("Refused")), WITHIN_S)
    second = shop.start("b")
    until(second.steps, WITHIN_S)
    assert first.end() == 0
    until(second.acted, WITHIN_S)
    assert second.acted()[0]["refused"] == first.acted()[-1]["refused"]
    assert replicas() == own + 3
    assert second.end() == 0
