"""What queueing theory says of waiting, held against the request-level simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.queueing import randomness, wait_p99_s, wait_s
from ipa_rl.simulation import Timing
from ipa_rl.simulation.outlook import service_scv
from ipa_rl.simulation.request_level import RequestSimulator, Service, latencies_s
from ipa_rl.simulation.tables import build_variants
from tests.pipelines import one_stage


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("servers", [1, 4, 16])
@pytest.mark.parametrize("busy", [0.5, 0.8])
def test_the_wait_is_that_of_the_request_level_simulator(busy: float, servers: int, batch: int) -> None:
    """Mean wait in a queue of Poisson arrivals, within a third of a service time or a quarter of itself."""
    problem, timing = one_stage(), Timing(drop_limit_s=1e3, batch_timeout_s=0.0 if batch == 1 else 100.0)
    variants = build_variants(problem, timing)
    k = int(np.flatnonzero(variants[0, 0]["batch"] == batch)[0])
    service_s = float(variants[0, 0]["mean_s"][k])
    load_rps = busy * servers * float(variants[0, 0]["rate_rps"][k])
    arrivals_s = np.cumsum(np.random.default_rng(0).exponential(1.0 / load_rps, 40_000))
    simulator = RequestSimulator(problem, timing, arrivals_s, np.random.default_rng(1), "lognormal")
    simulator.place(np.array([[0, k, servers]]))
    simulator.advance(arrivals_s[-1] + 100.0)
    fill_s = (batch - 1) / load_rps / 2.0
    waited_s = float(latencies_s(simulator.requests).mean()) - service_s - fill_s
    scv = float(service_scv(variants)[0, 0, k])
    expected_s = wait_s(busy, servers, service_s, 1.0 / batch, scv)[0]
    assert waited_s == pytest.approx(expected_s, abs=service_s / 3.0, rel=0.25)


@given(st.floats(0.0, 0.999), st.floats(0.0, 0.999), st.integers(1, 100), st.floats(0.0, 5.0))
def test_a_wait_grows_with_the_load(one: float, other: float, servers: int, scv: float) -> None:
    low, high = sorted((one, other))
    mean_s, tail_s = wait_s(low, servers, 0.5, 1.0, scv)
    more_s, more_tail_s = wait_s(high, servers, 0.5, 1.0, scv)
    assert 0.0 <= mean_s <= more_s < math.inf
    assert 0.0 <= tail_s <= more_tail_s
    assert wait_p99_s(low, servers, 0.5, 1.0, scv) <= wait_p99_s(high, servers, 0.5, 1.0, scv)


@given(st.floats(0.01, 0.99), st.integers(1, 100), st.integers(1, 20))
def test_more_servers_never_lengthen_a_wait(busy: float, servers: int, more: int) -> None:
    load = busy * servers
    assert wait_p99_s(load / (servers + more), servers + more, 0.5, 1.0, 0.2) <= wait_p99_s(
        busy, servers, 0.5, 1.0, 0.2
    )


@pytest.mark.parametrize("busy", [1.0, 2.0])
def test_at_the_capacity_and_beyond_a_wait_is_endless(busy: float) -> None:
    assert wait_p99_s(busy, 3, 0.5, 1.0, 1.0) == wait_s(busy, 3, 0.5, 1.0, 1.0)[0] == math.inf


@pytest.mark.parametrize(("service", "highest_scv"), [("fixed", 0.0), ("exponential", 1.0)])
@pytest.mark.parametrize("services_s", [(1.0, 1.0, 1.0), (0.5, 1.0, 0.7), (1.0, 0.5, 0.9)])
def test_stages_in_series_wait_for_the_slowest_or_each_for_itself(
    services_s: tuple[float, ...], service: Service, highest_scv: float
) -> None:
    """Where services take no random time, and where they are exponential: both are known exactly."""
    stages = tuple(
        Stage(str(k), (Variant("one", 1.0, 1, 0.0, (1,), (s,), (1.1 * s,), (1.0 / s,)),))
        for k, s in enumerate(services_s)
    )
    problem = Problem(Pipeline("series", stages), Weights(1.0, 1.0, 0.0), 1e6, 10)
    arrivals_s = np.cumsum(np.random.default_rng(0).exponential(1.0 / 0.7, 60_000))
    simulator = RequestSimulator(problem, Timing(10, 1e5, 0.0), arrivals_s, np.random.default_rng(1), service)
    simulator.place(np.array([[0, 0, 1]] * len(stages)))
    simulator.advance(float(arrivals_s[-1]) + 1e3)
    waited_s = float(latencies_s(simulator.requests)[5000:].mean()) - sum(services_s)
    expected_s = longest_s = 0.0
    for k, service_s in enumerate(services_s):
        alone_s = wait_s(0.7 * service_s, 1, service_s, 1.0, highest_scv)[0]
        is_random = randomness(alone_s, longest_s, highest_scv if k else 0.0, 1.0)
        expected_s += alone_s * (is_random + highest_scv) / (1.0 + highest_scv)
        longest_s = max(longest_s, alone_s)
    assert waited_s == pytest.approx(expected_s, rel=0.1)


@given(st.floats(1e-6, 1e3), st.floats(0.0, 1e3), st.floats(0.0, 5.0), st.floats(0.0, 9.0))
def test_behind_other_stages_arrivals_are_never_more_random(
    alone_s: float, longest_s: float, highest_scv: float, share: float
) -> None:
    assert 0.0 <= randomness(alone_s, longest_s, highest_scv, share) <= 1.0
