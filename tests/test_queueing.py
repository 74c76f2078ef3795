"""What queueing theory says of waiting, held against the request-level simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.queueing import wait_p99_s, wait_s
from ipa_rl.simulation import Timing
from ipa_rl.simulation.outlook import service_scv
from ipa_rl.simulation.request_level import RequestSimulator, latencies_s
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
