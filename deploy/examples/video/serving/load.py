"""Replays a window of the request trace against the router: ``python -m serving.load URL``.

Open loop: a request goes out at its time whatever became of those before it, and its latency counts from
that time. Times and latencies in the file and in the summary are in the trace's seconds (real ones divided by
``--time-scale``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.workload import open_loop
from ipa_rl.workload.times import times_within
from ipa_rl.workload.workload import load_workload


@dataclass(frozen=True, slots=True)
class Sent:
    """One request; ``outcome``: served, dropped or failed; ``pas`` is 0 unless served."""

    due_s: float
    sent_s: float
    latency_s: float
    outcome: str
    pas: float
    variants: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole run; latencies of served requests, NaN where there were none."""

    requests: int
    served: int
    dropped: int
    failed: int
    violated_pct: float
    p50_s: float
    p99_s: float
    pas_x100: float
    latest_sent_s: float


def arrival_times(
    window: str, begin_s: int, seconds: int, rate_scale: float, seed: int
) -> NDArray[np.float64]:
    """Times of arrival in a stretch of one of the paper's windows, Poisson within each second.

    ``rate_scale`` below 1 thins the requests at random.
    """
    counts = load_workload("twitter").named_window(window, 0).arrivals[begin_s : begin_s + seconds]
    rng = np.random.default_rng(seed)
    if rate_scale != 1.0:
        counts = rng.poisson(counts * rate_scale)
    return times_within(counts, rng)


async def replay(url: str, due_s: NDArray[np.float64], time_scale: float, at_s: float = 0.0) -> list[Sent]:
    """Send a request at each time; all answers, in order of the times.

    Time 0 is ``at_s`` by `time.time`, or now where that has passed.
    """

    async def infer(session: aiohttp.ClientSession, k: int) -> tuple[str, float, str]:
        return await _infer(session, url, float(due_s[k]))

    timed = await open_loop.replay(due_s, infer, time_scale, at_s)
    return [Sent(one.due_s, one.sent_s, one.latency_s, *one.result) for one in timed]


async def _infer(session: aiohttp.ClientSession, url: str, frame: float) -> tuple[str, float, str]:
    """Outcome, PAS and variants of one request."""
    try:
        async with session.post(f"{url}/infer", json={"frame": round(frame, 3)}) as answer:
            await answer.read()
    except (OSError, aiohttp.ClientError, TimeoutError):
        return "failed", 0.0, ""
    if answer.status == 200:
        return "served", float(answer.headers["X-IPA-PAS"]), answer.headers["X-IPA-Variants"]
    return "dropped" if "X-IPA-Dropped" in answer.headers else "failed", 0.0, ""


def summarise(sent: list[Sent], sla_s: float) -> Summary:
    """What came of a run; a request that was not served within the SLA violates it."""
    served = [one for one in sent if one.outcome == "served"]
    latencies = np.array([one.latency_s for one in served]) if served else np.array([np.nan])
    good = sum(one.latency_s <= sla_s for one in served)
    return Summary(
        requests=len(sent),
        served=len(served),
        dropped=sum(one.outcome == "dropped" for one in sent),
        failed=sum(one.outcome == "failed" for one in sent),
        violated_pct=100.0 * (1 - good / len(sent)) if sent else 0.0,
        p50_s=float(np.quantile(latencies, 0.5)),
        p99_s=float(np.quantile(latencies, 0.99)),
        pas_x100=100.0 * float(np.mean([one.pas for one in served])) if served else float("nan"),
        latest_sent_s=max((one.sent_s - one.due_s for one in sent), default=0.0),
    )


def main() -> None:
    """Replay, write, print."""
    parser = argparse.ArgumentParser(prog="serving.load", description="Replay a window of the trace.")
    parser.add_argument("url", help="the router, as http://video-router:8080")
    parser.add_argument(
        "--window", choices=list(load_workload("twitter").description.windows), default="bursty"
    )
    parser.add_argument("--begin", type=int, default=0, help="second of the window")
    parser.add_argument("--seconds", type=int, default=1200)
    parser.add_argument("--time-scale", type=float, default=1.0, help="real seconds a second of the trace")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="share of the requests")
    parser.add_argument("--sla", type=float, default=6.897365, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at", type=float, default=0.0, help="when to begin, seconds since the epoch")
    parser.add_argument("--output", type=Path, help="CSV file, one line a request")
    chosen = parser.parse_args()
    due_s = arrival_times(chosen.window, chosen.begin, chosen.seconds, chosen.rate_scale, chosen.seed)
    sent = asyncio.run(replay(chosen.url.rstrip("/"), due_s, chosen.time_scale, chosen.at))
    if chosen.output:
        open_loop.write_csv(chosen.output, Sent, sent)
    json.dump(asdict(summarise(sent, chosen.sla)), sys.stdout)
    print()


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
