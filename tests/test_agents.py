"""Agents through the control loop: the program, the paper's systems, the trained policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipa_rl import resources
from ipa_rl.agents.opponents import PROGRAM, best_program
from ipa_rl.agents.opponents_file import read_opponents
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.windows import play_planned, play_windows
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.jit import IntArray
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.report.card_training import training_section
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.workload import Window

SHIPPED = [
    name
    for name in resources.shipped_names("agents")
    if (resources.folder("agents") / name / "policy.npz").is_file()
]


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
    assert isinstance(guarded, PolicyAgent)
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
    assert systems == {
        "ip", "ip as published", "ip with waits", "look-ahead", "planner", "fa2-low", "fa2-high", "rim",
        "hpa", "static",
    }  # fmt: skip
    forecasters = {o.forecaster.partition(":")[0] for o in opponents if o.system == PROGRAM}
    assert forecasters == {
        "last", "window-max", "moving-average", "clock", "autoregressive", "quantile", "lstm", "perfect",
    }  # fmt: skip
    assert not best_program(opponents).foresees


@pytest.mark.parametrize("name", resources.shipped_names("agents"))
def test_what_ships_beside_an_agent_is_told_on_its_card(name: str) -> None:
    """Of every age: some were built before a seed's checkpoint was named."""
    told = "\n".join(training_section(resources.folder("agents") / name))
    assert "| seed" in told
