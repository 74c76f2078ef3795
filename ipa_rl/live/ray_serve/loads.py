"""Recent loads from Ray Serve's own metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Loads
from ipa_rl.live.counter_total import measure
from ipa_rl.live.counters import filled
from ipa_rl.live.ray_serve.metrics import ARRIVED, Scraper
from ipa_rl.live.ray_serve.settings import LoadModel
from ipa_rl.workload.quantiles import HISTORY_S

_BEFORE_S = 60


class RayServeLoads:
    """A LoadSource: arrivals at the entrance of an application, as Ray Serve counts them.

    Ray's pages show the present only, so the history begins with this object; before that it is unknown, and
    shows the first load that is known. What is missing is stale, with the reason, and never a load of zero.
    """

    def __init__(self, settings: LoadModel) -> None:
        self.settings = settings
        urls = [settings.metrics] if isinstance(settings.metrics, str) else settings.metrics
        kept_s = HISTORY_S + _BEFORE_S
        self._scraper = Scraper(urls, settings.scrape_interval_s, kept_s, settings.timeout_s)
        self._application = {"application": settings.application}

    def close(self) -> None:
        """Stop sampling."""
        self._scraper.close()

    def loads(self, seconds: int) -> Loads:
        """The last ``seconds`` loads; stale where the pages do not answer or have nothing recent."""
        now_s, problem = self._scraper.now_s(), self._scraper.problem()
        found = self._scraper.counters(self._application | {"deployment": self.settings.entrance})
        measured = measure(found, now_s, seconds)
        if math.isnan(measured.newest_s):
            reason = problem or f"fewer than two samples of {ARRIVED} of {self.settings.entrance}"
            return Loads(np.full(seconds, np.nan), math.inf, stale=True, problem=reason)
        age_s = max(now_s - measured.newest_s, 0.0)
        stale = age_s > self.settings.stale_after_s
        reason = f"the newest sample is {age_s:.1f} s old; {problem}".rstrip("; ")
        return Loads(filled(measured.loads_rps), age_s, stale, reason if stale else measured.doubt)

    def queued(self, deployments: Sequence[str]) -> FloatArray | None:
        """Requests that wait, by deployment; None where that is not known now.

        A deployment that was never called has no queue.
        """
        found = self._scraper.queued(self._application, self.settings.stale_after_s)
        if not found:
            return None
        return np.array([found.get(name, 0.0) for name in deployments], dtype=np.float64)
