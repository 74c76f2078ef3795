"""A process that holds a local Ray cluster as long as somebody wants it; no other module here imports ray."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

import ray


def hold(options: dict[str, Any]) -> None:
    """Start a cluster; end it on SIGTERM or SIGINT, or with the process that holds the other end of stdin.

    Ray ends its processes also where this one is killed.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
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
    signal.sigwait(signals)
    ray.shutdown()


def _end_with_stdin() -> None:
    """A process that is killed cannot ask this one to end, but its pipe closes."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    hold(json.loads(sys.argv[1]))
