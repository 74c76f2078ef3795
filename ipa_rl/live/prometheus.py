"""Recent loads from Prometheus: query, samples, rate per second, history."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Loads
from ipa_rl.live.counter_load import MeasuredLoads, measure
from ipa_rl.live.counters import Series, clean, filled, refusal
from ipa_rl.live.outliers import without_outliers
from ipa_rl.live.prometheus_api import NoAnswerError, Pair, PrometheusApi
from ipa_rl.live.prometheus_settings import SCRAPES, PrometheusSettings

_BEFORE_S = (60, 600)
"""Samples are fetched from so long before the first load that is asked for, as scrapes may be far apart; from
longer before where the first shows too few."""

_FEW = 3
"""So many samples of one series show how far apart they are."""

_KINDS_KEPT_S = 300.0
"""What Prometheus does not know of a metric is asked again after that."""


class PrometheusLoads:
    """A LoadSource; beside loads, other figures that a controller wants.

    Counters are fetched as raw samples, and the rates between them are taken here, because that is more
    faithful than ``rate()`` over a window, evaluated each second: the window must span two scrapes at least
    and four for safety, and smears and delays the load by half its length. (docs/reference/load-sources.md
    has the figures.) A query of the user's own is evaluated each second as it stands.

    All times are those of Prometheus' clock; ours does not matter. What is missing is stale, with the
    reason, and never a load of zero; a counter that does not move is a load of zero.
    """

    def __init__(self, settings: PrometheusSettings) -> None:
        self.settings = settings
        self._api = PrometheusApi(settings)
        self._last: FloatArray | None = None
        self._last_s = -math.inf
        self._kinds: dict[str, tuple[float, set[str]]] = {}

    def close(self) -> None:
        """Give the connection up."""
        self._api.close()

    def loads(self, seconds: int) -> Loads:
        """The last ``seconds`` loads; stale where Prometheus does not answer or has nothing recent.

        Where there never was a load the history is NaN throughout, so that nothing can take it for zero.
        """
        try:
            now_s = self._api.now_s()
            measured = self._measure(now_s, seconds)
        except NoAnswerError as error:
            return Loads(self._history(seconds), math.inf, stale=True, problem=str(error))
        if math.isnan(measured.newest_s):
            nothing = (
                f"Prometheus has no two recent samples of {self.settings.counter or self.settings.query}"
            )
            return Loads(self._history(seconds), math.inf, stale=True, problem=nothing)
        age_s = max(now_s - measured.newest_s, 0.0)
        limit_s = self.settings.limit_s(measured.interval_s)
        if not np.isnan(measured.loads_rps).all() and (age_s <= limit_s or measured.newest_s >= self._last_s):
            self._last, self._last_s = filled(measured.loads_rps), measured.newest_s
        stale = age_s > limit_s
        problem = self._too_old(age_s, limit_s, measured.interval_s) if stale else measured.doubt
        return Loads(self._history(seconds), age_s, stale, problem)

    def scalar(self, query: str) -> float | None:
        """The value of a query now (a 99th percentile of latency, say), None where it is not known.

        Not known: no answer, nothing recent, several series, NaN or an infinite value. Prometheus before 3.x
        takes what is up to 5 minutes old for recent, unless the query says otherwise.
        """
        try:
            found = self._api.values(query, self.settings.limit_s())
        except NoAnswerError:
            return None
        return found[0][1] if len(found) == 1 and math.isfinite(found[0][1]) else None

    def queued(self, stages: Sequence[str]) -> FloatArray | None:
        """Requests that wait, by stage, (stages,); None where one is not known or none is asked for."""
        if not self.settings.queue_query:
            return None
        try:
            found = self._api.values(self.settings.queue_query, self.settings.limit_s())
        except NoAnswerError:
            return None
        waiting = dict.fromkeys(stages, math.nan)
        for labels, value in found:
            stage = labels.get(self.settings.queue_label, "")
            if stage in waiting:
                waiting[stage] = value if math.isnan(waiting[stage]) else waiting[stage] + value
        queues = np.array([waiting[stage] for stage in stages], dtype=np.float64)
        return queues if np.isfinite(queues).all() else None

    def _measure(self, now_s: float, seconds: int) -> MeasuredLoads:
        """From samples to rates. Raises NoAnswerError, also where what is there counts no requests."""
        if not self.settings.counter:
            begin_s, limit_s = now_s - seconds + 1, self.settings.limit_s()
            steps = self._api.steps(self.settings.query, begin_s, now_s, limit_s)
            return _summed(steps, now_s, seconds)
        for before_s in _BEFORE_S:
            found = self._samples(seconds + before_s, now_s)
            if any(len(one.times_s) >= _FEW for one in found):
                break
        if refused := refusal(found, self._kinds_of):
            raise NoAnswerError(refused)
        return measure(found, now_s, seconds)

    def _samples(self, length_s: float, now_s: float) -> list[Series]:
        found = []
        begin_s, end_s = now_s - length_s - 1.0, now_s + 1.0
        for one in self._api.samples(self.settings.counter, length_s, now_s):
            if one.histograms:
                name = one.metric.get("__name__", self.settings.counter)
                fix = f"query: sum(histogram_count(rate({name}[1m])))"
                raise NoAnswerError(f"{name} is a native histogram, not a counter; fix: {fix}")
            found.append(clean((pair for pair in one.values if begin_s <= pair[0] <= end_s), one.metric))
        return found

    def _kinds_of(self, metric: str) -> set[str]:
        """What Prometheus says that a metric is; empty where it does not know, or does not answer."""
        asked_at, kinds = self._kinds.get(metric, (-math.inf, set()))
        if not kinds and time.monotonic() - asked_at > _KINDS_KEPT_S:
            with suppress(NoAnswerError):
                kinds = self._api.kinds(metric)
            self._kinds[metric] = (time.monotonic(), kinds)
        return kinds

    def _history(self, seconds: int) -> FloatArray:
        """The last history that was known, cut or padded with its oldest load to the length asked for.

        What was seen once stays known: a value of a query that came and went between two evaluations, a
        second apart each, may be missing from a later answer.
        """
        if self._last is None:
            return np.full(seconds, np.nan)
        missing = max(seconds - len(self._last), 0)
        return np.concatenate([np.full(missing, self._last[0]), self._last])[-seconds:]

    def _too_old(self, age_s: float, limit_s: float, interval_s: float) -> str:
        """Why loads are stale, and where the settings do not fit the samples, what to set."""
        reason = f"the newest sample is {age_s:.1f} s old (limit {limit_s:g} s)"
        wanted_s = SCRAPES * interval_s
        if limit_s < wanted_s:
            own = self.settings.stale_after_s is not None
            fix = f"stale_after_s: {wanted_s:.3g}" if own else f"scrape_interval_s: {interval_s:.3g}"
            return f"{reason}; samples are {interval_s:.3g} s apart; fix: {fix}"
        unsaid = self.settings.stale_after_s is None and self.settings.scrape_interval_s is None
        if not self.settings.counter and unsaid:
            return f"{reason}; fix: give scrape_interval_s, where it is longer than {limit_s / SCRAPES:g} s"
        return reason


def _summed(steps: Sequence[Sequence[Pair]], now_s: float, seconds: int) -> MeasuredLoads:
    """Values of a query, one a second up to ``now_s``, summed over series; NaN where none has one."""
    loads = np.full(seconds, np.nan)
    for pairs in steps:
        for time_s, value in pairs:
            slot = seconds - 1 - round(now_s - time_s)
            if math.isfinite(value) and 0 <= slot < seconds:
                loads[slot] = max(value, 0.0) + (0.0 if math.isnan(loads[slot]) else loads[slot])
    known = np.flatnonzero(~np.isnan(loads))
    newest_s = now_s - (seconds - 1 - int(known[-1])) if len(known) else math.nan
    believed, doubt = without_outliers(loads)
    return MeasuredLoads(believed, newest_s, doubt=doubt)
