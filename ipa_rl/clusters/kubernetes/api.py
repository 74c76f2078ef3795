"""The API server as get, list, apply, scale and create on plain documents, over the official client.

The client's connection pool, TLS and credentials (renewed tokens of a ServiceAccount included) are used; its
typed models are not, because custom resources have none and documents of JSON are smaller.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import urllib3

from ipa_rl.clusters.kubernetes.retries import PASSING, PassingError, Retry
from ipa_rl.clusters.live import ClusterError
from ipa_rl.errors import InputError, MissingExtraError

try:
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration
except ImportError as error:  # pragma: no cover - the tests run with the extra
    raise MissingExtraError("The Kubernetes client", "kubernetes") from error

Document: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON has it."""

MANAGER = "ipa-rl"
"""The field manager under which everything is written."""

PAGE = 500
"""Most objects in one answer to a list."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of a refusal: for a conflict the field and a message that names its manager."""

    reason: str
    field: str
    message: str


class ApiError(ClusterError):
    """The API server refused: status code, reason, message and causes of its answer."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(f"{status} {reason}: {message}" if message else f"{status} {reason}")
        self.status, self.reason, self.message, self.causes = status, reason, message, causes


def connect(kubeconfig: str | Path | None = None, context: str | None = None) -> ApiClient:
    """A client of the cluster: of a kubeconfig (default ``KUBECONFIG``), or, within a pod, of its account.

    Raises InputError where there is neither.
    """
    settings = Configuration()
    settings.retries = False
    try:
        if kubeconfig is None and "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(settings)  # type: ignore[no-untyped-call]
        else:
            file = None if kubeconfig is None else str(kubeconfig)
            config.load_kube_config(file, context, settings, persist_config=False)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as error:
        fix = "set KUBECONFIG, or run within a pod that has a ServiceAccount"
        raise InputError(f"no cluster: {error}", file=kubeconfig, fix=fix) from error
    if not settings.verify_ssl:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return ApiClient(settings)


class Api:
    """Requests with a time limit each, tried again while troubles are passing.

    Raises ApiError where the server refuses, ClusterError where it does not answer in time.
    """

    def __init__(self, client: ApiClient, retry: Retry | None = None, timeout_s: float = 5.0) -> None:
        self._client = client
        self._retry = retry or Retry()
        self._timeout = urllib3.Timeout(connect=min(2.0, timeout_s), read=timeout_s)

    def get(self, path: str) -> Document:
        """One object."""
        return self._send("GET", path)

    def items(self, path: str, selector: str = "") -> list[Document]:
        """All objects of a collection, by pages; ``selector``: of labels."""
        found: list[Document] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = self._send("GET", path, query)
            found += page.get("items") or []
            following = page.get("metadata", {}).get("continue")
            if not following:
                return found
            query["continue"] = following

    def apply(self, path: str, body: Document) -> Document:
        """Server-side apply, never by force: a field of another manager is a conflict (409)."""
        return self._send("PATCH", path, {"fieldManager": MANAGER}, body, "application/apply-patch+yaml")

    def scale(self, path: str, replicas: int) -> Document:
        """Set the replicas of an object through its scale subresource."""
        body = {"spec": {"replicas": replicas}}
        query = {"fieldManager": MANAGER}
        return self._send("PATCH", f"{path}/scale", query, body, "application/merge-patch+json")

    def create(self, path: str, body: Document) -> Document:
        """A new object; the name is the caller's, so that another try makes no second one."""
        try:
            return self._send("POST", path, {"fieldManager": MANAGER}, body, "application/json")
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return body
            raise

    def close(self) -> None:
        """Close all connections."""
        self._client.rest_client.pool_manager.clear()

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Document | None = None,
        content: str = "application/json",
    ) -> Document:
        url = self._client.configuration.host + path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        try:
            return self._retry(lambda: self._try(method, url, data, content))
        except PassingError as trouble:
            raise ClusterError(f"{method} {path}: {trouble}") from trouble

    def _try(self, method: str, url: str, data: bytes | None, content: str) -> Document:
        headers = {"Accept": "application/json", "User-Agent": MANAGER}
        for credential in self._client.configuration.auth_settings().values():
            headers[credential["key"]] = credential["value"]
        if data is not None:
            headers["Content-Type"] = content
        try:
            answer = self._client.rest_client.pool_manager.request(
                method, url, body=data, headers=headers, timeout=self._timeout, retries=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise PassingError(f"no answer ({type(error).__name__}: {error})") from error
        return _document(answer.status, answer.data, answer.headers.get("Retry-After"))


def _document(status: int, data: bytes, retry_after: str | None) -> Document:
    try:
        document = json.loads(data) if data else {}
    except ValueError:
        document = {"message": data[:200].decode(errors="replace")}
    if status < 300:
        return dict(document)
    if not isinstance(document, dict):
        document = {"message": str(document)[:200]}
    if status in PASSING:
        after_s = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
        raise PassingError(f"{status} {document.get('message', '')}".strip(), after_s)
    details = document.get("details") or {}
    causes = tuple(
        Cause(c.get("reason", ""), c.get("field", ""), c.get("message", ""))
        for c in details.get("causes") or ()
    )
    raise ApiError(status, document.get("reason", "Refused"), document.get("message", ""), causes)
