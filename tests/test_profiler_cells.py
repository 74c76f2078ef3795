"""Means with intervals from rounds: what they hold, how often, and when a cell is done."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.profiler.cells import LEAST_ROUNDS, LEAST_SAMPLES, estimate, is_tight, measure, percentile_99
from ipa_rl.profiler.job import Measuring
from ipa_rl.profiler.replica import Round, Start

figures = st.lists(st.floats(1e-4, 1e3), min_size=2, max_size=120)


@given(figures)
def test_the_mean_is_the_rounds_mean_and_the_interval_is_never_negative(rounds: list[float]) -> None:
    found = estimate(rounds)
    assert found.mean == pytest.approx(np.mean(rounds))
    assert found.half_width >= 0


@given(figures, st.floats(0.01, 100))
def test_the_relative_interval_knows_no_unit(rounds: list[float], factor: float) -> None:
    scaled = estimate([factor * value for value in rounds])
    assert scaled.relative == pytest.approx(estimate(rounds).relative, rel=1e-6, abs=1e-9)


@given(st.floats(1e-4, 1e3), st.integers(LEAST_ROUNDS, 60))
def test_rounds_that_are_all_alike_are_tight(value: float, count: int) -> None:
    assert is_tight([value] * count, 0.01)


@given(st.floats(1e-4, 1e3), st.integers(1, LEAST_ROUNDS - 1))
def test_few_rounds_are_never_tight(value: float, count: int) -> None:
    assert not is_tight([value] * count, 0.5)


def test_one_round_has_no_interval() -> None:
    assert math.isnan(estimate([1.0]).half_width)


@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=300))
def test_the_99th_percentile_is_no_less_than_the_mean_and_no_more_than_the_most(samples: list[float]) -> None:
    found = percentile_99(samples)
    assert np.mean(samples) * (1 - 1e-9) <= found <= max(samples) * (1 + 1e-9)


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.93), (0.6, 0.88)])
def test_the_interval_holds_the_true_mean_about_95_times_in_100(correlation: float, least: float) -> None:
    """Also where a round is like the one before it, as long as there are many."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        noise = rng.normal(0, 0.1, 200)
        rounds = [noise[0]]
        for one in noise[1:]:
            rounds.append(correlation * rounds[-1] + math.sqrt(1 - correlation**2) * one)
        found = estimate([1.0 + one for one in rounds])
        hits += abs(found.mean - 1.0) <= found.half_width
    assert hits / 400 >= least


class Drawn:
    """A replica that takes no time: latencies are drawn around ``batch x 10 ms``."""

    saturating = 2

    def __init__(self, spread: float) -> None:
        self._rng = np.random.default_rng(0)
        self._spread = spread
        self.runs: list[tuple[int, int]] = []

    def run(self, batch: int, in_flight: int, seconds: float) -> Round:
        self.runs.append((batch, in_flight))
        latencies_s = 0.01 * batch * (1 + self._spread * self._rng.uniform(-1, 1, 4))
        return Round(tuple(latencies_s.tolist()), batch / float(latencies_s.mean()))

    def started(self) -> Start:
        return Start("stage", "variant", 1, 1.0, 0.5, 100.0)

    def close(self) -> None:
        """Nothing."""


def test_a_cell_goes_on_until_it_is_tight_and_its_tail_has_samples() -> None:
    found = measure(Drawn(spread=0.1), 4, Measuring(precision=0.05))
    assert found.is_tight
    assert found.calls >= LEAST_SAMPLES
    assert found.latency_mean_s == pytest.approx(0.04, rel=0.05)
    assert found.throughput_rps == pytest.approx(100, rel=0.05)


def test_a_cell_that_stays_loose_ends_with_its_time_and_says_so() -> None:
    found = measure(Drawn(spread=0.9), 4, Measuring(precision=0.0001, cell_limit_s=0.05))
    assert not found.is_tight
    assert found.latency_pct is not None
    assert found.latency_pct > 0.01


def test_latency_is_of_one_batch_at_a_time_and_throughput_of_as_many_as_saturate() -> None:
    replica = Drawn(spread=0.0)
    measure(replica, 8, Measuring())
    warm_up, *rounds = replica.runs
    assert warm_up == (8, 2)
    assert set(zip(rounds[::2], rounds[1::2], strict=True)) == {((8, 1), (8, 2))}


def test_answers_that_are_noticed_late_do_not_raise_the_throughput() -> None:
    """A busy machine makes one round look short, and the next as much longer: the server serves as before."""

    class Jittery(Drawn):
        def run(self, batch: int, in_flight: int, seconds: float) -> Round:
            found = super().run(batch, in_flight, seconds)
            look = 1 + 0.6 * (-1) ** len(self.runs)
            return Round(found.latencies_s, 100.0 / look)

    replica = Jittery(spread=0.0)
    replica.saturating = 1
    assert measure(replica, 4, Measuring()).throughput_rps == pytest.approx(100, rel=0.05)
