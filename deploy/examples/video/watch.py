"""Watches the pods of the pipeline's stages once a second."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any

import urllib3
from kubernetes import client, config

from ipa_rl.profiles import load_pipeline

_FIRST = {stage.name: stage.variants[0].name for stage in load_pipeline("video").stages}
"""What a server runs that was not told, by stage."""

PODS_COLUMNS = ("time_s", "stage", "variant", "ready", "all")


class PodWatch:
    """Rows of PODS_COLUMNS, ``time_s`` from the begin that it is given; pods that ended do not count."""

    def __init__(self, namespace: str, begin_s: float) -> None:
        """``begin_s``: by `time.time`."""
        config.load_kube_config()  # type: ignore[no-untyped-call]
        self.rows: list[tuple[float, str, str, int, int]] = []
        self._api = client.CoreV1Api()
        if not self._api.api_client.configuration.verify_ssl:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the kubeconfig chose so
        self._namespace, self._begin_s = namespace, begin_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PodWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            now_s = time.time() - self._begin_s
            try:
                pods = self._api.list_namespaced_pod(
                    self._namespace,
                    label_selector="app.kubernetes.io/part-of=video",
                    resource_version="0",
                    _request_timeout=5,
                )
            except (OSError, client.ApiException):
                continue
            self.rows += rows_of(now_s, pods.items)


def rows_of(now_s: float, pods: list[Any]) -> list[tuple[float, str, str, int, int]]:
    """Rows of PODS_COLUMNS, one a stage and variant."""
    every: Counter[tuple[str, str]] = Counter()
    ready: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        env = {one.name: one.value for one in pod.spec.containers[0].env or []}
        if "IPA_STAGE" not in env or pod.status.phase in ("Succeeded", "Failed"):
            continue
        place = (env["IPA_STAGE"], env.get("IPA_VARIANT") or _FIRST[env["IPA_STAGE"]])
        every[place] += 1
        conditions = {one.type: one.status for one in pod.status.conditions or []}
        ready[place] += conditions.get("Ready") == "True"
    return [(round(now_s, 2), *place, ready[place], count) for place, count in every.items()]
