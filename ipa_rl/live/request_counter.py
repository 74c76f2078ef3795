"""Samples of a counter of requests, asked of Prometheus, and whether it counts requests at all."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress

from ipa_rl.live.counter_load import OF_THE_SCRAPE
from ipa_rl.live.counters import Series, clean, refusal
from ipa_rl.live.prometheus_api import NoAnswerError, PrometheusApi

_KINDS_KEPT_S = 300.0
"""What Prometheus does not know of a metric is asked again after that."""


class NoCounterError(NoAnswerError):
    """What was asked for counts no requests; the text is the reason, and the fix."""


class RequestCounter:
    """The counters that a selector names."""

    def __init__(self, api: PrometheusApi, selector: str) -> None:
        self.selector = selector
        self._api = api
        self._kinds: dict[str, tuple[float, set[str]]] = {}
        self._labels: list[Mapping[str, str]] = []

    def samples(self, begin_s: float, end_s: float) -> list[Series]:
        """By series. Raises NoAnswerError."""
        found = []
        for one in self._api.samples(self.selector, end_s - begin_s, end_s):
            if one.histograms:
                name = one.metric.get("__name__", self.selector)
                fix = f"query: sum(histogram_count(rate({name}[1m])))"
                raise NoCounterError(f"{name} is a native histogram, not a counter; fix: {fix}")
            asked_for = (pair for pair in one.values if begin_s - 1.0 <= pair[0] <= end_s + 1.0)
            found.append(clean(asked_for, one.metric))
        self._labels = [one.labels for one in found]
        return found

    def check(self, found: list[Series]) -> None:
        """Raise NoCounterError where these do not count requests."""
        if refused := refusal(found, self._kinds_of):
            raise NoCounterError(refused)

    def rate_query(self, window_s: int) -> str:
        """PromQL of requests a second over windows of that length: coarser than samples, and short answers.

        What is scraped more than once counts once, where the addresses of all that is scraped are known.
        """
        rate = f"rate({self.selector}[{window_s}s])"
        known = all("instance" in labels for labels in self._labels)
        return f"sum(max without({','.join(sorted(OF_THE_SCRAPE))}) ({rate}))" if known else f"sum({rate})"

    def _kinds_of(self, metric: str) -> set[str]:
        """What Prometheus says that a metric is; empty where it does not know, or does not answer."""
        asked_at, kinds = self._kinds.get(metric, (-math.inf, set()))
        if not kinds and time.monotonic() - asked_at > _KINDS_KEPT_S:
            with suppress(NoAnswerError):
                kinds = self._api.kinds(metric)
            self._kinds[metric] = (time.monotonic(), kinds)
        return kinds
