"""/healthz, /readyz and /metrics over HTTP.

docs/reference/sidecar.md lists the metrics. They are kept in a registry of their own, so that two controllers
in one process do not meet.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from ipa_rl.errors import MissingExtraError
from ipa_rl.sidecar.explain import kind_of
from ipa_rl.sidecar.http_server import Served
from ipa_rl.sidecar.process import Pulse
from ipa_rl.sidecar.promotion import ACT

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
except ImportError as error:
    raise MissingExtraError("prometheus_client", "kubernetes") from error

LOG = logging.getLogger(__name__)

_TIMES_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """All metrics of one controller: an EntryLog, which shows the last entry. ``registry`` holds them."""

    def __init__(self) -> None:
        self._mode: str | None = None
        self.registry = CollectorRegistry()
        self.info = self._gauge("info", "Always 1; labels say what runs.", "version", "environment", "agent")
        self.decisions = self._counter("decisions", "Decisions by who made them.", "by")
        self.fallbacks = self._counter("fallbacks", "Decisions that fell back, by reason.", "reason")
        self.errors = self._counter(
            "errors", "Steps that failed, by kind; the cluster keeps what it has.", "kind"
        )
        self.changes = self._counter("changes", "Fields written.", "stage", "knob")
        self.refusals = self._counter("refusals", "Changes that were not made, as something was in the way.")
        self.guard_edits = self._counter("guard_edits", "Decisions that the guard changed.")
        self.skipped = self._counter("skipped_steps", "Steps left out, as an earlier one took too long.")
        self.handovers = self._counter("handovers", "Promotions (to act) and demotions (to shadow).", "to")
        self.load = self._gauge("load_rps", "Mean load of the last 10 s, NaN where it is not known.")
        self.load_age = self._gauge("load_age_seconds", "Age of the newest measured load.")
        self.stale = self._gauge("load_stale", "1 while loads are missing or too old to act on.")
        self.forecast = self._gauge("forecast_rps", "The program's forecast: highest load expected soon.")
        self.planned = self._gauge("planned_rps", "Load that the decision is planned for.")
        self.pas = self._gauge("pas", "Pipeline accuracy score of what is asked for, a fraction.")
        self.cost = self._gauge("cost_cores", "Cores of what is asked for.")
        self.slack = self._gauge("sla_slack_seconds", "SLA less the latency that the model expects.")
        self.latency = self._gauge("latency_p99_seconds", "Measured 99th percentile, where there is a query.")
        self.desired = self._gauge("desired_replicas", "Replicas that are to run, for autoscalers.", "stage")
        self.ready = self._gauge("ready_replicas", "Replicas that are ready.", "stage", "variant", "batch")
        self.overdue = self._gauge(
            "overdue_replicas", "Replicas that should be ready by now.", "stage", "variant"
        )
        self.given_up = self._gauge(
            "given_up_seconds", "Until what never got ready may be asked for again.", "stage", "variant"
        )
        self.leader = self._gauge("leader", "1 where this copy leads.")
        self.acting = self._gauge("acting", "1 where decisions are carried out.")
        self.mode = self._gauge("mode_act", "1 in act mode, 0 in shadow mode.")
        self.paused = self._gauge("paused", "1 while the pipeline is paused.")
        self.decide = self._histogram("decide_seconds", "Time of a decision.")
        self.apply = self._histogram("apply_seconds", "Time of applying it.")
        self.last = self._gauge("last_step_timestamp_seconds", "When the last good step ended.")
        self.utility = self._gauge("shadow_utility", "Utility of the last interval, simulated.", "controller")
        self.cores = self._gauge("shadow_cores", "Mean cores of it, simulated.", "controller")
        self.violations = self._gauge("shadow_violations", "Violated share of it, simulated.", "controller")
        self.gain = self._gauge("shadow_gain", "Mean utility of the agent above the present's.")
        self.compared = self._gauge("shadow_compared_seconds", "Time over which that mean is taken.")
        self.prediction_error = self._gauge("prediction_error", "Share by which a prediction is off.", "of")
        self.program_gain = self._gauge("program_gain", "Utility above the program's choice, by the model.")
        ProcessCollector(registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"ipa_rl_{name}", meaning, labels, registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"ipa_rl_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str) -> Histogram:
        return Histogram(f"ipa_rl_{name}", meaning, registry=self.registry, buckets=_TIMES_S)

    def write(self, entry: Mapping[str, Any]) -> None:
        """One step, made or failed."""
        if "failed" in entry:
            self.errors.labels(entry["failed"]).inc()
            return
        self._seen(entry)
        self._decided(entry)
        self._applied(entry)
        self._compared(entry)
        self.last.set_to_current_time()

    def _seen(self, entry: Mapping[str, Any]) -> None:
        self.load.set(entry["load_rps"])
        self.load_age.set(entry["load_age_s"])
        self.stale.set(entry["stale"])
        self.paused.set(entry["left_alone"])
        self.latency.set(entry["latency_p99_s"])
        self.ready.clear()  # what served before and serves no more is not to stay
        for stage in entry["stages"]:
            serving = (stage["variant"] or "", stage["batch"] or "")
            self.ready.labels(stage["stage"], *serving).set(stage["ready"])
        self.overdue.clear()
        for one in entry["overdue"]:
            self.overdue.labels(one["stage"], one["variant"]).set(one["replicas"] - one["ready"])
        self.given_up.clear()
        for one in entry["given_up"]:
            self.given_up.labels(one["stage"], one["variant"]).set(one["left_s"])

    def _decided(self, entry: Mapping[str, Any]) -> None:
        self.decisions.labels(entry["by"]).inc()
        if entry["fallback"]:
            self.fallbacks.labels(kind_of(entry["fallback"])).inc()
        self.guard_edits.inc(bool(entry["guard"]))
        self.forecast.set(entry["forecast_rps"])
        self.planned.set(entry["planned_rps"])
        worth = entry["worth"]
        self.pas.set(worth["pas_x100"] / 100.0)
        self.cost.set(worth["cores"])
        self.slack.set(worth["sla_slack_s"])
        if not math.isnan(entry["decide_s"]):
            self.decide.observe(entry["decide_s"])
        if entry["program"]:
            self.program_gain.set(entry["program"]["difference"]["utility"])

    def _applied(self, entry: Mapping[str, Any]) -> None:
        self.leader.set(entry["leader"])
        self.acting.set(entry["acted"])
        self.apply.observe(entry["apply_s"])
        self.desired.clear()  # who does not act says nothing that an autoscaler would follow
        if not entry["acted"]:
            return
        for stage, asked in zip(entry["stages"], entry["asked"], strict=True):
            self.desired.labels(stage["stage"]).set(asked["replicas"])
        for change in entry["changes"]:
            self.changes.labels(change["stage"], change["knob"]).inc()
        self.refusals.inc(len(entry["refused"]))

    def _compared(self, entry: Mapping[str, Any]) -> None:
        mode, before, self._mode = entry["mode"], self._mode, entry["mode"]
        self.mode.set(mode == ACT)
        if before not in (None, mode):
            self.handovers.labels(mode).inc()
        self.gain.set(entry["gain"])
        self.compared.set(entry["compared_s"])
        shadow = entry.get("shadow", {"accounts": {}, "errors": {}})
        for name, account in shadow["accounts"].items():
            self.utility.labels(name).set(account["utility"])
            self.cores.labels(name).set(account["cores"])
            self.violations.labels(name).set(account["violations"])
        for name, error in shadow["errors"].items():
            self.prediction_error.labels(name).set(error)


class TelemetryServer(Served):
    """Serves the metrics and the two probes on a port until closed.

    Raises InputError where the port cannot be had.
    """

    def __init__(self, host: str, port: int, metrics: Metrics, pulse: Pulse) -> None:
        answers = {
            "/healthz": lambda: _probe(pulse.healthy()),
            "/readyz": lambda: _probe(pulse.ready()),
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)),
        }
        super().__init__((host, port), _handler(answers), "telemetry")


Answer = tuple[int, str, bytes]


def _probe(good: bool) -> Answer:
    return (200, "text/plain", b"ok\n") if good else (503, "text/plain", b"not yet\n")


def _handler(answers: dict[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.split("?")[0])
            status, kind, body = answer() if answer else (404, "text/plain", b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            LOG.debug(format, *args)

    return Handler
