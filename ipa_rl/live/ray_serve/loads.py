"""Recent loads from Ray Serve's own metrics: pages sampled again and again, and what they come to."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from ipa_rl.errors import MissingExtraError, one_line
from ipa_rl.jit import FloatArray
from ipa_rl.live.calls import UnansweredError, ask, connections
from ipa_rl.live.cluster import Loads
from ipa_rl.live.counter_load import measure
from ipa_rl.live.counters import clean, filled
from ipa_rl.live.ray_serve.settings import ServeLoadModel

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError as error:  # pragma: no cover - the tests run with the extra
    raise MissingExtraError("prometheus_client", "ray") from error

Labels: TypeAlias = frozenset[tuple[str, str]]
Sample: TypeAlias = tuple[str, Labels, float]

ARRIVED = "ray_serve_num_router_requests_total"
"""Requests that a caller (the proxy, for the entrance of an application) was asked to route: arrivals."""

QUEUED = "ray_serve_deployment_queued_queries"
"""Requests to a deployment that wait at their caller for a replica."""

_BEFORE_S = 60


class RayServeLoads:
    """A LoadSource: arrivals at the entrance of an application, as Ray Serve counts them.

    A thread of its own samples the pages again and again, and stamps each sample with the monotonic moment at
    which it asked. Ray's pages show only the present, so the history begins with this object; before that it
    is unknown, and shows the first load that is known. What is missing is stale, with the reason, and never a
    load of zero. ``history_s``: seconds of loads that are kept.
    """

    def __init__(self, settings: ServeLoadModel, history_s: int) -> None:
        self.settings = settings
        self._urls = [settings.metrics] if isinstance(settings.metrics, str) else settings.metrics
        kept = max(round((history_s + _BEFORE_S) / settings.scrape_interval_s), 2)
        ring = partial(deque[tuple[float, float]], maxlen=kept)
        self._counts: dict[Labels, deque[tuple[float, float]]] = defaultdict(ring)
        self._queued: dict[str, tuple[float, list[Sample]]] = {}
        self._problems: dict[str, str] = dict.fromkeys(self._urls, "it was not asked yet")
        self._lock, self._over = threading.Lock(), threading.Event()
        self._pool = connections()
        self._thread = threading.Thread(target=self._scrape_forever, name="ray-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sampling."""
        self._over.set()
        self._thread.join(10.0)
        self._pool.clear()

    def loads(self, seconds: int) -> Loads:
        """The last ``seconds`` loads; stale where the pages do not answer or have nothing recent."""
        own = {("application", self.settings.application), ("deployment", self.settings.entrance)}
        with self._lock:
            found = [clean(ring) for labels, ring in self._counts.items() if own <= labels]
            problem = "; ".join(f"{url}: {line}" for url, line in self._problems.items() if line)
        now_s = time.monotonic()
        measured = measure(found, now_s, seconds)
        if math.isnan(measured.newest_s):
            reason = problem or f"fewer than two samples of {ARRIVED} of {self.settings.entrance}"
            return Loads(np.full(seconds, np.nan), math.inf, stale=True, problem=reason)
        age_s = max(now_s - measured.newest_s, 0.0)
        stale = age_s > self.settings.stale_after_s
        reason = f"the newest sample is {age_s:.1f} s old; {problem}".rstrip("; ")
        known_rps = measured.loads_rps
        return Loads(filled(known_rps), age_s, stale, reason if stale else measured.doubt, known_rps)

    def queued(self, deployments: Sequence[str]) -> FloatArray | None:
        """Requests that wait, by deployment, summed over its callers; None where that is not known now.

        A deployment that was never called has no queue.
        """
        own = ("application", self.settings.application)
        oldest_s = time.monotonic() - self.settings.stale_after_s
        found: dict[str, float] = defaultdict(float)
        with self._lock:
            for taken_s, samples in self._queued.values():
                for _, labels, value in samples if taken_s >= oldest_s else ():
                    if own in labels:
                        found[dict(labels).get("deployment", "")] += value
        if not found:
            return None
        return np.array([found.get(name, 0.0) for name in deployments], dtype=np.float64)

    def _scrape_forever(self) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            for url in self._urls:
                self._scrape(url)
            due_s = max(due_s + self.settings.scrape_interval_s, time.monotonic())
            self._over.wait(due_s - time.monotonic())

    def _scrape(self, url: str) -> None:
        taken_s = time.monotonic()
        samples: list[Sample] = []
        try:
            answer = ask(self._pool, "GET", url, within_s=self.settings.timeout_s)
            problem = "" if answer.status == 200 else f"answers with HTTP status {answer.status}"
            if not problem:
                samples = parse(answer.text, (ARRIVED, QUEUED))
        except (UnansweredError, ValueError) as error:
            problem = f"does not answer: {one_line(str(error))}"
        with self._lock:
            self._problems[url] = problem
            if problem:
                return
            self._queued[url] = (taken_s, [one for one in samples if one[0] == QUEUED])
            for name, labels, value in samples:
                if name == ARRIVED:
                    self._counts[labels].append((taken_s, value))


def parse(text: str, names: Iterable[str]) -> list[Sample]:
    """Samples of these names; the rest of the page, which is long, is not read.

    >>> parse('a_total{b="c"} 2.0\\nother 1', ["a_total"])
    [('a_total', frozenset({('b', 'c')}), 2.0)]
    """
    wanted = tuple(names)
    lines = [line for line in text.splitlines() if line.startswith(wanted)]
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    samples = [sample for family in families for sample in family.samples]
    return [(one.name, frozenset(one.labels.items()), one.value) for one in samples if one.name in wanted]
