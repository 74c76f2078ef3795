"""Kubernetes Events: what was done to an object and why, where ``kubectl describe`` shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from ipa_rl.live.kubernetes.api import MANAGER, Api, Document

LONGEST_MESSAGE = 1024
"""Characters; the API server refuses longer ones."""


def record_event(
    api: Api,
    involved: Document,
    reason: str,
    message: str,
    kind: Literal["Normal", "Warning"] = "Normal",
    clock: Callable[[], float] = time.time,
) -> None:
    """Write one Event about an object (as read from the API server).

    ``reason``: one word in camel case ("Scaled"); ``message``: a sentence. Raises ClusterError where the
    cluster does not take it.
    """
    now_s, metadata = clock(), involved["metadata"]
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    short = message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 3] + "..."
    namespace = metadata["namespace"]
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "reason": reason,
        "message": short,
        "type": kind,
        "source": {"component": MANAGER},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    api.create(f"/api/v1/namespaces/{namespace}/events", body)
