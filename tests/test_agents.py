"""Agents through the control loop: the program, the paper's systems, the trained policy."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.agents import Agent, Decision, State
from ipa_rl.agents.loop import Step, control, within_limits
from ipa_rl.agents.opponents import PROGRAM, best_program, read_opponents
from ipa_rl.agents.program import ProgramAgent, fixed_replicas, fixed_variants, static_agent
from ipa_rl.agents.windows import play_planned, play_windows
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.jit import IntArray
from ipa_rl.judge.controllers import controllers
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatedCluster, SimulatorKind
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.report.card_training import training_section
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window, paper_window

SHIPPED = [
    name
    for name in resources.shipped_names("agents")
    if (resources.folder("agents") / name / "policy.npz").is_file()
]


@pytest.fixture(scope="module")
def video() -> Definition:
    return load_definition("video")


@pytest.fixture(scope="module")
def bursty() -> Window:
    return paper_window("bursty", HISTORY_S)


def scenario(loads: NDArray[Any]) -> Scenario:
    """Loads of which the first HISTORY_S have passed."""
    return Scenario(Window("some", loads.astype(np.int64), HISTORY_S))


def state(loads: NDArray[Any], definition: Definition) -> State:
    window = Window("past", loads.astype(np.int64), len(loads))
    return SimulatedCluster(definition, Scenario(window)).observe()


def test_the_program_solves_for_the_forecast_and_its_margin(video: Definition) -> None:
    agent = ProgramAgent("ip", video, WindowMaximum(30), margin=0.5)
    decision = agent.decide(state(np.full(HISTORY_S, 10.0), video))
    assert decision.planned_rps == 15.0
    assert decision.configuration == video.best_for(15.0)


def test_fa2_keeps_its_variants_and_rim_its_replicas(video: Definition, bursty: Window) -> None:
    low = ProgramAgent("fa2-low", fixed_variants(video, video.baselines.fa2_low), WindowMaximum(30))
    rim = ProgramAgent("rim", fixed_replicas(video), WindowMaximum(30))
    for second in range(HISTORY_S, len(bursty.arrivals), 100):
        seen = state(bursty.arrivals[:second], video)
        assert tuple(s.variant for s in low.decide(seen).configuration.stages) == video.baselines.fa2_low
        assert (
            tuple(s.replicas for s in rim.decide(seen).configuration.stages) == video.baselines.rim_replicas
        )


def test_fa2_low_on_the_bursty_window_costs_what_its_authors_measured(
    video: Definition, bursty: Window
) -> None:
    """Measured on a cluster: 2.73 cores at PAS x 100 31.88, none dropped."""
    low = ProgramAgent("fa2-low", fixed_variants(video, video.baselines.fa2_low), WindowMaximum(30))
    found = figures(video, play(video, low, Scenario(bursty)))
    assert found["pas_x100"] == pytest.approx(31.88, abs=0.01)
    assert found["cores"] == pytest.approx(2.73, rel=0.1)


def test_the_loop_decides_once_an_interval_and_records_what_was_applied(
    video: Definition, bursty: Window
) -> None:
    played = play(video, static_agent(video, 20.0), Scenario(bursty))
    assert len(played.sums) == len(played.decide_s) == 120
    assert (played.configured[1:] == video.rows_for(20.0)).all()
    assert played.column("arrived").sum() == 14_437


def test_the_guard_holds_replicas_within_the_limit(video: Definition) -> None:
    wild = Configuration((StageConfig("yolov5n", 1, 900), StageConfig("resnet18", 1, 0)))
    assert [s.replicas for s in within_limits(video.problem, wild).stages] == [100, 1]

    class Wild:
        name = "wild"

        def decide(self, state: State) -> Decision:
            return Decision(wild, 1.0)

    steps: list[Step] = []
    agent: Agent = Wild()
    cluster = SimulatedCluster(video, scenario(np.full(HISTORY_S + 10, 5.0)))
    control(agent, cluster, video.problem, lambda: False, steps.append)
    assert steps[0].applied == within_limits(video.problem, wild)


def test_the_loop_and_the_batch_of_windows_give_the_same_figures(video: Definition, bursty: Window) -> None:
    agent = ProgramAgent("ip", video, WindowMaximum(30), margin=0.1)
    played = play(video, agent, Scenario(bursty), SimulatorKind.fluid)
    together = play_planned(video, PROGRAM, played.planned_rps[None], [bursty])
    alone = figures(video, played)
    for name, value in together.means().items():
        assert value == pytest.approx(alone[name], rel=1e-9)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_agent_decides_the_same_in_the_loop_and_in_a_batch(name: str, bursty: Window) -> None:
    """Its guard aside, which stands in the loop alone."""
    definition = load_definition(name)
    guarded = controllers(definition, None).policy
    assert guarded is not None
    policy = replace(guarded, policy=replace(guarded.policy, coverage=None))

    def decide(episodes: Episodes, step: int) -> IntArray:
        return episodes.decisions(policy.policy.act(episodes.observe()))

    together = play_windows(definition, [bursty], decide).means()
    alone = figures(definition, play(definition, policy, Scenario(bursty), SimulatorKind.fluid))
    for figure, value in together.items():
        assert value == pytest.approx(alone[figure], rel=1e-6)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_opponents_are_those_that_an_agent_is_judged_against(name: str) -> None:
    opponents = read_opponents(resources.folder("agents") / name / "opponents.json")
    systems = {o.system for o in opponents}
    assert systems == {"ip", "ip as published", "look-ahead", "fa2-low", "fa2-high", "rim", "hpa", "static"}
    forecasters = {o.forecaster.partition(":")[0] for o in opponents if o.system == PROGRAM}
    assert forecasters == {
        "last", "window-max", "moving-average", "clock", "autoregressive", "quantile", "lstm", "perfect",
    }  # fmt: skip
    assert not best_program(opponents).foresees


def test_a_decision_of_the_agent_is_quicker_than_an_answer_of_the_program(
    video: Definition, bursty: Window
) -> None:
    """Ratios in one run only: the machine may be busy."""
    policy = controllers(video, None).policy
    assert policy is not None
    seen = state(bursty.arrivals[:700], video)
    policy.decide(seen)

    def processor_s(decide: object, times: int) -> float:
        began = time.process_time()
        for _ in range(times):
            decide()  # type: ignore[operator]
        return (time.process_time() - began) / times

    from ipa_rl.solvers import solve_program

    ours = processor_s(lambda: policy.decide(seen), 200)
    program = processor_s(lambda: solve_program(video.problem, 20.0), 3)
    assert ours < program / 10


@pytest.mark.parametrize("name", resources.shipped_names("agents"))
def test_what_ships_beside_an_agent_is_told_on_its_card(name: str) -> None:
    """Of every age: some were built before a seed's checkpoint was named."""
    told = "\n".join(training_section(resources.folder("agents") / name))
    assert "| seed" in told
