"""Made-up graphs: what is drawn, and that all that decides for chains decides for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from ipa_rl.agents.opponents import HPA, Opponent, build
from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.universal import make_universal
from ipa_rl.blocks import tree_of
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv
from ipa_rl.environment.family import GRAPHS, drawn_definition
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.workload.synthetic import made_up
from tests.graphs import graph_environment

SEEDS = range(100, 140)


def test_a_seed_gives_the_same_graph_and_seeds_give_all_kinds() -> None:
    drawn = [load_definition(f"made-up-graph-{seed}") for seed in SEEDS]
    assert drawn[0].pipeline == load_definition("made-up-graph-100").pipeline
    assert len({one.pipeline.edges for one in drawn}) > 25
    edges = [edge for one in drawn for edge in one.pipeline.edges]
    joins = {stage.join for one in drawn for stage in one.pipeline.stages}
    assert joins == {None, "all", "first"}
    assert any(edge.is_alternative for edge in edges)
    assert any(not edge.is_even for edge in edges)
    for one in drawn:
        assert tree_of(one.pipeline.graph) is not None
        assert 3 <= len(one.pipeline.stages) <= 7
        assert one.solver.solve(one.workload.mean_rps).to_run is not None


@pytest.mark.parametrize("seed", [100, 103, 107])
def test_a_graph_is_a_gymnasium_environment(seed: int) -> None:
    check_env(IpaEnv(load_definition(f"made-up-graph-{seed}")), skip_render_check=True)


def test_an_autoscaler_sees_the_load_of_each_stage() -> None:
    """1.3 people and 0.8 cars a frame by the smallest detector."""
    definition = graph_environment("crops")
    definition = replace(definition, workload=definition.workload.at_scale(5.0))
    window = definition.windows("validation")[0]
    options = {"target": 0.7, "stabilisation_s": 60.0}
    scaler = build(definition, Opponent(HPA, "", 0.0, {}, options, variants="fa2-low"), window.arrivals)
    replicas = play(definition, scaler, Scenario(window)).configured[-1, :, 2]
    assert replicas[1] / replicas[2] == pytest.approx(1.3 / 0.8, rel=0.2)


@pytest.mark.slow
def test_planner_and_policy_do_better_than_the_program_on_graphs_that_nobody_trained_on() -> None:
    """Of five on ten minutes of a load that switches, four at least; seeds to choose by."""
    above = np.zeros(2)
    for seed in range(100, 105):
        definition = drawn_definition(seed, made_up("on-off", 6.0, 30.0), GRAPHS)
        whole = definition.windows("validation")[0]
        window = replace(whole, arrivals=whole.arrivals[: whole.history_s + 600])
        program = build(definition, Opponent("ip", "window-max:30", 0.2, {}), window.arrivals)
        agents = program, make_planner(definition), make_universal(definition)
        utilities = [
            figures(definition, play(definition, one, Scenario(window)))["utility"] for one in agents
        ]
        above += np.array(utilities[1:]) > utilities[0]
    assert (above >= 4).all()
