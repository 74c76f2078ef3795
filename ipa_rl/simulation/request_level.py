"""The request-level simulator: discrete events, every request accounted for (design, section 4).

A central queue a stage, from which idle replicas pull. A batch begins when it is full, or when its first
request has waited the batch timeout and a replica is idle. A replica that is no longer wanted finishes its
batch first, and is paid for until then. A request whose age reaches the drop limit while it waits is dropped.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from ipa_rl.border import amounts, as_array, number, positions
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, Record, Records
from ipa_rl.objective import Problem
from ipa_rl.simulation import events
from ipa_rl.simulation.accounting import TOTALS
from ipa_rl.simulation.events import CLOCK, REQUEST, SERVER, VISIT, World
from ipa_rl.simulation.service import Service, service_tables, variates
from ipa_rl.simulation.tables import Timing, build_limits, build_variants, choices_below
from ipa_rl.simulation.transitions import FLEET, place_all

LONGEST_S = 8e6
"""Seconds (three months) that may pass; later, times are no longer exact to the nanosecond within which
replicas count as ready."""


class RequestSimulator:
    """One pipeline that serves requests at known times of arrival.

    ``arrivals_s``: float array (requests,), ascending, seconds since the start. ``rng`` draws the service
    times: the same arrivals and generator give the same events, whatever is decided meanwhile.
    State, structured arrays: ``requests`` (REQUEST), ``visits`` (VISIT by stage), ``fleet`` (FLEET by
    stage), ``servers`` (SERVER by stage), ``totals`` (one of TOTALS), ``now_s``.
    """

    def __init__(
        self,
        problem: Problem,
        timing: Timing,
        arrivals_s: FloatArray,
        rng: np.random.Generator,
        service: Service = "lognormal",
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
        tables = service_tables(self.variants, service)
        self.requests = np.zeros(count, dtype=REQUEST)
        self.requests["arrival_s"], self.requests["finish_s"] = arrivals_s, np.nan
        self.requests["score"] = self.requests["accuracy"] = 1.0
        self.visits = np.zeros((count, stages), dtype=VISIT)
        for name in ("entered_s", "started_s", "left_s", "free_s"):
            self.visits[name] = np.nan
        self.visits["variant"] = -1
        self.servers = np.zeros(stages, dtype=SERVER)
        self.servers["head"] = self.servers["tail"] = -1
        self.fleet = np.zeros(stages, dtype=FLEET)
        self.totals = np.zeros(1, dtype=TOTALS)
        self.now_s = 0.0
        most = count * stages + 1  # of batches that are in service at once
        self._world = World(
            requests=self.requests,
            visits=self.visits,
            servers=self.servers,
            fleet=self.fleet,
            variants=self.variants,
            mu=tables.mu,
            sigma=tables.sigma,
            hold=tables.hold,
            variates=variates(service, count, stages, rng),
            heap_s=np.empty(most),
            heap_batch=np.empty(most, dtype=np.int64),
            heap_visit=np.empty(most, dtype=np.int64),
            clock=np.zeros(1, dtype=CLOCK),
            limits=build_limits(problem, timing),
            totals=self.totals,
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
        events.advance(self._world, self.now_s)
        self.totals["seconds"] += seconds

    def happened(self) -> Record:
        """What happened since this was asked last, one of TOTALS."""
        totals = self.totals[0].copy()
        self.totals.view(np.uint8)[...] = 0
        return totals

    def waiting(self) -> FloatArray:
        """Requests that wait, (stages,)."""
        return self.servers["waiting"].astype(np.float64)


def latencies_s(requests: Records) -> FloatArray:
    """Seconds from arrival to end of the requests that were served, in order of arrival."""
    served = requests[requests["status"] == events.SERVED]
    return np.asarray(served["finish_s"] - served["arrival_s"], dtype=np.float64)
