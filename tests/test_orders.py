"""Pause, hold and resume: what the loop does with what people ask of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_rl.sidecar.explain import kind_of
from ipa_rl.sidecar.orders import Orders, Wish
from ipa_rl.sidecar.promotion import Rule
from tests.live import Wants, World, stale, two


def world(orders: Orders, **parts: object) -> World:
    """An agent that wants nine replicas, and a pipeline that listens to ``orders``."""
    return World(agents=(Wants(two(9)),), parts={"orders": orders, **parts})


def wants(one: World, replicas: int) -> None:
    one.agents[0].configuration = two(replicas)  # type: ignore[attr-defined]


def test_while_paused_nothing_is_written_and_the_log_says_who_paused_it() -> None:
    orders = Orders(wall=lambda: 1.7e9)
    one = world(orders)
    orders.give(Wish.pause, "Ada")
    one.steps(3)
    assert one.cluster.applied == []
    assert one.cluster.planned == []
    reason = "paused on the dashboard: by Ada at 2023-11-14T22:13:20.000Z"
    assert {entry["why_not"] for entry in one.told.entries} == {reason}
    assert {entry["fallback"] for entry in one.told.entries} == {f"held: {reason}"}
    assert kind_of(one.told.entries[0]["fallback"]) == "paused on the dashboard"
    assert one.told.entries[-1]["program"] is not None  # it goes on watching


def test_resume_lets_the_agent_decide_again_at_the_next_step() -> None:
    orders = Orders()
    one = world(orders)
    orders.give(Wish.pause, "Ada")
    one.steps(1)
    orders.give(Wish.resume, "Bo")
    one.steps(1)
    assert one.cluster.applied == [two(9)]
    assert one.told.entries[-1]["by"] == "ppo"


def test_a_pause_that_comes_while_the_agent_decides_is_heeded() -> None:
    orders = Orders()
    one = world(orders)

    class Slow(Wants):
        def decide(self, state: object) -> object:  # type: ignore[override]
            orders.give(Wish.pause, "Ada")
            return super().decide(state)  # type: ignore[arg-type]

    one.steps(1, one.another(agents=(Slow(two(9)),)))
    assert one.cluster.applied == []
    assert one.told.entries[-1]["why_not"].startswith("paused on the dashboard")


def test_hold_applies_the_last_decision_again_whatever_the_agent_and_the_guard_want() -> None:
    orders = Orders()
    one = world(orders)
    one.steps(1)
    wants(one, 1)
    orders.give(Wish.hold, "Ada")
    one.steps(2)
    assert one.cluster.applied == [two(9)] * 3
    assert [entry["by"] for entry in one.told.entries] == ["ppo", "held", "held"]
    assert one.told.entries[-1]["fallback"].startswith("held: held on the dashboard: by Ada")
    orders.give(Wish.resume, "Ada")
    one.steps(1)
    assert one.cluster.applied[-1] == two(1)


def test_hold_puts_back_what_another_writer_changed() -> None:
    orders = Orders()
    one = world(orders)
    one.steps(1)
    orders.give(Wish.hold, "Ada")
    one.cluster.inner.apply(two(2))
    one.steps(1)
    assert one.cluster.applied[-1] == two(9)
    assert {change["after"] for change in one.told.entries[-1]["changes"]} == {"9"}


def test_hold_goes_before_the_rule_for_missing_loads() -> None:
    orders = Orders()
    one = world(orders)
    one.steps(1)
    orders.give(Wish.hold, "Ada")
    one.cluster.change = stale()
    one.steps(20)
    assert one.cluster.applied == [two(9)] * 21
    assert one.told.entries[-1]["fallback"].startswith("held: held on the dashboard")


def test_an_order_is_one_event_a_stage() -> None:
    orders = Orders()
    one = world(orders)
    orders.give(Wish.pause, "Ada")
    one.steps(3)
    assert [event[:2] for event in one.cluster.events] == [("crop", "Paused"), ("classification", "Paused")]
    assert one.cluster.events[0][2].startswith("paused on the dashboard: by Ada at ")
    orders.give(Wish.resume, "Ada")
    one.steps(1)
    assert [event[1] for event in one.cluster.events[2:4]] == ["Resumed", "Resumed"]


def test_a_copy_that_may_write_nothing_tells_the_cluster_nothing_of_its_orders() -> None:
    orders = Orders()
    one = world(orders, rule=Rule("shadow", "agent", None, None))
    orders.give(Wish.pause, "Ada")
    one.steps(2)
    assert one.cluster.events == []


@pytest.mark.parametrize("wish", list(Wish))
def test_an_order_survives_a_restart(tmp_path: Path, wish: Wish) -> None:
    path = tmp_path / "state.order.json"
    assert Orders(path).give(wish, "Ada")
    again = Orders(path)
    assert again.current is not None
    assert (again.current.wish, again.current.by) == (wish, "Ada")
    one = world(again)
    one.steps(1)
    assert (one.cluster.applied == [two(9)]) == (wish is Wish.resume)
    assert {event[1] for event in one.cluster.events} <= {"Adapted"}  # the order is no news


def test_without_a_file_an_order_holds_and_says_that_a_restart_forgets_it(tmp_path: Path) -> None:
    orders = Orders()
    assert not orders.give(Wish.pause, "Ada")
    assert orders.why(Wish.pause)
    nowhere = Orders(tmp_path / "nowhere" / "state.order.json")
    assert not nowhere.give(Wish.pause, "Ada")
    assert nowhere.why(Wish.pause)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wish": "stop", "by": "a", "at": "b"}', '{"by": "a"}'])
def test_a_file_that_makes_no_sense_pauses(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.order.json"
    path.write_text(text)
    assert "state.order.json, which cannot be read" in Orders(path).why(Wish.pause)
