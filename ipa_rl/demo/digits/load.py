"""Labelled requests to the digits pipeline over HTTP: ``python -m ipa_rl.demo.digits.load URL LOADS``.

An answer is right where it says the digit of the canvas, or that there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from ipa_rl.demo.digits.data import NONE, make_canvases
from ipa_rl.jit import FloatArray
from ipa_rl.workload.open_loop import Timed, replay, write_csv
from ipa_rl.workload.times import times_within

SERVED, DROPPED, FAILED = "served", "dropped", "failed"
Reply = tuple[str, int | None, str, str]
"""Outcome, digit (NONE where there is none, None without an answer), and the variants that answered."""

_CANVASES = 1000

PREPARE_S = 3.0
"""From the start of a sender to its first request: canvases are drawn meanwhile."""


@dataclass(frozen=True, slots=True)
class DigitRequest:
    """One request: when (seconds from the begin), the digit on it, what came of it, from which variants."""

    due_s: float
    sent_s: float
    latency_s: float
    outcome: str
    label: int
    digit: int | None
    detect: str
    classify: str

    @property
    def right(self) -> bool:
        """Whether it was served and answered right."""
        return self.outcome == SERVED and self.digit == self.label


def arrival_times(loads_rps: Sequence[float] | FloatArray, seed: int) -> FloatArray:
    """Times of arrival, seconds, Poisson at the load of each second."""
    rng = np.random.default_rng(seed)
    return times_within(rng.poisson(np.asarray(loads_rps, dtype=np.float64)), rng)


def send(
    url: str,
    due_s: FloatArray,
    seed: int = 0,
    at_s: float = 0.0,
    told: Callable[[DigitRequest], None] = lambda _: None,
) -> list[DigitRequest]:
    """Send a canvas at each time (from ``at_s`` by `time.time`), wait for all answers. ``told`` of each."""
    canvases = make_canvases("held-out", _CANVASES, seed)
    bodies = [
        json.dumps({"image": np.rint(image * 255).astype(int).tolist()}).encode() for image in canvases.images
    ]
    chosen = np.random.default_rng(seed).integers(_CANVASES, size=len(due_s)).tolist()

    async def attempt(session: aiohttp.ClientSession, k: int) -> tuple[int, Reply]:
        return chosen[k], await _ask(session, url, bodies[chosen[k]])

    def request(timed: Timed[tuple[int, Reply]]) -> DigitRequest:
        k, (outcome, digit, detect, classify) = timed.result
        times, label = (timed.due_s, timed.sent_s, timed.latency_s), int(canvases.labels[k])
        return DigitRequest(*times, outcome, label, digit, detect, classify)

    sent = asyncio.run(replay(due_s, attempt, at_s=at_s, told=lambda timed: told(request(timed))))
    return [request(one) for one in sent]


class Sending(threading.Thread):
    """Sends requests at ``due_s`` after ``at_s`` (by `time.time`) in a thread, in which it calls ``told``.

    ``asked``: all of them once it is over: every request answered, dropped or lost; ``problem``: why sending
    itself failed, else empty. It ends with the process, whatever is still under way.
    """

    def __init__(
        self,
        url: str,
        due_s: FloatArray,
        seed: int,
        at_s: float,
        told: Callable[[DigitRequest], None] = lambda _: None,
    ) -> None:
        super().__init__(name="requests", daemon=True)
        self.asked: list[DigitRequest] = []
        self.problem = ""
        self._order = (url, due_s, seed, at_s, told)
        self.start()

    def run(self) -> None:
        """What the thread does."""
        try:
            self.asked = send(*self._order)
        except OSError as error:  # of the event loop itself; requests that fail are results
            self.problem = str(error)


def summarise(asked: Sequence[DigitRequest], sla_s: float) -> dict[str, float]:
    """A run as a whole: counts by outcome, and latencies of served requests, NaN where there are none.

    ``violated_pct``: dropped, failed, or served after the SLA. ``pas_x100``: of 100 served requests those
    that were answered right.
    """
    served = [one for one in asked if one.outcome == SERVED]
    latencies = np.array([one.latency_s for one in served] or [np.nan])
    within = sum(one.latency_s <= sla_s for one in served)
    return {
        "requests": len(asked),
        "served": len(served),
        "dropped": sum(one.outcome == DROPPED for one in asked),
        "failed": sum(one.outcome == FAILED for one in asked),
        "violated_pct": 100.0 * (1.0 - within / len(asked)) if asked else 0.0,
        "mean_s": float(latencies.mean()),
        "p50_s": float(np.quantile(latencies, 0.5)),
        "p99_s": float(np.quantile(latencies, 0.99)),
        "pas_x100": 100.0 * float(np.mean([one.right for one in served])) if served else float("nan"),
        "latest_sent_s": max((one.sent_s - one.due_s for one in asked), default=0.0),
    }


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> Reply:
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            content = await answer.json(content_type=None)
    except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
        return FAILED, None, "", ""
    if answer.status == 200:
        digit = NONE if content["digit"] is None else int(content["digit"])
        return SERVED, digit, content["detect"], content["classify"]
    return DROPPED if isinstance(content, dict) and "dropped" in content else FAILED, None, "", ""


def main() -> None:
    """Replay, write, print."""
    parser = argparse.ArgumentParser(prog="python -m ipa_rl.demo.digits.load", description=__doc__)
    parser.add_argument("url", help="the router, as http://127.0.0.1:8000/")
    parser.add_argument("loads", type=Path, help="a file of loads, requests a second, one line a second")
    parser.add_argument("--sla", type=float, default=1.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV file, one line a request")
    chosen = parser.parse_args()
    loads = np.loadtxt(chosen.loads, ndmin=1)
    asked = send(chosen.url, arrival_times(loads, chosen.seed), chosen.seed)
    if chosen.output:
        write_csv(chosen.output, DigitRequest, asked)
    print(json.dumps(summarise(asked, chosen.sla)))


if __name__ == "__main__":
    main()
