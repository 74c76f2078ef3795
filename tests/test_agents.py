"""Agents through the control loop: the program, the paper's systems, what is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipa_rl import resources
from ipa_rl.agents.opponents import PROGRAM, best_program
from ipa_rl.agents.opponents_file import read_opponents
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.trained import FINE_TUNED, is_trained, load_agents
from ipa_rl.agents.universal import UNIVERSAL
from ipa_rl.agents.windows import play_planned, play_windows
from ipa_rl.documents import read_json
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.episodes import Episodes
from ipa_rl.fine_tuning import FineTuned
from ipa_rl.jit import IntArray
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.workload import Window
from tests.policies import drawn_policy

SHIPPED = [name for name in resources.shipped_names("agents") if name != UNIVERSAL]


def test_the_loop_and_the_batch_of_windows_give_the_same_figures(video: Definition, bursty: Window) -> None:
    agent = ProgramAgent("ip", video, WindowMaximum(30), margin=0.1)
    played = play(video, agent, Scenario(bursty), SimulatorKind.fluid)
    together = play_planned(video, PROGRAM, played.planned_rps[None], [bursty])
    alone = figures(video, played)
    for name, value in together.means().items():
        assert value == pytest.approx(alone[name], rel=1e-9)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_agent_of_ppo_decides_the_same_in_the_loop_and_in_a_batch(name: str, bursty: Window) -> None:
    """Its guard aside, which stands in the loop alone."""
    definition = load_definition(name)
    program = ProgramAgent("ip", definition, WindowMaximum(30))
    policy = PolicyAgent("ppo", definition, replace(drawn_policy(definition), coverage=None), program)

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


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_better_than_the_policy_for_any_pipeline_or_is_that_policy(name: str) -> None:
    folder, definition = resources.folder("agents") / name, load_definition(name)
    fitted = FineTuned(**read_json(folder / "fine-tuning.json", "build it again"))
    assert is_trained(folder) is (fitted.gain_95[0] > 0.0)
    agents, _ = load_agents(definition, name)
    assert agents[0].name == (FINE_TUNED if is_trained(folder) else UNIVERSAL)
