"""A Ray cluster of this machine alone, for a demonstration or a specification: its own ports, folder and token."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ipa_rl.clusters.live import ClusterError
from ipa_rl.clusters.ray_serve.api import ServeApi

REPORT_INTERVAL_S = 1.0
"""How often Ray's processes report their metrics here; Ray's default is 10 s."""

_START_S, _STOP_S = 120.0, 30.0


@dataclass(frozen=True, slots=True)
class LocalRay:
    """A running cluster. ``address``: of its dashboard. ``metrics``: where its metrics are. ``folder``: logs."""

    address: str
    metrics: str
    token_file: Path
    folder: Path


@contextmanager
def local_ray(cpus: int, environment: Mapping[str, str] | None = None) -> Iterator[LocalRay]:
    """Start one, and end it and all of its processes. ``cpus``: what its scheduler counts with.

    Everything listens on loopback. Raises ClusterError where it does not start in two minutes; its log is in
    the message.
    """
    with ExitStack() as closing:
        folder = Path(
            closing.enter_context(tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
        )
        token_file = folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(secrets.token_hex(32), encoding="ascii")
        port, dashboard, metrics = _free_ports(3)
        words = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}", f"--num-cpus={cpus}",
            "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--metrics-export-port={metrics}",
            "--object-store-memory=100000000", "--include-log-monitor=false", "--ray-client-server-port=0",
        ]  # fmt: skip
        own = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            "RAY_metrics_report_interval_ms": str(round(1000 * REPORT_INTERVAL_S)),
            "RAY_enable_open_telemetry": "1",
            "OMP_NUM_THREADS": "1",
        }
        log = closing.enter_context((folder / "start.log").open("wb"))
        started = subprocess.Popen(
            words, env={**os.environ, **(environment or {}), **own},
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        closing.callback(_end, started)
        ray = LocalRay(
            f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics", token_file, folder
        )
        _wait(ray, started)
        yield ray


def _wait(ray: LocalRay, started: subprocess.Popen[bytes]) -> None:
    api = ServeApi(ray.address, ray.token_file)
    end_s = time.monotonic() + _START_S
    while True:
        try:
            api.applications()
            break
        except ClusterError as error:
            if started.poll() is not None or time.monotonic() > end_s:
                log = (ray.folder / "start.log").read_text(encoding="utf-8", errors="replace")
                raise ClusterError(f"Ray did not start: {error}\n{log[-2000:]}") from error
        time.sleep(0.5)
    api.close()


def _end(started: subprocess.Popen[bytes]) -> None:
    """``ray start --block`` ends its processes when it is asked to end."""
    started.send_signal(signal.SIGTERM)
    try:
        started.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        pass
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
