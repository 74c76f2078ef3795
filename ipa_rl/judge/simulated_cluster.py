"""A simulated pipeline behind the same seam as a real cluster, and what it lives through."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, Record, Records
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation import FluidSimulator, RequestSimulator, encode
from ipa_rl.simulation.accounting import BINS, SUMS, latency_quantile_s
from ipa_rl.workload.moments import said
from ipa_rl.workload.times import times_within
from ipa_rl.workload.workload import Window

JudgedPart = Literal["validation", "test"]
"""Parts of a workload that may be judged on."""


@dataclass(frozen=True)
class Disturbance:
    """How the world differs from what controllers were told; times in seconds since the window's start.

    ``start_up_scale``, ``service_scale``: factors on start-up delays and latencies. ``outage_at_s``: when
    ``outage_share`` of every stage's ready replicas fails. ``gap_s``: begin and end of a stretch of which
    no loads are reported, not from the first second on.
    """

    start_up_scale: float = 1.0
    service_scale: float = 1.0
    outage_at_s: float | None = None
    outage_share: float = 0.5
    gap_s: tuple[int, int] | None = None

    def stretched(self, factor: int) -> Disturbance:
        """The same, where everything happens so many times later and gaps are as much longer."""
        gap_s = self.gap_s and (self.gap_s[0] * factor, self.gap_s[1] * factor)
        outage_at_s = None if self.outage_at_s is None else self.outage_at_s * factor
        return replace(self, gap_s=gap_s, outage_at_s=outage_at_s)


@dataclass(frozen=True)
class Scenario:
    """A window of arrivals, and what goes wrong in it."""

    window: Window
    disturbance: Disturbance = Disturbance()

    @property
    def name(self) -> str:
        """That of the window."""
        return self.window.name

    def world(self, definition: Definition) -> Definition:
        """The environment as it really is here; ``definition`` is what controllers were told."""
        told = definition.timing
        return replace(
            definition,
            timing=replace(
                told,
                start_up_scale=told.start_up_scale * self.disturbance.start_up_scale,
                service_scale=told.service_scale * self.disturbance.service_scale,
            ),
        )


def check_fluid(scenario: Scenario) -> None:
    """Raises InputError where the fluid simulator cannot play the scenario."""
    if scenario.disturbance.outage_at_s is not None:
        raise InputError(
            f"the fluid simulator knows no outages ({scenario.name})", field="--fluid", fix="leave it out"
        )


def part_scenarios(definition: Definition, part: JudgedPart, most: int | None) -> list[Scenario]:
    """The windows of a part of the environment's workload, at most so many, evenly spread."""
    return [Scenario(window) for window in evenly(definition.windows(part), most)]


def stretch_scenarios(definition: Definition, begin: int, end: int, most: int | None) -> list[Scenario]:
    """A stretch of the workload, by seconds from its begin, as one window: what was recorded of it, joined.

    ``most``: at most so many windows of the usual length instead, evenly spread. Raises InputError where the
    stretch holds none.
    """
    workload, history_s, interval_s = definition.workload, definition.history_s, definition.timing.interval_s
    name = f"{said(workload, begin)} to {said(workload, end)}"
    if most is not None:
        before = max(begin - history_s, 0)
        found = workload.windows_within("window", before, end, definition.window_s, history_s)
        needed = f"{definition.window_s} s without gaps"
    else:
        stretches = workload.recorded_within(begin, end, history_s)
        is_enough = sum(last - first for first, last in stretches) >= interval_s
        found = [workload.joined(name, stretches, history_s)] if is_enough else []
        needed = f"{interval_s} s that were recorded"
    if not found:
        problem = f"{name} holds no {needed}, after {history_s} s of history"
        raise InputError(problem, field="--from and --to", fix="give a longer stretch, or another one")
    return [Scenario(window) for window in evenly(found, most)]


def named_scenario(definition: Definition, name: str) -> Scenario:
    """A window of the workload that has a name. Raises InputError where there is none of that name."""
    return Scenario(definition.workload.named_window(name, definition.history_s))


class SimulatorKind(StrEnum):
    """Which simulator."""

    request_level = "request-level"
    fluid = "fluid"


class FluidPipeline:
    """One environment of the fluid simulator with its loads (seconds,), in the form of RequestSimulator."""

    def __init__(self, definition: Definition, loads: FloatArray) -> None:
        self._simulator = FluidSimulator(definition.problem, definition.timing)
        self._loads = loads
        self._now = 0

    @property
    def fleet(self) -> Records:
        """FLEET records by stage."""
        fleet: Records = self._simulator.fleet[0]
        return fleet

    def place(self, rows: IntArray) -> None:
        """Begin with a configuration (stages, 3), all ready."""
        self._simulator.reset(0, rows)

    def apply(self, rows: IntArray) -> None:
        """Decide."""
        self._simulator.apply(rows[None])

    def advance(self, seconds: int) -> None:
        """Serve the next loads."""
        self._simulator.advance(self._loads[None, self._now : self._now + seconds])
        self._now += seconds

    def happened(self) -> Record:
        """TOTALS since this was asked last."""
        totals = self._simulator.totals[0].copy()
        self._simulator.clear_totals()
        return totals

    def waiting(self) -> FloatArray:
        """Requests that wait, (stages,)."""
        return np.asarray(self._simulator.waiting()[0], dtype=np.float64)


Simulator: TypeAlias = FluidPipeline | RequestSimulator


def make_simulator(
    definition: Definition, scenario: Scenario, kind: SimulatorKind, seed: int, keeps_requests: bool = True
) -> Simulator:
    """The simulator of a scenario; ``keeps_requests`` as of `RequestSimulator`.

    Times of arrival and service times depend on the seed and the window alone, so that all controllers
    meet the same. Raises InputError where the fluid one cannot play the scenario.
    """
    world, window = scenario.world(definition), scenario.window
    counts = window.arrivals[window.history_s :]
    if kind is SimulatorKind.fluid:
        check_fluid(scenario)
        return FluidPipeline(world, counts.astype(np.float64))
    root = np.random.default_rng([seed, zlib.crc32(window.name.encode())])
    arrivals, service = root.spawn(2)
    times_s = times_within(counts, arrivals) if window.times_s is None else window.times_s
    return RequestSimulator(world.problem, world.timing, times_s, service, keeps_requests=keeps_requests)


class SimulatedCluster:
    """Plays a scenario; begins, ready, with ``start``, by default the optimum for the loads seen last.

    `wait` lets an adaptation interval pass; then ``sums`` (SUMS), ``p99_s`` (latency, NaN where nothing was
    served), ``fleets`` (FLEET records by stage) and ``waiting`` (requests by stage) have an entry more, and
    ``histogram`` holds what was served so far (BINS).
    ``simulator`` is at hand for those who ask for more; ``keeps_requests`` as of `RequestSimulator`.
    """

    def __init__(
        self,
        definition: Definition,
        scenario: Scenario,
        kind: SimulatorKind = SimulatorKind.request_level,
        seed: int = 0,
        start: Configuration | None = None,
        keeps_requests: bool = True,
    ) -> None:
        self.definition = definition
        self.scenario = scenario
        self.simulator = make_simulator(definition, scenario, kind, seed, keeps_requests)
        self.sums: list[tuple[float, ...]] = []
        self.p99_s: list[float] = []
        self.histogram = np.zeros(BINS)
        self.fleets: list[Records] = []
        self.waiting: list[FloatArray] = []
        window = scenario.window
        self._loads = window.arrivals.astype(np.float64)
        self._missing = np.zeros(len(self._loads), dtype=bool)
        if scenario.disturbance.gap_s is not None:
            begin_s, end_s = scenario.disturbance.gap_s
            self._missing[window.history_s + begin_s : window.history_s + end_s] = True
        known = np.where(self._missing, 0, np.arange(len(self._loads)))
        self._shown = self._loads[np.maximum.accumulate(known)]  # missing loads as the last known one
        self.now = window.history_s
        if start is None:
            reference_rps = definition.reference_rps(self._loads[: self.now])
            self.simulator.place(definition.rows_for(reference_rps))
        else:
            self.simulator.place(encode(definition.problem, start))

    def observe(self) -> State:
        """Loads up to now, replicas and queues. Missing loads are shown as the last known one."""
        stale = bool(self._missing[self.now - 1])
        window = self.scenario.window
        clock_s = float(window.clock_s + self.now - window.history_s)
        fleet, waiting = self.simulator.fleet.copy(), self.simulator.waiting()
        return State(self._shown[: self.now], fleet, waiting, stale, clock_s)

    def apply(self, configuration: Configuration) -> None:
        """Begin to move to a configuration."""
        self.simulator.apply(encode(self.definition.problem, configuration))

    def wait(self) -> bool:
        """Serve one adaptation interval; whether enough arrivals are left for another one."""
        interval_s, disturbance = self.definition.timing.interval_s, self.scenario.disturbance
        begin_s = self.now - self.scenario.window.history_s
        outage_at_s = disturbance.outage_at_s
        if outage_at_s is not None and begin_s <= outage_at_s < begin_s + interval_s:
            assert isinstance(self.simulator, RequestSimulator)  # `make_simulator` let no other pass
            before_s = round(outage_at_s - begin_s)
            self.simulator.advance(before_s)
            self.simulator.fail(disturbance.outage_share)
            self.simulator.advance(interval_s - before_s)
        else:
            self.simulator.advance(interval_s)
        self.now += interval_s
        happened = self.simulator.happened()
        self.sums.append(tuple(float(happened[name]) for name in SUMS))
        self.p99_s.append(latency_quantile_s(happened["histogram"], 0.99))
        self.histogram += happened["histogram"]
        self.fleets.append(self.simulator.fleet.copy())
        self.waiting.append(self.simulator.waiting())
        return self.now + interval_s <= len(self._loads)
