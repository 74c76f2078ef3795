"""The HTTP API of Prometheus: questions, and answers that are whole or are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipa_rl.live.calls import Answer, UnansweredError, ask, connections
from ipa_rl.live.prometheus_access import Sent, UnreadableSecretError
from ipa_rl.live.prometheus_answers import (
    DATA,
    MATRIX,
    METADATA,
    SCALAR,
    VECTOR,
    NoAnswerError,
    OneSeries,
    Pair,
    payload,
    read,
    said,
)
from ipa_rl.live.prometheus_queries import PrometheusSettings

_LARGEST_BYTES = 4 * 2**20
"""Answers of some thousand series; read into Python objects they take about ten times as much."""

_LATEST_S = 1e11
"""A clock beyond the year 5000 is none."""


class PrometheusApi:
    """One kept connection; no retries, as the next interval asks anew."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._pool = connections(num_pools=1, **settings.access.tls())
        self._files = settings.access.files_changed()

    def close(self) -> None:
        """Give the connection up."""
        self._pool.clear()

    def now_s(self) -> float:
        """The time by Prometheus' own clock, which stamps the samples. Raises NoAnswerError."""
        kind, value = self._instant("time()", {})
        now_s = read(SCALAR, value)[1]
        if not 0 < now_s < _LATEST_S:
            raise NoAnswerError(f"Prometheus answers time() with a {kind} that is no time")
        return now_s

    def samples(self, selector: str, seconds: float, at_s: float) -> list[OneSeries]:
        """Raw samples of the last ``seconds``, by series. Raises NoAnswerError."""
        asked = f"{selector}[{round(seconds * 1000)}ms]"
        kind, found = self._instant(asked, {"time": f"{at_s:.3f}"})
        if kind != "matrix":
            raise NoAnswerError(f"Prometheus answers {asked} with a {kind}, not with samples")
        return read(MATRIX, found)

    def steps(self, query: str, begin_s: float, end_s: float, lookback_s: float) -> list[list[Pair]]:
        """A query evaluated at each second from begin to end, by series. Raises NoAnswerError."""
        span = {"start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": "1"}
        fields = {"query": query, **span, "lookback_delta": f"{lookback_s:g}"}
        _, found = self._ask("query_range", fields)
        return [one.values for one in read(MATRIX, found)]

    def values(self, query: str, lookback_s: float) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a query now. Raises NoAnswerError."""
        kind, found = self._instant(query, {"lookback_delta": f"{lookback_s:g}"})
        if kind == "scalar":
            return [({}, read(SCALAR, found)[1])]
        if kind != "vector":
            raise NoAnswerError(f"Prometheus answers {query} with a {kind}, not with numbers")
        return [(one.metric, one.value[1]) for one in read(VECTOR, found)]

    def kinds(self, metric: str) -> set[str]:
        """What the scraped targets say that a metric is (counter, gauge, ...). Raises NoAnswerError."""
        found = read(METADATA, self._data("metadata", {"metric": metric}))
        return {one.type for one in found.get(metric, [])}

    def _instant(self, query: str, fields: dict[str, str]) -> tuple[str, Any]:
        return self._ask("query", {"query": query, **fields})

    def _ask(self, verb: str, fields: dict[str, str]) -> tuple[str, Any]:
        data = read(DATA, self._data(verb, fields))
        return data.kind, data.result

    def _data(self, verb: str, fields: Mapping[str, str]) -> Any:
        access = self._settings.access
        try:
            sent = access.sent()
        except UnreadableSecretError as error:
            raise NoAnswerError(f"Prometheus was not asked: {error}") from error
        try:
            self._renew()
            answer = ask(
                self._pool,
                "GET",
                f"{self._settings.url}/api/v1/{verb}",
                within_s=self._settings.timeout_s,
                at_most=_LARGEST_BYTES,
                fields=fields,
                headers=sent.headers,
            )
            return _payload(answer, sent)
        except UnansweredError as error:
            raise NoAnswerError(f"Prometheus does not answer: {error}") from error

    def _renew(self) -> None:
        """A connection that was made with certificates of before is given up."""
        files = self._settings.access.files_changed()
        if files != self._files:
            self.close()
            self._files = files


def _payload(answer: Answer, sent: Sent) -> Any:
    """The data of an answer. Raises NoAnswerError, with what the server says in its place."""
    text = sent.hide(answer.text)
    if 300 <= answer.status < 400:
        fix = "give the url that it leads to"
        raise NoAnswerError(f"Prometheus redirects with HTTP status {answer.status}; fix: {fix}")
    try:
        document = answer.document()
    except UnansweredError as error:
        how = "no JSON" if answer.status == 200 else f"HTTP status {answer.status}"
        raise NoAnswerError(f"Prometheus answers with {how}: {said(text)}") from error
    try:
        return payload(answer.status, document, text)
    except NoAnswerError as error:
        raise NoAnswerError(sent.hide(str(error))) from error
