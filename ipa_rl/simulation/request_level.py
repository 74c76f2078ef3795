"""The request-level simulator: discrete events, every request accounted for (design, section 4).

In a graph a request becomes tasks, one in each stage of a chain. An edge that carries 2.6 requests carries 3
of 10 times 6, else 2; which alternative a task takes is drawn. A join begins once all tasks are done that
could lead to it, or all those of one of the edges that it awaits the first of; the others go on. A request
is served when all that is awaited is; its accuracy is the product over its stages, the mean where an edge
carries several, without an edge that came second. Where one of its tasks is dropped it is, unless another
edge may still be the first; what of it still waits then leaves the queues.

A central queue a stage, from which idle replicas pull. A batch begins when it is full, or when its first
request has waited the batch timeout and a replica is idle. A replica that is no longer wanted finishes its
batch first, and is paid for until then. A request whose age reaches the drop limit while it waits is dropped.

Every service time is exp(mu + sigma z). Lognormal: mu and sigma from the profile's mean and 99th percentile,
z normal. Fixed: sigma = 0. Exponential: sigma = 1 and z the logarithm of an exponential variate.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

from ipa_rl.border import amounts, as_array, number, positions
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, Record, Records
from ipa_rl.objective import Problem
from ipa_rl.queueing import lognormal
from ipa_rl.simulation import events
from ipa_rl.simulation.accounting import clear, no_totals
from ipa_rl.simulation.events import CLOCK, REQUEST, SERVER, TASK, World
from ipa_rl.simulation.heap import HEAP
from ipa_rl.simulation.network import network_of
from ipa_rl.simulation.tables import Timing, build_limits, build_variants, choices_below
from ipa_rl.simulation.together import together_of
from ipa_rl.simulation.transitions import FLEET, place_all

LONGEST_S = 8e6
"""Seconds (three months) that may pass; later, times are no longer exact to the nanosecond within which
replicas count as ready."""

Service = Literal["lognormal", "fixed", "exponential"]

_KINDS: dict[Service, int] = {
    "lognormal": events.LOGNORMAL,
    "fixed": events.FIXED,
    "exponential": events.EXPONENTIAL,
}
_FEWEST = 1024


class RequestSimulator:
    """One pipeline that serves requests at known times of arrival.

    ``arrivals_s``: float array (requests,), ascending, seconds since the start. ``rng`` draws the service
    times: the same arrivals and generator give the same events, whatever is decided meanwhile.
    ``keeps_requests``: whether all stay at hand; else those that ended are forgotten as time passes, so that
    a long window of a heavy load fits the memory. Nothing else depends on it.
    State, structured arrays: ``requests`` (REQUEST), ``tasks`` (TASK), ``fleet`` (FLEET by stage),
    ``servers`` (SERVER by stage), ``totals`` (one of TOTALS), ``now_s``.
    """

    def __init__(
        self,
        problem: Problem,
        timing: Timing,
        arrivals_s: FloatArray,
        rng: np.random.Generator,
        service: Service = "lognormal",
        keeps_requests: bool = True,
    ) -> None:
        count, stages = as_array(arrivals_s, "arrivals_s").size, len(problem.pipeline.stages)
        arrivals_s = amounts(arrivals_s, "arrivals_s", (count,), LONGEST_S)
        if (np.diff(arrivals_s) < 0).any():
            raise InputError("do not ascend", field="arrivals_s", fix="sort them")
        kinds = get_args(Service)
        if not isinstance(service, str) or service not in kinds or not isinstance(rng, np.random.Generator):
            fix = f"give a numpy Generator and one of {', '.join(kinds)}"
            raise InputError("cannot be drawn", field="service", fix=fix)
        self._below = choices_below(problem)
        self.variants = build_variants(problem, timing)
        self._arrivals_s, self._rng, self._service, self._keeps = arrivals_s, rng, service, keeps_requests
        self._held_up_to = count if keeps_requests else 0
        network = network_of(problem)
        self._plain = problem.pipeline.graph.is_chain
        self.requests, variates = self._to_come(0, self._held_up_to)
        self.servers = np.zeros(stages, dtype=SERVER)
        self.servers["head"] = self.servers["tail"] = -1
        self.fleet = np.zeros(stages, dtype=FLEET)
        self.totals = no_totals(1)
        self.now_s = 0.0
        clock = np.zeros(1, dtype=CLOCK)
        clock["free"] = -1
        room = (int(self.variants["batch"].max()) + 1) * network.most_tasks + 2
        most = max(_FEWEST, room, (stages + 1) * self._held_up_to) + room
        self._world = World(
            **network._asdict(),
            requests=self.requests,
            tasks=np.zeros(most, dtype=TASK),
            servers=self.servers,
            fleet=self.fleet,
            variants=self.variants,
            services=np.stack(service_tables(self.variants, service)),
            variates=variates,
            service=_KINDS[service],
            heap=np.zeros(most, dtype=HEAP),
            clock=clock,
            limits=build_limits(problem, timing),
            totals=self.totals,
            together=together_of(problem),
            room=room,
            keeps=keeps_requests,
        )

    def place(self, rows: IntArray) -> None:
        """Begin with the configuration (stages, 3) of variant, batch index, replicas, all ready."""
        place_all(self.fleet, positions(rows, "rows", self._below.shape, self._below))

    def apply(self, rows: IntArray) -> None:
        """Decide: the configuration (stages, 3) begins to take effect now."""
        rows = positions(rows, "rows", self._below.shape, self._below)
        events.apply(self._world, rows, self.now_s)

    def fail(self, share: float) -> None:
        """That share of every stage's ready replicas fails now, with what they serve."""
        events.fail(self._world, number(share, "share", most=1.0), self.now_s)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s = number(self.now_s + number(seconds, "seconds"), "now_s", most=LONGEST_S)
        if not self._keeps:
            self._hold_up_to(self.now_s)
        while not events.advance(self._world, self.now_s):
            self._make_room()
        self.totals["seconds"] += seconds

    @property
    def tasks(self) -> Records:
        """TASK records in the order in which they came to be; where requests are forgotten, in none."""
        return self._world.tasks[: self._world.clock["fresh"][0]]

    def visits(self, stage: int) -> Records:
        """The TASK records of a stage, those that its requests became."""
        found: Records = self.tasks[(self.tasks["node"] == stage) & ~np.isnan(self.tasks["entered_s"])]
        return found

    def _to_come(self, begin: int, end: int) -> tuple[Records, FloatArray]:
        """Requests before they arrive, and, of a chain, the variates of their service times."""
        requests = np.zeros(end - begin, dtype=REQUEST)
        requests["arrival_s"] = self._arrivals_s[begin:end]
        requests["finish_s"] = requests["score"] = requests["accuracy"] = np.nan
        requests["first"] = requests["last"] = -1
        if self._plain:
            return requests, variates(self._service, end - begin, len(self._below), self._rng)
        requests["luck"] = self._rng.integers(2**32, size=end - begin)
        return requests, np.zeros((0, 0))

    def _make_room(self) -> None:
        """Half as many tasks again."""
        world = self._world
        tasks, heap = (np.zeros(len(world.tasks) // 2, dtype=kind) for kind in (TASK, HEAP))
        self._world = world._replace(tasks=_joined(world.tasks, tasks), heap=_joined(world.heap, heap))

    def _hold_up_to(self, until_s: float) -> None:
        """Forget the requests that ended, and hold those that arrive before ``until_s``.

        What points to requests by their position moves with them.
        """
        world, clock = self._world, self._world.clock[0]
        needed = np.flatnonzero((self.requests["status"] < events.SERVED) | (self.requests["held"] > 0))
        gone = int(needed[0]) if len(needed) else len(self.requests)
        end = int(np.searchsorted(self._arrivals_s, until_s))
        requests, drawn = self._to_come(self._held_up_to, end)
        self._held_up_to = end
        self.requests = _joined(self.requests[gone:], requests)
        if self._plain:
            drawn = _joined(world.variates[gone:], drawn)
        world.tasks["request"] -= gone
        clock["next"], clock["oldest"] = clock["next"] - gone, max(clock["oldest"] - gone, 0)
        self._world = world._replace(requests=self.requests, variates=drawn)

    def happened(self) -> Record:
        """What happened since this was asked last, one of TOTALS."""
        totals = self.totals[0].copy()
        clear(self.totals)
        return totals

    def waiting(self) -> FloatArray:
        """Requests that wait, (stages,)."""
        return self.servers["waiting"].astype(np.float64)


def _joined(first: Any, second: Any) -> Any:
    """One after the other, of the very type, which concatenation would not keep for records."""
    both = np.zeros((len(first) + len(second), *first.shape[1:]), dtype=first.dtype)
    both[: len(first)], both[len(first) :] = first, second
    return both


def latencies_s(requests: Records) -> FloatArray:
    """Seconds from arrival to end of the requests that were served, in order of arrival."""
    served = requests[requests["status"] == events.SERVED]
    return np.asarray(served["finish_s"] - served["arrival_s"], dtype=np.float64)


def service_tables(variants: Records, service: Service) -> tuple[FloatArray, FloatArray, FloatArray]:
    """mu, sigma and hold of a batch of n requests, (stages, variants, largest batch + 1), entry n.

    mu, sigma: logarithm of seconds. hold: time that the replica is taken, as a multiple of the service time;
    above 1 where the profile's throughput is below batch / latency. Sizes between the profiled ones are
    interpolated; below the smallest the latency is that of the smallest.
    """
    largest = int(variants["batch"].max())
    shape = (*variants.shape, largest + 1)
    mean, p99, hold = np.ones(shape), np.ones(shape), np.ones(shape)
    sizes = np.arange(largest + 1)
    for place in np.ndindex(variants.shape):
        row = variants[place]
        offered = row["batch"] > 0
        if not offered.any():
            continue
        batch = row["batch"][offered]
        mean[place] = np.interp(sizes, batch, row["mean_s"][offered])
        p99[place] = np.interp(sizes, batch, row["p99_s"][offered])
        taken = batch / (row["rate_rps"][offered] * row["mean_s"][offered])
        hold[place] = np.interp(sizes, batch, np.maximum(taken, 1.0))
    if service == "lognormal":
        return *lognormal(mean, p99), hold
    return np.log(mean), np.full(shape, 0.0 if service == "fixed" else 1.0), hold


def variates(service: Service, requests: int, stages: int, rng: np.random.Generator) -> FloatArray:
    """z of every request at every stage, (requests, stages).

    A batch uses that of its oldest request, so that controllers that are compared meet the same luck.
    """
    shape = (requests, stages)
    if service == "lognormal":
        return rng.standard_normal(shape)
    if service == "fixed":
        return np.zeros(shape)
    return np.log(np.maximum(rng.standard_exponential(shape), math.ulp(0.0)))
