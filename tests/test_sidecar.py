"""The sidecar's loop: what it does with what it sees, and what it does not do."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.agents.trained import least_capacity, load_agents
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.live.cluster import ClusterError, Seen
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.decision_log import DecisionLog, loggable
from ipa_rl.sidecar.explain import account, reason_in_words
from ipa_rl.sidecar.fallbacks import Behaviour, MissingMetrics
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.leader import Election, Elector
from ipa_rl.sidecar.orders import Wish
from ipa_rl.sidecar.telemetry import Metrics
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window, load_workload
from tests.live import FREE, PROGRAM, VIDEO, Wants, World, never_measured, stale, two
from tests.test_leader import Shared


def missing(after_s: float, behaviour: Behaviour, crop: int, classification: int) -> MissingMetrics:
    """The rule for missing loads, with a count for each stage."""
    counts = {"crop": crop, "classification": classification}
    return MissingMetrics(after_s=after_s, behaviour=behaviour, replicas=counts)


@pytest.mark.parametrize("name", ["video", "program"])
def test_the_same_loop_gives_the_same_configurations_in_the_simulator_and_over_a_live_cluster(
    name: str,
) -> None:
    """The limits of the guard leave a judged agent alone; what does not pay is left undone besides."""
    agents, program = load_agents(VIDEO, name)
    whole = load_workload("twitter").named_window("bursty", HISTORY_STEPS)
    window = Window("bursty", whole.arrivals[: HISTORY_STEPS + 600], HISTORY_STEPS)
    limits = replace(FREE, least_capacity=least_capacity(agents[0]))
    parts = {"limits": limits, "program": program}
    world = World(agents=agents, parts=parts, loads=window.arrivals.astype(np.float64))
    world.steps(60)
    played = play(VIDEO, agents[0], Scenario(window), SimulatorKind.fluid)
    seen = [[(s["variant"], s["ready"]) for s in entry["stages"]] for entry in world.told.entries]
    names = [[variant.name for variant in stage.variants] for stage in VIDEO.pipeline.stages]
    assert seen[1:] == [
        [(names[s][v], n) for s, (v, _, n) in enumerate(step)] for step in played.configured[:-1].tolist()
    ]


def test_an_unchanged_decision_changes_nothing() -> None:
    world = World(agents=(Wants(two(3)),))
    world.steps(4)
    assert [bool(entry["changes"]) for entry in world.told.entries] == [True, False, False, False]
    assert len(world.cluster.events) == 2


def test_every_change_is_one_event_with_its_reason_in_words() -> None:
    world = World(agents=(Wants(two(3)),))
    world.steps(1)
    assert [event[:2] for event in world.cluster.events] == [
        ("crop", "Adapted"),
        ("classification", "Adapted"),
    ]
    message = world.cluster.events[0][2]
    assert "replicas" in message
    assert "load 10.0 requests/s, chosen by the agent ppo for 10.0" in message


def test_what_is_refused_is_one_warning_until_it_is_refused_for_another_reason() -> None:
    world = World(agents=(Wants(two(1)),))
    world.steps(1)
    world.cluster.events.clear()
    world.cluster.refuses = ("crop: HorizontalPodAutoscaler crop drives it",)
    world.steps(3)
    assert world.cluster.events == [("crop", "Refused", "HorizontalPodAutoscaler crop drives it")]
    world.cluster.refuses = ("crop: quota",)
    world.steps(2)
    assert world.cluster.events[1:] == [("crop", "Refused", "quota")]


def test_an_agent_that_fails_is_replaced_by_the_program() -> None:
    world = World(agents=(Wants(two(9), error=ValueError("broken")), PROGRAM))
    world.steps(1)
    entry = world.told.entries[0]
    assert entry["by"] == "program"
    assert entry["fallback"] == "ppo failed: ValueError: broken"
    assert entry["configuration"] == entry["program"]["configuration"]
    assert entry["acted"]


class AsksInVain(Wants):
    """Fails at what it does after a decision."""

    def catch_up(self, within_s: float) -> None:
        raise ValueError(f"broken after {within_s:g} s")


def test_an_agent_that_fails_after_its_decision_costs_nothing_but_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(agents=(AsksInVain(two(9)), PROGRAM), parts={"idle_s": 0.5})
    world.steps(2)
    assert [entry["by"] for entry in world.told.entries] == ["ppo", "ppo"]
    assert world.asked() == two(9)
    assert [one.error for one in caplog.records if "after its" in one.getMessage()] == [  # type: ignore[attr-defined]
        "broken after 0.5 s"
    ] * 2


def test_where_the_program_fails_too_what_is_there_is_kept() -> None:
    agent, program = Wants(two(4)), Wants(two(7), name="ip")
    world = World(agents=(agent, program))
    world.steps(1)
    agent.error, program.error = ValueError("broken"), KeyError("gone")
    world.steps(1)
    world.by_hand(two(6))  # who mends by hand what the agent cannot is left in peace
    world.steps(1)
    assert world.cluster.applied == [two(4)]
    assert [entry["by"] for entry in world.told.entries] == ["ppo", "held", "held"]
    assert world.told.entries[1]["fallback"].startswith("held: ppo failed: ValueError: broken; ip failed")
    assert world.asked() == two(6)


def test_stale_loads_keep_what_is_there_and_are_never_read_as_zero() -> None:
    world = World(agents=(Wants(two(4)),))
    world.steps(1)
    world.cluster.change = stale()
    world.agents[0].configuration = two(1)  # type: ignore[attr-defined]  # never asked
    world.steps(3)
    assert world.asked() == two(4)
    assert world.told.entries[-1]["fallback"] == "held: stale: no sample for 40 s"
    assert world.told.entries[-1]["stale"]


def test_loads_that_were_never_measured_keep_what_the_cluster_has_from_the_first_step_on() -> None:
    world = World(agents=(Wants(two(9)),))
    world.cluster.change = never_measured
    before = world.asked()
    world.steps(3)
    assert world.asked() == before
    assert all(not entry["changes"] for entry in world.told.entries)
    assert world.told.failures == []


@pytest.mark.parametrize("change", [stale(), never_measured], ids=["stale", "never measured"])
def test_a_load_that_is_not_known_is_told_as_unknown_and_nothing_is_reckoned_at_it(
    change: Callable[[Seen], Seen],
) -> None:
    world, metrics = World(agents=(Wants(two(4)),)), Metrics()
    world.steps(1)
    world.cluster.change = change
    world.steps(1)
    world.steps(1, world.another(logs=(metrics,)))
    known, entry = world.told.entries[0], loggable(world.told.entries[1])
    assert entry["load_rps"] is None
    assert [entry[name] for name in ("forecast_rps", "program")] == [None, None]
    assert [entry["worth"][name] for name in ("utility", "latency_s", "sla_slack_s")] == [None] * 3
    assert [entry["worth"][name] for name in ("cores", "pas_x100")] == [
        known["worth"]["cores"],
        pytest.approx(known["worth"]["pas_x100"], rel=1e-4),
    ]
    for name in ("load_rps", "forecast_rps", "sla_slack_seconds"):
        value = metrics.registry.get_sample_value(f"ipa_rl_{name}")
        assert value is not None
        assert math.isnan(value)
    assert reason_in_words(entry).startswith("load unknown, held")
    assert "load unknown" in "\n".join(account(entry))


def test_a_queue_that_nobody_counts_is_unknown_and_not_empty() -> None:
    world = World(agents=(Wants(two(4)),))
    world.cluster.change = lambda seen: replace(seen, queues_known=False)
    world.steps(1)
    entry = loggable(world.told.entries[0])
    assert entry["queued"] == [None, None]
    assert "wait" not in "\n".join(account(entry))


def test_the_process_log_says_null_where_the_load_is_not_known(caplog: pytest.LogCaptureFixture) -> None:
    world = World(agents=(Wants(two(4)),))
    world.cluster.change = never_measured
    with caplog.at_level(logging.INFO):
        world.steps(1)
    stepped = [one for one in caplog.records if one.getMessage() == "stepped"]
    assert [vars(one)["load_rps"] for one in stepped] == [None]


BY_HAND = {
    "more replicas": two(6),
    "fewer replicas": two(2),
    "another variant": two(4, variant="yolov5s", other="resnet34"),
    "another batch size": two(4, batch=4),
}
RULES = {rule.value: missing(25.0, rule, 5, 3) for rule in Behaviour}


@pytest.mark.parametrize("hand", BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("restarts", [False, True], ids=["", "restarted"])
def test_what_a_person_sets_while_no_load_is_known_stays(
    tmp_path: Path, hand: Configuration, rule: MissingMetrics, restarts: bool
) -> None:
    """Whatever it is, whatever the rule for missing loads, and also where the sidecar restarts meanwhile."""
    world = World(agents=(Wants(two(4)),), parts={"missing": rule, "state": tmp_path / "state.json"})
    world.steps(2)
    world.cluster.change = stale()
    world.steps(5)
    assert world.sidecar.failures == 0
    world.by_hand(hand)
    world.steps(6, world.another() if restarts else None)
    assert world.asked() == hand
    world.cluster.change = lambda seen: seen
    world.steps(1)
    assert world.asked() == two(4)  # whoever knows the load decides


def test_while_no_load_is_known_nothing_is_written_not_even_what_was_left_half_done() -> None:
    """A server that reloads, cores that somebody changed: the cluster is not asked to compare at all."""
    world = World(agents=(Wants(two(4)),))
    world.steps(1)
    world.cluster.change = stale()
    world.steps(3)
    assert len(world.cluster.applied) == 1
    assert world.told.entries[-1]["acted"]
    assert world.told.entries[-1]["asked"] == world.told.entries[-1]["configuration"]


def test_an_order_to_hold_is_carried_out_also_while_no_load_is_known() -> None:
    world = World(agents=(Wants(two(4)),))
    world.steps(1)
    world.cluster.change = stale()
    world.by_hand(two(6))
    world.steps(1)
    world.sidecar.orders.give(Wish.hold, "Ada")
    world.steps(1)
    assert world.asked() == two(4)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (Behaviour.static, [6, 2]),
        (Behaviour.current, [4, 4]),
        (Behaviour.if_higher, [6, 4]),
        (Behaviour.if_lower, [4, 2]),
    ],
)
def test_after_a_while_without_loads_keda_words_say_what_holds(
    behaviour: Behaviour, expected: list[int]
) -> None:
    world = World(agents=(Wants(two(4)),), parts={"missing": missing(25.0, behaviour, 6, 2)})
    world.steps(1)
    world.cluster.change = stale()
    world.steps(3)
    assert world.asked() == two(4)  # 0, 10 and 20 s without loads
    world.steps(2)
    assert [stage.replicas for stage in world.asked().stages] == expected


def test_the_rule_for_missing_loads_goes_on_until_all_of_it_is_done() -> None:
    limits = Limits(max_replicas=100, step_replicas=2, least_capacity=0.0)
    rule = missing(0.0, Behaviour.static, 8, 8)
    world = World(agents=(Wants(two(4)),), parts={"missing": rule, "limits": limits})
    world.cluster.change = stale()
    world.by_hand(two(2))
    world.steps(4)
    assert world.asked() == two(8)
    assert [one.stages[0].replicas for one in world.cluster.applied] == [4, 6, 8]


def test_it_decides_again_as_soon_as_loads_are_back() -> None:
    world = World(agents=(Wants(two(4)),))
    world.cluster.change = stale()
    world.steps(2)
    world.cluster.change = lambda seen: seen
    world.steps(1)
    assert world.told.entries[-1]["by"] == "ppo"


def test_a_paused_pipeline_is_left_alone() -> None:
    world = World(agents=(Wants(two(9)),))
    world.cluster.change = lambda seen: replace(seen, paused=True)
    world.steps(3)
    assert world.cluster.applied == []
    assert world.told.entries[0]["why_not"] == "paused by the annotation"
    assert {entry["fallback"] for entry in world.told.entries} == {"held: paused by the annotation"}
    world.cluster.change = lambda seen: seen
    world.steps(1)
    assert world.cluster.applied == [two(9)]


def test_a_stage_that_somebody_scaled_to_zero_is_left_alone() -> None:
    def off(seen: Seen) -> Seen:
        return replace(seen, stages=(replace(seen.stages[0], desired=0), seen.stages[1]))

    world = World(agents=(Wants(two(9)),))
    world.cluster.change = off
    world.steps(1)
    assert world.cluster.applied == []
    assert world.told.entries[0]["why_not"] == "switched off: 0 replicas of crop"


def test_a_cluster_that_does_not_answer_is_tried_again_and_nothing_is_lost() -> None:
    world = World(agents=(Wants(two(4)),))
    world.steps(1)
    world.cluster.error = ClusterError("connection refused")
    world.steps(3)
    assert world.told.failures == ["cluster"] * 3
    world.cluster.error = None
    world.steps(1)
    assert world.cluster.applied == [two(4)] * 2


def test_a_bug_in_a_step_does_not_end_the_loop() -> None:
    world = World(agents=(Wants(two(4)),))
    world.cluster.error = TypeError("no such thing")
    world.steps(2)
    assert world.told.failures == ["internal"] * 2


def test_where_nothing_is_known_and_nobody_decides_nothing_is_done() -> None:
    def unknown(seen: Seen) -> Seen:
        return stale()(replace(seen, stages=tuple(replace(s, asked=(None, None)) for s in seen.stages)))

    world = World()
    world.cluster.change = unknown
    world.steps(2)
    assert world.told.failures == ["undecided"] * 2
    assert world.cluster.applied == []


def test_the_guard_stands_between_every_decision_and_the_cluster() -> None:
    limits = Limits(max_replicas=100, step_replicas=2, least_capacity=0.0)
    world = World(agents=(Wants(two(9)),), parts={"limits": limits})
    before = [stage.desired for stage in world.cluster.look().stages]
    world.steps(1)
    asked = [stage.replicas for stage in world.cluster.applied[0].stages]
    assert asked == [n + 2 for n in before]
    assert len(world.told.entries[0]["guard"]) == 2


def test_a_variant_does_not_change_again_before_its_time_even_after_a_restart(tmp_path: Path) -> None:
    agent = Wants(two(4))
    limits = replace(FREE, variant_interval_s=100.0)
    world = World(agents=(agent,), parts={"limits": limits, "state": tmp_path / "state.json"})
    world.steps(2)
    agent.configuration = two(4, variant="yolov5s", other="resnet34")
    world.steps(2)
    agent.configuration = two(4, variant="yolov5l", other="resnet34")
    world.steps(3)
    world.steps(1, world.another())  # 40 s after the change was seen
    variants = [one.stages[0].variant for one in world.cluster.applied]
    assert variants == ["yolov5n"] * 2 + ["yolov5s"] * 6
    world.steps(8, world.another())
    assert world.cluster.applied[-1].stages[0].variant == "yolov5l"


def test_in_shadow_mode_and_dry_run_nothing_is_written() -> None:
    for world in (World(agents=(Wants(two(9)),), mode="shadow"), World(parts={"dry_run": True})):
        world.steps(3)
        assert world.cluster.applied == []
        assert world.cluster.events == []
        assert len(world.cluster.planned) == 3
        assert not any(entry["acted"] for entry in world.told.entries)


def test_of_two_copies_only_the_leader_acts_and_the_other_takes_over_when_it_is_gone() -> None:
    world, lock = World(agents=(Wants(two(4)),)), Shared()
    electors = [Elector(lock, Election(identity=name), now=lambda: world.time_s) for name in ("a", "b")]
    copies = [world.another(elector=elector) for elector in electors]
    acted: list[list[bool]] = []

    def turn(alive: list[int]) -> None:
        began = world.time_s
        for i in alive:
            electors[i].attempt()
        for i in alive:
            world.time_s = began
            world.steps(1, copies[i])
        acted.append([entry["acted"] for entry in world.told.entries[-len(alive) :]])
        world.time_s = began + 5.0

    for _ in range(3):
        turn([0, 1])
    for _ in range(4):
        turn([1])
    assert acted == [[True, False]] * 3 + [[False]] * 2 + [[True]] * 2
    assert "a leads" in [entry["why_not"] for entry in world.told.entries]


def test_the_decision_log_holds_one_line_a_step_and_rotates(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log" / "decisions.jsonl", 4000, backups=2)
    world = World(parts={"logs": (log,)})
    world.steps(12)
    files = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert files == ["decisions.jsonl", "decisions.jsonl.1", "decisions.jsonl.2"]
    lines = (tmp_path / "log" / "decisions.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 12
    assert all((tmp_path / "log" / name).stat().st_size <= 4000 for name in files)


def test_what_is_decided_is_compared_with_the_program_and_its_worth_by_the_model() -> None:
    world = World(agents=(Wants(two(30)),))
    world.steps(1)
    apart = world.told.entries[0]["program"]["difference"]
    own = world.told.entries[0]["worth"]["cores"]
    assert own == 60
    assert apart["cores"] == own - world.told.entries[0]["program"]["worth"]["cores"]
    assert apart["utility"] < 0
