"""/healthz, /readyz and /metrics over HTTP.

docs/reference/sidecar.md lists the metrics. They are kept in a registry of their own, so that two controllers
in one process do not meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ipa_rl.errors import MissingExtraError
from ipa_rl.sidecar.decision_log import Entry
from ipa_rl.sidecar.explain import kind_of
from ipa_rl.sidecar.http_server import AnsweringHandler, Served
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

_TIMES_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_FIGURES: Mapping[str, tuple[str, Callable[[Entry], float]]] = {
    "load_rps": ("Mean load of the last 10 s, NaN where it is not known.", lambda e: e["load_rps"]),
    "load_age_seconds": ("Age of the newest measured load.", lambda e: e["load_age_s"]),
    "load_stale": ("1 while loads are missing or too old to act on.", lambda e: e["stale"]),
    "forecast_rps": ("The program's forecast: highest load expected soon.", lambda e: e["forecast_rps"]),
    "planned_rps": ("Load that the decision is planned for.", lambda e: e["planned_rps"]),
    "pas": (
        "Pipeline accuracy score of what is asked for, a fraction.",
        lambda e: e["worth"]["pas_x100"] / 100.0,
    ),
    "cost_cores": ("Cores of what is asked for.", lambda e: e["worth"]["cores"]),
    "sla_slack_seconds": (
        "SLA less the latency that the model expects.",
        lambda e: e["worth"]["sla_slack_s"],
    ),
    "latency_p99_seconds": (
        "Measured 99th percentile, where there is a query.",
        lambda e: e["latency_p99_s"],
    ),
    "leader": ("1 if this copy leads.", lambda e: e["leader"]),
    "acting": ("1 if decisions are carried out.", lambda e: e["acted"]),
    "mode_act": ("1 in act mode, 0 in shadow mode.", lambda e: e["mode"] == ACT),
    "paused": ("1 while the pipeline is paused.", lambda e: e["left_alone"]),
    "shadow_gain": ("Mean utility of the agent above that of what runs now.", lambda e: e["gain"]),
    "shadow_compared_seconds": ("Time over which that mean is taken.", lambda e: e["compared_s"]),
}
"""Gauges of one figure: what it means, and where an entry of the decision log has it."""


class Metrics:
    """All metrics of one controller: an EntryLog that shows the last entry. ``registry`` holds them."""

    def __init__(self) -> None:
        self._mode: str | None = None
        self.registry = CollectorRegistry()
        self.info = self._gauge("info", "Always 1; labels say what runs.", "version", "environment", "agent")
        self.skipped = self._counter("skipped_steps", "Steps left out, as an earlier one took too long.")
        self._figures = {name: self._gauge(name, meaning) for name, (meaning, _) in _FIGURES.items()}
        self._decisions = self._counter("decisions", "Decisions by who made them.", "by")
        self._fallbacks = self._counter("fallbacks", "Decisions that fell back, by reason.", "reason")
        self._errors = self._counter(
            "errors", "Steps that failed, by kind; the cluster keeps what it has.", "kind"
        )
        self._changes = self._counter("changes", "Fields written.", "stage", "knob")
        self._refusals = self._counter("refusals", "Changes that were not made, as something was in the way.")
        self._guard_edits = self._counter("guard_edits", "Decisions that the guard changed.")
        self._handovers = self._counter("handovers", "Promotions (to act) and demotions (to shadow).", "to")
        self._desired = self._gauge("desired_replicas", "Replicas that are to run, for autoscalers.", "stage")
        self._ready = self._gauge("ready_replicas", "Replicas that are ready.", "stage", "variant", "batch")
        self._overdue = self._gauge(
            "overdue_replicas", "Replicas that should be ready by now.", "stage", "variant"
        )
        self._given_up = self._gauge(
            "given_up_seconds", "Until what never got ready may be asked for again.", "stage", "variant"
        )
        self._service = self._gauge(
            "service_scale", "Times as long as profiled a stage takes to serve, as measured.", "stage"
        )
        self._starts = self._gauge(
            "start_scale", "Times as long as profiled a stage took to start last, as measured.", "stage"
        )
        self._forecasts = {
            "mae_rps": self._gauge("forecast_mae_rps", "Mean absolute error of the program's forecasts."),
            "bias_rps": self._gauge("forecast_bias_rps", "Mean error of them, positive where too high."),
            "too_low": self._gauge("forecast_too_low", "Share of them that was too low."),
            "compared": self._gauge("forecasts_compared", "Forecasts of the last hour, of which that is."),
            "seen_h": self._gauge("load_seen_hours", "Hours of load that forecasts can learn from."),
        }
        self._forecaster = self._gauge(
            "forecaster", "Always 1; labels say what forecasts go by.", "forecaster", "quantiles", "clock"
        )
        self._decide = self._histogram("decide_seconds", "Time of a decision.")
        self._apply = self._histogram("apply_seconds", "Time of applying it.")
        self._last = self._gauge("last_step_timestamp_seconds", "When the last good step ended.")
        self._shadow = {
            name: self._gauge(f"shadow_{name}", f"{meaning}, simulated.", "controller")
            for name, meaning in {
                "utility": "Utility of the last interval",
                "cores": "Mean cores of it",
                "violations": "Violated share of it",
            }.items()
        }
        self._prediction = self._gauge("prediction_error", "Share by which a prediction is off.", "of")
        self._gain = self._gauge("program_gain", "Utility above the program's choice, by the model.")
        ProcessCollector(registry=self.registry)

    def write(self, entry: Entry) -> None:
        """One step, made or failed."""
        if "failed" in entry:
            self._errors.labels(entry["failed"]).inc()
            return
        for name, (_, figure) in _FIGURES.items():
            self._figures[name].set(figure(entry))
        self._count(entry)
        self._show_stages(entry)
        for who, account in entry.get("shadow", {}).get("accounts", {}).items():
            for name, gauge in self._shadow.items():
                gauge.labels(who).set(account[name])
        for name, error in entry.get("shadow", {}).get("errors", {}).items():
            self._prediction.labels(name).set(error)
        if entry["program"]:
            self._gain.set(entry["program"]["difference"]["utility"])
        if forecasts := entry.get("forecasts"):
            for name, gauge in self._forecasts.items():
                gauge.set(forecasts[name])
            self._forecaster.clear()
            labels = (forecasts[name] for name in ("forecaster", "quantiles", "clock"))
            self._forecaster.labels(*labels).set(1)
        self._last.set_to_current_time()

    def _count(self, entry: Entry) -> None:
        """What adds up over steps."""
        self._decisions.labels(entry["by"]).inc()
        if entry["fallback"]:
            self._fallbacks.labels(kind_of(entry["fallback"])).inc()
        self._guard_edits.inc(bool(entry["guard"]))
        if not math.isnan(entry["decide_s"]):
            self._decide.observe(entry["decide_s"])
        self._apply.observe(entry["apply_s"])
        if self._mode not in (None, entry["mode"]):
            self._handovers.labels(entry["mode"]).inc()
        self._mode = entry["mode"]
        if entry["acted"]:
            self._refusals.inc(len(entry["refused"]))
            for change in entry["changes"]:
                self._changes.labels(change["stage"], change["knob"]).inc()

    def _show_stages(self, entry: Entry) -> None:
        """Figures of stages; what served before and serves no more is not to stay."""
        for gauge in (self._ready, self._overdue, self._given_up, self._desired):
            gauge.clear()
        for stage, asked in zip(entry["stages"], entry["asked"], strict=True):
            name, serving = stage["stage"], (stage["variant"] or "", stage["batch"] or "")
            self._ready.labels(name, *serving).set(stage["ready"])
            if entry["acted"]:  # who does not act says nothing that an autoscaler would follow
                self._desired.labels(name).set(asked["replicas"])
        for gauge, found in ((self._service, entry["service"]), (self._starts, entry["starts"])):
            scales = {one["stage"]: one["scale"] for one in found or ()}
            for stage in entry["stages"] if found is not None else ():
                gauge.labels(stage["stage"]).set(scales.get(stage["stage"], 1.0))
        for one in entry["overdue"]:
            self._overdue.labels(one["stage"], one["variant"]).set(one["replicas"] - one["ready"])
        for one in entry["given_up"]:
            self._given_up.labels(one["stage"], one["variant"]).set(one["left_s"])

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"ipa_rl_{name}", meaning, labels, registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"ipa_rl_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str) -> Histogram:
        return Histogram(f"ipa_rl_{name}", meaning, registry=self.registry, buckets=_TIMES_S)


class TelemetryServer(Served):
    """Serves the metrics and the two probes on a port until closed.

    Raises InputError where the port cannot be had.
    """

    def __init__(self, host: str, port: int, metrics: Metrics, pulse: Pulse) -> None:
        class Handler(AnsweringHandler):
            def do_GET(self) -> None:  # noqa: N802 - by this name it is called
                path = self.path.split("?")[0]
                probes = {"/healthz": pulse.healthy, "/readyz": pulse.ready}
                if path == "/metrics":
                    self.answer(200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry))
                elif path in probes:
                    good = probes[path]()
                    self.answer(200 if good else 503, "text/plain", b"ok\n" if good else b"not yet\n")
                else:
                    self.answer(404, "text/plain", b"not found\n")

        super().__init__((host, port), Handler, "telemetry")
