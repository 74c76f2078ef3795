"""A Ray cluster of this machine alone, with its own ports, folder and token; ended with all its processes."""

from __future__ import annotations

import json
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
from typing import Any

from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import ServeApi

REPORT_INTERVAL_S = 0.25
"""How often Ray's processes report their metrics here; Ray's default is 10 s.

Of a page that is renewed once a second, and read once a second, a reading may see two reports, and the next
one none.
"""

_START_S, _STOP_S = 180.0, 30.0
_STARTING = 16


@dataclass(frozen=True, slots=True)
class LocalRay:
    """A running cluster. ``address``: of its dashboard; ``metrics``: page of its metrics."""

    address: str
    metrics: str
    token_file: Path
    folder: Path


@contextmanager
def local_ray(cpus: int, environment: Mapping[str, str] | None = None) -> Iterator[LocalRay]:
    """Start one, and end it and all of its processes. ``cpus``: what its scheduler counts with.

    Its dashboard and its API ask for a token. Raises ClusterError, with the log, where it does not start.
    """
    with ExitStack() as closing:
        folder = Path(
            closing.enter_context(tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
        )
        token_file = folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(secrets.token_hex(32), encoding="ascii")
        dashboard, metrics = free_ports(2)
        options = {"cpus": cpus, "folder": str(folder), "dashboard": dashboard, "metrics": metrics}
        words = [sys.executable, "-m", "ipa_rl.demo.local_ray", json.dumps(options)]
        own = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            "RAY_metrics_report_interval_ms": str(round(1000 * REPORT_INTERVAL_S)),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_worker_prestart": "0",  # a replica's process begins when the replica is ordered
            "RAY_prestart_worker_first_driver": "0",
            "RAY_worker_maximum_startup_concurrency": str(_STARTING),  # by default as many as processors
            "RAY_worker_niceness": "0",  # by default replicas yield to everything else that runs here
            "OMP_NUM_THREADS": "1",
        }
        log = closing.enter_context((folder / "start.log").open("wb"))
        address, pages = f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics"
        ray = LocalRay(address, pages, token_file, folder)
        end_s = time.monotonic() + _START_S
        while True:
            started = subprocess.Popen(
                words, env={**os.environ, **(environment or {}), **own},
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            closing.callback(_end, started)
            if _answers(ray, started, end_s):
                break
        yield ray


def _answers(ray: LocalRay, started: subprocess.Popen[bytes], end_s: float) -> bool:
    """Wait until the dashboard answers; False where the process gave up, as Ray does on a busy machine."""
    api = ServeApi(ray.address, ray.token_file)
    try:
        while time.monotonic() < end_s:
            if started.poll() is not None:
                return False
            with suppress(ClusterError):
                api.applications()
                return True
            time.sleep(0.5)
    finally:
        api.close()
    log = (ray.folder / "start.log").read_text(encoding="utf-8", errors="replace")
    raise ClusterError(f"Ray did not start in {_START_S:g} s: {log[-400:]}")


def _end(started: subprocess.Popen[bytes]) -> None:
    """Asked to end, it ends all processes of the cluster; where it does not in time, it is killed."""
    with suppress(subprocess.TimeoutExpired):
        started.communicate(timeout=_STOP_S)  # closes its stdin
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing listens at."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def hold(options: dict[str, Any]) -> None:
    """Hold a cluster until stdin closes, as it does where the process at its other end is killed.

    Ray ends its processes also where this one is killed.
    """
    import ray  # here alone: whoever starts this process does without it

    ray.init(
        num_cpus=options["cpus"],
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=options["dashboard"],
        object_store_memory=100_000_000,
        log_to_driver=False,
        _temp_dir=options["folder"],
        _metrics_export_port=options["metrics"],
    )
    sys.stdin.buffer.read()
    ray.shutdown()


if __name__ == "__main__":
    hold(json.loads(sys.argv[1]))
