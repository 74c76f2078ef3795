"""A central queue before each stage: full batches, or what waited for the time-out, go to free replicas."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way; times by the event loop's clock.

    ``done``: True once served, False once dropped. ``accuracy``: product over the stages passed.
    ``stage_s``: when it joined the queue that it waits in; None while it is served.
    """

    payload: object
    arrival_s: float
    done: asyncio.Future[bool]
    accuracy: float = 1.0
    variants: list[str] = field(default_factory=list)
    waits_since_s: float | None = None


@dataclass(slots=True, eq=False)
class Replica:
    """One server of a stage. ``ready``: takes batches, as far as is known; ``busy``: has one."""

    address: str
    variant: str = ""
    batch: int = 1
    ready: bool = False
    busy: bool = False
    gone: bool = False
    idle_since_s: float = 0.0
    seen_s: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a replica says of a batch that it served; ``taken_s``: how long it stays taken."""

    variant: str
    accuracy: float
    batch: int
    ready: bool
    taken_s: float


class ReplicaGone(RuntimeError):  # noqa: N818
    """The replica did not serve the batch: it is gone, going, or broken."""


Send = Callable[[Replica, list[Request]], Awaitable[Reply]]


class CentralQueue:
    """The queue of one stage and its replicas, pulled whenever something changes.

    A batch whose replica vanishes returns to the front and counts as a retry. A request that waits when it
    reaches the drop limit is dropped.
    """

    def __init__(
        self,
        stage: str,
        send: Send,
        served: Callable[[Request], None],
        batch_timeout_s: float,
        drop_limit_s: float,
    ) -> None:
        """``served`` takes a request that has passed the stage; durations are real seconds."""
        self.stage = stage
        self.replicas: dict[str, Replica] = {}
        self.retries = 0
        self._send, self._served = send, served
        self._batch_timeout_s, self._drop_limit_s = batch_timeout_s, drop_limit_s
        self._waiting: deque[Request] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request) -> None:
        """A request joins; one that is over the drop limit is dropped instead."""
        if self._wait(request):
            self._waiting.append(request)
            self.pull()

    def update(self, addresses: Iterable[str]) -> None:
        """The replicas that there are; new ones wait until they are known to be ready."""
        current = set(addresses)
        for address in current - self.replicas.keys():
            self.replicas[address] = Replica(address)
        for address in self.replicas.keys() - current:
            self.replicas.pop(address).gone = True

    def pull(self) -> None:
        """Give batches to free replicas, the one that has been idle longest first."""
        now_s = asyncio.get_running_loop().time()
        while self._waiting:
            free = [replica for replica in self.replicas.values() if replica.ready and not replica.busy]
            due_s = (self._waiting[0].waits_since_s or now_s) + self._batch_timeout_s
            fitting = [one for one in free if one.batch <= len(self._waiting) or now_s >= due_s]
            if not fitting:
                if free:
                    self._wake_at(due_s)
                return
            replica = min(fitting, key=lambda one: one.idle_since_s)
            size = min(replica.batch, len(self._waiting))
            self._begin(replica, [self._waiting.popleft() for _ in range(size)])

    def _begin(self, replica: Replica, batch: list[Request]) -> None:
        replica.busy = True
        for request in batch:
            request.waits_since_s = None
        task = asyncio.create_task(self._serve(replica, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, replica: Replica, batch: list[Request]) -> None:
        loop = asyncio.get_running_loop()
        try:
            reply = await self._send(replica, batch)
        except ReplicaGone:
            replica.ready, taken_s = False, 0.0
            self._put_back(batch)
        else:
            replica.variant, replica.batch, taken_s = reply.variant, reply.batch, reply.taken_s
            replica.ready, replica.seen_s = reply.ready, loop.time()
            for request in batch:
                request.accuracy *= reply.accuracy
                request.variants.append(reply.variant)
                self._served(request)
        if taken_s > 0:
            await asyncio.sleep(taken_s)
        replica.busy, replica.idle_since_s = False, loop.time()
        self.pull()

    def _put_back(self, batch: list[Request]) -> None:
        self.retries += len(batch)
        for request in reversed(batch):
            if self._wait(request):
                self._waiting.appendleft(request)
        self.pull()

    def _wait(self, request: Request) -> bool:
        """Mark a request as waiting; False, and dropped, where it is over the limit."""
        loop = asyncio.get_running_loop()
        limit_s = request.arrival_s + self._drop_limit_s
        if loop.time() >= limit_s:
            _finish(request, served=False)
            return False
        request.waits_since_s = loop.time()
        loop.call_at(limit_s, self._reach_limit, request)
        return True

    def _reach_limit(self, request: Request) -> None:
        if request.waits_since_s is not None and request in self._waiting:
            self._waiting.remove(request)
            _finish(request, served=False)

    def _wake_at(self, time_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(time_s, self.pull)


def _finish(request: Request, served: bool) -> None:
    if not request.done.done():
        request.done.set_result(served)


def finish(request: Request) -> None:
    """The request has passed the last stage."""
    _finish(request, served=True)
