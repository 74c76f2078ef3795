"""The HTTP API of Prometheus: questions, and answers that are whole or are none."""

from __future__ import annotations

from typing import Any

from ipa_rl.clusters.calls import UnansweredError, ask, connections
from ipa_rl.clusters.prometheus_queries import PrometheusSettings
from ipa_rl.errors import one_line

_LARGEST_BYTES = 4 * 2**20
"""Answers of some thousand series; read into Python objects they take about ten times as much."""

Pairs = list[tuple[float, float]]


class NoAnswerError(RuntimeError):
    """Prometheus did not answer, or not with what was asked; the text is the reason, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


class PrometheusApi:
    """One kept connection; no retries, as the next interval asks anew."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._pool = connections(
            num_pools=1,
            ca_certs=None if settings.ca_file is None else str(settings.ca_file),
        )

    def close(self) -> None:
        """Give the connection up."""
        self._pool.clear()

    def now_s(self) -> float:
        """The time by Prometheus' own clock, which stamps the samples. Raises NoAnswerError."""
        kind, value = self._instant("time()", {})
        return _number(value[1], kind)

    def samples(self, selector: str, seconds: float, at_s: float) -> list[Pairs]:
        """Raw samples of the last ``seconds``, by series: (time, value). Raises NoAnswerError."""
        asked = f"{selector}[{round(seconds * 1000)}ms]"
        kind, found = self._instant(asked, {"time": f"{at_s:.3f}"})
        if kind != "matrix":
            raise NoAnswerError(f"Prometheus answers {asked} with a {kind}, not with samples")
        return [_pairs(one) for one in found]

    def steps(self, query: str, begin_s: float, end_s: float, lookback_s: float) -> list[Pairs]:
        """A query evaluated at each second from begin to end, by series. Raises NoAnswerError."""
        span = {"start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": "1"}
        fields = {"query": query, **span, "lookback_delta": f"{lookback_s:g}"}
        _, found = self._ask("query_range", fields)
        return [_pairs(one) for one in found]

    def values(self, query: str, lookback_s: float) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a query now. Raises NoAnswerError."""
        kind, found = self._instant(query, {"lookback_delta": f"{lookback_s:g}"})
        if kind == "scalar":
            return [({}, _number(found[1], kind))]
        if kind != "vector":
            raise NoAnswerError(f"Prometheus answers {query} with a {kind}, not with numbers")
        try:
            return [(dict(one["metric"]), _number(one["value"][1], kind)) for one in found]
        except (KeyError, TypeError, IndexError) as error:
            raise NoAnswerError(f"Prometheus answers {query} in an unknown form") from error

    def _instant(self, query: str, fields: dict[str, str]) -> tuple[str, Any]:
        return self._ask("query", {"query": query, **fields})

    def _ask(self, verb: str, fields: dict[str, str]) -> tuple[str, Any]:
        try:
            answer = ask(
                self._pool,
                "GET",
                f"{self._settings.url}/api/v1/{verb}",
                within_s=self._settings.timeout_s,
                at_most=_LARGEST_BYTES,
                fields=fields,
                headers=self._headers(),
            )
            return _content(answer.status, answer.document())
        except (UnansweredError, OSError) as error:
            raise NoAnswerError(f"Prometheus does not answer: {error}") from error

    def _headers(self) -> dict[str, str]:
        """The token is read each time, as Kubernetes renews it in its file."""
        file = self._settings.bearer_token_file
        if file is None:
            return {}
        return {"Authorization": f"Bearer {file.read_text(encoding='utf-8').strip()}"}


def _content(status: int, answer: Any) -> tuple[str, Any]:
    """Kind and result of an answer that is whole: one with warnings may lack data."""
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error", "") if isinstance(answer, dict) else ""
        raise NoAnswerError(f"Prometheus refuses with HTTP status {status}: {said or 'no reason given'}")
    warnings = [str(one) for one in answer.get("warnings") or [] if not str(one).startswith("PromQL info")]
    if warnings:
        raise NoAnswerError(f"Prometheus warns that the answer may not be whole: {warnings[0]}")
    data = answer.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("result"), list):
        raise NoAnswerError("Prometheus answers in an unknown form")
    return str(data.get("resultType")), data["result"]


def _pairs(one: Any) -> Pairs:
    try:
        return [(float(time), float(value)) for time, value in one["values"]]
    except (KeyError, TypeError, ValueError) as error:
        raise NoAnswerError("Prometheus answers in an unknown form") from error


def _number(value: Any, kind: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise NoAnswerError(f"Prometheus answers with a {kind} that is no number") from error
