"""The record of leader election as a Lease of coordination.k8s.io/v1."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ipa_rl.clusters.lock import LockError, Record

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class LeaseLock:
    """A Lock (`ipa_rl.controller.leader`): one Lease, written only where its resourceVersion is as expected.

    ``timeout_s``: for one answer; shorter than the renew deadline, so that there is time for a second try.
    """

    def __init__(self, api: client.ApiClient, namespace: str, name: str, timeout_s: float = 4.0) -> None:
        self.namespace, self.name = namespace, name
        self._leases = client.CoordinationV1Api(api)
        self._timeout_s = timeout_s

    def get(self) -> tuple[Record, str] | None:
        """The record and its version; None where there is no Lease yet. Raises LockError."""
        try:
            lease = self._leases.read_namespaced_lease(
                self.name, self.namespace, _request_timeout=self._timeout_s
            )
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise self._failed("read", error) from error
        except HTTPError as error:
            raise self._failed("read", error) from error
        return _record(lease.spec), _version(lease)

    def put(self, record: Record, version: str | None) -> str | None:
        """Create the Lease, or replace that version; None where another was faster. Raises LockError."""
        metadata = client.V1ObjectMeta(name=self.name, namespace=self.namespace, resource_version=version)
        body = client.V1Lease(metadata=metadata, spec=_spec(record))
        try:
            if version is None:
                lease = self._leases.create_namespaced_lease(
                    self.namespace, body, _request_timeout=self._timeout_s
                )
            else:
                lease = self._leases.replace_namespaced_lease(
                    self.name, self.namespace, body, _request_timeout=self._timeout_s
                )
        except ApiException as error:
            gone = version is not None and error.status == HTTPStatus.NOT_FOUND
            if gone or error.status == HTTPStatus.CONFLICT:
                return None
            raise self._failed("write", error) from error
        except HTTPError as error:
            raise self._failed("write", error) from error
        return _version(lease)

    def _failed(self, verb: str, error: Exception) -> LockError:
        where = f"Lease {self.namespace}/{self.name}"
        if isinstance(error, ApiException):
            return LockError(f"cannot {verb} {where}: {error.status} {error.reason}")
        return LockError(f"cannot {verb} {where}: the API server does not answer ({type(error).__name__})")


def _version(lease: client.V1Lease) -> str:
    return str(lease.metadata.resource_version) if lease.metadata else ""


def _record(spec: client.V1LeaseSpec | None) -> Record:
    if spec is None:
        return Record("", 0.0, _LONG_AGO, _LONG_AGO)
    return Record(
        spec.holder_identity or "",
        float(spec.lease_duration_seconds or 0),
        spec.acquire_time or _LONG_AGO,
        spec.renew_time or _LONG_AGO,
        spec.lease_transitions or 0,
    )


def _spec(record: Record) -> client.V1LeaseSpec:
    return client.V1LeaseSpec(
        holder_identity=record.holder,
        lease_duration_seconds=max(round(record.lease_s), 1),
        acquire_time=record.acquired,
        renew_time=record.renewed,
        lease_transitions=record.transitions,
    )
