"""The guard of a real cluster: limits that hold whatever an agent asks for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ipa_rl.objective import capacity_rps, cost_cores, stage_loads_rps
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.guard import Limits, Situation, guarded_change
from tests.graphs import graph_environment
from tests.pipelines import BATCHES, two_stages

PROBLEM = two_stages()
PIPELINE = PROBLEM.pipeline
FREE = Limits(max_replicas=50)
NAMES = ("small", "medium", "large")

stage_configs = st.builds(StageConfig, st.sampled_from(NAMES), st.sampled_from(BATCHES), st.integers(1, 50))
configurations = st.builds(lambda a, b: Configuration((a, b)), stage_configs, stage_configs)
optional = st.none() | st.integers(0, 40)
limits = st.builds(
    Limits,
    max_replicas=st.just(50),
    core_budget=st.none() | st.integers(2, 200),
    step_replicas=optional,
    step_cores=optional,
    variant_interval_s=st.sampled_from([0.0, 60.0]),
    least_capacity=st.sampled_from([0.0, 1.0]),
)
loads = st.floats(0, 200)


def now(present: Configuration, load: float = 0.0, since_s: float = math.inf) -> Situation:
    return Situation(present.stages, (since_s,) * len(present.stages), load)


def cores(configuration: Configuration) -> float:
    return cost_cores(PIPELINE, configuration)


def stages(first: str, of_first: int, second: str, of_second: int) -> Configuration:
    return Configuration((StageConfig(first, 1, of_first), StageConfig(second, 1, of_second)))


def both(variant: str, batch: int, replicas: int) -> Configuration:
    return Configuration((StageConfig(variant, batch, replicas),) * 2)


@given(configurations, configurations, loads)
def test_without_limits_what_carries_the_load_stays_untouched(
    wanted: Configuration, present: Configuration, load: float
) -> None:
    free = replace(FREE, least_capacity=0.0)
    assert guarded_change(PROBLEM, free, wanted, now(present, load)).configuration == wanted


@given(configurations, configurations, limits, loads)
def test_the_replicas_of_a_stage_never_change_by_more_than_allowed(
    wanted: Configuration, present: Configuration, limits: Limits, load: float
) -> None:
    found = guarded_change(PROBLEM, limits, wanted, now(present, load)).configuration
    for before, after in zip(present.stages, found.stages, strict=True):
        if limits.step_replicas is not None:
            assert abs(after.replicas - before.replicas) <= limits.step_replicas


@given(configurations, configurations, limits, loads)
def test_the_budget_is_never_exceeded_by_a_change(
    wanted: Configuration, present: Configuration, limits: Limits, load: float
) -> None:
    """Where the present is above it already, the cores fall, or stay where no change is allowed."""
    assume(limits.core_budget is not None)
    assert limits.core_budget is not None
    found = cores(guarded_change(PROBLEM, limits, wanted, now(present, load)).configuration)
    assert found <= max(limits.core_budget, cores(present))
    if limits.step_replicas is None and limits.step_cores is None:
        assert found <= limits.core_budget


@given(configurations, configurations, limits, loads)
def test_the_cores_never_change_by_more_than_allowed(
    wanted: Configuration, present: Configuration, limits: Limits, load: float
) -> None:
    assume(limits.step_cores is not None)
    assert limits.step_cores is not None
    found = guarded_change(PROBLEM, limits, wanted, now(present, load)).configuration
    assert abs(cores(found) - cores(present)) <= limits.step_cores


BUDGET, STEP = Limits(50, core_budget=10), Limits(50, step_cores=1)
BOTH = Limits(50, core_budget=10, step_replicas=2, step_cores=13, least_capacity=0.0)


@given(configurations, configurations, limits, loads)
@example(stages("large", 3, "small", 1), stages("large", 3, "small", 1), BUDGET, 17.0)
@example(stages("small", 1, "large", 1), stages("small", 2, "small", 1), STEP, 17.0)
@example(stages("small", 1, "small", 1), stages("small", 6, "large", 5), BOTH, 0.0)
def test_the_guard_is_idempotent(
    wanted: Configuration, present: Configuration, limits: Limits, load: float
) -> None:
    once = guarded_change(PROBLEM, limits, wanted, now(present, load)).configuration
    assert guarded_change(PROBLEM, limits, once, now(present, load)).configuration == once


@given(configurations, configurations, limits, loads)
def test_it_says_so_in_words_exactly_where_it_changed_something(
    wanted: Configuration, present: Configuration, limits: Limits, load: float
) -> None:
    found = guarded_change(PROBLEM, limits, wanted, now(present, load))
    assert bool(found.edits) >= (found.configuration != wanted)
    if found.configuration != wanted:
        assert any("first: " in edit or "second: " in edit for edit in found.edits)


@given(configurations, configurations, st.floats(0, 59))
def test_a_variant_stays_until_its_time_has_passed(
    wanted: Configuration, present: Configuration, since_s: float
) -> None:
    limits = replace(FREE, variant_interval_s=60.0)
    found = guarded_change(PROBLEM, limits, wanted, now(present, 0.0, since_s)).configuration
    assert [s.variant for s in found.stages] == [s.variant for s in present.stages]
    later = guarded_change(PROBLEM, limits, wanted, now(present, 0.0, 60.0)).configuration
    assert later == wanted


@given(configurations, configurations, st.floats(1, 100))
def test_what_is_applied_carries_the_observed_load_where_the_limits_let_it(
    wanted: Configuration, present: Configuration, load: float
) -> None:
    found = guarded_change(PROBLEM, FREE, wanted, now(present, load)).configuration
    for stage, config in zip(PIPELINE.stages, found.stages, strict=True):
        variant = stage.variant(config.variant)
        rate = variant.throughput_rps[variant.batches.index(config.batch)]
        assert config.replicas * rate >= load * (1 - 1e-6) or config.replicas == 50


def test_each_stage_of_a_graph_carries_what_comes_to_it() -> None:
    """Of 20 frames a second the largest detector sends 52 people and 30 cars on."""
    problem = graph_environment("crops").problem
    least = [StageConfig(stage.variants[-1].name, 1, 1) for stage in problem.pipeline.stages]
    wanted = Configuration(tuple(least))
    found = guarded_change(problem, replace(FREE, max_replicas=500), wanted, now(wanted, 20.0)).configuration
    loads_rps = stage_loads_rps(problem.pipeline, found, 20.0)
    assert loads_rps == pytest.approx([20.0, 52.0, 30.0])
    carried = zip(capacity_rps(problem.pipeline, found), loads_rps, found.stages, strict=True)
    for capacity, load_rps, one in carried:  # and with a replica less would not
        assert capacity * (one.replicas - 1) / one.replicas < load_rps <= capacity + 1e-6


def test_a_held_variant_gets_the_replicas_that_carry_what_the_new_one_would_have() -> None:
    limits = replace(FREE, variant_interval_s=60.0)
    found = guarded_change(PROBLEM, limits, both("small", 1, 5), now(both("large", 1, 2), 0.0, since_s=20.0))
    assert [s.replicas for s in found.configuration.stages] == [9, 9]  # 5 x 16.7 / 10 requests a second
    assert found.edits[0] == "first: keeps large, as it may change in 40 s again"


def test_growth_beyond_the_change_allowed_goes_in_steps() -> None:
    limits = replace(FREE, step_replicas=2)
    present, seen = both("small", 1, 1), []
    for _ in range(4):
        present = guarded_change(PROBLEM, limits, both("small", 1, 6), now(present)).configuration
        seen.append([s.replicas for s in present.stages])
    assert seen == [[3, 3], [5, 5], [6, 6], [6, 6]]


def test_a_budget_lowered_below_the_present_is_reached_in_steps() -> None:
    limits = replace(FREE, core_budget=4, step_cores=3)
    present = both("small", 1, 5)
    costs = []
    for _ in range(3):
        present = guarded_change(PROBLEM, limits, both("small", 1, 5), now(present)).configuration
        costs.append(cores(present))
    assert costs == [7, 4, 4]


def test_where_the_present_is_not_known_only_budget_and_limit_hold() -> None:
    nothing = Situation((None, None), (0.0, 0.0), 0.0)
    limits = replace(FREE, core_budget=10, step_replicas=1, step_cores=1, variant_interval_s=60.0)
    found = guarded_change(PROBLEM, limits, both("small", 1, 30), nothing).configuration
    assert cores(found) == 10


def test_for_a_load_that_is_not_known_no_capacity_is_asked_for() -> None:
    wanted = both("small", 1, 1)
    found = guarded_change(PROBLEM, FREE, wanted, now(both("small", 1, 2), load=math.nan))
    assert (found.configuration, found.edits) == (wanted, ())


@pytest.mark.parametrize("replicas", [-3, 0, 51, 10**6])
def test_replicas_are_one_to_the_limit(replicas: int) -> None:
    found = guarded_change(PROBLEM, FREE, both("small", 1, replicas), now(both("small", 1, 2))).configuration
    assert all(1 <= s.replicas <= 50 for s in found.stages)
