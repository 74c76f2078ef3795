"""Cuts: the exact optimum under a budget of cores, held against trying everything."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.objective import Problem, Weights, capped, cost_cores, latency_budget, objective
from ipa_rl.objective import latency_s as latency_s_of
from ipa_rl.pipeline import Configuration, JointAccuracy, Pipeline, Stage, StageConfig, Variant
from ipa_rl.sidecar.guard import Limits, Situation, guarded_change
from ipa_rl.sidecar.model_estimate import capacities_rps, rate_rps
from ipa_rl.solvers import FrontSolver, Optimum
from ipa_rl.solvers.cut import Cut
from ipa_rl.solvers.transition import ENDING, LEAVING, most_on_the_way
from tests.graphs import block_pipelines, graph_problems
from tests.pipelines import two_stages
from tests.strategies import capped_problems, limited, problems

VIDEO = load_definition("video").problem
MOST = 4

Replicas = dict[tuple[str, int], int]
"""That exist of a stage, by variant and batch size."""


def two(first: StageConfig, second: StageConfig) -> Configuration:
    return Configuration((first, second))


def capacity_rps(pipeline: Pipeline, configuration: Configuration) -> float:
    return min(capacities_rps(pipeline, configuration))


def all_of(problem: Problem, held: list[bool], wanted: Configuration) -> list[Configuration]:
    """Every configuration whose held stages keep their variant."""
    by_stage = [
        [
            StageConfig(variant.name, batch, replicas)
            for variant in stage.variants
            if not stays or variant.name == one.variant
            for batch in variant.batches
            for replicas in range(1, MOST + 1)
        ]
        for stage, stays, one in zip(problem.pipeline.stages, held, wanted.stages, strict=True)
    ]
    return [Configuration(stages) for stages in itertools.product(*by_stage)]


def latency_s(problem: Problem, configuration: Configuration, load_rps: float) -> float:
    own = replace(problem, waits=False)
    return latency_s_of(problem.pipeline, latency_budget(own, configuration, load_rps))


def pairs_of(configuration: Configuration) -> list[tuple[str, int]]:
    return [(one.variant, one.batch) for one in configuration.stages]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Cut, Configuration, Configuration, list[bool], float]:
    small = block_pipelines(3, 2).filter(lambda pipeline: len(pipeline.stages) < 4)
    problem = draw(problems(most_stages=2, most_variants=2) | graph_problems(small))
    problem = replace(problem, sink_sla_s=())
    stages = problem.pipeline.stages

    def configuration() -> Configuration:
        chosen = []
        for stage in stages:
            variant = draw(st.sampled_from(stage.variants))
            chosen.append(
                StageConfig(variant.name, draw(st.sampled_from(variant.batches)), draw(st.integers(1, MOST)))
            )
        return Configuration(tuple(chosen))

    wanted, present = configuration(), configuration()
    most = int(cost_cores(problem.pipeline, wanted))
    budget = draw(st.integers(1, max(most, 2)))
    highest = capacity_rps(problem.pipeline, wanted)
    load = highest * draw(st.sampled_from([0.1, 0.5, 0.9, 1.0, 2.0]))
    held = [draw(st.booleans()) for _ in stages]
    return Cut(problem, budget, MOST), wanted, present, held, load


@settings(max_examples=120, deadline=None)
@given(cuts())
def test_a_cut_carries_as_much_as_anything_within_the_budget_and_is_worth_most(
    case: tuple[Cut, Configuration, Configuration, list[bool], float],
) -> None:
    cut, wanted, present, held, load = case
    problem, pipeline = cut.problem, cut.problem.pipeline
    assert cut.budget is not None
    fitting = [one for one in all_of(problem, held, wanted) if cost_cores(pipeline, one) <= cut.budget]
    assume(fitting)
    found = cut.of(wanted, present.stages, held, load)
    if cost_cores(pipeline, wanted) <= cut.budget:
        assert found == wanted
        return
    assert cost_cores(pipeline, found) <= cut.budget
    assert all(1 <= one.replicas <= MOST for one in found.stages)
    fastest_s = min(latency_s(problem, one, load) for one in all_of(problem, held, wanted))
    if fastest_s <= problem.sla_s:
        fitting = [one for one in fitting if latency_s(problem, one, load) <= problem.sla_s]
    assume(fitting)  # else latency and budget contradict one another
    most_rps = max(min(capacity_rps(pipeline, one), load) for one in fitting)
    assert min(capacity_rps(pipeline, found), load) >= most_rps * (1 - 1e-6)
    kept = [set(pairs) for pairs in zip(pairs_of(wanted), pairs_of(present), strict=True)]
    if not all(pair in own for pair, own in zip(pairs_of(found), kept, strict=True)):
        equal = [one for one in fitting if capacity_rps(pipeline, one) >= most_rps * (1 - 1e-9)]
        best = max(objective(problem, one) for one in equal)
        assert objective(problem, found) == pytest.approx(best, rel=1e-6, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(cuts())
def test_a_cut_is_left_as_it_is_when_it_runs(
    case: tuple[Cut, Configuration, Configuration, list[bool], float],
) -> None:
    cut, wanted, present, held, load = case
    found = cut.of(wanted, present.stages, held, load)
    assert cut.of(wanted, present.stages, held, load) == found
    free = [False] * len(held)
    first = cut.of(wanted, present.stages, free, load)
    again = cut.of(wanted, first.stages, free, load)
    assert min(capacity_rps(cut.problem.pipeline, again), load) == pytest.approx(
        min(capacity_rps(cut.problem.pipeline, first), load)
    )


@settings(max_examples=80, deadline=None)
@given(capped_problems(), st.integers(1, 60), st.floats(0.5, 200.0), st.booleans())
def test_a_cut_asks_for_nothing_that_was_given_up(
    problem: Problem, budget: int, load_rps: float, known: bool
) -> None:
    problem = replace(problem, fixed_replicas=None)
    answer = FrontSolver(problem).solve(load_rps)
    wanted = answer.configuration if isinstance(answer, Optimum) else answer.serves_most
    present = wanted.stages if known else (None,) * len(wanted.stages)
    cut = Cut(problem, budget, problem.max_replicas).of(wanted, present, [known] * len(present), 2 * load_rps)
    for stage, one in zip(problem.pipeline.stages, cut.stages, strict=True):
        most = capped(problem.caps, stage.name, one.variant, one.batch, problem.max_replicas)
        assert one.replicas <= most


def test_a_budget_of_20_carries_180_of_300_requests_over_both_stages() -> None:
    wanted = two(StageConfig("yolov5n", 8, 40), StageConfig("resnet18", 8, 40))
    limits = Limits(max_replicas=100, core_budget=20)
    present: tuple[StageConfig | None, ...] = (None, None)
    configuration = wanted
    for _ in range(5):  # as it was, and as each step leaves it
        now = Situation(present, (math.inf, math.inf), 300.0)
        configuration = guarded_change(VIDEO, limits, wanted, now).configuration
        present = configuration.stages
        assert cost_cores(VIDEO.pipeline, configuration) <= 20
        assert capacity_rps(VIDEO.pipeline, configuration) >= 180.0


def test_random_cuts_of_the_shipped_pipelines_never_starve_a_stage() -> None:
    rng = random.Random(21)
    for name in ("video", "sum-qa", "audio-qa"):
        problem = load_definition(name).problem
        for _ in range(40):
            chosen = []
            for stage in problem.pipeline.stages:
                variant = rng.choice(stage.variants)
                chosen.append(StageConfig(variant.name, rng.choice(variant.batches), rng.randint(1, 30)))
            wanted = Configuration(tuple(chosen))
            least = int(sum(min(v.cost_cores for v in stage.variants) for stage in problem.pipeline.stages))
            budget = rng.randint(least, max(int(cost_cores(problem.pipeline, wanted)), least))
            limits = Limits(max_replicas=30, core_budget=budget)
            load = rng.uniform(1.0, 200.0)
            now = Situation(wanted.stages, (math.inf,) * len(chosen), load)
            found = guarded_change(problem, limits, wanted, now).configuration
            assert cost_cores(problem.pipeline, found) <= budget
            # The same variants and batch sizes with the cores shared out one after the other to the stage
            # that carries the least carry no more.
            shared = [StageConfig(one.variant, one.batch, 1) for one in chosen]
            if cost_cores(problem.pipeline, Configuration(tuple(shared))) > budget:
                continue
            while True:
                rates = [
                    one.replicas * rate_rps(s, one)
                    for s, one in zip(problem.pipeline.stages, shared, strict=True)
                ]
                s = rates.index(min(rates))
                shared[s] = StageConfig(shared[s].variant, shared[s].batch, shared[s].replicas + 1)
                if (
                    shared[s].replicas > 30
                    or cost_cores(problem.pipeline, Configuration(tuple(shared))) > budget
                ):
                    break
            possible = min(*rates, load)
            assert min(capacity_rps(problem.pipeline, found), load) >= possible * (1 - 1e-9)


def test_what_carries_the_load_within_the_budget_keeps_the_decisions_variants() -> None:
    problem = two_stages()
    large = StageConfig("large", 1, 5)
    cut = Cut(problem, 32, 50)
    found = cut.of(two(large, large), (None, None), [False, False], 10.0)
    assert {one.variant for one in found.stages} == {"large"}
    assert cost_cores(problem.pipeline, found) == 32  # what is left serves the load that was planned for


def test_what_runs_stays_where_the_decision_carries_less() -> None:
    problem = two_stages()
    large, medium = StageConfig("large", 1, 9), StageConfig("medium", 1, 3)
    found = Cut(problem, 12, 50).of(two(large, large), (medium, medium), [False, False], 30.0)
    assert [one.variant for one in found.stages] == ["medium", "medium"]


def test_where_there_is_no_room_to_change_all_at_once_one_stage_changes_after_the_other() -> None:
    problem = replace(two_stages(), weights=replace(two_stages().weights, alpha=50.0))
    small, large = StageConfig("small", 1, 1), StageConfig("large", 1, 1)
    cut, free = Cut(problem, None, 50, (("cores", 9.0),)), [False, False]  # both at once: 2 + 8
    present = two(small, small)
    for expected in (two(large, small), two(large, large)):
        there: list[Replicas] = [{(one.variant, one.batch): one.replicas} for one in present.stages]
        present = cut.of(two(large, large), present.stages, free, 1.0, there)
        assert {one.variant for one in present.stages} == {one.variant for one in expected.stages}


def test_a_held_variant_stays_unless_the_budget_is_below_one_replica_of_each() -> None:
    problem = two_stages()
    large = StageConfig("large", 1, 9)
    held = [True, True]
    kept = Cut(problem, 8, 50).of(two(large, large), (large, large), held, 100.0)
    assert kept == two(StageConfig("large", 8, 1), StageConfig("large", 8, 1))
    lifted = Cut(problem, 6, 50).of(two(large, large), (large, large), held, 100.0)
    assert {one.variant for one in lifted.stages} == {"small"}


def cold(pipeline: Pipeline) -> Pipeline:
    """The same, whose replicas take a batch size at their start only."""
    return replace(pipeline, stages=tuple(replace(stage, cold_batch=True) for stage in pipeline.stages))


def fits(stage: Stage, size: int, wanted: StageConfig) -> bool:
    """Whether replicas of that batch size need not start anew."""
    return size not in (ENDING, LEAVING) and (size == wanted.batch or not stage.cold_batch)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Cut, Configuration, list[Replicas], float]:
    cut, wanted, _, _, load = draw(cuts())
    problem = draw(limited(st.just(cut.problem)))
    units = tuple((name, 3.0 * most) for name, most in problem.limits)
    problem = replace(problem, pipeline=cold(problem.pipeline)) if draw(st.booleans()) else problem
    there = []
    for stage in problem.pipeline.stages:
        keys = [(one.name, batch) for one in stage.variants for batch in one.batches]
        own = {key: draw(st.integers(0, 2)) for key in keys[:4]}
        of_first = {(stage.variants[0].name, sign): draw(st.integers(0, 1)) for sign in (ENDING, LEAVING)}
        there.append(own | of_first)
    return Cut(replace(problem, limits=()), None, MOST, units), wanted, there, load


@settings(max_examples=100, deadline=None)
@given(changes())
def test_on_the_way_to_a_cut_no_more_is_occupied_than_there_is_and_nothing_carries_more(
    case: tuple[Cut, Configuration, list[Replicas], float],
) -> None:
    cut, wanted, there, load = case
    problem = cut.problem
    free = [False] * len(there)
    fitting = [one for one in all_of(problem, free, wanted) if cut.fits(one, there)]
    assume(fitting)
    found = cut.of(wanted, [None] * len(there), free, load, there)
    assert cut.fits(found, there)
    if found == wanted:
        return
    if min(latency_s(problem, one, load) for one in all_of(problem, free, wanted)) <= problem.sla_s:
        fitting = [one for one in fitting if latency_s(problem, one, load) <= problem.sla_s]
    assume(fitting)
    most_rps = max(min(capacity_rps(problem.pipeline, one), load) for one in fitting)
    assert min(capacity_rps(problem.pipeline, found), load) >= most_rps * (1 - 1e-6)


def test_what_fits_only_beyond_the_sla_is_taken_rather_than_what_does_not_fit() -> None:
    problem = replace(two_stages(), pipeline=cold(two_stages().pipeline))
    running, wanted = StageConfig("small", 8, 1), StageConfig("small", 1, 1)
    there: list[Replicas] = [{("small", 8): 1}, {("small", 8): 1}]
    assert latency_s(problem, two(running, running), 1.0) > problem.sla_s  # batches of 8 fill for 7 s
    cut = Cut(problem, None, 50, (("cores", 2.0),))
    assert not cut.fits(two(wanted, wanted), there)
    found = cut.of(two(wanted, wanted), (None, None), [False, False], 1.0, there)
    assert found == two(running, running)


def test_what_carries_the_load_is_found_whatever_was_measured_together() -> None:
    """Four replicas of the small variants carry it within 8 cores, though all but the large ones err."""
    own = {
        name: tuple(made(f"{name}{k}", accuracy=0.5, units=units) for k, units in ((1, 1), (2, 4)))
        for name in "ab"
    }
    rights = {("a1", "b1"): 0.1, ("a1", "b2"): 0.1, ("a2", "b1"): 0.1, ("a2", "b2"): 0.95}
    joint = JointAccuracy(("a", "b"), tuple(rights.items()))
    pipeline = Pipeline("pair", tuple(Stage(name, some) for name, some in own.items()), (), (joint,))
    problem = Problem(pipeline, Weights(20.0, 1.0, 0.0, 30.0), 10.0, 20)
    wanted = two(StageConfig("a2", 1, 4), StageConfig("b2", 1, 4))
    for cut in (Cut(problem, 8.0, 20), Cut(problem, None, 20, (("cores", 8.0),))):
        assert cut.of(wanted, (None, None), [False, False], 40.0) == two(
            StageConfig("a1", 1, 4), StageConfig("b1", 1, 4)
        )


def test_replicas_that_reload_hold_what_they_had_until_that_is_over() -> None:
    stage = Stage("one", (made("small", 0.5, 1, reload_s=2.0), made("large", 0.9, 4, reload_s=2.0)))
    pipeline = Pipeline("one", (stage,))
    for count, most in ((2, 8.0), (8, 14.0)):  # two of 4 cores each become small, the others start
        wanted = Configuration((StageConfig("small", 1, count),))
        assert most_on_the_way(pipeline, wanted, ({("large", 1): 2},)) == {"cores": most}
    larger = Configuration((StageConfig("large", 1, 3),))
    assert most_on_the_way(pipeline, larger, ({("small", 1): 2},)) == {"cores": 12.0}


def made(name: str, accuracy: float, units: float, reload_s: float = math.inf) -> Variant:
    """One of 10 requests a second."""
    return Variant(name, accuracy, units, 5.0, (1,), (0.1,), (0.1,), (10.0,), reload_s)


@given(changes())
def test_on_the_way_old_and_new_replicas_are_counted(
    case: tuple[Cut, Configuration, list[Replicas], float],
) -> None:
    """In their own words: all that exist, and of the wanted variant what comes in addition."""
    cut, wanted, there, _ = case
    pipeline = cut.problem.pipeline
    expected = dict.fromkeys(pipeline.resources, 0.0)
    for stage, one, own in zip(pipeline.stages, wanted.stages, there, strict=True):
        for (name, _), count in own.items():
            expected[stage.variant(name).resource] += count * stage.variant(name).units
        same = (
            count for (name, size), count in own.items() if name == one.variant and fits(stage, size, one)
        )
        missing = max(one.replicas - sum(same), 0)
        expected[stage.variant(one.variant).resource] += missing * stage.variant(one.variant).units
    assert most_on_the_way(pipeline, wanted, there) == pytest.approx(expected)
