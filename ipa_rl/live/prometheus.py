"""Recent loads from Prometheus: its HTTP API, query, samples, rate per second, history."""

from __future__ import annotations

import html
import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ipa_rl.errors import one_line, shortened
from ipa_rl.jit import FloatArray
from ipa_rl.live.calls import Answer, UnansweredError, ask, connections
from ipa_rl.live.cluster import Loads
from ipa_rl.live.counter_load import MeasuredLoads, measure
from ipa_rl.live.counters import Series, clean, filled, refusal
from ipa_rl.live.outliers import without_outliers
from ipa_rl.live.prometheus_settings import SCRAPES, PrometheusSettings, UnreadableSecretError

Form = TypeVar("Form")

Pair = tuple[float, float]
"""Time and value; the API writes values as text, "NaN" and "+Inf" among them."""

_LARGEST_BYTES = 4 * 2**20
"""Answers of some thousand series; read into Python objects they take about ten times as much."""

_LATEST_S = 1e11
"""A clock beyond the year 5000 is none."""

_LONGEST_SAID = 200
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)

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


# Its HTTP API: questions, and answers that are whole or are none, whoever answers.


class NoAnswerError(UnansweredError):
    """Prometheus did not answer, or not with what was asked."""


class OneSeries(BaseModel):
    """A series of a matrix: labels, and (time, value) by time. ``histograms``: native ones, no numbers."""

    metric: dict[str, str] = {}
    values: list[Pair] = []
    histograms: list[Any] = []


class OneValue(BaseModel):
    """A series of a vector: labels, and (time, value)."""

    metric: dict[str, str]
    value: Pair


class _Data(BaseModel):
    kind: str = Field(alias="resultType")
    result: list[Any]


class _Metadata(BaseModel):
    type: str = "unknown"


_MATRIX = TypeAdapter(list[OneSeries])
_VECTOR = TypeAdapter(list[OneValue])
_SCALAR = TypeAdapter(Pair)
_DATA = TypeAdapter(_Data)
_METADATA = TypeAdapter(dict[str, list[_Metadata]])


class PrometheusApi:
    """One kept connection; no retries, because the next interval asks again."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._pool = connections(num_pools=1, **settings.tls())
        self._files = settings.files_changed()

    def close(self) -> None:
        """Give the connection up."""
        self._pool.clear()

    def now_s(self) -> float:
        """The time by Prometheus' own clock, which stamps the samples. Raises NoAnswerError."""
        kind, value = self._query("query", {"query": "time()"})
        now_s = _read(_SCALAR, value)[1]
        if not 0 < now_s < _LATEST_S:
            raise NoAnswerError(f"Prometheus answers time() with a {kind} that is not a time")
        return now_s

    def samples(self, selector: str, seconds: float, at_s: float) -> list[OneSeries]:
        """Raw samples of the last ``seconds``, by series. Raises NoAnswerError."""
        asked = f"{selector}[{round(seconds * 1000)}ms]"
        kind, found = self._query("query", {"query": asked, "time": f"{at_s:.3f}"})
        if kind != "matrix":
            raise NoAnswerError(f"Prometheus answers {asked} with a {kind}, not with samples")
        return _read(_MATRIX, found)

    def steps(self, query: str, begin_s: float, end_s: float, lookback_s: float) -> list[list[Pair]]:
        """A query evaluated at each second from begin to end, by series. Raises NoAnswerError."""
        span = {"start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": "1"}
        fields = {"query": query, **span, "lookback_delta": f"{lookback_s:g}"}
        _, found = self._query("query_range", fields)
        return [one.values for one in _read(_MATRIX, found)]

    def values(self, query: str, lookback_s: float) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a query now. Raises NoAnswerError."""
        kind, found = self._query("query", {"query": query, "lookback_delta": f"{lookback_s:g}"})
        if kind == "scalar":
            return [({}, _read(_SCALAR, found)[1])]
        if kind != "vector":
            raise NoAnswerError(f"Prometheus answers {query} with a {kind}, not with numbers")
        return [(one.metric, one.value[1]) for one in _read(_VECTOR, found)]

    def kinds(self, metric: str) -> set[str]:
        """What the scraped targets say that a metric is (counter, gauge, ...). Raises NoAnswerError."""
        found = _read(_METADATA, self._ask("metadata", {"metric": metric}))
        return {one.type for one in found.get(metric, [])}

    def _query(self, verb: str, fields: Mapping[str, str]) -> tuple[str, Any]:
        data = _read(_DATA, self._ask(verb, fields))
        return data.kind, data.result

    def _ask(self, verb: str, fields: Mapping[str, str]) -> Any:
        """The data of a whole answer. Raises NoAnswerError."""
        try:
            headers, secrets = self._settings.sent()
        except UnreadableSecretError as error:
            raise NoAnswerError(f"Prometheus was not asked: {error}") from error
        files = self._settings.files_changed()
        if files != self._files:  # the connection was made with certificates of before
            self.close()
            self._files = files
        try:
            answer = ask(
                self._pool,
                "GET",
                f"{self._settings.url}/api/v1/{verb}",
                within_s=self._settings.timeout_s,
                at_most=_LARGEST_BYTES,
                fields=fields,
                headers=headers,
            )
        except UnansweredError as error:
            raise NoAnswerError(f"Prometheus does not answer: {error}") from error
        return _data(answer, secrets)


def _data(answer: Answer, secrets: Sequence[str]) -> Any:
    """The data of an answer that is whole: one with warnings may lack some.

    Raises NoAnswerError, with what the server says in its place, secrets hidden.
    """
    if 300 <= answer.status < 400:
        fix = "give the url that it leads to"
        raise NoAnswerError(f"Prometheus redirects with HTTP status {answer.status}; fix: {fix}")

    def hide(said: str) -> str:
        for secret in secrets:
            said = said.replace(secret, "***")
        return said

    text = hide(answer.text)
    try:
        document = answer.document()
    except UnansweredError as error:
        how = "no JSON" if answer.status == 200 else f"HTTP status {answer.status}"
        raise NoAnswerError(f"Prometheus answers with {how}: {_said(text)}") from error
    if not isinstance(document, dict) or document.get("status") != "success":
        reason = hide(str((document.get("error") if isinstance(document, dict) else "") or _said(text)))
        raise NoAnswerError(f"Prometheus refuses with HTTP status {answer.status}: {reason}")
    warnings = document.get("warnings") or []
    texts = [str(one) for one in (warnings if isinstance(warnings, list) else [warnings])]
    if grave := [one for one in texts if not one.startswith("PromQL info")]:
        raise NoAnswerError(f"Prometheus warns that the answer may not be whole: {hide(grave[0])}")
    return document.get("data")


def _said(text: str) -> str:
    """What a body that is not JSON says: the title of a page, else its first line.

    >>> _said("<html><head><title>502 Bad\\n Gateway</title>"), _said("\\nno org id\\nmore")
    ('502 Bad Gateway', 'no org id')
    """
    title = _TITLE.search(text[:10_000])
    line = html.unescape(title[1]) if title else next((one for one in text.splitlines() if one.strip()), "")
    return shortened(one_line(line), _LONGEST_SAID) or "no reason given"


def _read(form: TypeAdapter[Form], content: Any) -> Form:
    """Content of that form. Raises NoAnswerError where it has another."""
    try:
        return form.validate_python(content)
    except ValidationError as error:
        raise NoAnswerError("Prometheus answers in an unknown form") from error
