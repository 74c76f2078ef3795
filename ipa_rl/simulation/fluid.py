"""The fluid simulator: requests as a real-valued flow, tick by tick, many environments at once.

A tick is a second, or less where the SLA is short (`ipa_rl.simulation.queues.ticks_a_second`). The arrivals
of each travel as one chunk through the FIFO queues of the stages, in a graph as `ipa_rl.simulation.flow`
says. A chunk waits behind what is queued, takes the service latency of the active variant and batch size,
and leaves with its latency and with the accuracy of the variants that served it (design, sections 3 and 4).
What the fluid leaves out: the randomness of service times inside a second, the transit time between stages
for capacity (it counts for latency), and batches that start partly filled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.border import MOST_RPS, MOST_S, amounts, as_array, number, positions, positive, whole
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled_in_place
from ipa_rl.objective import Problem
from ipa_rl.simulation.accounting import clear, no_totals
from ipa_rl.simulation.flow import (
    LEAST,
    Flow,
    Stream,
    announce,
    flow_of,
    lost,
    meet,
    restored,
    send,
    set_levels,
)
from ipa_rl.simulation.queues import (
    LONGEST_DROP_LIMIT_S,
    QUEUE,
    batch_fill_s,
    check_queues,
    pop,
    push,
    waiting,
)
from ipa_rl.simulation.tables import MOST_SCALE, Timing, build_limits, build_variants, choices_below
from ipa_rl.simulation.transitions import (
    FLEET,
    check_fleet,
    decide,
    lose,
    next_ready_s,
    paid_cores,
    pass_time,
    place_all,
)

MOST_ENVIRONMENTS = 100_000

SHORTEST_PART_S = 1e-6
"""Parts of a tick are no shorter, so that rounding cannot make them vanish."""


@compiled_in_place
def _serve(
    stream: Stream,
    s: int,
    variant: Record,
    own_score: float,
    own_accuracy: float,
    limits: Record,
    totals: Record,
    now: float,
    seconds: float,
) -> None:
    """A stage serves for a tick or a part of one.

    A chunk of which the middle lies p requests deep is served after p / (n h) seconds; the wait for its
    batch to fill is (b - 1) / inflow at most, half of that typically, and never longer than the batch
    timeout.
    """
    stage, queue = stream.fleet[s], stream.queues[s]
    k = stage.batch
    capacity = stage.ready * variant.rate_rps[k] * seconds / queue.level
    fill_s = batch_fill_s(variant.batch[k], queue.inflow_rps, limits.batch_timeout_s)
    node = stream.nodes[s]
    onward = node.way[0].queue if node.ways == 1 and node.opens == 0 and not node.way[0].afresh else -1
    done = 0.0
    while queue.length > 0 and capacity - done > LEAST:
        head = queue.head
        amount = min(queue.amount[head], capacity - done)
        served_at = max(now + (done + amount / 2.0) / capacity * seconds, queue.entered[head])
        wait_s = served_at - queue.entered[head]
        typical_s = queue.typical_s[head] + wait_s + fill_s / 2.0 + variant.mean_s[k]
        slower_s = fill_s / 2.0 + variant.p99_s[k] - variant.mean_s[k]
        excess_s = math.hypot(queue.excess_s[head], slower_s)
        score = queue.score[head] * own_score
        accuracy = queue.accuracy[head] * own_accuracy
        chunk = queue.origin[head], queue.route[head], served_at, typical_s, excess_s, score, accuracy
        if onward >= 0:
            push(stream.queues[onward], amount, *chunk)
        else:
            slas_s = limits.sla_s, limits.sla_s
            send(node, stream.queues, stream.meetings, stream.arms, totals, *slas_s, amount, *chunk)
        done += amount
        queue.amount[head] -= amount
        if queue.amount[head] <= LEAST:
            pop(queue)
    announce(node, stream.queues, done)


@compiled_in_place
def _drop_old(stream: Stream, s: int, now: float, limit_s: float) -> float:
    """Drop what has been in the pipeline for longer than the limit and still waits; how much that was."""
    queue, arm = stream.queues[s], stream.nodes[s].arm
    dropped = 0.0
    while queue.length > 0:
        head = queue.head
        age_s = queue.typical_s[head] + now - queue.entered[head]
        if age_s <= limit_s:
            break
        amount = queue.amount[head]
        if arm >= 0:
            amount = lost(stream, arm, queue.origin[head], amount)
        dropped += amount
        pop(queue)
    return dropped


@compiled_in_place
def _second(
    stream: Stream, totals: Record, variants: Records, limits: Record, now: float, load: float
) -> None:
    """One second of one environment: tick by tick, or at once where every tick of it would be the same."""
    totals.arrived += load
    totals.seconds += 1.0
    ticks = 1 if limits.ticks > 1 and _is_calm(stream, variants, load) else limits.ticks
    for i in range(ticks):
        origin = (now * limits.ticks + i) // limits.ticks_a_chunk
        _tick(stream, totals, variants, limits, now + i / ticks, 1.0 / ticks, load / ticks, origin)


@compiled_in_place
def _is_calm(stream: Stream, variants: Records, load: float) -> bool:
    """Whether nothing waits, nothing becomes ready within a second, and all of the load can be served."""
    set_levels(stream)
    for s in range(stream.fleet.shape[0]):
        stage, queue = stream.fleet[s], stream.queues[s]
        capacity_rps = stage.ready * variants[s, stage.active].rate_rps[stage.batch]
        own = load * stream.nodes[s].reached * queue.level
        if queue.length > 0 or next_ready_s(stage) <= 1.0 or capacity_rps < own:
            return False
    return True


@compiled_in_place
def _tick(
    stream: Stream,
    totals: Record,
    variants: Records,
    limits: Record,
    now: float,
    tick_s: float,
    load: float,
    origin: float,
) -> None:
    """One tick of one environment, in which ``load`` requests come: drops, service, cost, readiness."""
    set_levels(stream)
    source = stream.queues[stream.nodes[0].order]
    if load > 0.0:
        push(source, load, origin, 0.0, now + tick_s / 2.0, 0.0, 0.0, 1.0, 1.0)
    source.came = load
    # How long batches take to fill is what came within the last time-out, as fewer may come than one a tick.
    newest = min(1.0, tick_s / max(limits.batch_timeout_s, SHORTEST_PART_S))
    stages = stream.fleet.shape[0]
    for k in range(stream.nodes.shape[0]):
        s = stream.nodes[k].order
        if s < 0:
            meet(stream, stages, -1 - s, totals, limits.sla_s)
            continue
        stage, queue = stream.fleet[s], stream.queues[s]
        inflow_rps = queue.came * queue.level / tick_s
        queue.inflow_rps = newest * inflow_rps + (1.0 - newest) * queue.inflow_rps
        queue.came = 0.0
        totals.dropped += _drop_old(stream, s, now, limits.drop_limit_s)
        passed_s = 0.0
        while passed_s < tick_s:  # part by part, each up to when replicas become ready
            part_s = min(tick_s - passed_s, max(next_ready_s(stage), SHORTEST_PART_S))
            variant = variants[s, stage.active]
            score, accuracy, link = variant.score, variant.accuracy, stream.together.links[s]
            if link.count > 0:  # of what waits since another of them has changed, as if it had come later
                at = queue.factors + stage.active
                score *= stream.together.factors[at, 0]
                accuracy *= stream.together.factors[at, 1]
            _serve(stream, s, variant, score, accuracy, limits, totals, now + passed_s, part_s)
            totals.core_s += paid_cores(stage, variants[s]) * part_s
            totals.batch_s += variant.batch[stage.batch] * part_s
            pass_time(stage, part_s)
            passed_s += part_s


@compiled_in_place
def advance(
    fleet: Records,
    queues: Records,
    flow: Flow,
    totals: Records,
    variants: Records,
    limits: Records,
    clock: FloatArray,
    loads: FloatArray,
) -> None:
    """Serve ``loads``, (environments, seconds); FLEET and QUEUE (environments, stages) move on.

    ``flow``: meetings and arms with environments first; ``variants``: (environments, stages, variants);
    ``limits``: (environments,).
    """
    for e in range(loads.shape[0]):
        own = fleet[e], queues[e], flow.nodes, flow.carried, flow.meetings[e], flow.arms[e]
        stream = Stream(*own, flow.together)
        for second in range(loads.shape[1]):
            _second(stream, totals[e], variants[e], limits[e], clock[e], loads[e, second])
            clock[e] += 1.0


@compiled_in_place
def apply(fleet: Records, variants: Records, decisions: IntArray) -> None:
    """Decisions, (environments, stages, 3), begin to take effect."""
    for e in range(decisions.shape[0]):
        for s in range(decisions.shape[1]):
            decide(fleet[e, s], variants[e, s], decisions[e, s, 0], decisions[e, s, 1], decisions[e, s, 2])


class FluidSimulator:
    """Many independent copies of one pipeline that serve side by side.

    State, structured arrays with environments first: ``fleet`` (FLEET, by stage), ``queues`` (QUEUE, by
    stage), ``totals`` (TOTALS), ``clock`` (seconds since the reset). ``variants``: VARIANT (stages,
    variants) as profiled; each environment may differ from it (`set_world`). ``by_latency``: whether the
    totals count requests by latency too.
    """

    def __init__(
        self, problem: Problem, timing: Timing, environments: int = 1, by_latency: bool = True
    ) -> None:
        if timing.drop_limit_s > LONGEST_DROP_LIMIT_S:
            fix = f"give at most {LONGEST_DROP_LIMIT_S:g}, the longest that its queues hold"
            raise InputError(f"{timing.drop_limit_s} s is too long", field="drop_limit_s", fix=fix)
        environments = whole(environments, "environments", 1, MOST_ENVIRONMENTS)
        stages = len(problem.pipeline.stages)
        self._below = choices_below(problem)
        self.variants = build_variants(problem, timing)
        self._real = np.repeat(self.variants[None], environments, axis=0)
        self._limits = np.repeat(build_limits(problem, timing), environments)
        self._sla_s = problem.sla_s
        self.fleet = np.zeros((environments, stages), dtype=FLEET)
        self.queues = np.zeros((environments, stages), dtype=QUEUE)
        self.queues["level"] = 1.0
        flow = flow_of(problem)
        self._emptied = flow.meetings, flow.arms
        self.meetings, self.arms = (np.repeat(one[None], environments, axis=0) for one in self._emptied)
        self._flow = flow._replace(meetings=self.meetings, arms=self.arms)
        self.totals = no_totals(environments, by_latency)
        self.clock = np.zeros(environments)
        self._worlds = np.ones((environments, 3))

    def reset(self, environment: int, rows: IntArray) -> None:
        """Empty queues, clock at 0, and the configuration (stages, 3) ready from the start."""
        self._check(environment)
        rows = positions(rows, "rows", self._below.shape, self._below)
        self.clock[environment] = 0.0
        self.queues[environment]["length"] = 0
        self.queues[environment]["inflow_rps"] = 0.0
        self.meetings[environment], self.arms[environment] = self._emptied
        clear(self.totals[environment : environment + 1])
        place_all(self.fleet[environment], rows)

    def set_world(
        self, environment: int, start_up_scale: float, service_scale: float, sla_scale: float
    ) -> None:
        """How one environment differs from what was profiled: factors on delays, latencies, the SLA."""
        self._check(environment)
        start_up_scale = number(start_up_scale, "start_up_scale", most=MOST_SCALE)
        service_scale = positive(service_scale, "service_scale", MOST_SCALE)
        sla_scale = positive(sla_scale, "sla_scale", MOST_SCALE)
        self._worlds[environment] = start_up_scale, service_scale, sla_scale
        real = self._real[environment]
        real["start_up_s"] = self.variants["start_up_s"] * start_up_scale
        real["mean_s"] = self.variants["mean_s"] * service_scale
        real["p99_s"] = self.variants["p99_s"] * service_scale
        real["rate_rps"] = self.variants["rate_rps"] / service_scale
        self._limits["sla_s"][environment] = self._sla_s * sla_scale

    def fail(self, environment: int, share: float) -> None:
        """That share of every stage's ready replicas of one environment fails now."""
        self._check(environment)
        share = number(share, "share", most=1.0)
        for stage, variants in zip(self.fleet[environment], self._real[environment], strict=True):
            lose(stage, variants, share)

    @property
    def sla_s(self) -> FloatArray:
        """The SLA of each environment, (environments,) seconds."""
        return np.asarray(self._limits["sla_s"], dtype=np.float64)

    def apply(self, decisions: IntArray) -> None:
        """Decide for all: int array (environments, stages, 3) of variant, batch index, replicas."""
        shape = (len(self.clock), *self._below.shape)
        apply(self.fleet, self._real, positions(decisions, "decisions", shape, self._below))

    def advance(self, loads: FloatArray) -> None:
        """Serve the loads, float array (environments, seconds) of requests in each second."""
        loads = as_array(loads, "loads")
        seconds = loads.shape[-1] if loads.ndim else 0
        loads = amounts(loads, "loads", (len(self.clock), seconds), MOST_RPS)
        given = self.totals, self._real, self._limits, self.clock, loads
        advance(self.fleet, self.queues, self._flow, *given)

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` goes on from, as plain arrays; the totals are left out."""
        records = {"fleet": self.fleet, "queues": self.queues}
        if len(self._emptied[0]):
            records |= {"meetings": self.meetings, "arms": self.arms}
        kept: dict[str, NDArray[Any]] = {
            name: one.reshape(*one.shape, 1).view(np.uint8).copy() for name, one in records.items()
        }
        return kept | {"seconds": self.clock.copy(), "worlds": self._worlds.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of a simulator of the same sizes. Raises InputError where it is not."""
        fleet = np.ascontiguousarray(state["fleet"]).view(FLEET)[..., 0]
        queues = np.ascontiguousarray(state["queues"]).view(QUEUE)[..., 0]
        for one in fleet:
            check_fleet(one, self._below)
        check_queues(queues)
        self.clock[:] = amounts(state["seconds"], "seconds", self.clock.shape, MOST_S)
        worlds = amounts(state["worlds"], "worlds", self._worlds.shape, MOST_SCALE)
        for environment, factors in enumerate(worlds.tolist()):
            self.set_world(environment, *factors)
        self.fleet[:], self.queues[:] = fleet, queues
        if len(self._emptied[0]):
            self.meetings[:], self.arms[:] = restored(state, self._emptied)

    def _check(self, environment: int) -> None:
        whole(environment, "environment", 0, len(self.clock) - 1)

    def clear_totals(self) -> None:
        """Begin a new interval of accounting."""
        clear(self.totals)

    def waiting(self) -> FloatArray:
        """Requests that wait, (environments, stages)."""
        out = np.zeros(self.queues.shape)
        waiting(self.queues, out)
        return out
