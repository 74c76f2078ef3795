"""The API server as get, list, apply, scale and create on plain documents, over the official client.

The client's connection pool, TLS and credentials (renewed tokens of a ServiceAccount included) are used; its
typed models are not, because custom resources have none and documents of JSON are smaller.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from ipa_rl.errors import InputError, one_line
from ipa_rl.live.calls import Answer, UnansweredError, ask, cuttable
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.deadlines import left_s
from ipa_rl.live.kubernetes import shapes
from ipa_rl.live.kubernetes.paths import read

T = TypeVar("T")

Document: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON has it."""

MANAGER = "ipa-rl"
"""The field manager under which everything is written."""

PAGE = 100
"""Most objects in one answer to a list; such a page of large pods is about two megabytes."""

MOST_OBJECTS = 2000
"""Most objects of one list; this ends a server's list that always has another page."""

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Status codes that another try may mend."""


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
        self.status, self.reason, self.message, self.causes = status, reason, one_line(message), causes


class PassingError(Exception):
    """A failure that may pass soon; ``after_s``: how long the server asked to wait, 0 if it did not."""

    def __init__(self, problem: str, after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.after_s = after_s


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with full jitter, within a deadline.

    ``deadline_s``: no further try begins later than this after the first. The k-th pause is drawn evenly from
    0 to min(``cap_s``, ``base_s`` 2^k), and is never shorter than what the server asked for.
    """

    deadline_s: float = 8.0
    base_s: float = 0.1
    cap_s: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = field(default=random.random)

    def __call__(self, attempt: Callable[[], T]) -> T:
        """The first result of ``attempt``. Raises its PassingError once the deadline leaves no other try."""
        began, tries = self.clock(), 0
        while True:
            try:
                return attempt()
            except PassingError as trouble:
                pause_s = max(trouble.after_s, self.draw() * min(self.cap_s, self.base_s * 2**tries))
                if self.clock() - began + pause_s > self.deadline_s or pause_s > left_s():
                    raise
            self.sleep(pause_s)
            tries += 1


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
        cuttable(client.rest_client.pool_manager)
        self._retry = retry or Retry()
        self._timeout_s = timeout_s

    def get(self, path: str) -> Document:
        """One object."""
        return self._send("GET", path)

    def items(self, path: str, selector: str = "") -> list[Document]:
        """All objects of a collection, by pages, without who wrote what (``managedFields``), which is long.

        ``selector``: of labels.
        """
        found: list[Document] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = self._send("GET", path, query, shape=shapes.PAGE)
            items = page.get("items") or []
            for one in items:
                one["metadata"].pop("managedFields", None)
            found += items
            if len(found) > MOST_OBJECTS:
                raise ClusterError(f"GET {path}: more than {MOST_OBJECTS} objects")
            following = page["metadata"].get("continue")
            if not following:
                return found
            query["continue"] = following

    def apply(self, path: str, body: Document) -> Document:
        """Server-side apply, never by force: a field of another manager is a conflict (409)."""
        return self._send("PATCH", path, body=body, content="application/apply-patch+yaml")

    def scale(self, path: str, replicas: int) -> Document:
        """Set the replicas of an object through its scale subresource."""
        body = {"spec": {"replicas": replicas}}
        return self._send("PATCH", f"{path}/scale", body=body, content="application/merge-patch+json")

    def create(self, path: str, body: Document) -> Document:
        """A new object; the name is the caller's, so that another try makes no second one."""
        try:
            return self.post(path, body)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return body
            raise

    def post(self, path: str, body: Document) -> Document:
        """A new object, refused (409) where there is one of that name."""
        return self._send("POST", path, body=body)

    def replace(self, path: str, body: Document) -> Document:
        """Another object in the place of one, of the version that its metadata name, else refused (409)."""
        return self._send("PUT", path, body=body)

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
        shape: shapes.Shape = shapes.OBJECT,
    ) -> Document:
        data = None if body is None else json.dumps(body).encode()
        query = query if body is None else {"fieldManager": MANAGER}
        url = self._client.configuration.host + path + ("?" + urlencode(query) if query else "")
        try:
            document = shapes.without_nulls(self._retry(lambda: self._try(method, url, data, content)))
        except (PassingError, UnansweredError) as trouble:
            raise ClusterError(f"{method} {path}: {trouble}") from trouble
        if (where := shapes.fault(document, shape)) is not None:
            raise ClusterError(f"{method} {path}: {where or 'the answer'} is malformed")
        return dict(document)

    def _try(self, method: str, url: str, data: bytes | None, content: str) -> Any:
        """The answer's document, not checked yet. Raises PassingError, ApiError, and UnansweredError."""
        headers = {"Accept": "application/json", "User-Agent": MANAGER}
        for credential in self._client.configuration.auth_settings().values():
            headers[credential["key"]] = credential["value"]
        if data is not None:
            headers["Content-Type"] = content
        pool = self._client.rest_client.pool_manager
        try:
            answer = ask(pool, method, url, within_s=self._timeout_s, body=data, headers=headers)
        except UnansweredError as error:
            raise PassingError(f"no answer: {error}") from error
        if answer.status >= 300:
            raise _refusal(answer)
        return answer.document()


def _refusal(answer: Answer) -> PassingError | ApiError:
    """Why a request was refused: in the words of the API server, or of a proxy in front of it."""
    try:
        said = answer.document()
    except UnansweredError:
        said = None
    if not isinstance(said, dict):
        said = {"message": one_line(answer.text)}
    message, reason = str(said.get("message", "")), str(said.get("reason", "Refused"))
    if answer.status in PASSING:
        after = answer.headers.get("Retry-After", "")
        after_s = float(after) if after.isascii() and after.isdigit() and len(after) < 5 else 0.0
        return PassingError(f"{answer.status} {message}".strip(), after_s)
    given = read(said, ("details", "causes"))
    causes = (one for one in given if isinstance(one, dict)) if isinstance(given, list) else ()
    names = ("reason", "field", "message")
    told = tuple(Cause(*(one_line(str(one.get(name, ""))) for name in names)) for one in causes)
    return ApiError(answer.status, reason, message, told)
