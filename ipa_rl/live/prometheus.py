"""Recent loads from Prometheus: samples or a query, rate per second, history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Loads
from ipa_rl.live.counter_load import MeasuredLoads, measure
from ipa_rl.live.counters import filled
from ipa_rl.live.outliers import without_outliers
from ipa_rl.live.prometheus_api import NoAnswerError, PrometheusApi
from ipa_rl.live.prometheus_settings import SCRAPES, PrometheusSettings
from ipa_rl.live.request_counter import RequestCounter

_BEFORE_S = (60, 600)
"""Samples are fetched from so long before the first load that is asked for, as scrapes may be far apart; from
longer before where the first shows too few."""

_FEW = 3
"""So many samples of one series show how far apart they are."""

_FINE_S = 3600
"""So many seconds are measured each. What was before is evaluated as many times in all, however long the
history is: answers stay small, and Prometheus refuses more than 11,000 values a series."""


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
        self._counter = RequestCounter(self._api, settings.counter)

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
            self._last, self._last_s = measured.loads_rps, measured.newest_s
        stale = age_s > limit_s
        problem = self._too_old(age_s, limit_s, measured.interval_s) if stale else measured.doubt
        return Loads(self._history(seconds), age_s, stale, problem, self._measured(seconds))

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
        """Loads as precise as can be of the last hour, and coarser ones of before.

        Raises NoAnswerError, also where what is there counts no requests.
        """
        fine = min(seconds, _FINE_S)
        query, measured = self.settings.query, self._measure_finely(now_s, fine)
        if seconds == fine or math.isnan(measured.newest_s):
            return measured
        step_s = math.ceil((seconds - fine) / _FINE_S)
        if not query:
            query = self._counter.rate_query(max(step_s, SCRAPES * round(measured.interval_s)))
        count = math.ceil((seconds - fine) / step_s)
        coarse = evaluated(self._api, query, now_s - fine, self.settings.limit_s(), count, step_s)
        loads = np.concatenate([np.repeat(coarse, step_s), measured.loads_rps])[-seconds:]
        return replace(measured, loads_rps=loads)

    def _measure_finely(self, now_s: float, seconds: int) -> MeasuredLoads:
        """From samples to rates, or a query's value at each second. Raises NoAnswerError, as above."""
        if not self.settings.counter:
            loads = evaluated(self._api, self.settings.query, now_s, self.settings.limit_s(), seconds)
            known = np.flatnonzero(~np.isnan(loads))
            newest_s = now_s - (seconds - 1 - int(known[-1])) if len(known) else math.nan
            believed, doubt = without_outliers(loads)
            return MeasuredLoads(believed, newest_s, doubt=doubt)
        for before_s in _BEFORE_S:
            found = self._counter.samples(now_s - seconds - before_s, now_s)
            if any(len(one.times_s) >= _FEW for one in found):
                break
        self._counter.check(found)
        return measure(found, now_s, seconds)

    def _history(self, seconds: int) -> FloatArray:
        """The last history that was known, cut or padded with its oldest load to the length asked for.

        What was seen once stays known: a value of a query that came and went between two evaluations, a
        second apart each, may be missing from a later answer.
        """
        return filled(self._measured(seconds))

    def _measured(self, seconds: int) -> FloatArray:
        """The same with its gaps, NaN where nothing was measured."""
        known = np.zeros(0) if self._last is None else self._last
        return np.concatenate([np.full(max(seconds - len(known), 0), np.nan), known])[-seconds:]

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


def evaluated(
    api: PrometheusApi, query: str, end_s: float, lookback_s: float, count: int, step_s: int = 1
) -> FloatArray:
    """``count`` values of a query, the last at ``end_s``, summed over series; NaN where none has one.

    Raises NoAnswerError.
    """
    begin_s = end_s - (count - 1) * step_s
    loads = np.full(count, np.nan)
    for pairs in api.steps(query, begin_s, end_s, lookback_s, step_s):
        for time_s, value in pairs:
            slot = round((time_s - begin_s) / step_s)
            if math.isfinite(value) and 0 <= slot < count:
                loads[slot] = max(value, 0.0) + (0.0 if math.isnan(loads[slot]) else loads[slot])
    return loads
