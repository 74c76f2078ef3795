"""The request-level simulator: against theory, and what it must conserve."""

from __future__ import annotations

from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage
from ipa_rl.queueing import lognormal
from ipa_rl.simulation import Timing
from ipa_rl.simulation.events import COMING, DROPPED, SERVED, UNDER_WAY, WAITING
from ipa_rl.simulation.request_level import RequestSimulator, Service, latencies_s
from tests.pipelines import in_place, one_stage, two_stages, variant

FOREVER = Timing(drop_limit_s=1e9, batch_timeout_s=1e9)


def poisson(rate_rps: float, count: int, seed: int = 0) -> FloatArray:
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate_rps, count))


def simulate(
    arrivals_s: FloatArray,
    rows: list[list[int]],
    problem: Problem | None = None,
    world: Timing = FOREVER,
    service: Service = "fixed",
    seconds: float | None = None,
) -> RequestSimulator:
    """Serve until all are through, or for some seconds; the default stage takes 0.1 s a request."""
    rng = np.random.default_rng(1)
    simulator = RequestSimulator(problem or one_stage(), world, arrivals_s, rng, service)
    simulator.place(np.array(rows))
    simulator.advance(seconds if seconds is not None else arrivals_s[-1] + 1000.0)
    return simulator


def waits_s(simulator: RequestSimulator, stage: int = 0) -> FloatArray:
    visits = simulator.visits(stage)
    return np.asarray(visits["started_s"] - visits["entered_s"])


# Theory: mean waits of a queue with Poisson arrivals (Kleinrock, Queueing Systems, 1975). So many requests
# come that the mean is known to a percent, or better: waits follow each other longer where the load is high.


@pytest.mark.slow
@pytest.mark.parametrize(("load", "count"), [(0.5, 1_000_000), (0.8, 2_000_000)])
def test_m_m_1_waits_as_in_theory(load: float, count: int) -> None:
    simulator = simulate(poisson(10 * load, count), [[0, 0, 1]], service="exponential")
    assert waits_s(simulator).mean() == pytest.approx(load / (1 - load) * 0.1, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("load", "count"), [(0.5, 500_000), (0.8, 1_000_000)])
def test_m_d_1_waits_half_as_long(load: float, count: int) -> None:
    simulator = simulate(poisson(10 * load, count), [[0, 0, 1]])
    assert waits_s(simulator).mean() == pytest.approx(load / (1 - load) * 0.05, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 5])
def test_m_m_c_waits_by_the_formula_of_erlang(replicas: int) -> None:
    simulator = simulate(poisson(8 * replicas, 2_000_000), [[0, 0, replicas]], service="exponential")
    offered = 0.8 * replicas
    busy = offered**replicas / factorial(replicas) / (1 - 0.8)
    waiting = busy / (sum(offered**k / factorial(k) for k in range(replicas)) + busy)
    assert waits_s(simulator).mean() == pytest.approx(waiting * 0.1 / (replicas * 0.2), rel=0.02)


@pytest.mark.slow
def test_m_g_1_waits_by_pollaczek_and_khinchine() -> None:
    simulator = simulate(poisson(7.0, 1_000_000), [[0, 0, 1]], service="lognormal")
    _, sigma = lognormal(np.array([0.1]), np.array([0.15]))
    squared_variation = float(np.exp(sigma**2)[0]) - 1
    theory_s = 0.7 / 0.3 * (1 + squared_variation) / 2 * 0.1
    assert waits_s(simulator).mean() == pytest.approx(theory_s, rel=0.02)


def test_a_deterministic_chain_is_right_to_the_microsecond() -> None:
    simulator = simulate(np.arange(1000) / 4.0, [[0, 0, 1], [2, 0, 1]], two_stages())
    assert latencies_s(simulator.requests) == pytest.approx(np.full(1000, 0.06 + 0.10), abs=1e-6)


def test_a_deterministic_chain_queues_as_its_recursion_says() -> None:
    arrivals_s = poisson(15.0, 500)
    simulator = simulate(arrivals_s, [[0, 0, 1], [2, 0, 1]], two_stages())
    first_free_s = second_free_s = 0.0
    expected = []
    for arrival_s in arrivals_s:
        first_free_s = max(first_free_s, arrival_s) + 0.06
        second_free_s = max(second_free_s, first_free_s) + 0.10
        expected.append(second_free_s)
    assert simulator.requests["finish_s"] == pytest.approx(expected, abs=1e-6)


# Batches. A batch of b takes (1 + b) / 2 times as long as one request.


def test_poisson_arrivals_wait_for_their_batch_by_the_closed_form() -> None:
    simulator = simulate(poisson(20.0, 400_000), [[0, 2, 50]])
    assert waits_s(simulator).mean() == pytest.approx((4 - 1) / 2 / 20.0, rel=0.02)


def test_a_timeout_gives_batches_of_the_size_and_wait_of_the_closed_form() -> None:
    world = replace(FOREVER, batch_timeout_s=0.2)
    simulator = simulate(poisson(5.0, 400_000), [[0, 3, 50]], world=world)
    whole = np.isclose(waits_s(simulator), 0.2)
    size = len(simulator.requests) / whole.sum()
    assert size == pytest.approx(1 + 5.0 * 0.2, rel=0.02)
    mean_s = (0.2 + 5.0 * 0.2 * 0.1) / size
    assert waits_s(simulator).mean() == pytest.approx(mean_s, rel=0.02)


def test_a_saturated_replica_serves_one_full_batch_after_the_other() -> None:
    simulator = simulate(np.zeros(80), [[0, 3, 1]])
    expected = np.repeat(np.arange(1, 11) * 0.45, 8)
    assert simulator.requests["finish_s"] == pytest.approx(expected, abs=1e-6)


def test_a_partial_batch_takes_as_long_as_its_own_size() -> None:
    world = replace(FOREVER, batch_timeout_s=1.0)
    simulator = simulate(np.zeros(3), [[0, 3, 1]], world=world)
    assert simulator.requests["finish_s"] == pytest.approx(np.full(3, 1.0 + 0.2), abs=1e-6)


def test_throughput_below_batch_over_latency_holds_the_replica_longer() -> None:
    slow = replace(one_stage().pipeline.stages[0].variants[0], throughput_rps=(5.0, 5.0, 5.0, 5.0))
    problem = replace(one_stage(), pipeline=Pipeline("slow", (Stage("only", (slow,)),)))
    simulator = simulate(np.zeros(3), [[0, 0, 1]], problem)
    assert simulator.requests["finish_s"] == pytest.approx([0.1, 0.3, 0.5], abs=1e-6)


# Replicas.


def test_a_replica_that_is_no_longer_wanted_finishes_its_batch_and_is_paid_until_then() -> None:
    simulator = simulate(np.zeros(2), [[0, 0, 2]], seconds=0.04)
    simulator.apply(np.array([[0, 0, 1]]))
    simulator.advance(1.0)
    assert (simulator.requests["status"] == SERVED).all()
    assert simulator.totals["core_s"][0] == pytest.approx(2 * 0.1 + 1 * 0.94)


def test_a_change_of_variant_lets_the_old_replicas_finish() -> None:
    simulator = simulate(np.array([0.0, 11.95, 12.5]), [[0, 0, 1]], seconds=0.0)
    simulator.apply(np.array([[1, 0, 1]]))
    simulator.advance(20.0)
    assert simulator.visits(0)["variant"].tolist() == [0, 0, 1]
    assert simulator.requests["finish_s"] == pytest.approx([0.1, 12.05, 12.7], abs=1e-6)
    assert simulator.totals["core_s"][0] == pytest.approx(12 * 2 + 0.05 + 8)


def test_a_replica_that_changes_in_place_finishes_its_batch_as_the_old_variant() -> None:
    problem = in_place(one_stage(), reload_s=2.0)
    simulator = simulate(np.array([0.0, 1.95, 1.97]), [[0, 0, 1]], problem, seconds=0.0)
    simulator.apply(np.array([[1, 0, 1]]))
    simulator.advance(20.0)
    assert simulator.visits(0)["variant"].tolist() == [0, 0, 1]
    assert simulator.requests["finish_s"] == pytest.approx([0.1, 2.05, 2.25], abs=1e-6)
    assert simulator.totals["core_s"][0] == pytest.approx(20.0)


def test_replicas_that_fail_while_they_change_in_place_come_back_as_the_new_variant() -> None:
    simulator = simulate(np.zeros(0), [[0, 0, 4]], in_place(one_stage(), reload_s=2.0), seconds=0.0)
    simulator.apply(np.array([[1, 0, 3]]))
    simulator.fail(0.5)
    simulator.advance(13.0)
    assert (simulator.fleet[0]["active"], simulator.fleet[0]["ready"]) == (1, 3)


def test_new_replicas_serve_after_the_start_up_delay() -> None:
    simulator = simulate(np.zeros(200), [[0, 0, 1]], seconds=0.0)
    simulator.apply(np.array([[0, 0, 2]]))
    simulator.advance(100.0)
    finish_s = simulator.requests["finish_s"]
    assert (finish_s <= 12.0 + 1e-9).sum() == 120
    assert finish_s.max() == pytest.approx(12.0 + 80 / 2 * 0.1, abs=1e-6)


def test_failed_replicas_lose_what_they_serve_and_come_back() -> None:
    simulator = simulate(np.zeros(4), [[0, 0, 2]], seconds=0.05)
    simulator.fail(0.5)
    simulator.advance(20.0)
    assert (simulator.requests["status"] == DROPPED).sum() == 1
    assert (simulator.requests["status"] == SERVED).sum() == 3
    assert simulator.fleet["ready"].tolist() == [2]


# Drops.


def test_a_request_is_dropped_when_its_age_reaches_the_limit() -> None:
    world = Timing(drop_limit_s=0.25, batch_timeout_s=1.0)
    simulator = simulate(np.zeros(5), [[0, 0, 1]], world=world)
    assert simulator.requests["status"].tolist() == [SERVED] * 3 + [DROPPED] * 2
    assert simulator.requests["finish_s"][3:] == pytest.approx([0.25, 0.25])


def test_arrivals_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="ascend"):
        simulate(np.array([1.0, 0.5]), [[0, 0, 1]])


# What holds for every pipeline, load and plan of decisions.

plans = st.lists(
    st.tuples(
        st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 6))] * 2),
        st.floats(0.0, 15.0),
    ),
    max_size=8,
)
rates = st.floats(0.1, 80.0)
worlds = st.builds(
    Timing,
    drop_limit_s=st.floats(0.2, 8.0),
    batch_timeout_s=st.floats(0.0, 2.0),
    start_up_scale=st.sampled_from([0.0, 0.3, 1.0]),
    service_scale=st.sampled_from([0.5, 1.0, 20.0]),
)
services = st.sampled_from(["lognormal", "fixed", "exponential"])
problems = st.sampled_from([two_stages(), in_place(two_stages(), 0.0), in_place(two_stages(), 2.0)])
Plan = list[tuple[tuple[tuple[int, int, int], ...], float]]


def run(
    problem: Problem, plan: Plan, rate_rps: float, world: Timing, service: Service
) -> list[RequestSimulator]:
    """A plan carried out: the same simulator once for each step of the plan, looked at after it."""
    arrivals_s = poisson(rate_rps, int(rate_rps * 40) + 1)
    simulator = RequestSimulator(problem, world, arrivals_s, np.random.default_rng(0), service)
    simulator.place(np.array([[0, 0, 2], [0, 0, 2]]))
    seen = [simulator]
    for rows, seconds in plan:
        simulator.apply(np.array(rows))
        check(simulator)
        if seconds > 14.0:
            simulator.fail(0.5)
            check(simulator)
        simulator.advance(seconds)
        check(simulator)
    return seen


def check(simulator: RequestSimulator) -> None:
    """Conservation, order within a stage, and no more busy than ready."""
    status, totals = simulator.requests["status"], simulator.totals[0]
    arrived, in_flight = int((status != COMING).sum()), int((status == UNDER_WAY).sum())
    assert totals["arrived"] == arrived == totals["served"] + totals["dropped"] + in_flight
    assert (simulator.servers["busy"] <= simulator.fleet["ready"]).all()
    assert (simulator.servers["busy"] >= 0).all()
    for stage, waiting in enumerate(simulator.waiting()):
        visits = simulator.visits(stage)
        assert int((visits["status"] == WAITING).sum()) == waiting
        begun = visits[~np.isnan(visits["started_s"])]
        in_order = begun[np.argsort(begun["entered_s"], kind="stable")]
        assert (np.diff(in_order["started_s"]) >= 0).all()


@given(problems, plans, rates, worlds, services)
def test_nothing_is_lost_and_order_is_kept_under_any_plan(
    problem: Problem, plan: Plan, rate_rps: float, world: Timing, service: Service
) -> None:
    run(problem, plan, rate_rps, world, service)


@given(problems, plans, rates, worlds, services)
def test_the_same_seed_gives_the_same_events(
    problem: Problem, plan: Plan, rate_rps: float, world: Timing, service: Service
) -> None:
    one, two = (run(problem, plan, rate_rps, world, service)[0] for _ in range(2))
    assert one.requests.tobytes() == two.requests.tobytes()
    assert one.tasks.tobytes() == two.tasks.tobytes()


@given(problems, plans, rates, worlds, services)
def test_forgetting_what_ended_changes_nothing(
    problem: Problem, plan: Plan, rate_rps: float, world: Timing, service: Service
) -> None:
    arrivals_s = poisson(rate_rps, int(rate_rps * 40) + 1)
    keeping, forgetting = (
        RequestSimulator(problem, world, arrivals_s, np.random.default_rng(0), service, keeps)
        for keeps in (True, False)
    )
    for one in (keeping, forgetting):
        one.place(np.array([[0, 0, 2], [0, 0, 2]]))
    for rows, seconds in plan:
        for one in (keeping, forgetting):
            one.apply(np.array(rows))
            if seconds > 14.0:
                one.fail(0.5)
            one.advance(seconds)
        assert keeping.totals.tobytes() == forgetting.totals.tobytes()
        assert keeping.waiting().tolist() == forgetting.waiting().tolist()
        assert keeping.fleet.tobytes() == forgetting.fleet.tobytes()


def test_of_a_long_window_only_what_is_under_way_is_held() -> None:
    arrivals_s = poisson(100.0, 100_000)
    simulator = RequestSimulator(
        one_stage(), Timing(), arrivals_s, np.random.default_rng(0), keeps_requests=False
    )
    simulator.place(np.array([[0, 0, 20]]))
    for _ in range(90):
        simulator.advance(10.0)
        assert len(simulator.requests) < 1300  # an interval's, and what had not ended before
    assert simulator.totals[0]["arrived"] == (arrivals_s < 900.0).sum()


TICK_S = 0.005
"""Everything below happens at multiples of this, so that cost can be counted exactly, tick by tick."""

short_plans = st.lists(
    st.tuples(
        st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 6))] * 2),
        st.integers(0, 400),
    ),
    max_size=4,
)
ticking_worlds = st.builds(
    Timing,
    drop_limit_s=st.sampled_from([0.5, 8.0]),
    batch_timeout_s=st.sampled_from([0.0, 0.5]),
    start_up_scale=st.sampled_from([0.0, 0.1]),
    service_scale=st.sampled_from([0.5, 1.0, 20.0]),
)


@settings(max_examples=40)
@given(st.sampled_from([two_stages(), in_place(two_stages(), 0.1)]), short_plans, rates, ticking_worlds)
def test_cost_is_the_integral_of_allocated_cores(
    problem: Problem,
    plan: list[tuple[tuple[tuple[int, int, int], ...], int]],
    rate_rps: float,
    world: Timing,
) -> None:
    arrivals_s: FloatArray = np.round(poisson(rate_rps, int(rate_rps * 10) + 1), 2)
    simulator = RequestSimulator(problem, world, arrivals_s, np.random.default_rng(0), "fixed")
    simulator.place(np.array([[0, 0, 2], [0, 0, 2]]))
    expected, cores = 0.0, allocated(simulator)

    def half_tick() -> None:
        nonlocal expected, cores
        simulator.advance(TICK_S / 2)
        expected += cores * TICK_S / 2

    for rows, ticks in plan:
        half_tick()  # to the middle between two events ...
        cores = allocated(simulator)
        for _ in range(ticks):
            half_tick()
            simulator.advance(TICK_S / 2)  # ... so that each event lies between two looks
            cores = allocated(simulator)
            expected += cores * TICK_S / 2
        half_tick()
        simulator.apply(np.array(rows))
        simulator.advance(1e-9)  # what happens at this very time
        cores = allocated(simulator)
    assert float(simulator.totals["core_s"][0]) == pytest.approx(expected, abs=1e-6)


def allocated(simulator: RequestSimulator) -> float:
    """Cores of ready, starting, warm and draining replicas, counted from the state."""
    total = 0.0
    for s, stage in enumerate(simulator.fleet):
        cores = simulator.variants["cores"][s]
        starting = stage["starting"][: stage["cohorts"]].sum()
        total += stage["ready"] * cores[stage["active"]]
        total += (stage["warm"] + starting) * cores[stage["target"]]
        total += simulator.servers["draining_cores"][s]
    return total


@given(st.lists(st.floats(0.0, 30.0), max_size=40), st.integers(1, 4), st.integers(0, 3))
def test_advancing_in_steps_changes_nothing(steps: list[float], replicas: int, batch: int) -> None:
    arrivals_s = poisson(12.0, 300)
    whole, stepped = (
        RequestSimulator(one_stage(), Timing(), arrivals_s, np.random.default_rng(0)) for _ in range(2)
    )
    for simulator in (whole, stepped):
        simulator.place(np.array([[0, batch, replicas]]))
    for seconds in steps:
        stepped.advance(seconds)
    stepped.advance(60.0)
    whole.advance(stepped.now_s)
    assert stepped.requests.tobytes() == whole.requests.tobytes()


def test_a_variant_of_one_batch_size_beside_others_is_served() -> None:
    lone = variant("lone", batches=(1,))
    problem = Problem(Pipeline("p", (Stage("only", (lone,)),)), Weights(1.0, 1.0, 0.0), 5.0, 5)
    assert (simulate(np.zeros(3), [[0, 0, 1]], problem).requests["status"] == SERVED).all()
