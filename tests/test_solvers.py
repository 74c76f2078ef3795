"""Both exact solvers, held against each other and against enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pulp
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.objective import (
    Problem,
    Weights,
    capacity_rps,
    capped,
    cost_cores,
    latency_budget,
    latency_s,
    objective,
    pas,
    stage_loads_rps,
    units_of,
)
from ipa_rl.pipeline import Configuration, Pipeline, Stage, StageConfig
from ipa_rl.solvers import FrontSolver, Infeasible, Optimum, solve_program
from tests.graphs import any_pipelines, block_pipelines, graph_problems
from tests.pipelines import one_stage, two_stages, variant
from tests.strategies import (
    capped_problems,
    hard_problems,
    heavy_loads,
    limited,
    loads,
    measured_together,
    problems,
    stretched,
)


def close(value: float) -> object:
    """Equal within a millionth."""
    return pytest.approx(value, rel=1e-6, abs=1e-6)


def is_feasible(problem: Problem, chosen: Configuration, load: float) -> bool:
    """Constraints in their own words, checked apart from the solvers."""
    most = problem.fixed_replicas or (problem.max_replicas,) * len(chosen.stages)
    each = zip(problem.pipeline.stages, chosen.stages, most, strict=True)
    within = all(
        1 <= one.replicas <= capped(problem.caps, stage.name, one.variant, one.batch, n)
        for stage, one, n in each
    )
    own_rps = stage_loads_rps(problem.pipeline, chosen, load)
    capacities_rps = capacity_rps(problem.pipeline, chosen)
    carried = all(c >= own * (1 - 1e-8) - 1e-8 for c, own in zip(capacities_rps, own_rps, strict=True))
    budget = latency_budget(problem, chosen, load)
    graph = problem.pipeline.graph
    done_s = dict(zip(graph.names, graph.done_s([one.total_s for one in budget]), strict=True))
    in_time = all(done_s[sink] <= own_s + 1e-6 for sink, own_s in problem.sink_sla_s)
    used = units_of(problem.pipeline, chosen)
    enough = all(used.get(name, 0.0) <= units + 1e-6 for name, units in problem.limits)
    in_all_s = latency_s(problem.pipeline, budget)
    return within and carried and in_time and enough and in_all_s <= problem.sla_s + 1e-6


def enumerate_best(problem: Problem, load: float) -> float | None:
    """The best objective over all combinations with the least replicas, or with any where waits count."""
    fixed, found = problem.fixed_replicas, list[Configuration]()
    pairs = [
        [(v, k) for v, variant in enumerate(stage.variants) for k in range(len(variant.batches))]
        for stage in problem.pipeline.stages
    ]
    for chosen in itertools.product(*pairs):
        visits = problem.pipeline.graph.visits([v for v, _ in chosen]).tolist()
        choices = []
        for s, (stage, (v, k)) in enumerate(zip(problem.pipeline.stages, chosen, strict=True)):
            variant = stage.variants[v]
            given = fixed[s] if fixed else None
            least = given or max(1, math.ceil(load * visits[s] / variant.throughput_rps[k] - 1e-9))
            most = problem.max_replicas if problem.waits and not given else least
            counts = range(least, max(most, least) + 1)
            choices.append([StageConfig(variant.name, variant.batches[k], count) for count in counts])
        found += [Configuration(one) for one in itertools.product(*choices)]
    values = [objective(problem, one) for one in found if is_feasible(problem, one, load)]
    return max(values, default=None)


@settings(max_examples=150, deadline=None)
@given(problems(most_stages=3, most_variants=3), loads)
def test_the_front_equals_enumeration(problem: Problem, load: float) -> None:
    if problem.waits:  # of two stages at most and few replicas, as any number of these may be best
        stages = problem.pipeline.stages[:2]
        fixed = problem.fixed_replicas and problem.fixed_replicas[:2]
        limit, pipeline = min(problem.max_replicas, 7), Pipeline("short", stages)
        problem = replace(problem, pipeline=pipeline, max_replicas=limit, fixed_replicas=fixed)
    answer = FrontSolver(problem).solve(load)
    best = enumerate_best(problem, load)
    if best is None:
        assert isinstance(answer, Infeasible)
    else:
        assert isinstance(answer, Optimum)
        assert answer.objective == close(best)


@pytest.mark.filterwarnings("ignore:PULP_CBC_CMD is deprecated")
@pytest.mark.parametrize("load", [0.0, 3.0, 20.0, 1e6])
def test_the_program_needs_no_highs(load: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where highspy is missing, CBC gives the same answer."""
    monkeypatch.setattr(pulp.HiGHS, "available", lambda self: False)
    front, program = FrontSolver(two_stages()).solve(load), solve_program(two_stages(), load)
    assert type(front) is type(program)
    if isinstance(program, Optimum):
        assert program.objective == close(front.objective)  # type: ignore[union-attr]


def by_program(problem: Problem, load: float, as_released: bool = False) -> Optimum | Infeasible:
    """The program's answer, where it does not refuse to tell accuracies apart."""
    try:
        return solve_program(problem, load, as_released=as_released)
    except InputError:
        assume(False)
        raise


def by_front(problem: Problem, load: float) -> Optimum | Infeasible:
    """The front's answer; that of entangled arms is the program's."""
    try:
        return FrontSolver(problem).solve(load)
    except InputError:
        assume(False)
        raise


@settings(max_examples=100, deadline=None)
@given(capped_problems(), loads)
def test_within_caps_both_solvers_find_the_same_and_no_other_is_better(problem: Problem, load: float) -> None:
    problem = replace(problem, fixed_replicas=None, waits=False)
    front, program = FrontSolver(problem).solve(load), by_program(problem, load)
    best = enumerate_best(problem, load)
    assert type(front) is type(program)
    if isinstance(front, Optimum) and isinstance(program, Optimum):
        assert is_feasible(problem, front.configuration, load)
        assert best is not None
        assert [front.objective, program.objective] == [close(best), close(best)]
    else:
        assert best is None
        assert isinstance(front, Infeasible)
        assert all(
            one.replicas <= capped(problem.caps, stage.name, one.variant, one.batch, problem.max_replicas)
            for stage, one in zip(problem.pipeline.stages, front.serves_most.stages, strict=True)
        )


@settings(max_examples=120, deadline=None)
@given(problems(), loads, st.booleans())
def test_front_and_program_are_equal(problem: Problem, load: float, as_released: bool) -> None:
    front = FrontSolver(problem, as_released=as_released).solve(load)
    program = by_program(problem, load, as_released)
    assert type(front) is type(program)
    if isinstance(front, Optimum) and isinstance(program, Optimum):
        assert front.objective == close(program.objective)
    else:
        assert front == program


@settings(max_examples=120, deadline=None)
@given(problems(most_stages=4, most_variants=4), loads, st.data())
def test_the_program_equals_the_front_for_accuracies_of_any_size_or_refuses(
    problem: Problem, load: float, data: st.DataObject
) -> None:
    """Accuracies from 1e-9 on, and weights that make them count."""
    powers, heavier = st.integers(-9, 0), data.draw(st.integers(0, 9))
    stages = []
    for stage in problem.pipeline.stages:
        each = (replace(v, accuracy=v.accuracy * 10.0 ** data.draw(powers)) for v in stage.variants)
        stages.append(replace(stage, variants=tuple(each)))
    weights = replace(problem.weights, alpha=problem.weights.alpha * 10.0**heavier, normalize_accuracy=False)
    problem = replace(problem, pipeline=Pipeline("tiny", tuple(stages)), weights=weights)
    front = FrontSolver(problem).solve(load)
    program = by_program(problem, load)
    assert type(front) is type(program)
    if isinstance(front, Optimum) and isinstance(program, Optimum):
        assert front.objective == close(program.objective)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6, 1e-9])
def test_what_counts_for_the_program_is_how_accuracies_compare_not_how_large_they_are(unit: float) -> None:
    problem = two_stages()
    stages = []
    for stage in problem.pipeline.stages:
        each = (replace(one, accuracy=one.accuracy * unit) for one in stage.variants)
        stages.append(replace(stage, variants=tuple(each)))
    weights = replace(problem.weights, alpha=min(40.0 / unit**2, 1e12))
    tiny = replace(problem, pipeline=Pipeline("tiny", tuple(stages)), weights=weights)
    answer, expected = solve_program(tiny, 20.0), FrontSolver(tiny).solve(20.0)
    assert isinstance(answer, Optimum)
    assert isinstance(expected, Optimum)
    assert answer.configuration == expected.configuration


def test_the_program_refuses_to_tell_apart_what_its_backend_takes_for_nothing() -> None:
    tiny = (variant("tiny", 1e-8), variant("less tiny", 2e-8, cores=2), variant("slow", 0.9, service_s=9.0))
    stages = (Stage("first", tiny), Stage("second", tiny))
    problem = replace(
        two_stages(), pipeline=Pipeline("apart", stages), weights=Weights(alpha=1e12, beta=1e-5, delta=0.0)
    )
    assert isinstance(FrontSolver(problem).solve(1.0), Optimum)
    with pytest.raises(InputError, match="solve by the front"):
        solve_program(problem, 1.0)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(problems(), loads)
def test_an_optimum_is_feasible(problem: Problem, load: float) -> None:
    answer = FrontSolver(problem).solve(load)
    assume(isinstance(answer, Optimum))
    assert isinstance(answer, Optimum)
    assert is_feasible(problem, answer.configuration, load)
    assert answer.objective == pytest.approx(objective(problem, answer.configuration))


@settings(max_examples=100, deadline=None)
@given(problems(), loads, st.floats(0, 30))
def test_a_looser_sla_never_hurts(problem: Problem, load: float, more_s: float) -> None:
    tight = FrontSolver(problem).solve(load)
    loose = FrontSolver(replace(problem, sla_s=problem.sla_s + more_s)).solve(load)
    if isinstance(tight, Optimum):
        assert isinstance(loose, Optimum)
        assert loose.objective >= tight.objective - 1e-6


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(hard_problems(), heavy_loads)
def test_what_serves_most_is_feasible_at_that_load_and_no_more_is_possible(
    problem: Problem, load: float
) -> None:
    answer = FrontSolver(problem).solve(load)
    assume(isinstance(answer, Infeasible))
    assert isinstance(answer, Infeasible)
    assert answer.served_rps <= load
    at_served = FrontSolver(problem).solve(answer.served_rps)
    if isinstance(FrontSolver(problem).solve(0.0), Optimum):
        assert isinstance(at_served, Optimum)
        assert at_served.configuration == answer.serves_most
        between = (answer.served_rps + load) / 2
        more = FrontSolver(problem).solve(max(between, answer.served_rps + 1e-3))
        assert problem.waits or isinstance(more, Infeasible)  # with waits the highest of some is taken
    else:
        assert len(answer.serves_most.stages) == len(problem.pipeline.stages)


@settings(max_examples=100, deadline=None)
@given(problems(), loads, st.floats(0.001, 0.2))
def test_the_sla_of_the_repair_suffices_and_a_smaller_one_does_not(
    problem: Problem, load: float, sla_s: float
) -> None:
    problem = replace(problem, sla_s=sla_s, max_replicas=10**6, fixed_replicas=None)
    answer = FrontSolver(problem).solve(load)
    assume(isinstance(answer, Infeasible))
    assert isinstance(answer, Infeasible)
    repair = answer.repair
    assert repair.sla_s is not None
    assert repair.either or not repair.extra_cores
    mended = replace(problem, sla_s=repair.sla_s)
    assert isinstance(FrontSolver(mended).solve(load), Optimum)
    not_enough = replace(problem, sla_s=repair.sla_s * (1 - 1e-6) - 1e-6)
    assert isinstance(FrontSolver(not_enough).solve(load), Infeasible)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(hard_problems(most_stages=2, most_variants=3), heavy_loads)
def test_the_cores_of_the_repair_are_the_fewest_that_suffice(problem: Problem, load: float) -> None:
    problem = replace(problem, fixed_replicas=None, waits=False)
    answer = FrontSolver(problem).solve(load)
    assume(isinstance(answer, Infeasible))
    assert isinstance(answer, Infeasible)
    repair = answer.repair
    assume(repair.extra_cores and (repair.either or repair.sla_s is None))
    unlimited = replace(problem, max_replicas=10**7)
    fewest = None
    for combination in itertools.product(*(stage.variants for stage in problem.pipeline.stages)):
        for batches in itertools.product(*(one.batches for one in combination)):
            chosen = Configuration(
                tuple(
                    StageConfig(
                        v.name, b, max(1, math.ceil(load / v.throughput_rps[v.batches.index(b)] - 1e-9))
                    )
                    for v, b in zip(combination, batches, strict=True)
                )
            )
            if is_feasible(unlimited, chosen, load):
                over = sum(
                    max(0, s.replicas - problem.max_replicas) * v.cost_cores
                    for s, v in zip(chosen.stages, combination, strict=True)
                )
                fewest = over if fewest is None else min(fewest, over)
    assert fewest == sum(cores for _, cores in repair.extra_cores)


def test_a_stage_without_capacity_binds_and_is_named() -> None:
    answer = FrontSolver(replace(one_stage(), max_replicas=2)).solve(200.0)
    assert isinstance(answer, Infeasible)
    assert answer.binding == ("only",)
    assert answer.repair.extra_cores[0][0] == "only"
    assert answer.serves_most.stages[0].replicas == 2


def test_an_sla_below_every_latency_binds_and_the_repair_is_the_least_sla() -> None:
    answer = FrontSolver(replace(two_stages(), sla_s=0.1)).solve(10.0)
    assert isinstance(answer, Infeasible)
    assert answer.binding == ("SLA",)
    assert answer.repair.sla_s == pytest.approx(2 * 1.5 * 0.06)


def test_without_load_one_replica_of_each_stage_runs_at_batch_1() -> None:
    answer = FrontSolver(two_stages()).solve(0.0)
    assert isinstance(answer, Optimum)
    assert [(s.batch, s.replicas) for s in answer.configuration.stages] == [(1, 1), (1, 1)]
    assert cost_cores(two_stages().pipeline, answer.configuration) == 2


@pytest.mark.parametrize("batches", [(2, 4, 8), (8,), (3, 5)])
def test_batch_1_is_one_batch_size_among_others(batches: tuple[int, ...]) -> None:
    """Without a load the smallest batch runs; one too light to fill a batch in time cannot be served."""
    stage = Stage("only", (variant("small", batches=batches), variant("large", 0.7, batches=batches)))
    problem = replace(one_stage(), pipeline=Pipeline("no-1", (stage,)))
    solver = FrontSolver(problem)
    idle = solver.solve(0.0)
    assert isinstance(idle, Optimum)
    assert (idle.configuration.stages[0].batch, idle.configuration.stages[0].replicas) == (batches[0], 1)
    assert math.isfinite(latency_s(problem.pipeline, latency_budget(problem, idle.to_run, idle.served_rps)))
    light = solver.solve(0.1)
    assert isinstance(light, Infeasible)
    assert light == solve_program(problem, 0.1)
    assert (light.binding, light.served_rps, light.serves_most) == (("SLA",), 0.0, idle.configuration)
    assert math.isfinite(latency_s(problem.pipeline, latency_budget(problem, light.to_run, light.served_rps)))
    assert isinstance(solver.solve(20.0), Optimum)


def test_the_queue_term_counts_the_chosen_batch_once_a_stage() -> None:
    problem = one_stage()
    chosen = Configuration((StageConfig("small", 4, 1),))
    (budget,) = latency_budget(problem, chosen, 6.0)
    assert budget.fill_s == pytest.approx((4 - 1) / 6.0)


def test_as_released_hands_out_latency_slack() -> None:
    tight = replace(two_stages(), sla_s=0.1)
    assert isinstance(FrontSolver(tight).solve(10.0), Infeasible)
    assert isinstance(FrontSolver(tight, as_released=True).solve(10.0), Optimum)


def test_fixed_replicas_are_kept_and_variants_still_chosen() -> None:
    problem = replace(two_stages(), fixed_replicas=(3, 3))
    answer = FrontSolver(problem).solve(20.0)
    assert isinstance(answer, Optimum)
    assert [stage.replicas for stage in answer.configuration.stages] == [3, 3]


@given(problems(), st.floats(0.1, 5000.0), st.sampled_from([2.0**k for k in (-7, -3, 1, 6, 10)]))
def test_the_optimum_knows_no_scale_of_time(problem: Problem, load: float, factor: float) -> None:
    """Where all takes so many times longer and as many times fewer come, the same configuration is best."""
    answer = FrontSolver(problem).solve(load)
    other = FrontSolver(stretched(problem, factor)).solve(load / factor)
    assert isinstance(other, Optimum) == isinstance(answer, Optimum)
    assert other.to_run == answer.to_run


@pytest.mark.slow
@given(problems(most_stages=12, most_variants=20), st.floats(0.01, 100_000.0))
@settings(max_examples=40)
def test_pipelines_of_any_size_have_an_answer(problem: Problem, load: float) -> None:
    assert len(FrontSolver(problem).solve(load).to_run.stages) == len(problem.pipeline.stages)


def test_where_waits_count_more_replicas_run_than_carry_the_load_as_long_as_that_pays() -> None:
    problem = replace(one_stage(), sla_s=0.2)
    waiting = replace(problem, waits=True)
    plain, longer = FrontSolver(problem).solve(9.9), FrontSolver(waiting).solve(9.9)
    assert isinstance(plain, Optimum)
    assert isinstance(longer, Optimum)
    assert (plain.configuration.stages[0].replicas, longer.configuration.stages[0].replicas) == (1, 4)
    assert (
        latency_s(problem.pipeline, latency_budget(problem, plain.configuration, 9.9))
        <= 0.2
        < latency_s(waiting.pipeline, latency_budget(waiting, plain.configuration, 9.9))
    )


def test_where_waits_count_a_full_pipeline_serves_less_than_its_capacity() -> None:
    problem = replace(one_stage(), sla_s=0.2, max_replicas=2, waits=True)
    answer = FrontSolver(problem).solve(1000.0)
    assert isinstance(answer, Infeasible)
    assert 0.0 < answer.served_rps < max(capacity_rps(problem.pipeline, answer.serves_most))
    assert latency_s(problem.pipeline, latency_budget(problem, answer.to_run, answer.served_rps)) <= 0.2


together = measured_together(problems(most_stages=3, most_variants=3))
"""Chains of which stages were measured together."""


@settings(max_examples=60, deadline=None)
@given(together | measured_together(graph_problems(block_pipelines(4, 2) | any_pipelines(4, 2))), loads)
def test_of_stages_that_were_measured_together_the_optimum_equals_enumeration(
    problem: Problem, load: float
) -> None:
    checked_by_enumeration(replace(problem, waits=False), load)


@settings(max_examples=60, deadline=None)
@given(
    measured_together(limited(problems(most_stages=4, most_variants=4)))
    | measured_together(graph_problems(block_pipelines(most_stages=6))),
    loads,
)
def test_of_stages_that_were_measured_together_the_program_equals_the_front(
    problem: Problem, load: float
) -> None:
    front, program = by_front(problem, load), by_program(problem, load)
    assert type(front) is type(program)
    if isinstance(front, Optimum) and isinstance(program, Optimum):
        assert front.objective == close(program.objective)
        assert is_feasible(problem, front.configuration, load)


@given(together)
def test_what_was_measured_together_counts_in_the_place_of_the_product(problem: Problem) -> None:
    pipeline = problem.pipeline
    (joint,) = pipeline.accuracies
    for variants, accuracy in joint.measured:
        named = dict(zip(joint.stages, variants, strict=True))
        chosen = [
            StageConfig(named.get(one.name, one.variants[-1].name), one.variants[0].batches[0], 1)
            for one in pipeline.stages
        ]
        others = (one.variants[-1].accuracy for one in pipeline.stages if one.name not in named)
        expected = accuracy * math.prod(others)
        assert pas(pipeline, Configuration(tuple(chosen))) == pytest.approx(expected, rel=1e-9)


every_graph = graph_problems(block_pipelines(most_stages=8) | any_pipelines(most_stages=6))


@settings(max_examples=100, deadline=None)
@given(graph_problems(block_pipelines(4, 2) | any_pipelines(4, 2)), loads)
def test_on_graphs_the_optimum_equals_enumeration(problem: Problem, load: float) -> None:
    checked_by_enumeration(replace(problem, waits=False), load)


def checked_by_enumeration(problem: Problem, load: float) -> Optimum | Infeasible:
    """The front's answer, which must be feasible and as good as the best of all."""
    answer, best = by_front(problem, load), enumerate_best(problem, load)
    if best is None:
        assert isinstance(answer, Infeasible)
    else:
        assert isinstance(answer, Optimum)
        assert is_feasible(problem, answer.configuration, load)
        assert answer.objective == close(best)
    return answer


@settings(max_examples=100, deadline=None)
@given(every_graph, loads)
def test_on_graphs_the_program_equals_the_front(problem: Problem, load: float) -> None:
    front, program = by_front(problem, load), by_program(problem, load)
    assert type(front) is type(program)
    if isinstance(front, Optimum) and isinstance(program, Optimum):
        assert front.objective == close(program.objective)
        assert is_feasible(problem, program.configuration, load)


@settings(max_examples=150, deadline=None)
@given(limited(problems(most_stages=3, most_variants=3)), loads)
def test_within_limits_of_resources_the_optimum_equals_enumeration(problem: Problem, load: float) -> None:
    answer = checked_by_enumeration(replace(problem, waits=False), load)
    if isinstance(answer, Infeasible):
        assert is_feasible(replace(problem, waits=False, sla_s=1e9), answer.serves_most, answer.served_rps)


@settings(max_examples=100, deadline=None)
@given(limited(problems() | graph_problems(block_pipelines(most_stages=8))), loads)
def test_within_limits_of_resources_the_program_equals_the_front(problem: Problem, load: float) -> None:
    front, program = by_front(problem, load), by_program(problem, load)
    assert type(front) is type(program)
    if isinstance(front, Optimum) and isinstance(program, Optimum):
        assert front.objective == close(program.objective)
        assert is_feasible(problem, front.configuration, load)


@settings(max_examples=10, deadline=None)
@given(limited(graph_problems(any_pipelines(4, 2))), loads)
def test_where_arms_are_entangled_limits_of_resources_are_kept(problem: Problem, load: float) -> None:
    checked_by_enumeration(replace(problem, waits=False), load)


@settings(max_examples=50, deadline=None)
@given(limited(problems(most_stages=3, most_variants=3)), st.sampled_from([1.1, 1.5, 4.0]))
def test_what_resources_lack_is_told_and_with_that_much_more_the_load_is_served(
    problem: Problem, factor: float
) -> None:
    problem = replace(problem, waits=False, fixed_replicas=None, sla_s=30.0, max_replicas=1000)
    most = by_front(problem, 1e6)
    assert isinstance(most, Infeasible)
    load = factor * most.served_rps + 0.1
    answer = by_front(problem, load)
    assume(isinstance(answer, Infeasible) and isinstance(FrontSolver(lifted(problem)).solve(load), Optimum))
    assert isinstance(answer, Infeasible)
    assert answer.binding
    assert set(answer.binding) <= {name for name, _ in problem.limits}
    more = dict(answer.repair.extra_units)
    mended = tuple((name, units + more.get(name, 0.0)) for name, units in problem.limits)
    assert more
    assert isinstance(FrontSolver(replace(problem, limits=mended)).solve(load), Optimum)


def lifted(problem: Problem) -> Problem:
    """The same without limits of resources."""
    return replace(problem, limits=())
