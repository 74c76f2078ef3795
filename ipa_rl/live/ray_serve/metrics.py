"""Ray's metrics pages, sampled again and again, as counters and gauges by label."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from ipa_rl.errors import MissingExtraError, one_line
from ipa_rl.live.calls import UnansweredError, ask, connections
from ipa_rl.live.counters import Series, clean

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


class Scraper:
    """Samples the pages every ``interval_s`` in a thread of its own, for as long as ``kept_s``.

    Each sample is stamped with the moment at which the page was asked for, by ``clock``.
    """

    def __init__(
        self,
        urls: Sequence[str],
        interval_s: float,
        kept_s: float,
        timeout_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls, self._interval_s, self._clock = tuple(urls), interval_s, clock
        self._length = max(round(kept_s / interval_s), 2)
        self._counts: dict[Labels, deque[tuple[float, float]]] = defaultdict(self._ring)
        self._queued: dict[str, tuple[float, list[Sample]]] = {}
        self._problems: dict[str, str] = dict.fromkeys(self._urls, "it was not asked yet")
        self._lock, self._over = threading.Lock(), threading.Event()
        self._pool, self._timeout_s = connections(), timeout_s
        self._thread = threading.Thread(target=self._scrape_forever, name="ray-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        self._thread.join(10.0)
        self._pool.clear()

    def now_s(self) -> float:
        """The time by the clock that stamps the samples."""
        return self._clock()

    def counters(self, labels: Mapping[str, str]) -> list[Series]:
        """The kept samples of ARRIVED, of every series that has these labels."""
        wanted = set(labels.items())
        with self._lock:
            return [clean(ring) for own, ring in self._counts.items() if wanted <= own]

    def queued(self, labels: Mapping[str, str], within_s: float) -> dict[str, float]:
        """QUEUED by deployment, summed over callers that have these labels, none older than ``within_s``."""
        wanted, oldest_s = set(labels.items()), self._clock() - within_s
        found: dict[str, float] = defaultdict(float)
        with self._lock:
            for taken_s, samples in self._queued.values():
                for _, own, value in samples if taken_s >= oldest_s else ():
                    if wanted <= own:
                        found[dict(own).get("deployment", "")] += value
        return dict(found)

    def problem(self) -> str:
        """Why a page could not be read the last time, empty where all could."""
        with self._lock:
            return "; ".join(f"{url}: {line}" for url, line in self._problems.items() if line)

    def _ring(self) -> deque[tuple[float, float]]:
        return deque(maxlen=self._length)

    def _scrape_forever(self) -> None:
        due_s = self._clock()
        while not self._over.is_set():
            for url in self._urls:
                self._scrape(url)
            due_s = max(due_s + self._interval_s, self._clock())
            self._over.wait(due_s - self._clock())

    def _scrape(self, url: str) -> None:
        taken_s = self._clock()
        samples: list[Sample] = []
        try:
            answer = ask(self._pool, "GET", url, within_s=self._timeout_s)
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
