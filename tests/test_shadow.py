"""Shadow mode: contenders side by side on the live load; who takes over, and who hands back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.files import write_text
from ipa_rl.live.cluster import Seen
from ipa_rl.sidecar.promotion import ACT, SHADOW, Demotion, Promotion, Rule, load_state
from ipa_rl.sidecar.shadow import PRESENT, Account, Compared, ShadowErrors
from tests.live import Wants, World, stale, two

GOOD = Account(utility=-1.0, pas_x100=40.0, cores=2.0, violations=0.0, p99_s=1.0)
POOR = replace(GOOD, utility=-3.0, cores=4.0)
RULE = Promotion(by=0.5, for_s=60.0, more_violations=0.01)
BOUNDS = Demotion(load_error=1.0, capacity_error=0.5, latency_error=1.0, for_s=30.0)
EXACT = ShadowErrors(load=0.0, capacity=0.0)


def compared(agent: Account, present: Account, errors: ShadowErrors = EXACT) -> Compared:
    return Compared(10, {"agent": agent, "program": agent, PRESENT: present}, errors)


def updates(rule: Rule, one: Compared, count: int) -> list[str]:
    modes = []
    for _ in range(count):
        rule.update(one)
        modes.append(rule.mode)
    return modes


def test_an_agent_that_is_better_by_so_much_for_so_long_takes_over() -> None:
    rule = Rule(SHADOW, "agent", RULE, BOUNDS)
    assert updates(rule, compared(GOOD, POOR), 6) == [SHADOW] * 5 + [ACT]
    assert "2 higher" in rule.reason


def test_an_agent_that_is_not_better_by_so_much_never_takes_over() -> None:
    rule = Rule(SHADOW, "agent", RULE, BOUNDS)
    barely = replace(GOOD, utility=POOR.utility + 0.4)
    assert updates(rule, compared(barely, POOR), 20) == [SHADOW] * 20


def test_a_short_setback_delays_the_takeover_and_does_not_begin_the_count_anew() -> None:
    rule = Rule(SHADOW, "agent", RULE, BOUNDS)
    updates(rule, compared(GOOD, POOR), 4)
    rule.update(compared(POOR, GOOD))
    assert updates(rule, compared(GOOD, POOR), 1) == [ACT]  # (5 x 2 - 2) / 6 is above the bound


def test_more_violations_than_allowed_keep_it_from_taking_over() -> None:
    rule = Rule(SHADOW, "agent", RULE, BOUNDS)
    late = replace(GOOD, violations=0.02)
    assert updates(rule, compared(late, POOR), 12) == [SHADOW] * 12


def test_nothing_is_taken_over_while_predictions_are_off() -> None:
    rule = Rule(SHADOW, "agent", RULE, BOUNDS)
    off = compared(GOOD, POOR, ShadowErrors(load=0.0, capacity=0.9))
    assert updates(rule, off, 12) == [SHADOW] * 12
    assert updates(rule, compared(GOOD, POOR), 1) == [ACT]


def test_without_a_promotion_rule_shadow_mode_stays() -> None:
    rule = Rule(SHADOW, "agent", None, BOUNDS)
    assert updates(rule, compared(GOOD, POOR), 500) == [SHADOW] * 500
    assert rule.compared_s <= 3600.0


@pytest.mark.parametrize(
    "errors",
    [
        ShadowErrors(load=1.1),
        ShadowErrors(capacity=0.6),
        ShadowErrors(latency=1.5),
        ShadowErrors(1.1, 0.6, 1.5),
    ],
)
def test_an_agent_whose_predictions_are_off_for_so_long_hands_back(errors: ShadowErrors) -> None:
    rule = Rule(ACT, "agent", RULE, BOUNDS)
    assert updates(rule, compared(GOOD, GOOD, errors), 3) == [ACT, ACT, SHADOW]
    assert "predictions were off for 30 s" in rule.reason


def test_predictions_that_come_right_in_between_begin_the_count_anew() -> None:
    rule = Rule(ACT, "agent", RULE, BOUNDS)
    off = compared(GOOD, GOOD, ShadowErrors(capacity=0.6))
    updates(rule, off, 2)
    updates(rule, compared(GOOD, GOOD), 1)
    assert updates(rule, off, 3) == [ACT, ACT, SHADOW]


def test_what_cannot_be_compared_is_not_off() -> None:
    rule = Rule(ACT, "agent", RULE, BOUNDS)
    assert updates(rule, compared(GOOD, GOOD, ShadowErrors()), 10) == [ACT] * 10


def test_after_handing_back_the_whole_time_counts_again() -> None:
    rule = Rule(ACT, "agent", RULE, BOUNDS)
    updates(rule, compared(GOOD, POOR, ShadowErrors(capacity=2.0)), 3)
    assert updates(rule, compared(GOOD, POOR), 6) == [SHADOW] * 5 + [ACT]


def test_the_rule_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    rule = Rule(SHADOW, "agent", RULE, BOUNDS)
    updates(rule, compared(GOOD, POOR), 5)
    write_text(json.dumps(rule.remembered()), tmp_path / "state.json")
    restarted = Rule(SHADOW, "agent", RULE, BOUNDS)
    restarted.remember(load_state(tmp_path / "state.json"))
    assert updates(restarted, compared(GOOD, POOR), 1) == [ACT]
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_settings_that_ask_for_another_mode_than_before_begin_anew() -> None:
    promoted = Rule(SHADOW, "agent", RULE, BOUNDS)
    updates(promoted, compared(GOOD, POOR), 6)
    rule = Rule(ACT, "agent", RULE, BOUNDS)
    updates(rule, compared(GOOD, GOOD, ShadowErrors(capacity=2.0)), 3)
    rule.remember(promoted.remembered())
    assert rule.mode == SHADOW  # what it was; nothing was taken over from the other


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rule": {}}', '{"rule": 3, "changed_at": 4}', "null"])
def test_a_state_that_makes_no_sense_begins_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content, encoding="utf-8")
    world = World(mode="shadow", parts={"state": path})
    world.steps(2)
    assert len(world.told.entries) == 2
    assert json.loads(path.read_text())["rule"]["mode"] == "shadow"


def test_all_contenders_serve_the_same_load_and_the_wasteful_present_one_costs_more() -> None:
    world = World(agents=(Wants(two(2)),), mode="shadow")
    world.cluster.inner.apply(two(20))
    world.steps(8)
    accounts = world.told.entries[-1]["shadow"]["accounts"]
    assert list(accounts) == ["agent", "program", "present"]
    assert accounts["agent"]["cores"] == pytest.approx(4.0)
    assert accounts["present"]["cores"] == pytest.approx(40.0)
    assert accounts["agent"]["utility"] > accounts["present"]["utility"] + 30


def test_a_pipeline_that_an_autoscaler_drives_is_compared_all_the_same() -> None:
    def driven(seen: Seen) -> Seen:
        why = "HorizontalPodAutoscaler crop drives it"
        return replace(seen, stages=tuple(replace(stage, problem=why) for stage in seen.stages))

    world = World(agents=(Wants(two(2)),), mode="shadow")
    world.cluster.change = driven
    world.steps(2)
    assert "present" in world.told.entries[-1]["shadow"]["accounts"]


def test_why_nothing_is_compared_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def unnamed(seen: Seen) -> Seen:
        return replace(seen, stages=(replace(seen.stages[0], asked=(None, 1)), *seen.stages[1:]))

    world = World(agents=(Wants(two(2)),), mode="shadow")
    world.cluster.change = unnamed
    world.steps(3)
    assert not any("shadow" in entry for entry in world.told.entries)
    told = [record.message for record in caplog.records if "nothing is compared" in record.message]
    assert len(told) == 1
    assert "crop is not known; fix: set both in the object" in told[0]


def test_a_present_that_is_too_small_violates_by_the_model_and_the_agent_does_not() -> None:
    world = World(agents=(Wants(two(8)),), mode="shadow", load_rps=60.0)
    world.cluster.inner.apply(two(1))
    world.steps(10)
    accounts = world.told.entries[-1]["shadow"]["accounts"]
    assert accounts["agent"]["violations"] == 0.0
    assert accounts["present"]["violations"] > 0.5


def test_a_better_agent_in_shadow_takes_over_the_cluster_and_the_takeover_is_told() -> None:
    rule = Rule(SHADOW, "agent", Promotion(by=0.5, for_s=30.0, more_violations=0.01), BOUNDS)
    world = World(agents=(Wants(two(2)),), parts={"rule": rule})
    world.cluster.inner.apply(two(20))
    world.steps(8)
    acted = [entry["acted"] for entry in world.told.entries]
    assert acted == [False] * 3 + [True] * 5  # three intervals are compared by the fourth step
    assert world.told.handovers == [ACT]
    assert world.cluster.applied[0] == two(2)


def test_a_cluster_whose_replicas_do_not_become_ready_as_predicted_gets_control_back() -> None:
    def crashing(seen: Seen) -> Seen:
        fleet = seen.state.fleet.copy()
        fleet["ready"] = 1
        return replace(seen, state=replace(seen.state, fleet=fleet))

    rule = Rule(ACT, "agent", None, BOUNDS)
    world = World(agents=(Wants(two(4)),), parts={"rule": rule})
    world.steps(3)
    world.cluster.change = crashing
    world.steps(5)
    assert world.told.handovers == [SHADOW]
    assert not world.told.entries[-1]["acted"]
    assert "capacity is 75 % off" in world.told.entries[-1]["mode_reason"]


def test_a_measured_latency_far_from_the_predicted_one_hands_back_too() -> None:
    rule = Rule(ACT, "agent", None, BOUNDS)
    world = World(agents=(Wants(two(4)),), parts={"rule": rule, "latency": lambda: 30.0})
    world.steps(6)
    assert world.told.handovers == [SHADOW]
    assert "latency" in world.told.entries[-1]["mode_reason"]


def test_loads_that_were_not_seen_are_not_compared() -> None:
    world = World(mode="shadow")
    world.steps(2)
    world.cluster.change = stale()
    world.steps(3)
    world.cluster.change = lambda seen: seen
    world.steps(2)
    assert ["shadow" in entry for entry in world.told.entries] == [False, True, *[False] * 4, True]


def test_late_steps_are_compared_over_the_whole_time_that_passed() -> None:
    world = World(mode="shadow")
    world.steps(2)
    world.time_s += 20.0
    world.steps(1)
    assert world.told.entries[-1]["shadow"]["seconds"] == 30


def test_a_capacity_that_is_as_predicted_is_not_off() -> None:
    world = World(agents=(Wants(two(4)),))
    world.steps(6)
    errors = [entry["shadow"]["errors"] for entry in world.told.entries[1:]]
    assert max(one["capacity"] for one in errors) == 0.0
    assert all(math.isnan(one["latency"]) for one in errors)
    assert np.isclose(max(one["load"] for one in errors), 0.0)


def test_the_agents_forecast_is_held_against_the_load_that_came() -> None:
    world = World(agents=(Wants(two(4)),), load_rps=25.0)  # it always plans for 10
    world.steps(2)
    assert world.told.entries[1]["shadow"]["errors"]["load"] == pytest.approx(1.5)
