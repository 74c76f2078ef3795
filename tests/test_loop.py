"""The control loop decides once an interval, within the limits."""

from __future__ import annotations

import numpy as np

from ipa_rl.agents import Agent, Decision, State
from ipa_rl.agents.loop import Step, control
from ipa_rl.agents.program import static_agent
from ipa_rl.environment.definition import Definition
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window
from tests.scenarios import scenario


def test_the_loop_decides_once_an_interval_and_records_what_was_applied(
    video: Definition, bursty: Window
) -> None:
    played = play(video, static_agent(video, 20.0), Scenario(bursty))
    assert len(played.sums) == len(played.decide_s) == 120
    assert (played.configured[1:] == video.rows_for(20.0)).all()
    assert played.column("arrived").sum() == 14_437


def test_the_guard_holds_replicas_within_the_limit(video: Definition) -> None:
    wild = Configuration((StageConfig("yolov5n", 1, 900), StageConfig("resnet18", 1, 0)))

    class Wild:
        name = "wild"

        def decide(self, state: State) -> Decision:
            return Decision(wild, 1.0)

    steps: list[Step] = []
    agent: Agent = Wild()
    cluster = SimulatedCluster(video, scenario(np.full(HISTORY_STEPS + 10, 5.0)))
    control(agent, cluster, video.problem, lambda: False, steps.append)
    assert [one.replicas for one in steps[0].applied.stages] == [100, 1]
