"""What the router counts, for Prometheus; latencies and the SLA in real seconds."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from serving.queues import CentralQueue

_BOUNDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.45)
"""Bounds of the latency's buckets as shares of the SLA, so that one bucket ends at the SLA itself."""


class Figures:
    """Counters of one router; made once a process."""

    def __init__(self, sla_s: float) -> None:
        self._sla_s = sla_s
        self._arrived = Counter("ipa_router_requests", "Requests that arrived")
        self._served = Counter("ipa_router_served", "Requests that were served")
        self._dropped = Counter("ipa_router_dropped", "Requests dropped at the drop limit")
        self._violations = Counter("ipa_router_violations", "Requests dropped or served after the SLA")
        self._pas = Counter("ipa_router_pas", "Sum of the accuracy that served requests got")
        self._latency = Histogram(
            "ipa_router_latency_seconds",
            "Seconds from arrival to reply of served requests",
            buckets=[share * sla_s for share in _BOUNDS],
        )
        self._in_flight = Gauge("ipa_router_in_flight", "Requests that wait or are served")
        self._queued = Gauge("ipa_router_queue_length", "Requests that wait", ["stage"])
        self._retried = Gauge("ipa_router_retries", "Requests sent again as their replica went", ["stage"])
        self._replicas = Gauge(
            "ipa_router_replicas", "Ready replicas by what they serve", ["stage", "variant", "batch"]
        )

    def arrive(self) -> None:
        """A request arrives."""
        self._arrived.inc()

    def end(self, latency_s: float, accuracy: float | None) -> None:
        """A request was served with that accuracy, or dropped (None)."""
        if accuracy is None:
            self._dropped.inc()
            self._violations.inc()
            return
        self._served.inc()
        self._pas.inc(accuracy)
        self._latency.observe(latency_s)
        if latency_s > self._sla_s:
            self._violations.inc()

    def show(self, queues: Sequence[CentralQueue], in_flight: int) -> None:
        """Take what is counted on demand only."""
        self._in_flight.set(in_flight)
        self._replicas.clear()
        for queue in queues:
            self._queued.labels(queue.stage).set(len(queue))
            self._retried.labels(queue.stage).set(queue.retries)
            serving = Tally((r.variant, str(r.batch)) for r in queue.replicas.values() if r.ready)
            for (variant, batch), count in serving.items():
                self._replicas.labels(queue.stage, variant, batch).set(count)
