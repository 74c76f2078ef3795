"""Which replica a request goes to: batches fill one after another, as from one queue before the stage.

Ray Serve's own choice (the less busy of two) spreads requests, so that every replica fills a batch of its
own, at a share of the load: with n replicas n times as slowly. Here a request joins the batch that is being
filled, else opens one at an idle replica, else waits for the first that becomes free.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

_PATIENCE_S = 0.1
"""A replica that became free is noticed at once; one that died without a word, after so long."""


class FillFirst(FIFOMixin, RequestRouter):
    """For a deployment with one caller, whose `max_ongoing_requests` is its batch size.

    A replica that has fewer requests than that, the first of them for no longer than ``batch_timeout_s``,
    is still filling its batch; afterwards it serves what it has.
    """

    def initialize_state(self, batch_timeout_s: float = 0.0, **_: Any) -> None:
        """Called once, with the deployment's `request_router_kwargs`."""
        self._batch_timeout_s = batch_timeout_s
        self._opened_s: dict[ReplicaID, float] = {}
        self._freed = asyncio.Event()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replica to send the next request to, or none, after waiting for one to become free."""
        chosen = self._choose(candidate_replicas)
        if chosen is not None:
            return [[chosen]]
        self._freed.clear()
        try:
            await asyncio.wait_for(self._freed.wait(), _PATIENCE_S)
        except TimeoutError:
            return []
        chosen = self._choose(self._replicas_list)
        return [] if chosen is None else [[chosen]]

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """A request goes out; the first one opens a batch."""
        super().on_send_request(replica_id)
        if self._ongoing(replica_id) == 1:
            self._opened_s[replica_id] = time.monotonic()

    def decrement_queue_len_cache(self, replica_id: ReplicaID) -> None:
        """A request is done; its replica is free once the whole batch is."""
        super().decrement_queue_len_cache(replica_id)
        if self._ongoing(replica_id) == 0:
            self._freed.set()

    def _choose(self, candidates: list[RunningReplica]) -> RunningReplica | None:
        idle = [one for one in candidates if self._ongoing(one.replica_id) == 0]
        filling = [one for one in candidates if self._is_filling(one)]
        return max(filling, key=lambda one: self._ongoing(one.replica_id), default=next(iter(idle), None))

    def _is_filling(self, replica: RunningReplica) -> bool:
        opened_s = self._opened_s.get(replica.replica_id, float("-inf"))
        in_time = time.monotonic() - opened_s < self._batch_timeout_s
        return in_time and 0 < self._ongoing(replica.replica_id) < replica.max_ongoing_requests

    def _ongoing(self, replica_id: ReplicaID) -> int:
        return self.replica_queue_len_cache.get(replica_id) or 0
