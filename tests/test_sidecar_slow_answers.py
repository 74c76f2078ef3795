"""The real command where what it asks answers byte by byte: it goes on stepping, and ends in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.slow_servers import endless, serving

pytestmark = pytest.mark.slow

pytest.importorskip("kubernetes")

ROOT = Path(__file__).parent.parent
GRACE_S = 30.0
STAGES = {"crop": {"name": "crop"}, "classification": {"name": "classification"}}
ENDLESS = endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.2)


def kubeconfig(folder: Path, server: str) -> Path:
    """Credentials for an API server that asks for none."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "slow", "cluster": {"server": server}}],
        "contexts": [{"name": "slow", "context": {"cluster": "slow", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
        "current-context": "slow",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The sidecar with these settings; ended at the end."""
    common = {
        "environment": "video",
        "agent": "program",
        "interval_s": 1,
        "telemetry": {"host": "127.0.0.1", "port": 0},
        "decision_log": {"path": "decisions.jsonl"},
    }
    (folder / "sidecar.yaml").write_text(yaml.safe_dump({**common, **settings}), encoding="utf-8")
    words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "sidecar.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until_steps(folder: Path, process: subprocess.Popen[bytes], count: int) -> list[dict[str, Any]]:
    """The first lines of the decision log, once there are so many."""
    log, deadline_s = folder / "decisions.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= count):
        assert process.poll() is None, (folder / "sidecar.log").read_text()
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    return [json.loads(line) for line in log.read_text().splitlines()]


def port(folder: Path) -> int:
    """Of the probes, as the log has it."""
    begins = json.loads((folder / "sidecar.log").read_text().splitlines()[0])
    return int(begins["port"])


def ends_in_time(process: subprocess.Popen[bytes]) -> bool:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=GRACE_S) == 0


def test_a_ray_serve_that_answers_byte_by_byte_fails_steps_and_stops_nothing(tmp_path: Path) -> None:
    with serving(ENDLESS) as server:
        stages = {stage: {"deployment": stage} for stage in STAGES}
        settings = {
            "cluster": {"ray_serve": {"address": server, "stages": stages, "timeout_s": 0.5}},
            "load": {"ray_serve": {"metrics": [server], "entrance": "crop", "timeout_s": 0.5}},
        }
        with running(tmp_path, **settings) as process:
            assert {line["failed"] for line in until_steps(tmp_path, process, 3)} == {"cluster"}
            with urllib.request.urlopen(f"http://127.0.0.1:{port(tmp_path)}/healthz", timeout=10) as answer:
                assert answer.status == 200
            assert ends_in_time(process)


def test_sigterm_ends_a_process_whose_api_server_answers_byte_by_byte(tmp_path: Path) -> None:
    with serving(ENDLESS) as server:
        settings = {
            "kubeconfig": str(kubeconfig(tmp_path, server)),
            "cluster": {"environment": "video", "namespace": "default", "stages": STAGES},
            "load": {"url": server, "counter": "requests_total"},
            "leader_election": {"namespace": "default"},
        }
        with running(tmp_path, **settings) as process:
            assert {line["failed"] for line in until_steps(tmp_path, process, 1)} == {"cluster"}
            assert ends_in_time(process)
