"""Prometheus' HTTP API: questions, and answers that are whole or are none, whoever answers."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ipa_rl.errors import one_line, shortened
from ipa_rl.live.calls import Answer, UnansweredError, ask, connections
from ipa_rl.live.prometheus_settings import PrometheusSettings, UnreadableSecretError

Form = TypeVar("Form")

Pair = tuple[float, float]
"""Time and value; the API writes values as text, "NaN" and "+Inf" among them."""

MOST_POINTS = 10_000
"""Moments at which a query is evaluated at once; Prometheus refuses more than 11,000."""

_LARGEST_BYTES = 4 * 2**20
"""Answers of some thousand series; read into Python objects they take about ten times as much."""

_LATEST_S = 1e11
"""A clock beyond the year 5000 is none."""

_LONGEST_SAID = 200
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


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

    def steps(
        self, query: str, begin_s: float, end_s: float, lookback_s: float, step_s: int = 1
    ) -> list[list[Pair]]:
        """A query evaluated every ``step_s`` from begin to end, by series. Raises NoAnswerError."""
        span = {"start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": str(step_s)}
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
