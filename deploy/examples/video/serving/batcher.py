"""Dynamic batching in one replica: one batch in service at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from serving.service import ServiceTimes


@dataclass(frozen=True, slots=True)
class Served:
    """How items were served: batch size, service time and what the replica stays taken after it (real s)."""

    size: int
    service_s: float
    taken_s: float


@dataclass(slots=True)
class _Ticket:
    items: int
    whole: bool
    entered_s: float
    done: asyncio.Future[Served]


class Batcher:
    """Collects items into batches of ``batch``, or what came within the time-out of the first; sleeps.

    Items that come ``whole`` are a batch of their own: a router with a central queue has made it.
    """

    def __init__(self, times: ServiceTimes, batch: int, timeout_s: float, time_scale: float) -> None:
        self.batch = batch
        self._times = times
        self._timeout_s = timeout_s * time_scale
        self._scale = time_scale
        self._waiting: deque[_Ticket] = deque()
        self._changed = asyncio.Event()
        self._free_s = 0.0
        self.in_service = 0

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return sum(ticket.items for ticket in self._waiting)

    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in service."""
        return not self._waiting and not self.in_service

    def set_batch(self, batch: int) -> None:
        """Another batch size, for the next batch on."""
        self.batch = batch
        self._changed.set()

    async def submit(self, items: int, whole: bool) -> Served:
        """Serve items; returns when their batch is done."""
        loop = asyncio.get_running_loop()
        ticket = _Ticket(items, whole, loop.time(), loop.create_future())
        self._waiting.append(ticket)
        self._changed.set()
        return await ticket.done

    async def run(self) -> None:
        """Serve batches until cancelled.

        Times are kept on a schedule of their own, as if the event loop were never late, so that a busy
        machine does not lower the throughput.
        """
        loop = asyncio.get_running_loop()
        while True:
            tickets = await self._next()
            self.in_service = sum(ticket.items for ticket in tickets)
            service_s = self._times.draw_s(self.in_service) * self._scale
            taken_s = service_s * (self._times.hold(self.in_service) - 1.0)
            begin_s = max(self._free_s, self._complete_s(tickets))
            await asyncio.sleep(begin_s + service_s - loop.time())
            for ticket in tickets:
                if not ticket.done.done():
                    ticket.done.set_result(Served(self.in_service, service_s, taken_s))
            self.in_service = 0
            self._free_s = begin_s + service_s + taken_s
            await asyncio.sleep(self._free_s - loop.time())

    def _complete_s(self, tickets: list[_Ticket]) -> float:
        """When a batch could begin: its last item was there, or its first had waited long enough."""
        last_s = tickets[-1].entered_s
        if tickets[0].whole or sum(ticket.items for ticket in tickets) >= self.batch:
            return last_s
        return max(last_s, tickets[0].entered_s + self._timeout_s)

    async def _next(self) -> list[_Ticket]:
        """Wait for the next batch and take it."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if self._waiting:
                due_s = self._waiting[0].entered_s + self._timeout_s
                if self._waiting[0].whole or self.waiting >= self.batch or loop.time() >= due_s:
                    return self._take()
                left_s: float | None = due_s - loop.time()
            else:
                left_s = None
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                continue

    def _take(self) -> list[_Ticket]:
        tickets = [self._waiting.popleft()]
        items = tickets[0].items
        while not tickets[0].whole and self._waiting and not self._waiting[0].whole:
            if items + self._waiting[0].items > self.batch:
                break
            items += self._waiting[0].items
            tickets.append(self._waiting.popleft())
        return tickets
