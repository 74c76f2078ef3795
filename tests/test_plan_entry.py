"""What a planner saw and weighed, in the decision log and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipa_rl.agents.outlooks import PATHS
from ipa_rl.agents.planner import Candidate, Plan, PlannerAgent
from ipa_rl.agents.protocol import Decision
from ipa_rl.agents.steers import Steer
from ipa_rl.agents.trained import load_agents
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.explain import account
from ipa_rl.sidecar.plan_entry import FAN_POINTS, RUNNERS_UP, plan_entry
from tests.live import VIDEO, World, two

NOW = two(2).stages


def candidate(
    configuration: Configuration, behind: float, paths: int = 32, error: float = 0.012
) -> Candidate:
    return Candidate(Steer(1.0), configuration, -1.4 - behind, paths, behind, error)


def entry(*candidates: Candidate, is_new: bool = False, least_rps: float = 0.0) -> dict[str, Any]:
    """Of these, best first; the load goes up from 10 to 70 requests/s, on each path by as much more."""
    paths_rps = np.linspace(10.0, 70.0, 60) + np.arange(32.0)[:, None]
    plan = Plan(1, 12.0, candidates, paths_rps, is_new, least_rps)
    found = plan_entry(VIDEO.pipeline, plan.decision, NOW)
    assert found is not None
    return found


def test_runners_up_say_what_they_start_what_they_cost_and_how_far_they_are_behind() -> None:
    more = Configuration((StageConfig("yolov5n", 1, 4), StageConfig("resnet18", 1, 2)))
    found = entry(candidate(two(2), 0.0), candidate(more, 0.04), candidate(two(1), 0.2, paths=8))
    assert found["told"] == "leaves all as it is; expected utility -1.4 over 32 paths"
    assert [one["told"] for one in found["runners_up"]] == [
        "starts 2 replicas of yolov5n; 2 cores more; expected utility 0.04 ± 0.012 below",
        "stops 1 replica of yolov5n, stops 1 replica of resnet18; 2 cores fewer; expected utility "
        "0.2 ± 0.012 below, dropped after 8 of 32 paths",
    ]
    first = found["runners_up"][0]
    assert (first["more_cores"], first["behind"], first["error"], first["paths"]) == (2, 0.04, 0.012, 32)
    assert first["configuration"][0] == {"variant": "yolov5n", "batch": 1, "replicas": 4}


def test_who_would_run_the_same_is_no_runner_up_and_three_are_told() -> None:
    others = [candidate(two(k), 0.01 * k) for k in (3, 4, 5, 6)]
    found = entry(candidate(two(2), 0.0), candidate(two(2), 0.0), others[0], *others)
    assert [one["configuration"][0]["replicas"] for one in found["runners_up"]] == [3, 4, 5]
    assert (found["candidates"], RUNNERS_UP) == (7, 3)


def test_where_the_load_is_new_it_is_said_what_that_changes() -> None:
    only = candidate(two(2), 0.0)
    usual, new = entry(only)["told"], entry(only, is_new=True, least_rps=10.8)["told"]
    left_out = "what carries less than 10.8 requests/s is left out"
    besides = "what can be spared counts, and so does a policy that met many such"
    assert new == f"{usual}; the load is new: {left_out}, {besides}"
    beyond = entry(only, is_new=True)["told"]
    assert beyond.endswith(f"; the load is new: no candidate carries it, {besides}")


def test_the_fan_is_a_few_stretches_of_mean_loads() -> None:
    fan = entry(candidate(two(2), 0.0))["fan"]
    assert fan["until_s"] == [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    assert len(fan["median_rps"]) == FAN_POINTS
    assert fan["median_rps"][0] == pytest.approx(10.0 + 4.5 * 60 / 59 + 15.5, abs=0.1)
    assert all(np.array(fan["low_rps"]) < fan["median_rps"])
    assert all(np.array(fan["high_rps"]) > fan["median_rps"])


def test_one_path_has_no_error_and_nobody_else_has_a_plan() -> None:
    found = entry(candidate(two(2), 0.0), candidate(two(3), 0.1, error=float("nan")))
    assert found["runners_up"][0]["told"].endswith("expected utility 0.1 below")
    assert plan_entry(VIDEO.pipeline, Decision(two(2), 10.0), NOW) is None


def test_a_planner_in_the_sidecar_tells_its_plan_and_the_program_decides_where_it_fails() -> None:
    agents, program = load_agents(VIDEO, "planner")
    world = World(agents=agents, parts={"program": program})
    world.steps(1)
    step = world.told.entries[0]
    assert (step["by"], step["fallback"]) == ("planner", "")
    assert step["plan"]["paths"] == PATHS
    lines = " ".join(" ".join(account(step)).split())
    assert "chosen by the planner, planned for" in lines
    assert "median (10 to 90 %):" in lines
    assert f"against {step['plan']['runners_up'][0]['told']}" in lines
    planner = agents[0]
    assert isinstance(planner, PlannerAgent)

    class Broken:
        def ahead(self, *_: object) -> None:
            raise ValueError("no such season")

    planner.futures = Broken()  # type: ignore[assignment]
    world.steps(1)
    step = world.told.entries[1]
    assert (step["by"], step["plan"]) == ("program", None)
    assert step["fallback"] == "planner failed: ValueError: no such season"
