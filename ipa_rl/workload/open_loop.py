"""Requests sent at their times, whatever became of those before: the open loop of a load generator."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray

try:
    import aiohttp
except ImportError as error:  # pragma: no cover - the tests run with the extra
    raise MissingExtraError("aiohttp", "serving") from error

T = TypeVar("T")

Attempt = Callable[[aiohttp.ClientSession, int], Awaitable[T]]
"""Sends the k-th request and says what came of it; a failure to connect is a result too, not an error."""

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """What came of a request that was due at ``due_s`` and went out at ``sent_s``; seconds from the begin.

    ``latency_s``: from the time it was due to its answer, so that a late sender hides nothing.
    """

    due_s: float
    sent_s: float
    latency_s: float
    result: T


async def replay(
    due_s: FloatArray,
    attempt: Attempt[T],
    time_scale: float = 1.0,
    at_s: float = 0.0,
    told: Callable[[Timed[T]], None] = lambda _: None,
) -> list[Timed[T]]:
    """Send a request at each time; all results, in order of the times. ``told``: of each when it is there.

    A second of ``due_s`` takes ``time_scale`` real ones, and results are in its seconds. Time 0 is ``at_s``
    by `time.time`, or now where that has passed.
    """
    loop = asyncio.get_running_loop()

    async def one(session: aiohttp.ClientSession, k: int, due: float, begin_s: float) -> Timed[T]:
        await asyncio.sleep(begin_s + due * time_scale - loop.time())
        sent_s = (loop.time() - begin_s) / time_scale
        result = await attempt(session, k)
        timed = Timed(due, sent_s, (loop.time() - begin_s) / time_scale - due, result)
        told(timed)
        return timed

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        begin_s = loop.time() + max(at_s - time.time(), 0.1)
        return await asyncio.gather(*(one(session, k, t, begin_s) for k, t in enumerate(due_s.tolist())))


def write_csv(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    """One line a row; ``kind``: the dataclass that rows are of, whose fields are the columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(kind)])
        writer.writerows(astuple(row) for row in rows)
