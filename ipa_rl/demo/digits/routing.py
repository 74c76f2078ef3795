"""Which replica a request goes to: batches fill one after another, as from one queue before the stage.

Ray Serve's own choice (the less busy of two) spreads requests, so that every replica fills a batch of its
own, at a share of the load: with n replicas n times as slowly. Here a request joins the batch that is being
filled, else opens one at an idle replica, else waits for the first that becomes free.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

_PATIENCE_S = 0.1
"""A replica that became free is noticed at once; one that died without a word, after so long."""

_RESERVED_S = 0.02
"""How long a place is kept for a request that was chosen and has not gone out."""

_PAUSE_S = 0.02
"""How long a replica that said that it is full is left alone."""


class FillFirst(FIFOMixin, RequestRouter):
    """For a deployment with one caller, whose `max_ongoing_requests` is its batch size.

    A replica that has fewer requests than that, the first of them for no longer than ``batch_timeout_s``,
    is still filling its batch; afterwards it serves what it has.
    """

    def initialize_state(self, batch_timeout_s: float = 0.0, **_: Any) -> None:
        """Called once, with the deployment's `request_router_kwargs`."""
        self._batch_timeout_s = batch_timeout_s
        self._opened_s: dict[ReplicaID, float] = {}
        self._reserved_s: dict[ReplicaID, deque[float]] = defaultdict(deque)
        self._sent: Counter[ReplicaID] = Counter()
        self._full_until_s: dict[ReplicaID, float] = {}
        self._freed = asyncio.Event()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replica to send the next request to, or none, after waiting for one to become free."""
        chosen = self._choose(candidate_replicas)
        if chosen is not None:
            return self._reserve(chosen)
        self._freed.clear()
        try:
            await asyncio.wait_for(self._freed.wait(), _PATIENCE_S)
        except TimeoutError:
            return []
        chosen = self._choose(self._replicas_list)
        return [] if chosen is None else self._reserve(chosen)

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """A request goes out, in the place that was kept for it."""
        super().on_send_request(replica_id)
        if self._reserved_s[replica_id]:
            self._reserved_s[replica_id].popleft()
        self._sent[replica_id] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """A request that was sent is over: answered, rejected or taken back."""
        super().on_request_completed(replica_id, internal_request_id)
        self._sent[replica_id] = max(self._sent[replica_id] - 1, 0)
        if self._ongoing(replica_id) == 0:
            self._freed.set()

    def on_new_queue_len_info(self, replica_id: ReplicaID, num_ongoing_requests: int) -> None:
        """A replica tells what it holds; one that is full is left alone for a moment.

        It may still serve what its caller has taken back, and would reject more.
        """
        super().on_new_queue_len_info(replica_id, num_ongoing_requests)
        replica = self._replicas.get(replica_id)
        if replica is not None and num_ongoing_requests >= replica.max_ongoing_requests:
            self._full_until_s[replica_id] = time.monotonic() + _PAUSE_S

    def _reserve(self, replica: RunningReplica) -> list[list[RunningReplica]]:
        """Keep a place until the request goes out, so that others do not take it; the first opens a batch.

        A request that is taken back before it goes out leaves its place after _RESERVED_S.
        """
        now_s, ongoing = time.monotonic(), self._ongoing(replica.replica_id)
        if ongoing == 0:
            self._opened_s[replica.replica_id] = now_s
        self._reserved_s[replica.replica_id].append(now_s)
        self.replica_queue_len_cache.update(replica.replica_id, ongoing)  # else Ray Serve asks the replica
        return [[replica]]

    def _choose(self, candidates: list[RunningReplica]) -> RunningReplica | None:
        idle = [one for one in candidates if self._is_idle(one)]
        filling = [one for one in candidates if self._is_filling(one)]
        return max(filling, key=lambda one: self._ongoing(one.replica_id), default=next(iter(idle), None))

    def _is_idle(self, replica: RunningReplica) -> bool:
        full_until_s = self._full_until_s.get(replica.replica_id, float("-inf"))
        return self._ongoing(replica.replica_id) == 0 and time.monotonic() >= full_until_s

    def _is_filling(self, replica: RunningReplica) -> bool:
        opened_s = self._opened_s.get(replica.replica_id, float("-inf"))
        in_time = time.monotonic() - opened_s < self._batch_timeout_s
        return in_time and 0 < self._ongoing(replica.replica_id) < replica.max_ongoing_requests

    def _ongoing(self, replica_id: ReplicaID) -> int:
        reserved_s, now_s = self._reserved_s[replica_id], time.monotonic()
        while reserved_s and now_s - reserved_s[0] > _RESERVED_S:
            reserved_s.popleft()
        return len(reserved_s) + self._sent[replica_id]
