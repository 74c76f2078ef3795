"""What is asked for and does not become ready is told, given up, not tried again at once, never counted."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import State
from ipa_rl.live.cluster import Applied, Change, Loads, Seen, StageSeen
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.explain import account
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.rollouts import Patience, Rollouts
from ipa_rl.simulation.transitions import FLEET, place, start
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.steps import HISTORY_STEPS
from tests.live import FREE, VIDEO, Wants, World, two

QUICK, SLOW = two(2), two(7, variant="yolov5s")
GIVEN_UP_AFTER = 5
"""Steps of 10 s: five start-up delays of 8 to 9 s are over at the fifth after the order."""


@dataclass
class Stubborn:
    """A LiveCluster on which what is asked for serves at the next look, but for what never does.

    ``never``: variants, or (variant, batch) pairs, of the first stage that never become ready. ``room``: most
    replicas of the first stage. ``hot``: what is asked for shows nowhere until it serves. ``blind``: while
    something is missing nobody can say what serves, as on Ray Serve.
    """

    load_rps: float = 40.0
    never: set[Any] = field(default_factory=set)
    room: int = 100
    hot: bool = False
    blind: bool = False
    trouble: str = ""
    unschedulable: int = 0
    asked: list[StageConfig] = field(default_factory=lambda: list(QUICK.stages))
    serving: list[StageConfig] = field(default_factory=lambda: list(QUICK.stages))
    applied: list[Configuration] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    stale: bool = False

    def look(self) -> Seen:
        """What became ready since."""
        for s, one in enumerate(self.asked):
            self.serving[s] = self._now(s, one)
        fleet = np.zeros(len(self.asked), dtype=FLEET)
        pairs = zip(VIDEO.pipeline.stages, self.asked, self.serving, strict=True)
        seen = tuple(self._seen(s, fleet[s], *one) for s, one in enumerate(pairs))
        loads = Loads(np.full(HISTORY_STEPS, self.load_rps), 0.0, stale=self.stale)
        return Seen(State(loads.history_rps, fleet, np.zeros(len(seen)), self.stale), loads, seen)

    def _now(self, s: int, asked: StageConfig) -> StageConfig:
        if s or not {asked.variant, (asked.variant, asked.batch)} & self.never:
            return replace(asked, replicas=asked.replicas if s else min(asked.replicas, self.room))
        return self.serving[s]

    def _seen(self, s: int, record: Any, stage: Any, asked: StageConfig, serving: StageConfig) -> StageSeen:
        missing = max(asked.replicas - serving.replicas, 0)
        batches = stage.variants[0].batches
        place(record, stage.index(serving.variant), batches.index(serving.batch), serving.replicas)
        other = (asked.variant, asked.batch) != (serving.variant, serving.batch)
        if not (self.hot and other):
            record["target"], record["target_batch"] = stage.index(asked.variant), batches.index(asked.batch)
            record["reload_left_s"] = math.inf
        record["wanted"] = asked.replicas
        if (other and not self.hot) or missing:
            start(record, asked.replicas if other else missing, 1.0)
        shown = serving if self.hot and other else asked
        known = serving.replicas > 0 and not (self.blind and (other or missing))
        return StageSeen(
            stage.name, asked.replicas, asked.replicas + (serving.replicas if other else 0), serving.replicas,
            serving.variant if known else None, serving.batch if known else None,
            (shown.variant, shown.batch), unschedulable=0 if s else self.unschedulable,
            trouble="" if s else self.trouble,
        )  # fmt: skip

    def apply(self, configuration: Configuration) -> Applied:
        """Asked for, all of it."""
        planned = self.plan(configuration)
        self.applied.append(configuration)
        self.asked = list(configuration.stages)
        return planned

    def plan(self, configuration: Configuration) -> Applied:
        """Which stages would change."""
        pairs = zip(VIDEO.pipeline.stages, self.asked, configuration.stages, strict=True)
        return Applied(
            configuration, tuple(Change(s.name, "all", str(a), str(b)) for s, a, b in pairs if a != b)
        )

    def record_event(
        self, stage: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """Kept."""
        del kind
        self.events.append((stage, reason, message))


def world(cluster: Stubborn, wanted: Configuration = SLOW, **parts: Any) -> World:
    """A sidecar over it, whose agent wants one configuration for ever."""
    made = World(agents=(Wants(wanted),))
    made.sidecar = made.another(cluster=cluster, events=cluster, **parts)
    return made


def asked_of_crop(cluster: Stubborn) -> list[str]:
    return [one.stages[0].variant for one in cluster.applied]


def given_up(cluster: Stubborn) -> list[str]:
    return [message for _, reason, message in cluster.events if reason == "GaveUp"]


def test_a_variant_that_never_becomes_ready_is_given_up_after_a_few_start_up_delays_and_told_everywhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Stubborn(never={"yolov5s"}, trouble="CrashLoopBackOff: back-off 10s")
    made = world(cluster)
    made.steps(GIVEN_UP_AFTER + 2)
    assert asked_of_crop(cluster)[: GIVEN_UP_AFTER + 1] == ["yolov5s"] * GIVEN_UP_AFTER + ["yolov5n"]
    told = (
        "crop: 0 of 7 replicas serve yolov5s b1 after 50 s (start-up delay 8.3 s): CrashLoopBackOff: back-off"
        " 10s; not asked for again for 120 s"
    )
    assert given_up(cluster) == [told]
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [f"given up: {told}"]
    entry = made.told.entries[GIVEN_UP_AFTER]
    assert [one["told"] for one in entry["given_up"]] == [told]
    assert entry["fallback"] == "given up: 7 x yolov5s b1 of crop"
    words = " ".join(" ".join(account(json.loads(json.dumps(entry)))).split())
    assert "given up crop: 0 of 7 replicas serve yolov5s b1" in words


def test_what_is_late_is_told_before_it_is_given_up() -> None:
    made = world(Stubborn(never={"yolov5s"}, trouble="ImagePullBackOff"))
    made.steps(3)
    assert [len(entry["overdue"]) for entry in made.told.entries] == [0, 1, 1]
    assert "ImagePullBackOff" in made.told.entries[2]["overdue"][0]["told"]


def test_what_serves_goes_on_serving_and_carries_the_load_after_it() -> None:
    cluster = Stubborn(never={"yolov5s", "yolov5m", "yolov5l", "yolov5x"})
    made = world(cluster)
    served = []
    for _ in range(30):
        made.steps(1)
        served.append((cluster.serving[0].variant, cluster.serving[0].replicas))
    assert {variant for variant, _ in served} == {"yolov5n"}
    assert [n for _, n in served] == sorted(n for _, n in served)
    assert served[-1][1] * 15 >= 40


def test_another_variant_is_tried_only_once_what_serves_carries_the_load() -> None:
    accurate = VIDEO.preferring(600.0, VIDEO.weights.beta)
    program = ProgramAgent("ip", accurate, WindowMaximum(30), margin=0.1)
    cluster = Stubborn(never={"yolov5s"})
    made = World(agents=(program,), definition=accurate)
    made.sidecar = made.another(cluster=cluster, events=cluster, program=program, agents=(Wants(SLOW),))
    made.steps(GIVEN_UP_AFTER + 7)
    asked = asked_of_crop(cluster)[GIVEN_UP_AFTER:]
    assert asked[:5] == ["yolov5n"] * 5
    assert asked[5] not in ("yolov5n", "yolov5s")


def test_it_is_not_tried_again_at_once_and_the_back_off_doubles_with_every_failure() -> None:
    cluster = Stubborn(never={"yolov5s"})
    made = world(cluster)
    made.steps(120)
    tried = np.array([variant == "yolov5s" for variant in asked_of_crop(cluster)])
    began = np.flatnonzero(np.diff(np.concatenate([[0], tried.astype(int)])) == 1)
    ended = np.flatnonzero(np.diff(np.concatenate([tried.astype(int), [0]])) == -1) + 1
    assert ((began[1:] - ended[:-1]) * 10).tolist()[:3] == [120, 240, 480]
    assert (ended - began).max() <= GIVEN_UP_AFTER


def test_a_success_that_lasts_clears_the_record() -> None:
    cluster = Stubborn(never={"yolov5s"})
    made = world(cluster)
    made.steps(GIVEN_UP_AFTER + 1)
    cluster.never = set()
    made.steps(30)
    cluster.never, cluster.serving[0] = {"yolov5s"}, QUICK.stages[0]
    made.steps(GIVEN_UP_AFTER + 1)
    assert [text.rpartition("; ")[2] for text in given_up(cluster)] == ["not asked for again for 120 s"] * 2


def test_replicas_that_never_come_are_given_up_and_those_that_serve_stay() -> None:
    cluster = Stubborn(room=3, trouble="Unschedulable: 0/3 nodes are available", unschedulable=4)
    made = world(cluster, two(7))
    made.steps(GIVEN_UP_AFTER + 5)
    assert "crop: 3 of 7 replicas serve yolov5n b1" in given_up(cluster)[0]
    assert "at most 3 are asked for for 120 s" in given_up(cluster)[0]
    after = [one.stages[0] for one in cluster.applied[GIVEN_UP_AFTER + 1 :]]
    assert {one.variant for one in after} == {
        "yolov5n"
    }  # where a small one finds no room, no larger one does
    assert {one.replicas for one in after} == {3}


def test_the_guard_does_not_raise_what_was_given_up_again() -> None:
    cluster = Stubborn(load_rps=90.0, room=3, unschedulable=13)
    made = world(cluster, two(7), limits=Limits(max_replicas=100, least_capacity=1.0))
    made.steps(GIVEN_UP_AFTER + 5)
    assert max(one.stages[0].replicas for one in cluster.applied[GIVEN_UP_AFTER + 1 :]) == 3


def test_a_batch_size_that_never_serves_costs_no_other_of_its_variant() -> None:
    cluster = Stubborn(never={("yolov5n", 4)}, trouble="CrashLoopBackOff (ended by OOMKilled)")
    made = world(cluster, two(3, batch=4))
    made.steps(GIVEN_UP_AFTER + 6)
    assert "0 of 3 replicas serve yolov5n b4" in given_up(cluster)[0]
    after = cluster.applied[-1].stages[0]
    assert (after.variant, after.batch) != ("yolov5n", 4)
    assert made.sidecar.rollouts.back_off.most(VIDEO.pipeline.stages[0], "yolov5n", 8) == 100


def test_a_change_in_place_that_never_takes_effect_is_given_up_too() -> None:
    for wanted, never in ((two(2, variant="yolov5s"), "yolov5s"), (two(2, batch=4), ("yolov5n", 4))):
        cluster = Stubborn(never={never}, hot=True)
        made = world(cluster, wanted)
        made.steps(GIVEN_UP_AFTER + 2)
        assert len(given_up(cluster)) == 1
        assert cluster.applied[-1].stages[0] != wanted.stages[0]


def test_where_nobody_can_say_what_serves_it_is_what_served_last() -> None:
    cluster = Stubborn(never={"yolov5s"}, blind=True, trouble="UNHEALTHY: the replica failed to start")
    made = world(cluster, two(2, variant="yolov5s"))
    made.agents[0].configuration = QUICK  # type: ignore[attr-defined]
    made.steps(1)
    made.agents[0].configuration = two(2, variant="yolov5s")  # type: ignore[attr-defined]
    made.steps(GIVEN_UP_AFTER + 2)
    assert "the replica failed to start" in given_up(cluster)[0]
    assert cluster.applied[-1].stages[0].variant == "yolov5n"


def test_changing_the_mind_meanwhile_does_not_prolong_the_wait() -> None:
    for minds in ((SLOW, two(7, variant="yolov5m")), (two(6, variant="yolov5s"), SLOW)):
        cluster = Stubborn(never={"yolov5s", "yolov5m"})
        made = world(cluster)
        for step in range(12):
            made.agents[0].configuration = minds[step % 2]  # type: ignore[attr-defined]
            made.steps(1)
        assert given_up(cluster)


def test_replicas_that_come_one_by_one_are_waited_for() -> None:
    cluster = Stubborn(room=1)
    made = world(cluster, two(9))
    for _ in range(9):
        made.steps(3)
        cluster.room += 1
    assert given_up(cluster) == []
    assert cluster.serving[0].replicas == 9


def test_where_nothing_serves_and_nothing_else_is_left_the_order_stands() -> None:
    names = {variant.name for variant in VIDEO.pipeline.stages[0].variants}
    cluster = Stubborn(never=names)
    cluster.serving[0] = replace(QUICK.stages[0], replicas=0)
    made = world(cluster, patience=Patience(back_off_s=3600.0))
    made.steps(60)
    assert set(asked_of_crop(cluster)) == names
    assert "nothing else is left to ask for, so the wait goes on" in given_up(cluster)[-1]
    assert made.told.failures == []


def test_what_is_accounted_for_is_what_serves() -> None:
    cluster = Stubborn(never={"yolov5s"})
    made = world(cluster)
    made.steps(GIVEN_UP_AFTER)
    late = made.told.entries[-1]
    serving = VIDEO.pipeline.stages[0].variant("yolov5n")
    other = VIDEO.pipeline.stages[1].variant("resnet18")
    assert late["worth"]["pas_x100"] == pytest.approx(100 * serving.accuracy * other.accuracy)
    assert late["worth"]["capacity_rps"] == pytest.approx(2 * serving.throughput_rps[0])
    assert late["worth"]["cores"] == 14  # all that is asked for is paid
    for who in ("agent", "present"):
        account = late["shadow"]["accounts"][who]
        assert account["violations"] > 0.2, who
        assert account["pas_x100"] == pytest.approx(late["worth"]["pas_x100"]), who


@pytest.mark.parametrize("hot", [False, True])
def test_in_shadow_mode_what_others_asked_for_and_never_served_is_not_counted_as_served(hot: bool) -> None:
    cluster = Stubborn(never={"yolov5s"}, hot=hot)
    cluster.asked = list(SLOW.stages)
    made = World(agents=(Wants(SLOW),), mode="shadow")
    made.sidecar = made.another(cluster=cluster, events=cluster)
    made.steps(12)
    assert cluster.applied == []
    assert cluster.events == []
    accounts = [entry["shadow"]["accounts"]["present"] for entry in made.told.entries[2:]]
    assert [one["pas_x100"] for one in accounts] == pytest.approx([31.875] * 10, abs=0.01)
    assert [one["violations"] for one in accounts[-5:]] == pytest.approx(
        [1.0] * 5
    )  # the queue is long by now
    if not hot:
        assert made.told.entries[-1]["given_up"]


def test_while_no_load_is_known_nothing_is_given_up_and_at_once_when_it_is_known_again() -> None:
    cluster = Stubborn(never={"yolov5s"})
    made = world(cluster)
    made.steps(2)
    cluster.stale = True
    made.steps(GIVEN_UP_AFTER)
    assert (len(cluster.applied), given_up(cluster)) == (2, [])
    assert made.told.entries[-1]["overdue"]
    cluster.stale = False
    made.steps(1)
    assert asked_of_crop(cluster)[-1] == "yolov5n"


def test_a_stage_that_is_switched_off_or_paused_is_not_judged() -> None:
    cluster = Stubborn(never={"yolov5s"})
    made = world(cluster)
    made.steps(2)
    cluster.asked = [replace(one, replicas=0) for one in cluster.asked]
    made.steps(20)
    assert given_up(cluster) == []
    assert made.told.entries[-1]["why_not"].startswith("switched off")


def test_a_variant_may_be_left_before_its_least_time_where_it_never_served() -> None:
    cluster = Stubborn(never={"yolov5s"})
    made = world(cluster, limits=replace(FREE, variant_interval_s=3600.0))
    made.steps(GIVEN_UP_AFTER + 2)
    assert asked_of_crop(cluster)[-1] == "yolov5n"


def test_a_restart_forgets_neither_the_back_off_nor_its_length(tmp_path: Path) -> None:
    cluster, state = Stubborn(never={"yolov5s"}), tmp_path / "state.json"
    made = world(cluster, state=state)
    made.steps(GIVEN_UP_AFTER + 2)
    restarted = made.another(cluster=cluster, events=cluster, state=state)
    made.steps(10, restarted)
    assert set(asked_of_crop(cluster)[-10:]) == {"yolov5n"}
    made.steps(GIVEN_UP_AFTER + 5, restarted)
    assert given_up(cluster)[-1].endswith("for 240 s")


@pytest.mark.parametrize(
    "content", [{}, {"failures": 3, "given_up": []}, {"failures": [], "given_up": [{"stage": "crop"}]}]
)
def test_a_state_of_back_offs_that_makes_no_sense_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Rollouts(VIDEO, Patience(), lambda: 0.0).back_off.remember(content)


def test_how_long_is_waited_follows_the_start_up_delay_and_the_settings() -> None:
    patience = Patience(start_ups=3.0, least_s=20.0, back_off_s=60.0, most_back_off_s=300.0)
    assert [patience.limit_s(delay_s) for delay_s in (1.0, 10.0, 1800.0)] == [20.0, 30.0, 5400.0]
    assert [patience.pause_s(10.0, failures) for failures in (1, 2, 3, 4, 5000)] == [60, 120, 240, 300, 300]
    assert patience.pause_s(1800.0, 1) == 5400.0


def test_a_wait_that_one_long_interval_made_is_not_put_on_what_another_just_asked_for() -> None:
    now_s = 0.0
    rollouts = Rollouts(VIDEO, Patience(), lambda: now_s)
    seen = Stubborn().look().stages
    assert rollouts.look(seen, QUICK.stages) == []
    now_s = 600.0
    grown = tuple(replace(one, desired=9) for one in seen)
    wanted = tuple(replace(one, replicas=9) for one in QUICK.stages)
    assert rollouts.look(grown, wanted) == []
    assert rollouts.overdue == (None, None)


def test_a_name_that_the_profile_does_not_know_is_never_what_served() -> None:
    now_s = 0.0
    rollouts = Rollouts(VIDEO, Patience(), lambda: now_s)
    seen = tuple(replace(one, variant="<img>", desired=7) for one in Stubborn().look().stages)
    for _ in range(10):
        rollouts.look(seen, SLOW.stages)
        now_s += 10.0
    assert rollouts.served(SLOW).stages[0].variant == "yolov5s"
    assert rollouts.within(SLOW.stages)[0] == SLOW.stages[0]


def test_what_a_driven_stage_is_refused_is_not_an_order() -> None:
    now_s = 0.0
    rollouts = Rollouts(VIDEO, Patience(), lambda: now_s)
    seen = tuple(replace(one, problem="an autoscaler drives it") for one in Stubborn().look().stages)
    for _ in range(10):
        assert rollouts.look(seen, QUICK.stages) == []
        rollouts.ordered(SLOW.stages)
        now_s += 60.0
