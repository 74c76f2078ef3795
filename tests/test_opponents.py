"""Opponents: the look-ahead program, the autoscaler, tuning on the judge, the bound that none exceeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents.autoscaler import Autoscaler
from ipa_rl.agents.lookahead import LookAheadAgent
from ipa_rl.agents.opponents import (
    MEASURED,
    Opponent,
    best_foreseeing,
    best_program,
    best_real,
    build,
    fallback_program,
    rivals,
    untuned,
)
from ipa_rl.agents.program import ProgramAgent, fixed_variants
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.judge import tuning
from ipa_rl.judge.bound import utility_bound
from ipa_rl.judge.experiment import Setup
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.pools import Here
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatedCluster, SimulatorKind
from ipa_rl.judge.tuning import Validation, try_judge, tune
from ipa_rl.pipeline import Configuration
from ipa_rl.progress import Silent
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window, paper_window
from tests.pipelines import in_place

VIDEO = load_definition("video")


@pytest.fixture(scope="module")
def bursty() -> Window:
    return paper_window("bursty", HISTORY_S)


def steady(rate: float, seconds: int = 300) -> Scenario:
    return Scenario(Window("steady", np.full(HISTORY_S + seconds, int(rate)), HISTORY_S))


@given(st.integers(1, 60), st.floats(0.0, 0.5))
@settings(max_examples=30, deadline=None)
def test_a_look_ahead_whose_changes_are_free_is_the_program(load: int, margin: float) -> None:
    state = SimulatedCluster(VIDEO, steady(load)).observe()
    free = LookAheadAgent("free", VIDEO, WindowMaximum(30), margin, pays_within_s=1e12)
    program = ProgramAgent("ip", VIDEO, WindowMaximum(30), margin)
    mine, theirs = free.decide(state).configuration, program.decide(state).configuration
    assert VIDEO.solver.problem == VIDEO.problem
    np.testing.assert_array_equal(encode(VIDEO.problem, mine)[:, 2], encode(VIDEO.problem, theirs)[:, 2])


def test_a_look_ahead_keeps_a_configuration_that_is_not_worth_leaving() -> None:
    """From the optimum for 20 requests/s, 19 offer a saving that is less than what the start costs."""
    dear = LookAheadAgent("dear", VIDEO, WindowMaximum(30), 0.0, pays_within_s=1.0)
    held = VIDEO.best_for(20.0)
    cluster = SimulatedCluster(VIDEO, steady(8.0), start=held)
    chosen = dear.decide(cluster.observe()).configuration
    for kept, one in zip(held.stages, chosen.stages, strict=True):
        assert one.variant == kept.variant
        assert one.replicas <= kept.replicas


def test_a_look_ahead_changes_variants_in_place_as_if_that_were_free() -> None:
    """It holds on to none of them where only more replicas would have to start."""
    reloading = replace(VIDEO, problem=in_place(VIDEO.problem, 1.0))
    held = VIDEO.best_for(3.0)
    more = tuple(replace(stage, replicas=VIDEO.problem.max_replicas) for stage in held.stages)
    cluster = SimulatedCluster(reloading, steady(20.0), start=Configuration(more))
    dear = LookAheadAgent("dear", reloading, WindowMaximum(30), 0.0, pays_within_s=1.0)
    chosen = dear.decide(cluster.observe()).configuration
    assert chosen == VIDEO.best_for(20.0)
    assert [one.variant for one in chosen.stages] != [one.variant for one in held.stages]


def test_the_autoscaler_settles_at_its_target_and_waits_before_it_goes_down() -> None:
    low = fixed_variants(VIDEO, VIDEO.baselines.fa2_low)
    scaler = Autoscaler("hpa", low, target=0.5, stabilisation_s=60.0)
    loads = np.concatenate([np.full(HISTORY_S + 200, 30), np.full(200, 3)])
    played = play(VIDEO, scaler, Scenario(Window("step", loads, HISTORY_S)))
    replicas = played.configured[:, 0, 2]
    stage = low.pipeline.stages[0].variant(VIDEO.baselines.fa2_low[0])
    batch = stage.batches.index(scaler._base.stages[0].batch)
    utilisation = 30 / (replicas[15] * stage.throughput_rps[batch])
    assert 0.5 / 1.11 - 0.5 / replicas[15] <= utilisation <= 0.5 * 1.11
    assert replicas[24] == replicas[19]  # the load fell at step 20; it holds on for a minute
    assert replicas[-1] < replicas[19]


def test_rivals_are_the_best_program_the_best_that_can_be_built_and_the_best_that_foresees() -> None:
    def opponent(system: str, forecaster: str, utility: float) -> Opponent:
        return Opponent(system, forecaster, 0.0, dict.fromkeys(MEASURED, utility))

    program, other = opponent("ip", "last", 1.0), opponent("hpa", "", 2.0)
    perfect = opponent("ip", "perfect:25", 3.0)
    known = [program, opponent("ip", "lstm", 0.5), other, perfect]
    assert (best_program(known), best_real(known), best_foreseeing(known)) == (program, other, perfect)
    assert rivals(known) == (program, other, perfect)
    assert rivals([program, perfect]) == (program, perfect)
    assert rivals([program, perfect, replace(other, validation={})]) == ()


def test_untuned_opponents_are_nobody_s_rivals_and_the_fallback_is_the_window_s_maximum() -> None:
    assert rivals(untuned()) == rivals([]) == ()
    assert fallback_program(untuned()).name == "ip window-max:30"
    assert fallback_program(untuned()[:1]).name == "ip last"


@pytest.mark.slow
def test_tuning_keeps_the_best_setting_of_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few settings: what is kept was judged, and no other of its group did better in the judge."""
    monkeypatch.setattr(tuning, "MARGINS", (0.0, 0.3))
    validation = Validation(Setup("video", None, SimulatorKind.request_level), most=2)
    kept = tune(validation, Here(), Silent(), only=["ip window-max", "hpa"])
    assert [one.system for one in kept] == ["ip", "hpa"]
    program = kept[0]
    again = try_judge(validation, replace(program, validation={}))
    assert again == program
    other = try_judge(validation, replace(program, margin=0.3 if program.margin == 0.0 else 0.0))
    assert other.validation["utility"] <= program.validation["utility"]


def test_the_judge_of_tuning_gives_what_the_control_loop_gives(bursty: Window) -> None:
    """Planned for as a whole, a program does what it does step by step."""
    opponent = Opponent("ip", "window-max:60", 0.1, {})
    validation = Validation(Setup("video", None, SimulatorKind.request_level), most=1)
    (window,) = validation.windows()
    played = play(VIDEO, build(VIDEO, opponent, window.arrivals), Scenario(window))
    found = figures(VIDEO, played)
    for name, value in try_judge(validation, opponent).validation.items():
        assert value == pytest.approx(found[name], rel=1e-9)


@pytest.mark.parametrize("name", ["video", "sum-qa"])
def test_no_controller_exceeds_the_bound(name: str, bursty: Window) -> None:
    definition = load_definition(name)
    bound = utility_bound(definition, bursty)
    for opponent in (
        Opponent("ip", "perfect:25", -0.2, {}),
        Opponent("look-ahead", "perfect:25", -0.2, {}, {"pays_within_s": 100.0}),
        Opponent("ip", "window-max:60", 0.0, {}),
    ):
        agent = build(definition, opponent, bursty.arrivals)
        assert figures(definition, play(definition, agent, Scenario(bursty)))["utility"] < bound


def test_the_bound_of_a_steady_light_load_is_that_of_one_replica_a_stage() -> None:
    """At 1 request/s the cheapest replicas suffice, whatever alpha gains by more than that."""

    def bound(definition: Definition) -> float:
        return utility_bound(definition, steady(1.0, 600).window)

    cheap = VIDEO.preferring(1e-6, 1.0)
    assert bound(cheap) == pytest.approx(-2.0, abs=1e-4)
    assert bound(VIDEO) > -2.0
