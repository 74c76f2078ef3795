"""A sidecar that learns its own load: by what it forecasts, why, and how well it does."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_rl.agents.opponents import Opponent, program_agent
from ipa_rl.agents.planner import PlannerAgent
from ipa_rl.agents.trained import RESERVED, load_agents
from ipa_rl.agents.universal import UniversalAgent
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Seen
from ipa_rl.sidecar.explain import account
from ipa_rl.sidecar.forecast_errors import ForecastErrors
from ipa_rl.sidecar.learning import Learner
from ipa_rl.sidecar.load_history import LoadHistory
from ipa_rl.sidecar.telemetry import Metrics
from ipa_rl.workload.futures import RecordedFutures
from ipa_rl.workload.quantiles import QuantileForecaster
from ipa_rl.workload.recent_fits import least_s
from tests.live import VIDEO, World, stale

HOUR = 3600
TUNED = Opponent(
    "ip", "quantile:90@25", 0.0, {"utility": 0.0, "pas_x100": 0.0, "cores": 1.0, "violations": 0.0}
)


def steady(hours: float) -> FloatArray:
    """Loads that follow no clock."""
    return np.random.default_rng(0).poisson(11.0, round(hours * HOUR)).astype(np.float64)


def learner(loads: FloatArray, opponent: Opponent = TUNED, **parts: Any) -> Learner:
    """One that has seen these loads, and whose thread does not run."""
    agents, _ = load_agents(VIDEO, "video")
    history = LoadHistory(1, 3.0)
    history._keep(1_700_000_000 + np.arange(len(loads)), loads)
    program = program_agent(VIDEO, opponent)
    given = {"agents": agents, "unix_s": lambda: history.newest_s, "clock_of": float, **parts}
    return Learner(VIDEO, history, program=program, opponent=opponent, **given)


def test_until_hours_are_seen_forecasts_are_those_of_the_workload_and_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    one = learner(steady(2.0))
    one.tell()
    one.work()
    one.adopt()
    told = one.entry()["told"]
    assert told == (
        "the policy by futures of twitter until 48 h of load are seen; "
        "the program by quantile:90@25; quantiles of twitter until 6 h of load are seen; "
        "the clock of twitter (a season of an hour), checked once 6 h are seen"
    )
    assert [r.getMessage() for r in caplog.records] == [f"forecasts: {told}"]


def test_a_load_that_does_not_follow_twitters_clock_is_forecast_without_it_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = learner(steady(7.0))
    one.work()
    assert isinstance(one.program.forecaster, QuantileForecaster)
    assert one.program.forecaster.season.period_s == HOUR  # taken over between two steps, not by the thread
    one.adopt()
    assert one.program.forecaster.season.period_s == 0
    assert one.entry() | {"told": ""} == {
        "forecaster": "quantile:90@25", "quantiles": "own", "clock": "none", "futures": "given", "told": "",
        "seen_h": 7.0, "mae_rps": pytest.approx(math.nan, nan_ok=True),
        "bias_rps": pytest.approx(math.nan, nan_ok=True),
        "too_low": pytest.approx(math.nan, nan_ok=True), "compared": 0,
    }  # fmt: skip
    warning = caplog.records[-1]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().endswith(
        "quantiles fitted to 7 h of load seen; no clock: the load seen does not follow that of twitter; "
        "a season of its own is looked for after 48 h"
    )
    agent = one.agents[0]
    assert isinstance(agent, UniversalAgent)
    assert agent.forecasts.season.period_s == agent.forecasts.futures.period_s == 0


def test_a_program_that_nobody_tuned_plans_for_a_quantile_of_the_load_seen() -> None:
    one = learner(steady(7.0), RESERVED)
    assert one.entry()["forecaster"] == "window-max:30"
    one.work()
    one.adopt()
    assert one.entry()["forecaster"] == f"quantile:90@{VIDEO.horizon}"


def jobs(hours: float) -> FloatArray:
    """Loads that triple for two minutes, at a quarter past every hour."""
    rates = np.where(np.arange(round(hours * HOUR)) % HOUR // 120 == 7, 30.0, 10.0)
    return np.random.default_rng(0).poisson(rates).astype(np.float64)


def test_a_planner_plans_by_the_futures_of_days_of_load_seen_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    one = learner(jobs(49.0), RESERVED, agents=load_agents(VIDEO, "planner")[0])
    planner = one.agents[0]
    assert isinstance(planner, PlannerAgent)
    given = planner.futures
    assert planner.policy is not None
    expected = planner.policy.forecasts
    assert one.told.startswith(
        "the planner by futures of twitter until 48 h of load are seen; the program by"
    )
    assert one.entry()["futures"] == "given"
    one.work()
    assert planner.futures is given  # taken over between two steps, not by the thread
    one.adopt()
    assert isinstance(planner.futures, RecordedFutures)
    assert (planner.futures.name, planner.futures.period_s) == ("the load seen", HOUR)
    assert planner.policy.forecasts is not expected
    assert one.entry()["futures"] == "own"
    assert (
        caplog.records[-1].getMessage().startswith("forecasts: the planner by futures of 49 h of load seen;")
    )


def test_a_planner_gives_up_a_clock_that_hours_of_load_do_not_follow() -> None:
    one = learner(steady(7.0), RESERVED, agents=load_agents(VIDEO, "planner")[0])
    one.work()
    one.adopt()
    planner = one.agents[0]
    assert isinstance(planner, PlannerAgent)
    assert isinstance(planner.futures, RecordedFutures)
    assert (planner.futures.name, planner.futures.period_s) == ("twitter", 0)
    assert one.told.startswith("the planner by futures of twitter until 48 h of load are seen;")


def test_a_refit_waits_for_an_hour_of_new_load() -> None:
    one = learner(steady(7.0))
    one.work()
    one.adopt()
    found = one._found
    one.work()
    assert one._ready is None
    one.history._keep(np.array([one.history._end + HOUR]), np.array([9.0]))
    one.work()
    assert one._ready is not None
    assert one._ready is not found


def test_least_history_follows_the_step() -> None:
    assert [least_s(step_s) for step_s in (1, 60)] == [6 * HOUR, 60 * HOUR]


def test_errors_are_those_of_the_last_hour_and_of_what_is_known() -> None:
    history = LoadHistory(1, 1.0)
    errors = ForecastErrors(history)
    assert math.isnan(errors.last_hour.mae_rps)
    for begin_s, forecast_rps in ((100.0, 12.0), (200.0, 7.0), (300.0, 9.0), (400.0, math.nan)):
        errors.expect(begin_s, forecast_rps, 20.0)
    loads = np.full(350, 10.0)
    loads[310 - 50] = math.nan
    history._keep(np.arange(50, 400), loads)
    errors.compare(400.0)
    found = errors.last_hour
    assert (found.mae_rps, found.bias_rps, found.too_low, found.compared) == (2.5, -0.5, 0.5, 2)
    errors.compare(200.0 + HOUR + 1)
    assert errors.last_hour.compared == 0


def test_a_step_says_by_what_it_forecasts_in_log_metrics_and_words() -> None:
    world = World(parts={"learner": learner(steady(1.0), RESERVED)})
    world.parts["learner"].unix_s = lambda: 1.8e9 + world.time_s
    metrics = Metrics()
    world.sidecar.logs = (*world.sidecar.logs, metrics)
    world.steps(8)
    entry = world.told.entries[-1]
    assert entry["forecasts"]["compared"] > 0
    assert entry["forecasts"]["bias_rps"] == pytest.approx(0.0)
    labels = {"forecaster": "window-max:30", "quantiles": "given", "clock": "given"}
    assert metrics.registry.get_sample_value("ipa_rl_forecaster", labels) == 1.0
    assert metrics.registry.get_sample_value("ipa_rl_forecast_mae_rps") == pytest.approx(0.0)
    lines = " ".join(" ".join(account(entry)).split())
    assert "forecast 10 requests/s; the policy by futures of twitter until" in lines
    assert "the program by window-max:30; quantiles of twitter until 6 h" in lines
    assert "last hour: off by" in lines


def test_stale_loads_are_kept_as_unknown() -> None:
    one = learner(steady(0.1), RESERVED)
    world = World(parts={"learner": one})
    one.unix_s = lambda: 1.8e9 + world.time_s
    world.steps(3)
    seen_h = one.history.known_s
    world.cluster.change = stale()
    world.steps(60)
    assert one.history.known_s == seen_h
    world.cluster.change = lambda seen: seen
    world.steps(1)
    found = one.history.between(1.8e9 + 100, 1.8e9 + 300)
    assert found is not None
    assert np.isnan(found).all()


def test_the_thread_saves_what_is_seen_and_what_fails_in_it_stops_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = learner(steady(7.0), RESERVED)
    one.history = LoadHistory(1, 1.0, tmp_path / "loads.csv")

    def broken(*_: object) -> None:
        raise ValueError("no such season")

    monkeypatch.setattr("ipa_rl.sidecar.learning.refit", broken)
    world = World(parts={"learner": one})
    one.unix_s = lambda: 1.8e9 + world.time_s
    one.start()
    world.steps(5)
    one.close()
    assert not world.told.failures
    again = LoadHistory(1, 1.0, tmp_path / "loads.csv")
    assert again.known_s == one.history.known_s > 100


def test_a_gap_that_was_filled_in_is_not_seen() -> None:
    one = learner(steady(0.1), RESERVED)
    world = World(parts={"learner": one})
    one.unix_s = lambda: 1.8e9 + world.time_s

    def with_gap(seen: Seen) -> Seen:
        measured_rps = seen.loads.history_rps.copy()
        measured_rps[-5:] = math.nan
        return replace(seen, loads=replace(seen.loads, measured_rps=measured_rps))

    world.cluster.change = with_gap
    world.steps(1)
    assert one.history.newest_s == 1.8e9 - 5
