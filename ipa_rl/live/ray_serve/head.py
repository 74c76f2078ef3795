"""A process that holds a local Ray cluster as long as somebody wants it; no other module here imports ray."""

from __future__ import annotations

import json
import sys
from typing import Any

import ray


def hold(options: dict[str, Any]) -> None:
    """Start a cluster; end it when stdin closes, as it does where the process at its other end is killed.

    Ray ends its processes also where this one is killed.
    """
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
