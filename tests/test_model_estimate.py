"""What accounts say a configuration is worth: what the judge measures, at light loads too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.agents.program import StaticAgent
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.objective import fill_s
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.model_estimate import worth
from ipa_rl.simulation.queues import batch_fill_s
from ipa_rl.workload.workload import Window

VIDEO = load_definition("video")


def smallest(batch: int) -> Configuration:
    """One replica of each stage's smallest variant."""
    stages = VIDEO.pipeline.stages
    return Configuration(tuple(StageConfig(one.variants[0].name, batch, 1) for one in stages))


@pytest.mark.parametrize("load_rps", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("batch", [1, 4, 8])
def test_an_account_says_what_the_judge_measures(batch: int, load_rps: float) -> None:
    chosen = smallest(batch)
    steady = Window("steady", np.random.default_rng(0).poisson(load_rps, 420), 120)
    agent = StaticAgent("static", chosen, load_rps)
    measured = figures(VIDEO, play(VIDEO, agent, Scenario(steady), SimulatorKind.request_level, start=chosen))
    told = worth(VIDEO, chosen, load_rps)
    assert told.utility == pytest.approx(measured["utility"], abs=1e-3)
    assert told.cores == measured["cores"]
    assert told.latency_s == pytest.approx(measured["p99_s"], rel=0.4)


@given(st.floats(0.01, 5.0), st.floats(0.0, 100.0))
def test_a_batch_never_waits_longer_than_its_time_out(timeout_s: float, load_rps: float) -> None:
    definition = replace(VIDEO, timing=replace(VIDEO.timing, batch_timeout_s=timeout_s))
    service_s = sum(one.variants[0].latency_p99_s[3] for one in VIDEO.pipeline.stages)
    waited_s = worth(definition, smallest(8), load_rps).latency_s - service_s
    assert waited_s == pytest.approx(2 * batch_fill_s(8, load_rps, timeout_s))
    assert waited_s <= 2 * timeout_s + 1e-9


@given(st.integers(1, 64), st.floats(1e-3, 1e4))
def test_with_an_endless_time_out_a_batch_fills_as_in_the_program(batch: int, load_rps: float) -> None:
    assert batch_fill_s(batch, load_rps, np.inf) == pytest.approx(fill_s(batch, load_rps))


def test_what_a_light_load_leaves_of_the_capacity_is_no_violation() -> None:
    slow = replace(VIDEO.pipeline.stages[0].variants[0], throughput_rps=(0.5, 0.5, 0.5, 0.5))
    stage = replace(VIDEO.pipeline.stages[0], variants=(slow,))
    pipeline = replace(VIDEO.pipeline, stages=(stage, VIDEO.pipeline.stages[1]))
    definition = VIDEO.with_problem(pipeline=pipeline)
    half, none = worth(definition, smallest(1), 1.0), worth(definition, smallest(1), 0.4)
    assert half.utility == pytest.approx(none.utility - 0.5 * VIDEO.weights.rho)
