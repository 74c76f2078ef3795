"""Rolling updates (design, section 3)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.compiled import Records
from ipa_rl.simulation.tables import VARIANT
from ipa_rl.simulation.transitions import (
    COHORTS,
    FLEET,
    decide,
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


def variants() -> Records:
    table = np.zeros(2, dtype=VARIANT)
    table["cores"] = [1, 4]
    return table


def test_lowering_replicas_takes_effect_at_once() -> None:
    fleet = stage_of(replicas=5)
    decide(fleet[0], DELAY_S, SMALL, 0, 2)
    assert fleet[0]["ready"] == 2


def test_changing_the_batch_takes_effect_at_once() -> None:
    fleet = stage_of()
    decide(fleet[0], DELAY_S, SMALL, 3, 2)
    assert fleet[0]["batch"] == 3


def test_raising_replicas_takes_effect_after_the_start_up_delay() -> None:
    fleet = stage_of(replicas=2)
    decide(fleet[0], DELAY_S, SMALL, 0, 5)
    seconds(fleet, 11)
    assert fleet[0]["ready"] == 2
    seconds(fleet, 1)
    assert fleet[0]["ready"] == 5


def test_starting_replicas_are_paid_for() -> None:
    fleet = stage_of(replicas=2)
    decide(fleet[0], DELAY_S, SMALL, 0, 5)
    assert paid_cores(fleet[0], variants()) == 5


def test_changing_the_variant_keeps_the_old_one_until_the_new_is_ready_and_pays_both() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], DELAY_S, LARGE, 1, 3)
    seconds(fleet, 11)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (SMALL, 2, 0)
    assert paid_cores(fleet[0], variants()) == 2 * 1 + 3 * 4
    seconds(fleet, 1)
    assert (fleet[0]["active"], fleet[0]["ready"], fleet[0]["batch"]) == (LARGE, 3, 1)
    assert paid_cores(fleet[0], variants()) == 3 * 4


def test_a_newer_decision_does_not_restart_what_is_starting() -> None:
    fleet = stage_of(replicas=1)
    decide(fleet[0], DELAY_S, SMALL, 0, 3)
    seconds(fleet, 10)
    decide(fleet[0], DELAY_S, SMALL, 0, 4)
    seconds(fleet, 2)
    assert fleet[0]["ready"] == 3
    seconds(fleet, 10)
    assert fleet[0]["ready"] == 4


def test_a_smaller_decision_cancels_the_newest_first() -> None:
    fleet = stage_of(replicas=1)
    decide(fleet[0], DELAY_S, SMALL, 0, 2)
    seconds(fleet, 5)
    decide(fleet[0], DELAY_S, SMALL, 0, 6)
    decide(fleet[0], DELAY_S, SMALL, 0, 2)
    assert starting_replicas(fleet[0]) == 1
    assert seconds_to_ready(fleet[0]) == DELAY_S - 5


def test_returning_to_the_active_variant_cancels_the_change() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], DELAY_S, LARGE, 0, 3)
    seconds(fleet, 5)
    decide(fleet[0], DELAY_S, SMALL, 0, 2)
    assert starting_replicas(fleet[0]) == 0
    assert paid_cores(fleet[0], variants()) == 2


def test_fewer_replicas_of_the_new_variant_switch_as_soon_as_those_are_ready() -> None:
    fleet = stage_of(SMALL, 2)
    decide(fleet[0], DELAY_S, LARGE, 0, 1)
    seconds(fleet, 10)
    decide(fleet[0], DELAY_S, LARGE, 0, 3)
    seconds(fleet, 2)
    assert fleet[0]["warm"] == 1
    decide(fleet[0], DELAY_S, LARGE, 0, 1)
    assert (fleet[0]["active"], fleet[0]["ready"]) == (LARGE, 1)


decisions = st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(1, 20))
plans = st.lists(st.tuples(decisions, st.integers(0, 30)), max_size=30)


@given(plans)
def test_after_any_plan_the_last_decision_is_reached_within_its_start_up_delay(
    plan: list[tuple[tuple[int, int, int], int]],
) -> None:
    fleet = stage_of()
    for (v, k, n), wait_s in plan:
        decide(fleet[0], DELAY_S, v, k, n)
        seconds(fleet, wait_s)
    decide(fleet[0], DELAY_S, LARGE, 1, 7)
    seconds(fleet, int(DELAY_S))
    assert (fleet[0]["active"], fleet[0]["batch"], fleet[0]["ready"]) == (LARGE, 1, 7)
    assert paid_cores(fleet[0], variants()) == 28


@given(plans)
def test_replicas_never_fall_below_one_nor_cohorts_overflow(
    plan: list[tuple[tuple[int, int, int], int]],
) -> None:
    fleet = stage_of()
    for (v, k, n), wait_s in plan:
        decide(fleet[0], 40.0, v, k, n)
        seconds(fleet, wait_s)
        assert fleet[0]["ready"] >= 1
        assert fleet[0]["warm"] >= 0
        assert 0 <= fleet[0]["cohorts"] <= COHORTS
        assert starting_replicas(fleet[0]) + fleet[0]["ready"] + fleet[0]["warm"] >= n
