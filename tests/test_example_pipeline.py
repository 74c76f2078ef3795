"""The live pipeline of deploy/examples/video: real processes, real HTTP, profiled times."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from ipa_rl.pipeline import Variant
from ipa_rl.profiles import load_pipeline
from ipa_rl.queueing import lognormal as simulated
from tests.example_pipeline import EXAMPLE, SCALE, Addresses, Server, python_path, replica
from tests.prometheus_server import wait_until

sys.path.insert(0, str(EXAMPLE))

from serving.batcher import Batcher
from serving.load import Sent, summarise
from serving.service import ServiceTimes, lognormal
from serving.settings import stage_settings
from serving.stage import StageServer

pytestmark = pytest.mark.slow

CROP, CLASSIFICATION = load_pipeline("video").stages


class Pipeline:
    """Two replicas of crop, one of classification, a router; and more replicas on demand."""

    def __init__(self, folder: Path) -> None:
        self.addresses = Addresses(folder)
        self.crops = [replica("crop", "yolov5n"), replica("crop", "yolov5n")]
        self.last = replica("classification", "resnet18")
        self.router = self.start_router()
        self._others: list[Server] = []

    def start_router(self, **settings: object) -> Server:
        place = f"file:{self.addresses.path}"
        return Server("router", stages="crop,classification", replicas=place, poll_s=0.1, **settings)

    def more(self, stage: str, variant: str, batch: int = 1) -> Server:
        self._others.append(replica(stage, variant, batch))
        return self._others[-1]

    def use(self, *crops: Server) -> None:
        self.addresses.write(*(("crop", one) for one in crops), ("classification", self.last))

    def kill(self) -> None:
        for server in (*self.crops, self.last, self.router, *self._others):
            server.kill()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    started = Pipeline(tmp_path_factory.mktemp("pipeline"))
    started.use(*started.crops)
    try:
        started.router.wait_ready()
        yield started
    finally:
        started.kill()


async def _stream(url: str, count: int, every_s: float, body: object) -> list[tuple[int, dict[str, str]]]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(after_s: float) -> tuple[int, dict[str, str]]:
            await asyncio.sleep(after_s)
            async with session.post(f"{url}/infer", json=body) as answer:
                await answer.read()
                return answer.status, dict(answer.headers)

        return await asyncio.gather(*(one(i * every_s) for i in range(count)))


def stream(server: Server, count: int, every_s: float, body: object = 1) -> list[tuple[int, dict[str, str]]]:
    """Status and headers of requests that go out at equal distances."""
    return asyncio.run(_stream(server.url, count, every_s, body))


def under_load(pipeline: Pipeline, act: Callable[[], None]) -> list[tuple[int, dict[str, str]]]:
    """40 requests over 2 s; half a second after the first something happens."""

    async def both() -> list[tuple[int, dict[str, str]]]:
        sending = asyncio.create_task(_stream(pipeline.router.url, 40, 0.05, 1))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(act)
        return await sending

    return asyncio.run(both())


# One replica


def test_service_times_have_the_mean_and_the_tail_of_the_profile() -> None:
    variant = CLASSIFICATION.variant("resnet50")
    times = ServiceTimes(variant, seed=3)
    draws = np.array([times.draw_s(4) for _ in range(20_000)])
    place = variant.batches.index(4)
    assert draws.mean() == pytest.approx(variant.latency_mean_s[place], rel=0.01)
    assert np.quantile(draws, 0.99) == pytest.approx(variant.latency_p99_s[place], rel=0.02)


@pytest.mark.parametrize("ratio", [1.0, 1.3, 4.0, 40.0])
def test_the_distribution_is_that_of_the_request_level_simulator(ratio: float) -> None:
    mu, sigma = simulated(np.array([0.2]), np.array([0.2 * ratio]))
    assert lognormal(0.2, 0.2 * ratio) == pytest.approx((float(mu[0]), float(sigma[0])))


@pytest.mark.parametrize(("share", "status"), [(0.0, 503), (0.95, 503), (1.0, 200), (5.0, 200)])
def test_a_replica_answers_once_its_start_up_delay_has_passed(share: float, status: int) -> None:
    """``share``: age of its process over the start-up delay."""
    scale, variant = 20.0, CROP.variant("yolov5n")  # 162 s, which do not pass meanwhile
    settings = stage_settings({"IPA_STAGE": "crop", "IPA_TIME_SCALE": str(scale)})
    server = StageServer(settings, variant, share * variant.start_up_s * scale)
    answers = asyncio.run(_first_answers(server))
    assert answers == {"/readyz": status, "/infer": status, "/healthz": 200}


async def _first_answers(server: StageServer) -> dict[str, int]:
    server.batcher = Batcher(ServiceTimes(server.variant, seed=1), 1, timeout_s=0.0, time_scale=0.0)
    running = asyncio.create_task(server.batcher.run())
    async with TestClient(TestServer(server.app())) as client:
        answers = {path: (await client.get(path)).status for path in ("/readyz", "/healthz")}
        answers["/infer"] = (await client.post("/infer", json={"items": [1]})).status
    running.cancel()
    return answers


def test_a_process_knows_its_age() -> None:
    words = (
        "import time; from ipa_rl.demo.digits.pace import process_age_s; "
        "time.sleep(0.5); print(process_age_s())"
    )
    began = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-c", words], env={**os.environ, **python_path()}, capture_output=True, check=True
    )
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert 0.5 - 2 * tick_s <= float(told.stdout) <= time.monotonic() - began + 2 * tick_s


def test_the_start_up_delay_counts_from_the_beginning_of_the_process() -> None:
    scale, began = 0.5, time.monotonic()
    server = replica("crop", "yolov5n", time_scale=scale)
    try:
        server.wait_ready()
        assert time.monotonic() - began >= CROP.variant("yolov5n").start_up_s * scale - 0.05
    finally:
        server.kill()


def _listens(server: Server) -> bool:
    try:
        return bool(server.get("/healthz") == b"")
    except OSError:
        return False


@pytest.fixture(scope="module")
def of_eight() -> Iterator[Server]:
    """A replica that began with batches of 8."""
    server = replica("classification", "resnet152", batch=8)
    server.wait_ready()
    yield server
    server.kill()


@pytest.fixture
def slow(of_eight: Server) -> Server:
    """It, with batches of 8 again whatever others did."""
    assert of_eight.post("/batch", {"batch": 8})[0] == 200
    return of_eight


def capacity_rps(server: Server, count: int) -> float:
    """Requests a (profile's) second when all come at once."""
    began = time.monotonic()
    answers = stream(server, count, 0.0, {"items": [1]})
    assert {status for status, _ in answers} == {200}
    return count * SCALE / (time.monotonic() - began)


def test_batches_carry_what_the_profile_says_and_another_size_counts_at_once(slow: Server) -> None:
    variant: Variant = CLASSIFICATION.variant("resnet152")
    of_one, of_eight = variant.throughput_rps[0], variant.throughput_rps[-1]
    assert of_one < 0.75 * of_eight < capacity_rps(slow, 80) < 1.10 * of_eight  # a busy machine serves less
    assert slow.post("/batch", {"batch": 1})[0] == 200
    assert 0.5 * of_one < capacity_rps(slow, 40) < 1.10 * of_one


def test_the_batch_size_is_told_and_taken_as_the_adapter_does_it(slow: Server) -> None:
    assert slow.get("/batch") == b"8"
    change = urllib.request.Request(f"{slow.url}/batch/4", method="PUT")
    assert urllib.request.urlopen(change, timeout=5).status == 200
    assert slow.get("/batch") == b"4"


def test_a_batch_size_that_was_not_profiled_is_refused(slow: Server) -> None:
    status, said = slow.post("/batch", {"batch": 5})
    assert status == 400
    assert "1, 2, 4, 8" in said["error"]


def test_a_batch_that_does_not_fill_starts_after_the_time_out(slow: Server) -> None:
    began = time.monotonic()
    status, said = slow.post("/infer", {"items": [1, 2]})
    took_s = (time.monotonic() - began) / SCALE
    assert (status, said["served"]) == (200, 2)
    service_s = CLASSIFICATION.variant("resnet152").latency_mean_s[1]
    assert 1.0 + 0.5 * service_s <= took_s < 10.0 + service_s


def test_settings_that_cannot_run_end_with_the_variable_and_the_fix() -> None:
    server = replica("crop", "yolov9")
    assert server.process.wait(20) == 1


def test_a_replica_that_is_not_told_begins_with_the_least_accurate_variant() -> None:
    server = Server("stage", stage="crop")
    try:
        wait_until(lambda: _listens(server), "a listening replica")
        facts = json.loads(server.get("/status"))
        assert (facts["variant"], facts["batch"]) == (CROP.variants[0].name, 1)
    finally:
        server.kill()


# The router


def test_a_reply_names_the_variants_and_their_accuracy(pipeline: Pipeline) -> None:
    ((status, headers),) = stream(pipeline.router, 1, 0.0)
    assert status == 200
    assert headers["X-IPA-Variants"] == "yolov5n,resnet18"
    product = CROP.variant("yolov5n").accuracy * CLASSIFICATION.variant("resnet18").accuracy
    assert float(headers["X-IPA-PAS"]) == pytest.approx(product, abs=1e-6)


def test_a_replica_that_is_told_to_go_loses_no_request(pipeline: Pipeline) -> None:
    going = pipeline.more("crop", "yolov5n")
    going.wait_ready()
    pipeline.use(*pipeline.crops, going)
    _wait_for_replicas(pipeline, "crop", 3)
    answers = under_load(pipeline, going.terminate)
    assert [status for status, _ in answers] == [200] * 40
    assert going.process.wait(10) == 0
    pipeline.use(*pipeline.crops)


def test_the_variant_changes_without_a_failed_request(pipeline: Pipeline) -> None:
    new = [pipeline.more("crop", "yolov5s", batch=2) for _ in range(3)]
    for server in new:
        server.wait_ready()

    def roll() -> None:
        pipeline.use(*new)
        for server in pipeline.crops:
            server.terminate()

    before = pipeline.router.figure('ipa_router_retries{stage="crop"}')
    answers = under_load(pipeline, roll)
    assert [status for status, _ in answers] == [200] * 40
    assert pipeline.router.figure('ipa_router_retries{stage="crop"}') == before
    served_by = [headers["X-IPA-Variants"].split(",")[0] for _, headers in answers]
    assert served_by[0] == "yolov5n"
    assert served_by[-1] == "yolov5s"
    pipeline.crops = new


def test_the_batch_of_a_replica_that_dies_is_served_by_another(pipeline: Pipeline) -> None:
    before = pipeline.router.figure('ipa_router_retries{stage="crop"}')
    victim = pipeline.crops[0]
    answers = under_load(pipeline, victim.kill)
    assert [status for status, _ in answers] == [200] * 40
    assert pipeline.router.figure('ipa_router_retries{stage="crop"}') > before
    pipeline.use(*pipeline.crops[1:])


def test_requests_wait_where_there_is_no_replica_and_are_dropped_at_the_limit(pipeline: Pipeline) -> None:
    arrived = pipeline.router.figure("ipa_router_requests_total")
    served = pipeline.router.figure("ipa_router_served_total")
    dropped = pipeline.router.figure("ipa_router_dropped_total")
    pipeline.use()
    _wait_for_replicas(pipeline, "crop", 0)
    began = time.monotonic()
    answers = stream(pipeline.router, 5, 0.0)
    assert 9.9 <= (time.monotonic() - began) / SCALE < 20.0
    assert [status for status, _ in answers] == [503] * 5
    assert all(headers["X-IPA-Dropped"] == "1" for _, headers in answers)
    pipeline.use(*pipeline.crops[1:])
    _wait_for_replicas(pipeline, "crop", 2)
    answers = stream(pipeline.router, 5, 0.1)
    assert [status for status, _ in answers] == [200] * 5
    assert pipeline.router.figure("ipa_router_requests_total") == arrived + 10
    assert pipeline.router.figure("ipa_router_served_total") == served + 5
    assert pipeline.router.figure("ipa_router_dropped_total") == dropped + 5
    assert pipeline.router.figure("ipa_router_in_flight") == 0


def test_a_bucket_of_the_latency_ends_at_the_sla(pipeline: Pipeline) -> None:
    bounds = [
        float(line.split('le="')[1].split('"')[0])
        for line in pipeline.router.get("/metrics").decode().splitlines()
        if line.startswith("ipa_router_latency_seconds_bucket") and "+Inf" not in line
    ]
    assert any(math.isclose(bound, 6.897365 * SCALE) for bound in bounds)


def _wait_for_replicas(pipeline: Pipeline, stage: str, count: int) -> None:
    def known() -> bool:
        facts = json.loads(pipeline.router.get("/status"))[stage]
        return [one["ready"] for one in facts["replicas"]].count(True) == count

    wait_until(known, f"{count} replicas")


# The load generator


def test_the_load_generator_replays_a_window_and_tells_what_became_of_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "serving.load", pipeline.router.url, "--begin", "100", "--seconds", "12"]
    words += ["--rate-scale", "0.3", "--time-scale", str(SCALE), "--output", str(tmp_path / "sent.csv")]
    done = subprocess.run(
        words, cwd=EXAMPLE, env=python_path(), capture_output=True, text=True, timeout=60, check=True
    )
    summary = json.loads(done.stdout)
    lines = (tmp_path / "sent.csv").read_text(encoding="utf-8").splitlines()
    assert summary["requests"] == len(lines) - 1 > 10
    assert summary["failed"] == 0
    assert summary["served"] + summary["dropped"] == summary["requests"]


def test_a_dropped_and_a_late_request_violate_the_sla() -> None:
    sent = [
        Sent(0.0, 0.0, 1.0, "served", 0.5, "a,b"),
        Sent(1.0, 1.0, 8.0, "served", 0.3, "a,b"),
        Sent(2.0, 2.1, 10.0, "dropped", 0.0, ""),
        Sent(3.0, 3.0, 0.1, "failed", 0.0, ""),
    ]
    summary = summarise(sent, sla_s=7.0)
    assert summary.violated_pct == 75.0
    assert summary.pas_x100 == pytest.approx(40.0)
    assert (summary.dropped, summary.failed) == (1, 1)
    assert summary.latest_sent_s == pytest.approx(0.1)
