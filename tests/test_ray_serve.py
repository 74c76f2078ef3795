"""A real Ray Serve on this machine: every knob, what goes wrong, what is measured."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ipa_rl.demo.application import deploy
from ipa_rl.demo.digits.data import CANVAS
from ipa_rl.demo.digits.load import FAILED, SERVED, DigitRequest, arrival_times, send
from ipa_rl.demo.local_ray import LocalRay, local_ray
from ipa_rl.environment.definition import Definition
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import Document, ServeApi
from ipa_rl.live.ray_serve.cluster import RayServeCluster
from ipa_rl.live.ray_serve.loads import RayServeLoads
from ipa_rl.live.ray_serve.settings import ServeLoadModel, read_cluster
from ipa_rl.pipeline import Configuration, StageConfig
from tests.digits_environment import digits_definition, write_environment
from tests.prometheus_server import free_port, wait_until

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not os.environ.get("IPA_DEMO"),
        reason="a real Ray Serve for three minutes of a quiet machine; IPA_DEMO=1 runs it (make demo-test)",
    ),
]

WITHIN_S = 120.0
_TAKEN_UP_S = 1.0
"""So long after an order Ray Serve may still tell of the state before it."""

START = Configuration((StageConfig("conv8x2", 1, 1), StageConfig("conv4x1", 1, 1)))
LARGER = Configuration((StageConfig("conv12x3", 2, 2), StageConfig("conv8x2", 4, 1)))


@dataclass
class Live:
    """The digits pipeline on a Ray Serve of its own, and the cluster that drives it."""

    ray: LocalRay
    api: ServeApi
    config: Document
    url: str
    definition: Definition
    loads: RayServeLoads
    cluster: RayServeCluster

    def details(self, stage: str) -> Document:
        """What Ray Serve says of a stage."""
        found: Document = self.api.applications()["applications"]["digits"]["deployments"][stage]
        return found

    def pids(self, stage: str) -> set[int]:
        """Processes of its running replicas."""
        return {one["pid"] for one in self.details(stage)["replicas"] if one["state"] == "RUNNING"}

    def settled(self, configuration: Configuration) -> bool:
        """Whether everything serves as it is asked to."""
        return all(
            (seen.variant, seen.batch, seen.ready, seen.current)
            == (one.variant, one.batch, one.replicas, one.replicas)
            for seen, one in zip(self.cluster.look().stages, configuration.stages, strict=True)
        )

    def reach(self, configuration: Configuration) -> None:
        """Apply and wait until it serves."""
        self.cluster.apply(configuration)
        time.sleep(_TAKEN_UP_S)
        wait_until(lambda: self.settled(configuration), f"{configuration}", WITHIN_S)


@dataclass
class Traffic:
    """Requests at a steady rate beside a test; ``asked`` once it is over."""

    url: str
    rate_rps: float
    seconds: int
    seed: int = 3
    asked: list[DigitRequest] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        """Returns with the first answer."""
        due_s = arrival_times(np.full(self.seconds, self.rate_rps), self.seed)
        begun = threading.Event()

        def run() -> None:
            self.asked.extend(send(self.url, due_s, self.seed, told=lambda _: begun.set()))

        self._thread = threading.Thread(target=run)
        self._thread.start()
        begun.wait(WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Ray, Ray Serve, the application; started once."""
    definition = digits_definition(tmp_path_factory.mktemp("environment"))
    port = free_port()
    config = configuration(port)
    with local_ray(8, {"PYTHONPATH": str(ROOT)}) as ray:
        api = ServeApi(ray.address, ray.token_file, timeout_s=180.0)
        deploy(api, config, 300.0)
        loads = RayServeLoads(
            ServeLoadModel(metrics=ray.metrics, application="digits", entrance="router"), 120
        )
        settings = read_cluster(cluster_settings(ray), definition, Path("sidecar.yaml"))
        cluster = RayServeCluster(definition, settings, loads)
        yield Live(ray, api, config, f"http://127.0.0.1:{port}/", definition, loads, cluster)
        loads.close()
        cluster.close()
        api.close()


def configuration(port: int) -> Document:
    """The application as a file for ``serve deploy`` has it."""
    example = ROOT / "deploy" / "examples" / "digits" / "serve.yaml"
    content: Document = yaml.safe_load(example.read_text(encoding="utf-8"))
    content["http_options"]["port"] = port
    content["applications"][0]["args"] = {"drop_limit_s": 30.0}  # nothing is to be dropped by a busy machine
    return content


def cluster_settings(ray: LocalRay) -> dict[str, Any]:
    """``cluster.ray_serve`` of the sidecar."""
    return {
        "address": ray.address,
        "token_file": str(ray.token_file),
        "application": "digits",
        "stages": {name: {"cores_key": "cores"} for name in ("detect", "classify")},
        "timeout_s": 30.0,
    }


def test_what_is_deployed_is_seen(live: Live) -> None:
    seen = live.cluster.look()
    for stage, one in zip(seen.stages, START.stages, strict=True):
        assert (stage.variant, stage.batch, stage.asked) == (one.variant, one.batch, (one.variant, one.batch))
        assert (stage.desired, stage.current, stage.ready, stage.problem) == (1, 1, 1, "")
    assert seen.state.fleet["ready"].tolist() == [1, 1]
    assert not seen.problems


def test_every_knob_changes_without_a_lost_request_or_a_restarted_replica(live: Live) -> None:
    before = {stage: live.pids(stage) for stage in ("detect", "classify")}
    with Traffic(live.url, 4.0, 40) as traffic:
        applied = live.cluster.apply(LARGER)
        assert [(one.stage, one.knob) for one in applied.changes] == [
            ("detect", "variant"), ("detect", "batch"), ("detect", "replicas"),
            ("classify", "variant"), ("classify", "batch"),
        ]  # fmt: skip
        wait_until(lambda: live.settled(LARGER), "larger", WITHIN_S)
        assert all(before[stage] <= live.pids(stage) for stage in before)
        live.reach(START)
    assert {one.outcome for one in traffic.asked} == {SERVED}
    assert {one.detect for one in traffic.asked} == {"conv8x2", "conv12x3"}
    assert {one.classify for one in traffic.asked} == {"conv4x1", "conv8x2"}


def test_a_stage_that_changes_and_shrinks_changes_before_what_goes_is_gone(live: Live) -> None:
    more = Configuration((StageConfig("conv8x2", 1, 2), START.stages[1]))
    changed = Configuration((StageConfig("conv12x3", 2, 1), START.stages[1]))
    live.cluster.apply(more)
    wait_until(
        lambda: sum("pid" in one for one in live.details("detect")["replicas"]) == 2, "one starts", WITHIN_S
    )
    live.cluster.apply(changed)
    assert _answer(live.url)["detect"] == "conv12x3"
    assert len(live.details("detect")["replicas"]) == 2
    wait_until(lambda: live.settled(changed), "the other is gone", WITHIN_S)
    live.reach(START)


def test_a_variant_that_asks_ray_for_more_is_served_by_other_replicas_without_a_lost_request(
    live: Live,
) -> None:
    config = copy.deepcopy(live.config)
    for one in config["applications"][0]["deployments"]:
        one["max_surge_percent"] = 100
    deploy(live.api, config, WITHIN_S)
    detect, classify = live.definition.pipeline.stages
    variants = tuple(replace(one, units=2 if one.name == "conv12x3" else 1) for one in detect.variants)
    pipeline = replace(live.definition.pipeline, stages=(replace(detect, variants=variants), classify))
    definition = live.definition.with_problem(pipeline=pipeline)
    content = {**cluster_settings(live.ray), "placements": {"cores": {"num_cpus": 0.1}}}
    cluster = RayServeCluster(definition, read_cluster(content, definition, Path("s.yaml")), live.loads)
    cluster.apply(START)
    wait_until(lambda: cluster.look().stages[0].variant == "conv8x2", "placed", WITHIN_S)
    before = live.pids("detect")
    larger = Configuration((StageConfig("conv12x3", 1, 1), START.stages[1]))
    with Traffic(live.url, 4.0, 30) as traffic:
        applied = cluster.apply(larger)
        wait_until(lambda: cluster.look().stages[0].variant == "conv12x3", "moved", WITHIN_S)
    assert [one.knob for one in applied.changes] == ["variant", "num_cpus"]
    assert not before & live.pids("detect")
    assert {one.outcome for one in traffic.asked} == {SERVED}
    cluster.close()
    deploy(live.api, live.config, WITHIN_S)
    wait_until(lambda: live.settled(START), "as before", WITHIN_S)


def test_nothing_is_written_where_nothing_differs(live: Live) -> None:
    before = live.api.applications()["applications"]["digits"]["last_deployed_time_s"]
    for _ in range(3):
        assert live.cluster.apply(START).changes == ()
    assert live.api.applications()["applications"]["digits"]["last_deployed_time_s"] == before
    assert live.cluster.plan(LARGER).changes
    assert live.settled(START)


def test_replicas_are_cut_to_the_limit_of_the_environment(live: Live) -> None:
    many = Configuration((StageConfig("conv8x2", 1, 99), START.stages[1]))
    assert live.cluster.plan(many).configuration.stages[0].replicas == live.definition.problem.max_replicas


def test_loads_are_those_that_were_sent(live: Live) -> None:
    """By a source that begins anew, whose history holds nothing of other specifications."""
    with Traffic(live.url, 5.0, 2):
        pass  # a counter that was never called is not on the page
    loads = RayServeLoads(live.loads.settings, 120)
    wait_until(lambda: not loads.loads(1).stale, "two samples", WITHIN_S)
    began_s = time.monotonic()

    def counted() -> float:
        return float(loads.loads(math.ceil(time.monotonic() - began_s)).history_rps.sum())

    with Traffic(live.url, 5.0, 20) as traffic:
        pass
    sent = len(traffic.asked)
    wait_until(lambda: counted() >= 0.9 * sent, "counted", WITHIN_S)
    assert counted() == pytest.approx(sent, rel=0.1)
    queued = loads.queued(["detect", "classify"])
    loads.close()
    assert queued is not None
    assert queued.tolist() == [0.0, 0.0]


def test_a_replica_that_is_killed_is_seen_to_be_missing_and_comes_back(live: Live) -> None:
    two = Configuration((StageConfig("conv8x2", 1, 2), START.stages[1]))
    live.reach(two)
    (victim, *_) = live.pids("detect")
    with Traffic(live.url, 3.0, 30) as traffic:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: live.cluster.look().stages[0].ready < 2, "seen to be missing", WITHIN_S)
        wait_until(lambda: live.settled(two), "back", WITHIN_S)
    assert victim not in live.pids("detect")
    failed = [one for one in traffic.asked if one.outcome == FAILED]
    assert len(failed) <= 2  # what it was serving just then
    live.reach(START)


def test_a_stage_that_ray_serve_scales_by_itself_is_refused_and_the_other_is_driven(live: Live) -> None:
    own = copy.deepcopy(live.api.applications()["applications"]["digits"]["deployed_app_config"])
    scaled = next(one for one in own["deployments"] if one["name"] == "detect")
    del scaled["num_replicas"]
    scaled["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 2}
    deploy(live.api, {**live.config, "applications": [own]}, WITHIN_S)
    seen = live.cluster.look()
    assert "two writers" in seen.stages[0].problem
    applied = live.cluster.apply(LARGER)
    assert [one for one in applied.refused if one.startswith("detect: ")]
    assert {one.stage for one in applied.changes} == {"classify"}
    deploy(live.api, live.config, WITHIN_S)
    wait_until(lambda: live.settled(START), "as before", WITHIN_S)


def test_what_cannot_be_driven_says_so(live: Live) -> None:
    def other(**changes: Any) -> RayServeCluster:
        content = {**cluster_settings(live.ray), **changes}
        return RayServeCluster(
            live.definition, read_cluster(content, live.definition, Path("s.yaml")), live.loads
        )

    with pytest.raises(ClusterError, match=r"no application shop \(there are: digits\)"):
        other(application="shop").look()
    with pytest.raises(ClusterError, match="give token_file"):
        other(token_file=None).look()
    with pytest.raises(ClusterError, match="no answer"):
        other(address=f"http://127.0.0.1:{free_port()}").look()
    seen = other(stages={"detect": {"deployment": "router"}}).look()
    assert "has no variant and batch_size in its user_config" in seen.stages[0].problem


def test_a_sidecar_that_is_killed_goes_on_where_it_was_when_it_starts_again(
    live: Live, tmp_path: Path
) -> None:
    settings = {
        "environment": write_environment(tmp_path).name,
        "agent": "program",
        "cluster": {"ray_serve": cluster_settings(live.ray)},
        "load": {"ray_serve": {"metrics": live.ray.metrics, "application": "digits", "entrance": "router"}},
        "interval_s": 2.0,
        "mode": "act",
        "telemetry": False,
        "decision_log": {"path": "decisions.jsonl"},
    }
    (tmp_path / "sidecar.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with Traffic(live.url, 4.0, 60) as traffic:
        first = _sidecar(tmp_path)
        wait_until(lambda: _acted(tmp_path), "acted", WITHIN_S)
        first.kill()
        first.wait()
        lines = len(_entries(tmp_path))
        second = _sidecar(tmp_path)
        wait_until(lambda: _acted(tmp_path, lines), "acted again", WITHIN_S)
        second.terminate()
        assert second.wait(60) == 0
    assert {one.outcome for one in traffic.asked} == {SERVED}
    asked = _entries(tmp_path)[-1]["asked"]
    assert [one["variant"] for one in asked] != ["conv8x2", "conv4x1"]
    live.reach(START)


def _answer(url: str) -> Document:
    """What the pipeline says of an empty canvas, which takes no time to draw."""
    body = json.dumps({"image": [[0] * CANVAS] * CANVAS}).encode()
    with urllib.request.urlopen(url, body, timeout=WITHIN_S) as answer:
        found: Document = json.load(answer)
    return found


def _sidecar(folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml"]
    return subprocess.Popen(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})


def _entries(folder: Path) -> list[dict[str, Any]]:
    log = folder / "decisions.jsonl"
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def _acted(folder: Path, after: int = 0) -> bool:
    """Whether a step after so many lines decided by a load that it measured."""
    return any(one.get("acted") and not one["stale"] for one in _entries(folder)[after:])
