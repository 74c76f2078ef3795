"""Another sets back what was written: told once, then left alone until it is quiet or a person resumes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.live.cluster import Applied
from ipa_rl.live.set_backs import LONGEST_S, QUIET_S, AskedFor, SetBack, SetBacks
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.leader import Election, Elector, inherit, leave
from ipa_rl.sidecar.orders import Wish
from tests.live import Shown, Wants, World, stale, two
from tests.test_leader import Shared

NOW_S = 1.7e9


def noted(count: int, set_backs: SetBacks | None = None) -> SetBacks:
    """A stage that the same writer has set back so often, the last time now."""
    set_backs = set_backs or SetBacks()
    set_backs.found["a"] = SetBack(count, NOW_S, "argocd", "spec.replicas 3 -> 1 by argocd")
    return set_backs


def test_the_first_set_back_is_undone_and_the_second_is_not() -> None:
    set_backs = SetBacks()
    set_backs.note("a", "argocd", "spec.replicas 3 -> 1 by argocd", NOW_S)
    assert not set_backs.left_alone("a", NOW_S)
    set_backs.note("a", "argocd", "spec.replicas 3 -> 2 by argocd", NOW_S + 5.0)
    reason = set_backs.left_alone("a", NOW_S + 5.0)
    assert "set back 2 times by another writer, last: spec.replicas 3 -> 2 by argocd" in reason
    assert "leave the field out of what argocd writes" in reason
    assert not set_backs.left_alone("another", NOW_S + 5.0)


@given(count=st.integers(2, 40), passed=st.floats(0.0, 3.0))
def test_a_stage_is_left_alone_until_its_writer_was_quiet_and_longer_each_time(
    count: int, passed: float
) -> None:
    set_backs = noted(count)
    wait_s = min(QUIET_S * 2.0 ** (count - 2), LONGEST_S)
    assert set_backs.found["a"].wait_s == wait_s
    assert bool(set_backs.left_alone("a", NOW_S + passed * wait_s)) == (passed < 1.0)
    again = set_backs.note("a", "argocd", "once more", NOW_S + passed * wait_s)
    assert again.count == (count if passed < 1.0 else count + 1 if passed <= 2.0 else 1)


@given(back_s=st.floats(0.0, 1e8), passed_s=st.floats(0.0, 1e5))
def test_a_clock_that_is_set_back_makes_no_wait_longer(back_s: float, passed_s: float) -> None:
    set_backs = noted(2)
    set_backs.left_alone("a", NOW_S - back_s)
    assert bool(set_backs.left_alone("a", NOW_S - back_s + passed_s)) == (passed_s < QUIET_S)


@given(count=st.integers(1, 5), asked=st.booleans())
def test_what_is_remembered_goes_through_json(count: int, asked: bool) -> None:
    set_backs = noted(count)
    set_backs.asked["a"] = AskedFor("uid", {"spec.replicas": 3, "spec.x": None})
    another = SetBacks()
    another.remember(json.loads(json.dumps(set_backs.remembered())), asked=asked)
    assert another.found == set_backs.found
    assert another.asked == (set_backs.asked if asked else {})


@dataclass
class Time:
    """A clock to set."""

    now_s: float = 0.0


def test_whoever_leads_next_goes_on_from_what_the_leader_knew() -> None:
    lock, time = Shared(), Time()
    first, second = (Elector(lock, Election(identity=name), now=lambda: time.now_s) for name in ("a", "b"))
    first.attempt()
    knows, follows = SetBacks(), SetBacks(asked={"a": AskedFor("uid", {})})
    inherit(knows, first)
    leave(noted(2, knows), first)
    first.attempt()
    second.attempt()
    leave(follows, second)  # does not lead: leaves nothing
    inherit(follows, second)
    assert follows.found == knows.found
    assert follows.asked == {}
    first.release()
    second.attempt()
    assert second.leads()
    second.attempt()  # before it has said anything itself
    inherit(follows, second)
    assert follows.left_alone("a", NOW_S)
    follows.forget()
    leave(follows, second)
    second.attempt()
    inherit(knows, first)  # and back again, whatever the first knew before
    first.attempt()
    inherit(knows, first)
    assert not knows.left_alone("a", NOW_S)


def test_what_is_unreadable_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    lock, time = Shared(), Time()
    elector = Elector(lock, Election(identity="a"), now=lambda: time.now_s)
    elector.attempt()
    for text in ("no JSON", "[]", '{"found": {"a": 1}, "asked": {}}', '{"found": {}}'):
        elector.handover = text
        elector.attempt()
        elector.handover = None
        set_backs = noted(2)
        inherit(set_backs, elector)
        assert "unreadable" in caplog.text
        assert set_backs.left_alone("a", NOW_S)
        caplog.clear()


class Contested(Shown):
    """A cluster of which another has set back a stage."""

    told: tuple[str, ...] = ()

    def apply(self, configuration: Configuration) -> Applied:
        """As the inner one, and it tells what was set back."""
        applied = super().apply(configuration)
        return Applied(configuration, applied.changes, set_back=self.told)


def contested(world: World, told: str) -> SetBacks:
    """Let another set back a stage of a world; what is remembered of it."""
    cluster = Contested(world.cluster.inner)
    cluster.told = (told,)
    world.cluster = cluster
    world.sidecar = world.another()
    return world.sidecar.set_backs


def test_a_set_back_is_an_event_a_warning_and_a_line_of_the_decision_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(agents=(Wants(two(3)),))
    contested(world, "crop: spec.replicas 3 -> 1 by argocd, another writer")
    world.steps(1)
    assert ("crop", "SetBack", "spec.replicas 3 -> 1 by argocd, another writer") in world.cluster.events
    assert world.told.entries[-1]["set_back"] == ["crop: spec.replicas 3 -> 1 by argocd, another writer"]
    assert [one.levelname for one in caplog.records if one.getMessage() == "stepped"] == ["WARNING"]


@pytest.mark.parametrize("wish", [Wish.resume, Wish.pause, Wish.hold])
def test_who_orders_something_on_the_dashboard_resumes(wish: Wish) -> None:
    world = World(agents=(Wants(two(3)),))
    world.steps(1)
    noted(2, world.sidecar.set_backs)
    world.steps(1)
    assert world.sidecar.set_backs.found
    world.sidecar.orders.give(wish, "Ada")
    world.steps(1)
    assert not world.sidecar.set_backs.found


def test_who_pauses_by_the_annotation_resumes_by_taking_it_away() -> None:
    world = World(agents=(Wants(two(3)),))
    noted(2, world.sidecar.set_backs)
    world.cluster.change = lambda seen: replace(seen, paused=True)
    world.steps(1)
    assert not world.sidecar.set_backs.found


def test_what_others_write_while_no_load_is_known_is_no_set_back() -> None:
    world = World(agents=(Wants(two(3)),))
    world.sidecar.set_backs.asked["crop"] = AskedFor("uid", {})
    world.cluster.change = stale()
    world.steps(1)
    assert not world.sidecar.set_backs.asked
