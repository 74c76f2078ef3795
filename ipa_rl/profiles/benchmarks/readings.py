"""What a benchmark found out about one model under one load, whichever tool wrote it down.

A tool keeps requests in flight (a closed loop), or sends them at a rate (an open loop). Both become points of
a profile by Little's law: what is in flight is throughput times latency. A replica that holds n items at a
time and answers each after l seconds serves n / l items a second, which is what a profile says of a batch of
n. So the batch of a reading is the number of items in flight, and where a tool gives no mean latency of a
closed loop, n over the throughput is it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_KEEPS_UP = 0.95
"""Share of the offered rate that a server answers at least which is not overloaded."""


@dataclass(frozen=True)
class Hardware:
    """Units of a device, or of another resource than cores, that one replica occupied."""

    resource: str
    units: float = 1


@dataclass(frozen=True)
class Reading:
    """One model under one load, in seconds and items a second.

    ``variant`` and ``batch`` are None where the file does not say. ``load_rps``: inf where the items in
    flight were kept at ``batch``. ``concurrency``: requests in flight that the tool was told to keep.
    ``place``: file and line. ``placement``: the device that the model ran on; None where the file does not
    say, which may be cores.
    """

    file: Path
    place: str
    variant: str | None
    batch: int | None
    load_rps: float
    latency_mean_s: float | None
    latency_p99_s: float | None
    throughput_rps: float
    note: str = ""
    concurrency: int | None = None
    placement: Hardware | None = None


@dataclass(frozen=True)
class Found:
    """All that files say; accuracy and parameters by variant. ``left_out``: what is of no use, and why."""

    readings: Sequence[Reading]
    left_out: Sequence[str] = ()
    accuracy: Mapping[str, float] = field(default_factory=dict)
    accuracy_metric: str = ""
    parameters_millions: Mapping[str, float] = field(default_factory=dict)


def closed_loop(
    file: Path,
    place: str,
    variant: str | None,
    concurrency: int,
    request_batch: int | None,
    throughput_rps: float,
    mean_s: float | None,
    p99_s: float | None,
) -> Reading:
    """A reading with so many requests of so many items each always in flight."""
    batch, note = None, f"closed loop, {concurrency} in flight"
    if request_batch is not None:
        batch = concurrency * request_batch
        note += f" of {request_batch} each" * (request_batch > 1)
        if mean_s is None:
            mean_s, note = batch / throughput_rps, f"{note}; mean by Little's law"
    if mean_s is not None and p99_s is not None and p99_s < 0.98 * mean_s:
        note += f"; 99th percentile {p99_s:g} s is below the mean"
        p99_s = None
    return Reading(file, place, variant, batch, math.inf, mean_s, p99_s, throughput_rps, note, concurrency)


def open_loop(
    file: Path,
    place: str,
    variant: str | None,
    offered_rps: float | None,
    throughput_rps: float,
    mean_s: float,
    p99_s: float | None,
) -> Reading | str:
    """A reading under a rate of requests; or, of a server that did not keep up, why it is left out."""
    in_flight = throughput_rps * mean_s
    batch = max(1, round(in_flight))
    told = "open loop" if offered_rps is None else f"open loop at {offered_rps:g}/s"
    if offered_rps is not None and throughput_rps < _KEEPS_UP * offered_rps and batch > 1:
        return (
            f"{place}: answered {throughput_rps:g} of {offered_rps:g} requests/s, so its queue grew all along"
        )
    # One at a time, or less, is light load: the throughput is no capacity, but the latency is service time.
    load_rps = math.inf if batch > 1 else throughput_rps
    note = f"{told}, {in_flight:.3g} in flight by Little's law"
    return Reading(file, place, variant, batch, load_rps, mean_s, p99_s, throughput_rps, note)
