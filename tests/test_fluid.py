"""The fluid simulator's queues, drops and accounts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.simulation import FluidSimulator, Timing
from ipa_rl.simulation.accounting import TOTALS, finish_one, latency_quantile_s
from ipa_rl.simulation.queues import RING
from tests.pipelines import in_place, one_stage, two_stages
from tests.strategies import stretched

SMALL_BATCH_1 = np.array([[0, 0, 1]])


def simulate(loads: list[float], replicas: int = 1, **changes: float) -> FluidSimulator:
    """One stage of 10 requests a second a replica."""
    simulator = FluidSimulator(one_stage(), Timing(**changes))  # type: ignore[arg-type]
    simulator.reset(0, np.array([[0, 0, replicas]]))
    simulator.advance(np.array([loads]))
    return simulator


def test_what_the_capacity_carries_is_served_in_the_second_it_arrives() -> None:
    totals = simulate([10.0] * 5).totals[0]
    assert totals["served"] == pytest.approx(50.0)
    assert totals["late"] == 0.0


def test_latency_without_a_queue_is_the_service_latency() -> None:
    simulator = simulate([5.0] * 100)
    p50_s = latency_quantile_s(simulator.totals[0]["histogram"], 0.5)
    p99_s = latency_quantile_s(simulator.totals[0]["histogram"], 0.99)
    assert p50_s == pytest.approx(0.1, rel=0.04)
    assert p99_s == pytest.approx(0.15, rel=0.04)


def test_overload_waits_in_the_queue() -> None:
    simulator = simulate([15.0] * 4)
    assert simulator.waiting()[0, 0] == pytest.approx(20.0)


def test_requests_that_waited_past_the_sla_are_late() -> None:
    totals = simulate([100.0] + [0.0] * 9, drop_limit_s=20.0).totals[0]
    assert totals["served"] == pytest.approx(100.0)
    assert 40.0 <= totals["late"] <= 60.0


def test_requests_older_than_the_drop_limit_are_dropped() -> None:
    totals = simulate([100.0] + [0.0] * 9, drop_limit_s=3.0).totals[0]
    assert totals["served"] == pytest.approx(40.0)
    assert totals["dropped"] == pytest.approx(60.0)


@settings(max_examples=25)
@given(
    loads=st.lists(st.floats(0.0, 40.0), min_size=1, max_size=400),
    drop_limit_s=st.sampled_from([61.0, 300.0, 3600.0]),
)
def test_a_queue_of_any_length_keeps_every_request(loads: list[float], drop_limit_s: float) -> None:
    simulator = simulate(loads, drop_limit_s=drop_limit_s)
    totals = simulator.totals[0]
    kept = totals["served"] + totals["dropped"] + simulator.waiting()[0, 0]
    assert kept == pytest.approx(sum(loads), abs=1e-6)
    assert simulator.queues["length"].max() <= RING - 2


@pytest.mark.parametrize("drop_limit_s", [120.0, 600.0])
def test_a_wait_of_minutes_is_timed_as_one_of_seconds_is(drop_limit_s: float) -> None:
    """Chunks of several seconds against those of one: the same requests, latencies but for the chunk."""
    loads = [20.0] * 40 + [0.0] * 60
    short, long = simulate(loads, drop_limit_s=60.0), simulate(loads, drop_limit_s=drop_limit_s)
    for share in (0.5, 0.99):
        of_short, of_long = (latency_quantile_s(one.totals[0]["histogram"], share) for one in (short, long))
        assert of_long == pytest.approx(of_short, abs=drop_limit_s / 60.0)
    assert long.totals[0]["served"] == pytest.approx(short.totals[0]["served"])
    waited = simulate([20.0] * 300, drop_limit_s=drop_limit_s)  # half is served, so the oldest waited t / 2
    assert waited.totals[0]["dropped"] == pytest.approx(max(0.0, 3000.0 - 20.0 * drop_limit_s), abs=60.0)


def test_a_drop_limit_beyond_an_hour_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"3601\.0 s is too long; fix: give at most 3600, the longest"):
        FluidSimulator(one_stage(), Timing(drop_limit_s=3601.0))


def test_a_replica_that_becomes_ready_within_a_second_serves_for_the_rest_of_it() -> None:
    simulator = FluidSimulator(one_stage(start_up_s=2.25), Timing())
    simulator.reset(0, np.array([[0, 0, 1]]))
    simulator.apply(np.array([[[0, 0, 2]]]))
    simulator.advance(np.array([[100.0, 0.0, 0.0, 0.0]]))
    assert simulator.totals[0]["served"] == pytest.approx(10 + 10 + 17.5 + 20)


def test_a_change_in_place_keeps_serving_and_pays_its_replicas_once() -> None:
    simulator = FluidSimulator(in_place(two_stages(), reload_s=2.5), Timing())
    simulator.reset(0, np.array([[0, 0, 9], [0, 0, 9]]))
    simulator.apply(np.array([[[2, 0, 9], [0, 0, 9]]]))
    simulator.advance(np.full((1, 10), 4.0))
    totals = simulator.totals[0]
    assert totals["served"] == pytest.approx(40.0)
    assert totals["accuracy"] == pytest.approx(0.5 * (0.5 * 10.0 + 0.7 * 30.0), abs=0.5)
    assert totals["core_s"] == pytest.approx(9 * (2.5 * 1 + 7.5 * 4) + 9 * 10 * 1)


def test_the_tails_of_stages_add_up_as_independent_ones_do() -> None:
    """A stage takes 0.06 s and 0.09 s at the 99th percentile, the other 0.10 s and 0.15 s."""
    simulator = FluidSimulator(two_stages(), Timing())
    simulator.reset(0, np.array([[0, 0, 9], [2, 0, 9]]))
    simulator.advance(np.full((1, 10), 5.0))
    p99_s = latency_quantile_s(simulator.totals[0]["histogram"], 0.99)
    assert p99_s == pytest.approx(0.16 + np.hypot(0.03, 0.05), rel=0.04)


def test_cost_is_cores_by_second() -> None:
    assert simulate([1.0] * 7, replicas=3).totals[0]["core_s"] == 21.0


def test_accuracy_is_that_of_the_variants_that_served() -> None:
    simulator = FluidSimulator(two_stages(), Timing())
    simulator.reset(0, np.array([[0, 0, 9], [2, 0, 9]]))
    simulator.advance(np.full((1, 10), 5.0))
    totals = simulator.totals[0]
    assert totals["accuracy"] / totals["served"] == pytest.approx(0.5 * 0.7)


def test_a_batch_that_does_not_fill_waits_for_the_timeout_at_most() -> None:
    simulator = FluidSimulator(one_stage(), Timing(batch_timeout_s=1.0))
    simulator.reset(0, np.array([[0, 3, 9]]))
    simulator.advance(np.full((1, 50), 0.5))
    p99_s = latency_quantile_s(simulator.totals[0]["histogram"], 0.99)
    assert p99_s == pytest.approx(1.0 + 1.5 * 0.45, rel=0.04)


loads = st.lists(st.floats(0, 120), min_size=1, max_size=60)


@settings(deadline=None)
@given(loads, st.integers(1, 6), st.integers(1, 6))
def test_every_request_is_served_dropped_or_waiting(arrivals: list[float], first: int, second: int) -> None:
    simulator = FluidSimulator(two_stages(), Timing())
    simulator.reset(0, np.array([[0, 0, first], [0, 0, second]]))
    simulator.advance(np.array([arrivals]))
    totals = simulator.totals[0]
    accounted = totals["served"] + totals["dropped"] + simulator.waiting().sum()
    assert accounted == pytest.approx(sum(arrivals), abs=1e-6)
    assert totals["late"] <= totals["served"] + 1e-9
    assert totals["histogram"].sum() == pytest.approx(totals["served"])


@settings(deadline=None)
@given(loads, st.integers(1, 5))
def test_another_replica_never_serves_less_nor_less_in_time(arrivals: list[float], replicas: int) -> None:
    fewer = simulate(arrivals, replicas).totals[0]
    more = simulate(arrivals, replicas + 1).totals[0]
    assert more["served"] >= fewer["served"] - 1e-6
    assert more["served"] - more["late"] >= fewer["served"] - fewer["late"] - 1e-6


def test_an_environment_does_not_feel_those_beside_it() -> None:
    rng = np.random.default_rng(1)
    arrivals: FloatArray = rng.poisson(20, (5, 100)).astype(float)
    rows = np.array([[0, 0, 2], [1, 1, 1]])

    def run(which: list[int]) -> bytes:
        simulator = FluidSimulator(two_stages(), Timing(), len(which))
        for position in range(len(which)):
            simulator.reset(position, rows)
        simulator.advance(arrivals[which])
        return bytes(simulator.totals[-1].tobytes())

    assert run([0, 1, 2, 3, 4]) == run([4])


def shares(
    factor: int, levels: list[int], plan: list[tuple[int, int]], drop_limit_s: float = 0.4
) -> FloatArray:
    """Served, late and dropped share, accuracy and mean cores of two stages, all so many times slower.

    The SLA is 0.2 s, times the factor, as the drop limit; loads and decisions change every 2 s, times it.
    """
    problem = stretched(two_stages(), factor / 25.0)
    timing = Timing(2 * factor, drop_limit_s=drop_limit_s * factor, batch_timeout_s=0.02 * factor)
    simulator = FluidSimulator(problem, timing)
    simulator.reset(0, np.array([[0, 0, 2], [0, 0, 2]]))
    for level, (v, n) in zip(levels, plan, strict=False):
        simulator.apply(np.array([[[v, 0, n], [v, 1, n]]]))
        simulator.advance(np.full((1, 2 * factor), 40.0 * level / factor))
    totals = simulator.totals[0]
    by_request = [totals[name] / max(totals["arrived"], 1e-9) for name in ("served", "late", "dropped")]
    accuracy = totals["accuracy"] / max(totals["served"], 1e-9)
    return np.array([*by_request, accuracy, totals["core_s"] / totals["seconds"] / 100.0])


levels = st.lists(st.integers(0, 40), min_size=20, max_size=20)
choices = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=20, max_size=20)


@settings(max_examples=30)
@given(levels, choices, st.sampled_from([2, 5, 10, 20]))
def test_results_know_no_scale_of_time(levels: list[int], plan: list[tuple[int, int]], factor: int) -> None:
    """Slower by a factor at which ticks follow the SLA, all is the same.

    But for what takes as long as the SLA to the last bit: rounding decides which side of it that falls on.
    """
    slower, own = shares(factor, levels, plan), shares(1, levels, plan)
    assert slower == pytest.approx(own, abs=0.05)
    assert np.delete(slower, 1) == pytest.approx(np.delete(own, 1), abs=1e-6)


@settings(max_examples=30)
@given(levels, choices)
def test_finer_ticks_say_the_same_within_what_a_tick_can_tell(
    levels: list[int], plan: list[tuple[int, int]]
) -> None:
    """At an SLA of 12 s a second is a twelfth of it, at one of 0.2 s a tick is a quarter.

    Drops are left out: at the drop limit a moment decides whether the next stage drops what comes.
    """
    fine, coarse = (shares(factor, levels, plan, drop_limit_s=60.0) for factor in (60, 1))
    assert fine == pytest.approx(coarse, abs=0.05)


def test_a_short_sla_sees_the_queue_of_a_part_of_a_second() -> None:
    """Overloaded by half for a second: with an SLA of 0.2 s all that waited longer are late."""
    problem = replace(one_stage(), sla_s=0.2)
    simulator = FluidSimulator(problem, Timing(drop_limit_s=1.0))
    simulator.reset(0, np.array([[0, 0, 10]]))
    simulator.advance(np.array([[150.0, 0.0, 0.0]]))
    totals = simulator.totals[0]
    assert totals["served"] == pytest.approx(150.0)
    assert totals["late"] == pytest.approx(120.0, abs=15.0)  # the wait is over 0.1 s from 0.2 s on


def test_at_light_loads_batches_wait_for_what_comes_within_the_time_out() -> None:
    """One request every 10 s: a batch of 4 never fills, and leaves at the time-out."""
    simulator = FluidSimulator(replace(one_stage(), sla_s=600.0), Timing(batch_timeout_s=20.0))
    simulator.reset(0, np.array([[0, 2, 9]]))
    simulator.advance(np.tile([1.0] + [0.0] * 9, 100)[None])
    p50_s = latency_quantile_s(simulator.totals[0]["histogram"], 0.5)
    assert p50_s == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize("latency_s", [2e-4, 5e-3, 0.7, 900.0, 4000.0])
def test_latencies_of_any_scale_are_told_apart(latency_s: float) -> None:
    totals = np.zeros(1, dtype=TOTALS)
    finish_one(totals[0], latency_s, 1.0, 1.0, is_late=False)
    assert latency_quantile_s(totals[0]["histogram"], 0.5) == pytest.approx(latency_s, rel=0.02)
