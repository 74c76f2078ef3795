"""Ray Serve's REST API on the dashboard of a Ray cluster: what is deployed, and what is to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from ipa_rl.errors import InputError
from ipa_rl.files import read_text
from ipa_rl.live.calls import UnansweredError, ask, connections
from ipa_rl.live.cluster import ClusterError

Document: TypeAlias = dict[str, Any]

_APPLICATIONS = "/api/serve/applications/"
_REASON_LENGTH = 300
_MOST_BYTES = 100_000


class ServeApi:
    """One kept connection; no retries, because the controller tries again in its next step.

    ``address``: of the dashboard, as http://127.0.0.1:8265. ``token_file``: the token of a cluster that asks
    for one, read again for each request. Everything raises ClusterError where there is no good answer.
    """

    def __init__(self, address: str, token_file: Path | None = None, timeout_s: float = 5.0) -> None:
        self.address = address.rstrip("/")
        self._token_file = token_file
        self._timeout_s = timeout_s
        self._pool = connections(num_pools=1)

    def applications(self) -> Document:
        """The whole Serve instance: http options, applications, their deployments and replicas."""
        answer = self._send("GET")
        if not isinstance(answer, dict) or not isinstance(answer.get("applications"), dict):
            raise ClusterError(f"{self.address} answers in an unknown form; fix: give Ray's dashboard")
        return answer

    def deploy(self, config: Document) -> None:
        """Make this the configuration of all applications; Ray Serve deletes those that it leaves out."""
        self._send("PUT", config)

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def _send(self, method: str, body: Document | None = None) -> Any:
        url = self.address + _APPLICATIONS
        headers = {"Content-Type": "application/json"}
        try:
            if self._token_file is not None:
                token = read_text(self._token_file, _MOST_BYTES, "give Ray's token file").strip()
                headers["Authorization"] = f"Bearer {token}"
            data = None if body is None else json.dumps(body).encode()
            answer = ask(self._pool, method, url, within_s=self._timeout_s, body=data, headers=headers)
        except InputError as error:
            raise ClusterError(str(error)) from error
        except UnansweredError as error:
            raise ClusterError(f"{method} {url}: no answer: {error}") from error
        if answer.status >= 300:
            reason = " ".join(answer.text.split())[-_REASON_LENGTH:]
            if answer.status in (401, 403):
                reason += "; fix: give token_file, as the cluster asks for Ray's token"
            raise ClusterError(f"{method} {url}: {answer.status} {reason}")
        try:
            return answer.document() if answer.body else {}
        except UnansweredError as error:
            fix = "give the address of Ray's dashboard"
            raise ClusterError(f"{method} {url}: no JSON; fix: {fix}") from error
