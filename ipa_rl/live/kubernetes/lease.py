"""The record of leader election as a Lease of coordination.k8s.io/v1."""

from __future__ import annotations

from datetime import UTC, datetime

from kubernetes.client import ApiClient

from ipa_rl.live.cluster import ClusterError, LeaseRecord
from ipa_rl.live.kubernetes.api import Api, ApiError, Document, Retry
from ipa_rl.live.kubernetes.paths import read

HANDOVER = "ipa-rl.dev/handover"
"""Annotation of the Lease that holds the record's ``handover``."""

_LONG_AGO = "1970-01-01T00:00:00Z"


class LeaseLock:
    """A Lock (`ipa_rl.sidecar.leader`): one Lease, written only where its resourceVersion is as expected.

    ``timeout_s``: for one answer, which is not asked for again here; shorter than the renew deadline, so that
    there is time for a second try.
    """

    def __init__(self, client: ApiClient, namespace: str, name: str, timeout_s: float = 4.0) -> None:
        self.namespace, self.name = namespace, name
        self._api = Api(client, Retry(deadline_s=0.0), timeout_s)
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    def get(self) -> tuple[LeaseRecord, str] | None:
        """The record and its version; None where there is no Lease yet. Raises ClusterError."""
        try:
            lease = self._api.get(f"{self._leases}/{self.name}")
        except ClusterError as error:
            if isinstance(error, ApiError) and error.status == 404:
                return None
            raise self._failed("read", error) from error
        spec = lease.get("spec") or {}
        record = LeaseRecord(
            spec.get("holderIdentity", ""),
            float(spec.get("leaseDurationSeconds", 0)),
            datetime.fromisoformat(spec.get("acquireTime", _LONG_AGO)),
            datetime.fromisoformat(spec.get("renewTime", _LONG_AGO)),
            spec.get("leaseTransitions", 0),
            read(lease, ("metadata", "annotations", HANDOVER)) or "",
        )
        return record, lease["metadata"]["resourceVersion"]

    def put(self, record: LeaseRecord, version: str | None) -> str | None:
        """Create the Lease, or replace that version; None where another was faster. Raises ClusterError."""
        marks = {HANDOVER: record.handover} if record.handover else {}
        metadata: Document = {"name": self.name, "namespace": self.namespace, "annotations": marks}
        spec = {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": max(round(record.lease_s), 1),
            "acquireTime": _written(record.acquired),
            "renewTime": _written(record.renewed),
            "leaseTransitions": record.transitions,
        }
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        try:
            if version is None:
                lease = self._api.post(self._leases, body)
            else:
                metadata["resourceVersion"] = version
                lease = self._api.replace(f"{self._leases}/{self.name}", body)
        except ClusterError as error:
            status = error.status if isinstance(error, ApiError) else None
            if status == 409 or (version is not None and status == 404):
                return None
            raise self._failed("write", error) from error
        return str(lease["metadata"]["resourceVersion"])

    def _failed(self, verb: str, error: ClusterError) -> ClusterError:
        return ClusterError(f"cannot {verb} Lease {self.namespace}/{self.name}: {error}")


def _written(moment: datetime) -> str:
    """As the API server wants it: UTC, with six digits of the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
