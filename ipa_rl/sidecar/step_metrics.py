"""What every step writes into the metrics, and what the probes answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ipa_rl.agents.loop import Step
from ipa_rl.sidecar.guarded_cluster import Driven
from ipa_rl.sidecar.promotion import ACT, Rule
from ipa_rl.sidecar.shadow import Compared
from ipa_rl.sidecar.telemetry import Metrics
from ipa_rl.sidecar.wording import kind_of


class Watch(Protocol):
    """Is told of every step."""

    def stepped(
        self, step: Step, entry: Mapping[str, Any], driven: Driven, compared: Compared | None, rule: Rule
    ) -> None:
        """A step was made; ``entry`` is the decision log's."""
        ...

    def failed(self, kind: str) -> None:
        """A step failed."""
        ...

    def handed_over(self, to: str) -> None:
        """Control changed hands."""
        ...


class MetricsWatch:
    """Keeps the metrics. ``patience_s``: how long no step may end before the loop counts as stuck."""

    def __init__(
        self, metrics: Metrics, patience_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.metrics, self._patience_s, self._now = metrics, patience_s, now
        self._last_turn = now()
        self._seen = False

    def healthy(self) -> bool:
        """Whether the loop still turns, with or without success."""
        return self._now() - self._last_turn < self._patience_s

    def ready(self) -> bool:
        """Whether a step has succeeded."""
        return self._seen

    def failed(self, kind: str) -> None:
        """A step failed."""
        self._last_turn = self._now()
        self.metrics.errors.labels(kind).inc()

    def handed_over(self, to: str) -> None:
        """Control changed hands."""
        self.metrics.handovers.labels(to).inc()

    def stepped(
        self, step: Step, entry: Mapping[str, Any], driven: Driven, compared: Compared | None, rule: Rule
    ) -> None:
        """A step was made."""
        self._last_turn, self._seen = self._now(), True
        self._seen_now(entry, driven)
        self._decided(step, entry)
        self._applied(entry, driven)
        self._shadowed(compared, rule)
        self.metrics.last.set_to_current_time()

    def _seen_now(self, entry: Mapping[str, Any], driven: Driven) -> None:
        metrics = self.metrics
        metrics.load.set(entry["load_rps"])
        metrics.load_age.set(entry["load_age_s"])
        metrics.stale.set(entry["stale"])
        metrics.paused.set(bool(driven.paused()))
        metrics.latency.set(entry["latency_p99_s"])
        metrics.ready.clear()  # what served before and serves no more is not to stay
        for stage in entry["stages"]:
            serving = (stage["variant"] or "", stage["batch"] or "")
            metrics.ready.labels(stage["stage"], *serving).set(stage["ready"])
        metrics.overdue.clear()
        for one in entry["overdue"]:
            metrics.overdue.labels(one["stage"], one["variant"]).set(one["replicas"] - one["ready"])
        metrics.given_up.clear()
        for one in entry["given_up"]:
            metrics.given_up.labels(one["stage"], one["variant"]).set(one["left_s"])

    def _decided(self, step: Step, entry: Mapping[str, Any]) -> None:
        metrics = self.metrics
        metrics.decisions.labels(entry["by"]).inc()
        if step.decision.fallback:
            metrics.fallbacks.labels(kind_of(step.decision.fallback)).inc()
        metrics.guard_edits.inc(bool(entry["guard"]))
        metrics.forecast.set(entry["forecast_rps"])
        metrics.planned.set(entry["planned_rps"])
        worth = entry["worth"]
        metrics.pas.set(worth["pas_x100"] / 100.0)
        metrics.cost.set(worth["cores"])
        metrics.slack.set(worth["sla_slack_s"])
        if not math.isnan(step.decide_s):
            metrics.decide.observe(step.decide_s)
        if entry["program"]:
            metrics.program_gain.set(entry["program"]["difference"]["utility"])

    def _applied(self, entry: Mapping[str, Any], driven: Driven) -> None:
        metrics = self.metrics
        metrics.leader.set(entry["leader"])
        metrics.acting.set(entry["acted"])
        metrics.apply.observe(driven.apply_s)
        metrics.desired.clear()  # who does not act says nothing that an autoscaler would follow
        if not entry["acted"]:
            return
        for stage, asked in zip(entry["stages"], entry["asked"], strict=True):
            metrics.desired.labels(stage["stage"]).set(asked["replicas"])
        for change in entry["changes"]:
            metrics.changes.labels(change["stage"], change["knob"]).inc()
        metrics.refusals.inc(len(entry["refused"]))

    def _shadowed(self, compared: Compared | None, rule: Rule) -> None:
        metrics = self.metrics
        metrics.gain.set(rule.mean_gain)
        metrics.compared.set(rule.compared_s)
        metrics.mode.set(rule.mode == ACT)
        if compared is None:
            return
        for name, account in compared.accounts.items():
            metrics.utility.labels(name).set(account.utility)
            metrics.cores.labels(name).set(account.cores)
            metrics.violations.labels(name).set(account.violations)
        for name in ("load", "capacity", "latency"):
            metrics.prediction_error.labels(name).set(getattr(compared.errors, name))
