"""The demonstration on a real Ray Serve, made small; and what happens to it when things go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.demo.application import SMALLEST, Application, running, watched_replicas
from ipa_rl.demo.cached_work import Kept
from ipa_rl.demo.controllers import Controller, decisions, sidecar, write_settings
from ipa_rl.demo.core import Core
from ipa_rl.demo.digits import models
from ipa_rl.demo.digits.data import NONE, Canvases, crop, make_canvases
from ipa_rl.demo.digits.load import DROPPED, FAILED, SERVED, DigitRequest, Sending, arrival_times, send
from ipa_rl.demo.profiling import kept_profile, read_profile, write_environment
from ipa_rl.demo.serving import turns
from ipa_rl.demo.session import demonstrate
from ipa_rl.demo.settings import DemoEffort, DemoSettings
from ipa_rl.demo.training import kept_agent
from ipa_rl.pipeline import Configuration, StageConfig
from tests.prometheus_server import wait_until

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

TINY = DemoEffort(
    cell_limit_s=0.5, precision=0.3, batches=(1, 4, 8), validation_windows=2, training_steps=7_680
)
MARK = "IPA_RL_DEMO_TEST"
SEED = 7


@pytest.fixture(scope="module")
def real_pipeline() -> None:
    """Eight minutes of two cores, more than all other specifications: on demand."""
    if not os.environ.get("IPA_DEMO"):
        pytest.skip("serves real models for eight minutes; IPA_DEMO=1 runs it (make demo-test)")


@pytest.fixture(scope="module")
def settings(real_pipeline: None, tmp_path_factory: pytest.TempPathFactory) -> DemoSettings:
    """A demonstration from nothing to the report; what it said is beside it."""
    settings = DemoSettings(tmp_path_factory.mktemp("demo"), seconds=20, effort=TINY)
    with (settings.folder / "said.txt").open("w", encoding="utf-8") as said:
        demonstrate(settings, lambda text: print(text, file=said))
    return settings


@pytest.fixture(scope="module")
def application(settings: DemoSettings) -> Iterator[Application]:
    """The pipeline on a Ray of its own."""
    with running(Core(0.003, {}), lambda _: None) as started:
        yield started


def test_from_nothing_to_the_report(settings: DemoSettings) -> None:
    said = (settings.folder / "said.txt").read_text(encoding="utf-8")
    assert "done" in said
    page = settings.report.read_text(encoding="utf-8")
    for words in ("Predicted and measured", "integer program", "Ray Serve&#39;s autoscaler", "mean latency"):
        assert words in page
    assert kept_profile(settings).age_s() is not None
    assert kept_agent(settings).age_s() is not None
    for turn in turns(settings):
        entries = decisions(turn.folder)
        if turn.controller is Controller.autoscaler:
            assert not entries
            continue
        assert any(entry["acted"] and not entry["stale"] for entry in entries)
        names = {entry["by"] for entry in entries}
        assert names <= {"ppo", "program", "held"}


def test_an_interrupted_demonstration_goes_on_with_what_is_missing(settings: DemoSettings) -> None:
    """Its profile, its agent and the turns that were served are not made again."""
    before = {turn: (turn.folder / "run.json").stat().st_mtime_ns for turn in turns(settings)}
    record = settings.served / "kept.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**content, "done_s": None}), encoding="utf-8")
    settings.report.unlink()
    said: list[str] = []
    demonstrate(settings, said.append)
    assert settings.report.is_file()
    assert any("the profile is" in one and "holds" in one for one in said)
    assert any("the agent is" in one and "fits" in one for one in said)
    assert before == {turn: (turn.folder / "run.json").stat().st_mtime_ns for turn in turns(settings)}


def test_an_agent_for_another_profile_does_not_hold(settings: DemoSettings) -> None:
    kept = kept_agent(settings)
    assert kept.age_s() is not None
    other = Kept(kept.folder, {**kept.key, "environment": "another"})
    assert other.age_s() is None


def test_a_killed_replica_costs_what_it_held_and_nothing_is_answered_wrongly(
    settings: DemoSettings, application: Application
) -> None:
    application.deploy(Configuration(tuple(StageConfig(one.variant, 1, 2) for one in SMALLEST.stages)))
    asked = _under_load(application, 3.0, 25, lambda: os.kill(_pid(application, "detect"), signal.SIGKILL))
    outcomes = _by_outcome(asked)
    assert outcomes.get(FAILED, 0) + outcomes.get(DROPPED, 0) <= 3
    _check_answers(asked)
    wait_until(lambda: _ready(application, "detect") == 2, "the replica is back", 60.0)


def test_an_overloaded_stage_drops_what_it_must_says_so_and_recovers(
    settings: DemoSettings, application: Application
) -> None:
    application.deploy(SMALLEST)
    dropped_before = _counted_dropped(application)
    asked = send(application.url, arrival_times(np.full(15, 30.0), SEED), SEED)
    outcomes = _by_outcome(asked)
    assert outcomes[DROPPED] > 0
    assert outcomes[SERVED] > 0
    assert outcomes.get(FAILED, 0) == 0
    assert sum(outcomes.values()) == len(asked)
    _check_answers(asked)
    wait_until(
        lambda: _counted_dropped(application) - dropped_before == outcomes[DROPPED], "drops are counted", 30.0
    )
    after = send(application.url, np.arange(0.0, 5.0, 1.0), SEED)
    assert {one.outcome for one in after} == {SERVED}
    assert max(one.latency_s for one in after) < 3.0


def test_a_killed_controller_goes_on_where_it_was_and_the_overload_ends(
    settings: DemoSettings, application: Application, tmp_path: Path
) -> None:
    """The pipeline serves on without it; the next one adds the replicas that the load needs."""
    definition = write_environment(settings, read_profile(settings))
    application.deploy(SMALLEST)
    config = write_settings(settings, application, Controller.program, tmp_path, 0.0)
    due_s = arrival_times(np.full(60, 20.0), SEED)
    with ExitStack() as stack:
        stack.enter_context(watched_replicas(application, definition.pipeline))
        sending = Sending(application.url, due_s, SEED, time.time() + 1.0)
        with sidecar(config) as first:
            wait_until(lambda: bool(decisions(tmp_path)), "a step", 30.0)
            first.process.kill()
            first.process.wait()
        steps = len(decisions(tmp_path))
        with sidecar(config) as second:
            wait_until(lambda: _acted(tmp_path, steps), "acted again", 60.0)
            wait_until(lambda: not sending.is_alive(), "all have ended", 120.0)
            second.check()
    _check_answers(sending.asked)
    late = [one for one in sending.asked if one.due_s >= 50.0]
    assert {one.outcome for one in late} == {SERVED}
    assert np.mean([one.latency_s for one in late]) < definition.problem.sla_s


@pytest.mark.parametrize(
    ("ended_by", "status", "within_s"),
    [
        (signal.SIGINT, 130, 30.0),
        (signal.SIGKILL, -signal.SIGKILL, 60.0),  # models that are measured are so to the end of a cell
    ],
)
def test_interrupted_or_killed_it_leaves_no_process_behind(
    ended_by: signal.Signals, status: int, within_s: float, real_pipeline: None, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    words = [sys.executable, "-m", "ipa_rl", "demo", "--out", str(tmp_path / "demo")]
    words = ["env", "--default-signal=INT", *words]  # behind "&" shells have it ignored
    log = tmp_path / "said.txt"
    with log.open("wb") as said:
        process = subprocess.Popen(
            words,
            stderr=said,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
        )
    wait_until(lambda: "profiling" in log.read_text(encoding="utf-8"), "profiling", 180.0)
    assert len(_marked(mark)) > 5
    process.send_signal(ended_by)
    assert process.wait(90) == status
    wait_until(lambda: not _marked(mark), "all processes have ended", within_s)
    if ended_by is signal.SIGINT:
        assert f"the same command with --out {tmp_path / 'demo'} goes on" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"), [(["--seconds", "5"], "--seconds"), (["--runs", "0"], "--runs")]
)
def test_wrong_options_end_in_one_line(options: list[str], words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ipa_rl", "demo", "--out", str(tmp_path), *options],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "ipa_rl", "demo", "--out", str(tmp_path / "file")],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr


def _under_load(
    application: Application, rate_rps: float, seconds: int, happens: object
) -> list[DigitRequest]:
    """Requests at a steady rate, while something happens after 6 s."""
    sending = Sending(
        application.url, arrival_times(np.full(seconds, rate_rps), SEED), SEED, time.time() + 1.0
    )
    time.sleep(7.0)
    happens()  # type: ignore[operator]
    wait_until(lambda: not sending.is_alive(), "all have ended", seconds + 60.0)
    assert not sending.problem
    return sending.asked


def _by_outcome(asked: list[DigitRequest]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for one in asked:
        found[one.outcome] = found.get(one.outcome, 0) + 1
    return found


def _check_answers(asked: list[DigitRequest]) -> None:
    """Every answer is what the variants that it names say of the canvas that was sent."""
    canvases = make_canvases("held-out", 1000, SEED)
    chosen = np.random.default_rng(SEED).integers(1000, size=len(asked)).tolist()
    for k, one in zip(chosen, asked, strict=True):
        assert one.label == int(canvases.labels[k])
        if one.outcome == SERVED:
            assert one.digit == _answer(canvases, k, one.detect, one.classify)


def _answer(canvases: Canvases, k: int, detect: str, classify: str) -> int:
    image = canvases.images[k]
    image = (np.rint(image * 255).astype(int) / 255.0).astype(np.float32)
    (place,) = models.detect(models.load_network("detect", detect), [image])
    if place is None:
        return NONE
    return models.classify(models.load_network("classify", classify), [crop(image, place)])[0]


def _replicas(application: Application, stage: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = application.details()["deployments"][stage]["replicas"]
    return [one for one in found if one["state"] == "RUNNING"]


def _ready(application: Application, stage: str) -> int:
    return len(_replicas(application, stage))


def _pid(application: Application, stage: str) -> int:
    return int(str(_replicas(application, stage)[0]["pid"]))


def _counted_dropped(application: Application) -> int:
    """What the application itself counts, on Ray's metrics page."""
    import urllib.request

    with urllib.request.urlopen(application.ray.metrics, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return round(
        sum(float(one.rsplit(" ", 1)[1]) for one in lines if one.startswith("ray_ipa_dropped_total{"))
    )


def _acted(folder: Path, after: int) -> bool:
    return any(one["acted"] and not one["stale"] for one in decisions(folder)[after:])


def _marked(mark: str) -> list[int]:
    """Processes that were started, however indirectly, with the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in place.read_bytes().split(b"\0"):
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found
