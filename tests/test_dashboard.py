"""What the dashboard shows of the decision log."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.live.cluster import ClusterError
from ipa_rl.sidecar.dashboard import COARSE_MS, COLUMNS, HOUR_MS, RECENT_POINTS, ROWS, Dashboard, about
from ipa_rl.sidecar.decision_log import timestamp
from ipa_rl.sidecar.orders import Orders
from ipa_rl.sidecar.promotion import Rule
from tests.graphs import graph_environment
from tests.live import PROGRAM, VIDEO, Wants, World, never_measured, stale, two

ABOUT = about(VIDEO, "ppo", 10.0)


def shown(dashboard: Dashboard) -> dict[str, Any]:
    """The hour as a page reads it."""
    found: dict[str, Any] = json.loads(dashboard.content())["hour"]
    return found


@pytest.fixture
def dashboard() -> Dashboard:
    return Dashboard(ABOUT, Orders(), pressable=True)


@pytest.fixture
def world(dashboard: Dashboard) -> World:
    return World(agents=(Wants(two(3)), PROGRAM), parts={"logs": (dashboard,)})


def failure(at_s: float, problem: str = "connection refused") -> dict[str, Any]:
    """An entry of little content."""
    return {"version": 1, "time": timestamp(at_s), "failed": "cluster", "problem": problem}


def test_of_a_graph_it_says_where_stages_stand_and_what_comes_to_them() -> None:
    found = about(graph_environment("gather"), "planner", 10.0)["stages"]
    assert [stage["depth"] for stage in found] == [0, 1, 1, 2]
    assert found[3]["comes"] == ["all of people", "all of cars", "awaits all"]
    crops = about(graph_environment("crops"), "planner", 10.0)["stages"]
    assert crops[1]["comes"] == ["1.3 to 2.6 for each of crop"]
    assert [(stage["depth"], stage["comes"]) for stage in ABOUT["stages"]] == [(0, []), (1, [])]


def test_before_the_first_step_there_is_nothing(dashboard: Dashboard) -> None:
    found = shown(dashboard)
    assert (found["last"], found["failed"], found["log"]) == (None, None, [])
    assert found["series"]["time_ms"] == []
    assert set(found["series"]) == {"time_ms", *COLUMNS}
    assert [stage["name"] for stage in found["about"]["stages"]] == ["crop", "classification"]


def test_every_step_is_a_point_and_the_last_entry_is_shown_whole(dashboard: Dashboard, world: World) -> None:
    world.steps(4)
    found = shown(dashboard)
    assert found["series"]["time_ms"] == [1_700_000_000_000 + 10_000 * k for k in range(4)]
    assert found["series"]["load_rps"] == [10.0] * 4
    assert found["series"]["present_cores"][0] is None  # nothing was compared yet
    assert found["series"]["present_cores"][-1] == 6.0
    assert found["last"]["step"] == 4
    assert found["last"]["program"]["configuration"][0]["variant"]


def test_the_hour_is_left_out_where_the_page_has_it(dashboard: Dashboard, world: World) -> None:
    world.steps(1)
    tag = json.loads(dashboard.content())["now"]["tag"]
    assert json.loads(dashboard.content(tag))["hour"] is None
    world.steps(1)
    assert json.loads(dashboard.content(tag))["hour"] is not None
    other = Dashboard(ABOUT, Orders(), pressable=True)
    world.steps(2, world.another(logs=(other,)))
    assert json.loads(other.content(tag))["hour"] is not None  # after a restart nobody has it


def test_loads_that_are_not_known_are_gaps_and_never_zero(dashboard: Dashboard, world: World) -> None:
    world.steps(1)
    world.cluster.change = stale()
    world.steps(1)
    world.cluster.change = never_measured
    world.steps(1)
    assert shown(dashboard)["series"]["load_rps"] == [10.0, None, None]


def test_a_failed_step_is_a_gap_and_a_line_of_the_log_until_a_step_succeeds(
    dashboard: Dashboard, world: World
) -> None:
    world.steps(1)
    world.cluster.error = ClusterError("connection refused")
    world.steps(3)
    found = shown(dashboard)
    assert found["failed"]["problem"] == "connection refused"
    assert found["last"]["step"] == 1
    assert (found["log"][0]["failed"], found["log"][0]["count"]) == ("cluster", 3)
    assert found["series"]["planned_rps"] == [10.0, None, None, None]
    world.cluster.error = None
    world.steps(1)
    assert shown(dashboard)["failed"] is None


def test_the_log_is_newest_first_and_steps_without_news_share_a_line(
    dashboard: Dashboard, world: World
) -> None:
    world.steps(4)
    world.agents[0].configuration = two(2)  # type: ignore[attr-defined]
    world.steps(2)
    rows = shown(dashboard)["log"]
    assert [(row["count"], len(row["changes"])) for row in rows] == [(1, 0), (1, 2), (3, 0), (1, 4)]
    assert rows[2]["since"] < rows[2]["until"]
    assert rows[1]["reason"] == "load 10.0 requests/s, chosen by the agent ppo for 10.0"


def test_in_shadow_mode_the_same_wish_again_is_no_news(dashboard: Dashboard) -> None:
    rule = Rule("shadow", "agent", None, None)
    world = World(agents=(Wants(two(3)),), parts={"logs": (dashboard,), "rule": rule})
    world.steps(5)
    (row,) = shown(dashboard)["log"]
    assert (row["count"], row["acted"]) == (5, False)
    assert row["changes"]


def test_a_fallback_whose_figures_change_is_no_news(dashboard: Dashboard, world: World) -> None:
    for seconds in (40, 50, 60):
        world.cluster.change = stale(f"no sample for {seconds} s")
        world.steps(1)
    (row,) = shown(dashboard)["log"]
    assert row["count"] == 3
    assert row["fallback"] == "held: stale: no sample for 60 s"


def test_numbers_that_json_does_not_know_are_null(dashboard: Dashboard, world: World) -> None:
    world.cluster.change = lambda seen: replace(seen, loads=replace(seen.loads, age_s=float("inf")))
    world.steps(1)
    assert b"Infinity" not in dashboard.content()
    assert b"NaN" not in dashboard.content()


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 30.0), st.integers(1, 3000))
def test_an_hour_at_most_is_kept_in_bounded_memory_whatever_the_interval(interval_s: float, n: int) -> None:
    dashboard = Dashboard(ABOUT, Orders(), pressable=False)
    begin_s = datetime(2026, 5, 4, tzinfo=UTC).timestamp()
    for k in range(n):
        dashboard.write(failure(begin_s + k * interval_s, problem=f"fault {k}"))
    found = shown(dashboard)
    times = found["series"]["time_ms"]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(1000 * (begin_s + (n - 1) * interval_s), abs=1)
    assert len(times) <= RECENT_POINTS + HOUR_MS // COARSE_MS
    assert times[-1] - times[0] <= HOUR_MS
    covered_ms = min(1000 * (n - 1) * interval_s, HOUR_MS)
    assert times[-1] - times[0] >= covered_ms - COARSE_MS - 1000 * interval_s - 2
    assert len(found["log"]) == min(n, ROWS)


def test_a_clock_that_is_set_back_begins_the_hour_anew(dashboard: Dashboard) -> None:
    for at_s in (1.7e9, 1.7e9 + 10, 1.7e9 - 500, 1.7e9 - 490):
        dashboard.write(failure(at_s))
    times = shown(dashboard)["series"]["time_ms"]
    assert times == [1_699_999_500_000, 1_699_999_510_000]
