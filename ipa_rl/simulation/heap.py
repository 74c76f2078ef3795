"""The batches in service by the time of their next event: a binary heap, compiled."""

from __future__ import annotations

import numpy as np

from ipa_rl.jit import Record, Records, compiled_in_place

HEAP = np.dtype([("time_s", np.float64), ("batch", np.int64), ("task", np.int64)], align=True)
"""A batch in service, by its oldest task, and when its next event is; ``batch``: how many began before."""


@compiled_in_place
def push(heap: Records, clock: Record, time_s: float, batch: int, task: int) -> None:
    """A batch, the ``batch``-th begun, has its next event at ``time_s``; ``task``: its oldest."""
    i = clock.taken
    clock.taken = i + 1
    one = heap[i]
    one.time_s, one.batch, one.task = time_s, batch, task
    while i > 0 and _is_before(heap[i], heap[(i - 1) // 2]):
        _swap(heap[i], heap[(i - 1) // 2])
        i = (i - 1) // 2


@compiled_in_place
def pop(heap: Records, clock: Record) -> None:
    """Remove the first entry of the heap."""
    last = clock.taken - 1
    _swap(heap[0], heap[last])
    clock.taken = last
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            return
        if child + 1 < last and _is_before(heap[child + 1], heap[child]):
            child += 1
        if not _is_before(heap[child], heap[i]):
            return
        _swap(heap[i], heap[child])
        i = child


@compiled_in_place
def _is_before(one: Record, other: Record) -> bool:
    if one.time_s != other.time_s:
        return bool(one.time_s < other.time_s)
    return bool(one.batch < other.batch)


@compiled_in_place
def _swap(one: Record, other: Record) -> None:
    one.time_s, other.time_s = other.time_s, one.time_s
    one.batch, other.batch = other.batch, one.batch
    one.task, other.task = other.task, one.task
