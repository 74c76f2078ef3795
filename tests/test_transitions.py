"""Rolling updates and changes in place (design, section 3)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.jit import Records
from ipa_rl.simulation.tables import VARIANT
from ipa_rl.simulation.transitions import (
    COHORTS,
    FLEET,
    copy_stage,
    decide,
    next_ready_s,
    paid_cores,
    pass_time,
    place,
    seconds_to_ready,
    starting_replicas,
)

DELAY_S = 12.0
SMALL, LARGE = 0, 1


def stage_of(variant: int = SMALL, replicas: int = 2) -> Records:
    fleet = np.zeros(1, dtype=FLEET)
    place(fleet[0], variant, 0, replicas)
    return fleet


def seconds(fleet: Records, count: int) -> None:
    for _ in range(count):
        pass_time(fleet[0], 1.0)


def variants(start_up_s: float = DELAY_S, reload_s: float = np.inf) -> Records:
    table = np.zeros(2, dtype=VARIANT)
    table["cores"] = [1, 4]
    table["start_up_s"], table["reload_s"] = start_up_s, reload_s
    return table


ROLLING, IN_PLACE = variants(), variants(reload_s=3.0)


def test_lowering_replicas_takes_effect_at_once() -> None:
    fleet = stage_of(replicas=5)
    decide(fleet[0], ROLLING, SMALL, 0, 2)
    assert fleet[0]["ready"] == 2


def test_changing_the_batch_takes_effect_at_once() -> None:
    fleet = stage_of()
    decide(fleet[0], ROLLING, SMALL, 3, 2)
    assert fleet[0]["batch"] == 3


def test_raising_replicas_takes_effect_after_the_start_up_delay() -> None:
    fleet = stage_of(replicas=2)
    decide(fleet[0], ROLLING, SMALL, 0, 5)
    seconds(fleet, 11)
    assert fleet[0]["ready"] == 2
    seconds(fleet, 1)
    assert fleet[0]["ready"] == 5


def test_starting_replicas_are_paid_for() -> None:
    fleet = stage_of(replicas=2)
    decide(fleet[0], ROLLING, SMALL, 0, 5)
    assert paid_cores(fleet[0], ROLLING) == 5


def test_changing_the_variant_keeps_the_old_one_until_the_new_is_ready_and_pays_both() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], ROLLING, LARGE, 1, 3)
    seconds(fleet, 11)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (SMALL, 2, 0)
    assert paid_cores(fleet[0], ROLLING) == 2 * 1 + 3 * 4
    seconds(fleet, 1)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (LARGE, 3, 1)
    assert paid_cores(fleet[0], ROLLING) == 3 * 4


def test_a_newer_decision_does_not_restart_what_is_starting() -> None:
    fleet = stage_of(replicas=1)
    decide(fleet[0], ROLLING, SMALL, 0, 3)
    seconds(fleet, 10)
    decide(fleet[0], ROLLING, SMALL, 0, 4)
    seconds(fleet, 2)
    assert fleet[0]["ready"] == 3
    seconds(fleet, 10)
    assert fleet[0]["ready"] == 4


def test_a_smaller_decision_cancels_the_newest_first() -> None:
    fleet = stage_of(replicas=1)
    decide(fleet[0], ROLLING, SMALL, 0, 2)
    seconds(fleet, 5)
    decide(fleet[0], ROLLING, SMALL, 0, 6)
    decide(fleet[0], ROLLING, SMALL, 0, 2)
    assert starting_replicas(fleet[0]) == 1
    assert seconds_to_ready(fleet[0]) == DELAY_S - 5


def test_returning_to_the_active_variant_cancels_the_change() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], ROLLING, LARGE, 0, 3)
    seconds(fleet, 5)
    decide(fleet[0], ROLLING, SMALL, 0, 2)
    assert starting_replicas(fleet[0]) == 0
    assert paid_cores(fleet[0], ROLLING) == 2


def test_fewer_replicas_of_the_new_variant_switch_as_soon_as_those_are_ready() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], ROLLING, LARGE, 0, 1)
    seconds(fleet, 10)
    decide(fleet[0], ROLLING, LARGE, 0, 3)
    seconds(fleet, 2)
    assert fleet[0]["warm"] == 1
    decide(fleet[0], ROLLING, LARGE, 0, 1)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (LARGE, 1)


# Changes in place, which take 3 s.


def test_replicas_that_change_in_place_serve_the_old_variant_until_the_reload_is_over() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], IN_PLACE, LARGE, 1, 2)
    seconds(fleet, 2)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (SMALL, 2, 0)
    assert next_ready_s(fleet[0]) == seconds_to_ready(fleet[0]) == 1.0
    seconds(fleet, 1)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (LARGE, 2, 1)
    assert seconds_to_ready(fleet[0]) == 0.0


def test_replicas_that_change_in_place_are_paid_once() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], IN_PLACE, LARGE, 0, 2)
    assert paid_cores(fleet[0], IN_PLACE) == 2 * 1
    seconds(fleet, 3)
    assert paid_cores(fleet[0], IN_PLACE) == 2 * 4


def test_without_a_delay_the_change_is_made_at_once() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], variants(reload_s=0.0), LARGE, 1, 2)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (LARGE, 2, 1)


def test_more_replicas_start_beside_a_change_in_place_and_come_up_as_the_new_variant() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], IN_PLACE, LARGE, 0, 5)
    assert paid_cores(fleet[0], IN_PLACE) == 2 * 1 + 3 * 4
    seconds(fleet, 3)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (LARGE, 2)
    seconds(fleet, 9)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (LARGE, 5)


def test_what_is_starting_is_not_restarted_by_a_change_in_place() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], IN_PLACE, SMALL, 0, 4)
    seconds(fleet, 10)
    decide(fleet[0], IN_PLACE, LARGE, 0, 4)
    seconds(fleet, 2)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (SMALL, 4)
    seconds(fleet, 1)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (LARGE, 4)


def test_surplus_replicas_leave_when_the_new_variant_takes_over() -> None:
    fleet = stage_of(SMALL, 5)
    decide(fleet[0], IN_PLACE, LARGE, 0, 2)
    assert fleet[0]["ready"] == 5
    seconds(fleet, 3)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (LARGE, 2)


def test_returning_to_the_active_variant_ends_the_reload() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], IN_PLACE, LARGE, 0, 2)
    seconds(fleet, 2)
    decide(fleet[0], IN_PLACE, SMALL, 2, 2)
    seconds(fleet, 5)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (SMALL, 2, 2)


def test_a_newer_decision_for_the_same_variant_does_not_begin_the_reload_anew() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], IN_PLACE, LARGE, 0, 2)
    seconds(fleet, 2)
    decide(fleet[0], IN_PLACE, LARGE, 3, 2)
    seconds(fleet, 1)
    assert (fleet[0]["active"], fleet[0]["batch"]) == (LARGE, 3)


# What holds for every plan of decisions.

reloads_s = st.sampled_from([np.inf, 0.0, 3.0, 60.0])
decisions = st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(1, 20))
plans = st.lists(st.tuples(decisions, st.integers(0, 30)), max_size=30)


@given(plans, reloads_s)
def test_after_any_plan_the_last_decision_is_reached_when_the_fleet_says_so(
    plan: list[tuple[tuple[int, int, int], int]], reload_s: float
) -> None:
    world, fleet = variants(reload_s=reload_s), stage_of()
    for (v, k, n), wait_s in plan:
        decide(fleet[0], world, v, k, n)
        seconds(fleet, wait_s)
    decide(fleet[0], world, LARGE, 1, 7)
    left_s = seconds_to_ready(fleet[0])
    assert left_s <= (max(DELAY_S, reload_s) if np.isfinite(reload_s) else DELAY_S)
    seconds(fleet, int(left_s))
    assert (fleet[0]["active"], fleet[0]["batch"], fleet[0]["ready"]) == (LARGE, 1, 7)
    assert paid_cores(fleet[0], world) == 28


@given(plans, reloads_s)
def test_replicas_never_fall_below_one_nor_cohorts_overflow(
    plan: list[tuple[tuple[int, int, int], int]], reload_s: float
) -> None:
    fleet = stage_of()
    for (v, k, n), wait_s in plan:
        decide(fleet[0], variants(40.0, reload_s), v, k, n)
        seconds(fleet, wait_s)
        assert fleet[0]["ready"] >= 1
        assert fleet[0]["warm"] >= 0
        assert 0 <= fleet[0]["cohorts"] <= COHORTS
        assert starting_replicas(fleet[0]) + fleet[0]["ready"] + fleet[0]["warm"] >= n


@given(plans, st.sampled_from([0.0, 3.0, 60.0]))
def test_ready_replicas_stay_and_are_paid_once_whatever_variants_are_changed_in_place(
    plan: list[tuple[tuple[int, int, int], int]], reload_s: float
) -> None:
    """Of as many replicas throughout, none is ever started or waits."""
    world, fleet = variants(reload_s=reload_s), stage_of(SMALL, 4)
    for (v, k, _), wait_s in plan:
        decide(fleet[0], world, v, k, 4)
        seconds(fleet, wait_s)
        assert fleet[0]["ready"] == 4
        assert paid_cores(fleet[0], world) == 4 * world["cores"][fleet[0]["active"]]


@given(plans, plans)
def test_a_plan_is_carried_out_alike_in_short_and_in_long_steps(
    plan: list[tuple[tuple[int, int, int], int]], others: list[tuple[tuple[int, int, int], int]]
) -> None:
    short, long = stage_of(), stage_of()
    for (v, k, n), wait_s in plan + others:
        for fleet in (short, long):
            decide(fleet[0], IN_PLACE, v, k, n)
        seconds(short, wait_s)
        left_s = float(wait_s)
        while left_s > 0.0:  # from one event to the next
            step_s = min(left_s, next_ready_s(long[0]))
            pass_time(long[0], step_s)
            left_s -= step_s
        for name in ("active", "batch", "ready", "target", "wanted", "cohorts"):
            assert short[0][name] == long[0][name]


def test_where_start_ups_take_many_intervals_each_replica_comes_about_when_it_was_ordered() -> None:
    """Half an hour of start-up, one replica more every 10 s."""
    fleet, slow = stage_of(replicas=1), variants(1800.0)
    ready = []
    for step in range(360):
        if step < 180:
            decide(fleet[0], slow, SMALL, 0, 2 + step)
        seconds(fleet, 10)
        ready.append(int(fleet[0]["ready"]))
    late = np.maximum(np.arange(1, 361) - 178, 1) - ready
    assert late.min() == 0
    assert late.max() <= 12  # two minutes
    assert ready[-1] == 181


DECISIONS = st.lists(
    st.tuples(st.sampled_from([SMALL, LARGE]), st.integers(0, 3), st.integers(1, 6), st.integers(0, 15)),
    min_size=1,
    max_size=6,
)
"""Variant, batch and replicas, and the seconds that pass after it."""


@given(DECISIONS, st.sampled_from([0, 1]))
def test_the_same_decision_again_changes_nothing(
    decisions: list[tuple[int, int, int, int]], in_place: int
) -> None:
    table, once, again = (ROLLING, IN_PLACE)[in_place], stage_of(), stage_of()
    for v, k, n, passing_s in decisions:
        for fleet in (once, again):
            decide(fleet[0], table, v, k, n)
            seconds(fleet, passing_s)
        decide(again[0], table, v, k, n)
        assert shown(again) == shown(once)


@given(DECISIONS, st.sampled_from([0, 1]))
def test_until_the_next_change_time_may_pass_at_once(
    decisions: list[tuple[int, int, int, int]], in_place: int
) -> None:
    table, fleet, other = (ROLLING, IN_PLACE)[in_place], stage_of(), stage_of()
    for v, k, n, passing_s in decisions:
        decide(fleet[0], table, v, k, n)
        seconds(fleet, passing_s)
    copy_stage(fleet[0], other[0])
    assert shown(other) == shown(fleet)
    left_s = next_ready_s(fleet[0])
    if left_s < np.inf:
        seconds(fleet, int(left_s))
        pass_time(other[0], left_s)
        assert shown(other) == shown(fleet)


def shown(fleet: Records) -> list[object]:
    """All that counts of a stage."""
    stage, cohorts = fleet[0], int(fleet[0]["cohorts"])
    pending = [stage["reload_left_s"]] if stage["target"] != stage["active"] else []
    names = ("active", "batch", "ready", "target", "target_batch", "wanted", "warm", "cohorts")
    starting = stage["starting"][:cohorts].tolist(), stage["left_s"][:cohorts].tolist()
    return [*(int(stage[name]) for name in names), *pending, *starting]
