"""Samples of counters that come, go, fall and stand under two names, and the load that they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.live.counter_load import measure
from ipa_rl.live.counters import Series, clean, filled, gained
from ipa_rl.live.outliers import taken_back

counts = st.lists(st.integers(0, 500), min_size=2, max_size=40)
gaps = st.lists(st.integers(1, 20), min_size=40, max_size=40)


def series(steps: list[int], spaces: list[int], begin: float = 0.0) -> Series:
    """A counter that rises by ``steps``, sampled at whole seconds that are ``spaces`` apart."""
    times = np.concatenate([[0.0], np.cumsum(spaces[: len(steps)])])
    return Series(times, begin + np.concatenate([[0.0], np.cumsum(steps)]))


@given(st.lists(st.integers(20, 90), min_size=2, max_size=40), gaps, st.integers(0, 10**9))
def test_every_counted_request_is_found_whatever_the_gaps(
    rates: list[int], spaces: list[int], begin: int
) -> None:
    steps = [rate * space for rate, space in zip(rates, spaces, strict=False)]
    one = series(steps, spaces, begin)
    seconds = int(one.times_s[-1])
    found = measure([one], float(seconds), seconds)
    assert found.loads_rps.sum() == pytest.approx(sum(steps), rel=1e-6, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(allow_nan=True, allow_infinity=True)), max_size=60))
def test_loads_are_never_negative_and_never_infinite(samples: list[tuple[float, float]]) -> None:
    bounded = [(t, v) for t, v in samples if not abs(v) > 1e12 or np.isinf(v)]
    loads = measure([clean(bounded)], 200.0, 120).loads_rps
    known = loads[~np.isnan(loads)]
    assert (known >= 0).all()
    assert np.isfinite(known).all()


@given(counts, gaps, st.randoms())
def test_order_and_repetition_of_samples_do_not_matter(steps: list[int], spaces: list[int], rng: Any) -> None:
    one = series(steps, spaces)
    pairs = list(zip(one.times_s.tolist(), one.values.tolist(), strict=True))
    shuffled = pairs + rng.sample(pairs, len(pairs) // 2)
    rng.shuffle(shuffled)
    again = clean(shuffled)
    assert again.times_s.tolist() == one.times_s.tolist()
    assert again.values.tolist() == one.values.tolist()


@given(st.lists(st.integers(0, 50), min_size=3, max_size=40), st.data())
def test_a_reset_never_leaves_the_band_of_the_rates_beside_it(steps: list[int], data: st.DataObject) -> None:
    spaces = [5] * 40
    one = series(steps, spaces, begin=1000.0)
    at = data.draw(st.integers(1, len(steps) - 1))
    after = one.values.copy()
    after[at:] -= after[at] - data.draw(st.integers(0, 900))
    between = gained(Series(one.times_s, after))
    whole = np.array(steps, dtype=float)
    beside = [whole[at - 2]] * (at > 1) + [whole[at]] * (at < len(steps))
    assert min(beside) <= between[at - 1] <= max(beside)
    np.testing.assert_allclose(np.delete(between, at - 1), np.delete(whole, at - 1))


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 5), st.integers(0, 10**6))
def test_many_targets_scraped_at_different_times_add_up(
    first: int, second: int, offset_s: float, begin: int
) -> None:
    times = np.arange(0.0, 200.0, 5.0)
    one = Series(times, first * times)
    other = Series(times - offset_s, begin + second * times)
    loads = measure([one, other], 197.0, 60).loads_rps
    np.testing.assert_allclose(loads[:57], first + second, atol=1e-6)


def test_a_pod_that_replaces_another_makes_no_spike_and_no_hole() -> None:
    times = np.arange(0.0, 60.0, 5.0)
    old = Series(times, 5000 + 20 * times)
    new = Series(times + 62.0, 20 * (times + 3.0))
    loads = measure([old, new], 117.0, 110).loads_rps
    known = loads[~np.isnan(loads)]
    assert len(known) > 100
    np.testing.assert_allclose(known, 20.0, atol=1e-6)


def test_seconds_after_the_newest_sample_are_not_known() -> None:
    loads = measure([series([10, 10], [1, 1])], 5.0, 5)
    assert loads.newest_s == 2.0
    assert loads.loads_rps[:2].tolist() == [10.0, 10.0]
    assert np.isnan(loads.loads_rps[2:]).all()


# Pods that come and go

ALWAYS = math.inf


class Pods:
    """Pods that share ``load`` evenly, each scraped every ``interval_s`` at a moment of its own.

    ``lives``: (begin, end) of serving; a pod is scraped while it serves, and ``drained_s`` longer.
    """

    def __init__(
        self, lives: Sequence[tuple[float, float]], interval_s: float, seed: int, drained_s: float = 0.0
    ) -> None:
        rng, step_s = np.random.default_rng(seed), 0.25
        times = np.arange(-300.0, 300.0, step_s)
        serves = np.array([(times >= begin) & (times < end) for begin, end in lives], dtype=float)
        shares = serves / np.maximum(serves.sum(axis=0), 1.0)
        counts = np.concatenate(
            [np.zeros((len(lives), 1)), np.cumsum(60.0 * step_s * shares, axis=1)], axis=1
        )
        self.scraped = []
        for (begin, end), count in zip(lives, counts, strict=True):
            at = np.arange(-300.0 + rng.random() * interval_s, 300.0, interval_s)
            at = at[(at >= begin) & (at < end + drained_s)]
            self.scraped.append((at, np.interp(at, np.append(times, 300.0), count)))

    def seen(self, now_s: float, seconds: int = 120) -> Any:
        """The loads up to now, gaps filled."""
        found = [Series(at[at <= now_s], count[at <= now_s]) for at, count in self.scraped]
        return filled(measure(found, now_s, seconds).loads_rps)


ROLLOUTS: Mapping[str, Sequence[tuple[float, float]]] = {
    "one replaced": [(-ALWAYS, 0), (0, ALWAYS)],
    "one replaced after a gap": [(-ALWAYS, 0), (20, ALWAYS)],
    "one of two replaced": [(-ALWAYS, ALWAYS), (-ALWAYS, 0), (0, ALWAYS)],
    "five replaced one by one": [
        *((-ALWAYS, 10.0 * k) for k in range(5)),
        *((10.0 * k, ALWAYS) for k in range(5)),
    ],
    "four become two": [(-ALWAYS, ALWAYS), (-ALWAYS, ALWAYS), (-ALWAYS, 0), (-ALWAYS, 0)],
}


@pytest.mark.parametrize("interval_s", [1, 5, 15, 60])
@pytest.mark.parametrize("rollout", ROLLOUTS.values(), ids=ROLLOUTS)
def test_a_steady_load_is_steady_while_pods_are_replaced(
    rollout: Sequence[tuple[float, float]], interval_s: float
) -> None:
    for seed in range(3):
        pods = Pods(rollout, interval_s, seed)
        for now_s in range(-5, 120, 3):
            loads = pods.seen(float(now_s))
            if not np.isnan(loads).any():  # too little is known of what is scraped once a minute
                assert 50 < loads[-10:].mean() < 75, (seed, now_s)
                assert loads.min() > 40, (seed, now_s)
                assert loads.max() < 75, (seed, now_s)


@pytest.mark.parametrize("interval_s", [1, 5, 15])
def test_one_that_drains_before_it_goes_does_not_count_beside_its_successor(interval_s: float) -> None:
    highest = 0.0
    for seed in range(3):
        pods = Pods([(-ALWAYS, 0), (0, ALWAYS)], interval_s, seed, drained_s=30.0)
        highest = max(
            highest, *(float(pods.seen(now_s)[-10:].mean()) for now_s in np.arange(-5.0, 90.0, 3.0))
        )
    assert highest < 80.0


@pytest.mark.parametrize("serves_on_s", [0.0, 5.0])
def test_no_moment_of_a_handover_is_a_spike(serves_on_s: float) -> None:
    """Samples of old and new are taken at different times, so that their means overlap."""
    for seed in range(3):
        pods = Pods([(-ALWAYS, serves_on_s), (0, ALWAYS)], 15.0, seed, drained_s=30.0)
        assert max(float(pods.seen(now_s).max()) for now_s in np.arange(-5.0, 90.0, 3.0)) < 80.0


@pytest.mark.parametrize("at_s", range(60))
def test_a_router_that_replaces_another_never_reads_as_two(at_s: int) -> None:
    """Scraped every 15 s: the old one last 1 s before its end, the new one first 1 s after its start."""
    times = np.arange(20.0)
    old = Series(-1 - 15 * times[::-1], 60.0 * (100_000 - 1 - 15 * times[::-1]))
    new = Series(1 + 15 * times, 60.0 * (1 + 15 * times))
    found = [Series(one.times_s[one.times_s <= at_s], one.values[one.times_s <= at_s]) for one in (old, new)]
    np.testing.assert_allclose(filled(measure(found, float(at_s), 120).loads_rps), 60.0, rtol=0.01)


def test_one_lost_scrape_of_one_of_two_targets_is_no_hole() -> None:
    times = np.arange(0.0, 300.0, 15.0)
    other = np.delete(times + 7.0, 18)
    for now_s in range(260, 300):
        found = [Series(at[at <= now_s], 30.0 * at[at <= now_s]) for at in (times, other)]
        np.testing.assert_allclose(filled(measure(found, float(now_s), 60).loads_rps), 60.0, rtol=0.01)


def test_one_that_comes_back_under_its_old_name_did_not_serve_while_it_was_gone() -> None:
    times = np.arange(0.0, 300.0, 5.0)
    kept = np.cumsum(np.where((times > 150) & (times <= 210), 60.0, 30.0) * 5.0)
    back = (times <= 150) | (times > 210)
    again = Series(times[back], np.where(times > 210, 30.0 * (times - 210), 30.0 * times + 500)[back])
    loads = measure([Series(times, kept), again], 295.0, 200).loads_rps
    np.testing.assert_allclose(loads, 60.0, rtol=0.05)


def test_targets_of_other_scrape_intervals_each_go_by_their_own() -> None:
    often, seldom = np.arange(0.0, 301.0, 1.0), np.arange(0.0, 301.0, 60.0)
    for now_s in (240.0, 275.0, 299.0):
        found = [Series(at[at <= now_s], 20.0 * at[at <= now_s]) for at in (often, seldom)]
        np.testing.assert_allclose(measure(found, now_s, 60).loads_rps, 40.0, rtol=0.01)


def test_a_real_rise_while_a_pod_is_replaced_is_seen() -> None:
    times = np.arange(-295.0, 120.0, 15.0)
    old = times[times < 0]
    new = times[times > 0] + 2.0
    kept = np.interp(times, [-300.0, 0.0, 120.0], [0.0, 9_000.0, 9_000.0 + 120 * 90.0])
    found = [Series(times, kept), Series(old, 30.0 * (old + 300.0)), Series(new, 30.0 * new)]
    found = [Series(one.times_s[one.times_s <= 60], one.values[one.times_s <= 60]) for one in found]
    assert filled(measure(found, 60.0, 60).loads_rps)[-10:].mean() == pytest.approx(120.0, rel=0.05)


# One target under two names

TIMES = np.arange(0.0, 300.0, 5.0)

TWINS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "two jobs": ({"job": "router", "instance": "a:80"}, {"job": "pods", "instance": "a:80"}),
    "a pair of Prometheus": (
        {"instance": "a:80", "prometheus_replica": "prometheus-0"},
        {"instance": "a:80", "prometheus_replica": "prometheus-1"},
    ),
    "a federation": (
        {"job": "router", "instance": "a:80", "pod": "router-1"},
        {
            "job": "federate", "instance": "p:90", "pod": "prometheus-0", "exported_pod": "router-1",
            "exported_job": "router", "exported_instance": "a:80",
        },
    ),
    "a pair without addresses": ({"app": "router", "replica": "a"}, {"app": "router", "replica": "b"}),
}  # fmt: skip


@pytest.mark.parametrize("offset_s", [0.0, 2.0])
@pytest.mark.parametrize("labels", TWINS.values(), ids=TWINS)
def test_one_target_that_is_scraped_twice_counts_once(
    labels: tuple[Mapping[str, str], Mapping[str, str]], offset_s: float
) -> None:
    found = [
        Series(TIMES + 5.0, 7000 + 20.0 * TIMES, labels[0]),
        Series(TIMES + 5.0 + offset_s, 7000 + 20.0 * (TIMES + offset_s), labels[1]),
    ]
    for order in (found, found[::-1]):
        np.testing.assert_allclose(measure(order, 302.0, 120).loads_rps[:110], 20.0, rtol=1e-6)


def test_where_one_scrape_of_a_target_ends_the_other_goes_on() -> None:
    one, other = TWINS["two jobs"]
    found = [Series(TIMES[:40], 20.0 * TIMES[:40], one), Series(TIMES[30:], 20.0 * TIMES[30:], other)]
    np.testing.assert_allclose(measure(found, 295.0, 250).loads_rps[:240], 20.0, rtol=1e-6)


@pytest.mark.parametrize(
    "labels",
    [
        (
            {"job": "router", "pod": "a", "instance": "a:80"},
            {"job": "router", "pod": "b", "instance": "b:80"},
        ),
        ({"job": "stable", "instance": "a:80"}, {"job": "canary", "instance": "b:80"}),
        ({"instance": "a:80", "code": "200"}, {"instance": "a:80", "code": "500"}),
        ({"app": "router", "zone": "a"}, {"app": "router", "zone": "b"}),
        ({}, {}),
    ],
)
def test_two_targets_that_count_alike_behind_an_even_balancer_count_twice(
    labels: tuple[Mapping[str, str], Mapping[str, str]],
) -> None:
    found = [Series(TIMES, 20.0 * TIMES, one) for one in labels]
    np.testing.assert_allclose(measure(found, 295.0, 120).loads_rps, 40.0, rtol=1e-6)


# Loads that cannot be


def jumping(*rates_rps: float) -> Series:
    """20 requests/s for 2 minutes, then other rates, a scrape of 5 s each."""
    gains = 5.0 * np.array([20.0] * 24 + list(rates_rps))
    return Series(
        5.0 * np.arange(len(gains) + 1, dtype=np.float64), 1000 + np.concatenate([[0.0], np.cumsum(gains)])
    )


def of(one: Series) -> Any:
    """What it comes to, as soon as it was scraped."""
    return measure([one], float(one.times_s[-1]), 120)


def test_in_hindsight_a_burst_of_one_sample_counts_and_one_that_the_counter_takes_back_does_not() -> None:
    burst = jumping(2000.0, 20.0, 20.0)
    seen = measure([burst], 135.0, 135, 135.0, taken_back)
    assert (seen.loads_rps.sum(), seen.doubt) == (pytest.approx(135 * 20 + 5 * 1980), "")
    assert of(burst).loads_rps.max() == pytest.approx(20.0)
    values = burst.values.copy()
    values[-2:] = values[-4] + np.array([100.0, 200.0])
    taken = measure([Series(burst.times_s, values)], 135.0, 135, 135.0, taken_back)
    assert taken.loads_rps.max() == pytest.approx(20.0)
    assert "one sample says 2,000 requests/s" in taken.doubt


def test_an_outlier_is_not_acted_on_is_said_and_leaves_nothing_behind() -> None:
    pending = of(jumping(50_020.0))
    np.testing.assert_allclose(pending.loads_rps, 20.0, rtol=1e-6)
    assert pending.doubt == (
        "one sample says 50,020 requests/s, the highest load before was 20: a second sample is waited for"
    )
    later = of(jumping(50_020.0, 20.0))
    np.testing.assert_allclose(later.loads_rps, 20.0, rtol=1e-6)
    assert "the next one did not" in later.doubt


def test_a_crowd_is_acted_on_at_the_second_sample_and_a_smaller_one_at_once() -> None:
    assert of(jumping(200.0)).loads_rps.max() == pytest.approx(20.0)
    crowd = of(jumping(200.0, 210.0))
    assert crowd.doubt == ""
    assert crowd.loads_rps[-1] == pytest.approx(210.0)
    assert crowd.loads_rps[-6] == pytest.approx(200.0)
    small = of(jumping(80.0))
    assert (small.loads_rps[-1], small.doubt) == (pytest.approx(80.0), "")


def test_an_outlier_does_not_come_back_as_the_window_moves_on() -> None:
    for quiet in range(1, 60):
        found = of(Series(*_last_samples(jumping(50_020.0, *[20.0] * quiet), 30)))
        np.testing.assert_allclose(found.loads_rps[~np.isnan(found.loads_rps)], 20.0, rtol=1e-6)


def _last_samples(one: Series, count: int) -> tuple[Any, Any]:
    return one.times_s[-count:], one.values[-count:]


def test_a_counter_that_falls_at_each_scrape_is_no_load_of_what_it_rises_by() -> None:
    wild = jumping(*[0.0] * 8)
    wild.values[-8:] = [10.0, 973_265.0] * 4
    for falls in range(1, 9):
        one = Series(wild.times_s[: 25 + falls], wild.values[: 25 + falls])
        assert of(one).loads_rps.max() < 30.0


@given(st.lists(st.floats(0, 200), min_size=3, max_size=40), st.integers(0, 39), st.floats(2_000, 1e9))
def test_one_sample_never_raises_the_load_beyond_belief(
    rates: list[float], at: int, outlier_rps: float
) -> None:
    rates[min(at, len(rates) - 1)] = outlier_rps
    gains = 5.0 * np.array([100.0, 100.0, *rates, 100.0, 100.0])
    one = Series(5.0 * np.arange(len(gains) + 1, dtype=np.float64), np.concatenate([[0.0], np.cumsum(gains)]))
    found = measure([one], float(one.times_s[-1]), 5 * len(gains))
    assert np.nanmax(found.loads_rps) < 1_100.0


def test_a_pod_that_appears_with_its_share_is_no_outlier() -> None:
    old, new = TIMES, TIMES[-2:]
    found = measure([Series(old, 60.0 * old), Series(new, 1e6 + 60.0 * new)], 295.0, 60)
    assert found.doubt == ""
    assert found.loads_rps[-1] == pytest.approx(120.0)


def test_a_first_load_that_nothing_speaks_against_is_believed() -> None:
    found = measure([Series(np.array([0.0, 5.0]), np.array([0.0, 5000.0]))], 5.0, 5)
    assert (found.loads_rps.tolist(), found.doubt) == ([1000.0] * 5, "")
