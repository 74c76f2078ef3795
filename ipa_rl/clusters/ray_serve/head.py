"""A process that holds a local Ray cluster until it is asked to end; no other module here imports ray."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import ray


def hold(options: dict[str, Any]) -> None:
    """Start a cluster, end it on SIGTERM or SIGINT. Ray ends its processes also where this one is killed."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
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


if __name__ == "__main__":
    hold(json.loads(sys.argv[1]))
