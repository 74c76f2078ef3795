"""A scenario as a cluster: common random numbers, missing loads, outages."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.agents import Decision, State
from ipa_rl.agents.loop import Step, control
from ipa_rl.agents.program import static_agent
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import (
    Disturbance,
    Scenario,
    SimulatedCluster,
    SimulatorKind,
    stretch_scenarios,
)
from ipa_rl.pipeline import Configuration
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window
from tests.scenarios import short


def test_all_controllers_meet_the_same_arrivals_and_service_times(video: Definition) -> None:
    one, other = (SimulatedCluster(video, short("bursty"), seed=3).simulator for _ in range(2))
    third = SimulatedCluster(video, short("bursty"), seed=4).simulator
    rows = video.rows_for(20.0)
    finished = []
    for simulator in (one, other, third):
        simulator.apply(rows)
        simulator.advance(60)
        finished.append(simulator.requests["finish_s"].tobytes())  # type: ignore[union-attr]
    assert finished[0] == finished[1] != finished[2]


class Counting:
    """Decides for the last load that it was shown."""

    name = "counting"

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.seen: list[float] = []

    def decide(self, state: State) -> Decision:
        self.seen.append(float(state.history_rps[-1]))
        return Decision(self.definition.best_for(self.seen[-1]), self.seen[-1])


def test_while_loads_are_missing_the_last_decision_holds(video: Definition) -> None:
    arrivals = np.concatenate([np.full(HISTORY_STEPS + 20, 8), np.full(60, 30)])
    scenario = Scenario(Window("gap", arrivals, HISTORY_STEPS), Disturbance(gap_s=(20, 50)))
    agent = Counting(video)
    cluster = SimulatedCluster(video, scenario)
    steps: list[Step] = []
    control(agent, cluster, video.problem, cluster.wait, steps.append)
    assert agent.seen == [8.0] * 3 + [30.0] * 2
    assert [np.isnan(step.decide_s) for step in steps] == [False] * 3 + [True] * 3 + [False] * 2
    assert steps[4].applied == steps[2].applied


def test_missing_loads_are_shown_as_the_last_known_one(video: Definition) -> None:
    arrivals = np.arange(HISTORY_STEPS + 60)
    scenario = Scenario(Window("gap", arrivals, HISTORY_STEPS), Disturbance(gap_s=(10, 30)))
    cluster = SimulatedCluster(video, scenario)
    for _ in range(4):
        cluster.wait()
    shown = cluster.observe().history_rps[HISTORY_STEPS:]
    assert shown[:10].tolist() == list(range(HISTORY_STEPS, HISTORY_STEPS + 10))
    assert (shown[10:30] == HISTORY_STEPS + 9).all()
    assert shown[30] == HISTORY_STEPS + 30


def test_an_outage_drops_requests_and_the_cluster_recovers(video: Definition) -> None:
    window = Window("steady", np.full(HISTORY_STEPS + 120, 30), HISTORY_STEPS)
    agent = static_agent(video, 30.0)
    whole = figures(video, play(video, agent, Scenario(window)))
    broken = play(video, agent, Scenario(window, Disturbance(outage_at_s=40)))
    assert figures(video, broken)["violations"] > whole["violations"]
    assert broken.column("dropped").sum() > 0
    assert broken.configured[-1].tolist() == video.rows_for(30.0).tolist()


def test_slower_service_and_slower_starts_reach_the_world_and_not_the_controller(video: Definition) -> None:
    scenario = Scenario(short("bursty").window, Disturbance(start_up_scale=5.0, service_scale=1.3))
    world = scenario.world(video)
    assert world.timing.start_up_scale == 5.0 * video.timing.start_up_scale
    assert world.timing.service_scale == 1.3
    assert world.best_for(20.0) == video.best_for(20.0)


def test_the_fluid_simulator_refuses_what_it_cannot_play(video: Definition) -> None:
    scenario = Scenario(short("bursty").window, Disturbance(outage_at_s=5))
    with pytest.raises(InputError, match="knows no outages"):
        SimulatedCluster(video, scenario, SimulatorKind.fluid)


def test_a_static_agent_needs_no_configuration_of_the_past(video: Definition) -> None:
    """A cluster begins where it is told to."""
    start: Configuration = video.best_for(30.0)
    cluster = SimulatedCluster(video, short("steady-low"), start=start)
    assert cluster.observe().fleet["ready"].tolist() == [s.replicas for s in start.stages]


def test_a_stretch_is_one_window_of_what_was_recorded_or_windows_of_the_usual_length(
    video: Definition,
) -> None:
    """Twitter's trace misses 84,661 s to 86,400 s, so that the second day begins with its history."""
    (whole,) = stretch_scenarios(video, 86_400, 2 * 86_400, None)
    assert whole.name == "86400 to 172800"
    window, begin = whole.window, 86_400 + video.history_s
    missing = sum(
        min(end, 2 * 86_400) - max(first, begin)
        for first, end in video.workload.description.gaps
        if first < 2 * 86_400 and end > begin
    )
    assert len(window.arrivals) == video.history_s + 2 * 86_400 - begin - missing
    assert window.clock_s == begin
    few = stretch_scenarios(video, 86_400, 2 * 86_400, 5)
    assert len(few) == 5
    assert {len(one.window.arrivals) for one in few} == {video.history_s + video.window_s}
    for nothing, most in (((84_700, 86_400), None), ((86_400, 87_000), 3)):
        with pytest.raises(InputError, match=r"--from and --to: .* holds no"):
            stretch_scenarios(video, *nothing, most)
