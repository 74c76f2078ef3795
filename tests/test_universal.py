"""One policy for any pipeline: what it decides, what is kept of it, and how it is fitted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES, forecasts_of
from ipa_rl.agents.universal import UniversalAgent, load_scorer, save_scorer
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.simulation import encode
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.quantiles import QuantileTable
from tests.policies import drawn_scorer


def agent_of(definition: Definition) -> UniversalAgent:
    return UniversalAgent("universal", definition, drawn_scorer(), forecasts_of(definition))


@pytest.mark.parametrize("name", ["video", "nlp", "made-up-3", "made-up-17@twitter"])
def test_one_scorer_decides_for_pipelines_of_any_shape(name: str) -> None:
    definition = load_definition(name)
    agent = agent_of(definition)
    cluster = SimulatedCluster(definition, Scenario(definition.windows("validation")[0]))
    for _ in range(3):
        decision = agent.decide(cluster.observe())
        assert encode(definition.problem, decision.configuration).shape == (
            len(definition.pipeline.stages),
            3,
        )
        cluster.apply(decision.configuration)
        cluster.wait()


def test_it_decides_the_answer_with_the_highest_score() -> None:
    definition = load_definition("video")
    agent = agent_of(definition)
    state = SimulatedCluster(definition, Scenario(definition.windows("validation")[0])).observe()
    answers, scores = agent.scored(state)
    decision = agent.decide(state)
    best = int(scores.argmax())
    assert (encode(definition.problem, decision.configuration) == answers.rows[best]).all()
    assert decision.planned_rps == answers.planned_rps[best]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    save_scorer(drawn_scorer(), tmp_path / "scorer.npz")
    found, rng = load_scorer(tmp_path / "scorer.npz"), np.random.default_rng(1)
    of_state, of_answers = rng.normal(size=len(STATE_FEATURES)), rng.normal(size=(5, len(ANSWER_FEATURES)))
    np.testing.assert_array_equal(
        found.scores(of_state, of_answers), drawn_scorer().scores(of_state, of_answers)
    )


def test_a_scorer_of_other_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, others = tmp_path / "scorer.npz", ("another", *STATE_FEATURES[1:])
    monkeypatch.setattr("ipa_rl.agents.universal.STATE_FEATURES", others)
    save_scorer(drawn_scorer(), path)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"scorer\.npz: looks at other features than this version gives"):
        load_scorer(path)


def test_it_foretells_by_what_was_learned_of_the_load_since() -> None:
    definition = load_definition("video")
    state = SimulatedCluster(definition, Scenario(definition.windows("validation")[0])).observe()
    agent, table = agent_of(definition), forecasts_of(definition).table
    before = agent.scored(state)[0].planned_rps
    agent.forecast_by(QuantileTable(3.0 * table.coefficients), season_of(definition.workload))
    assert agent.scored(state)[0].planned_rps.max() > before.max()


def test_what_is_new_is_asked_after_the_decision_and_known_at_the_next() -> None:
    definition = load_definition("nlp")
    hurried, thorough = agent_of(definition), agent_of(definition)
    hurried.asks_later = True
    cluster = SimulatedCluster(definition, Scenario(definition.windows("validation")[0]))

    def known() -> int:
        return sum(map(len, hurried._optima._known.values()))

    for step in range(12):
        state = cluster.observe()
        before = known()
        decision = hurried.decide(state)
        assert step == 0 or known() == before
        hurried.catch_up(math.inf)
        again = hurried.decide(state)
        assert again == thorough.decide(state)  # nothing is left that was not asked
        cluster.apply(decision.configuration)
        cluster.wait()


def test_without_time_nothing_is_asked_after_a_decision_either() -> None:
    definition = load_definition("video")
    agent = agent_of(definition)
    agent.asks_later = True
    agent.decide(SimulatedCluster(definition, Scenario(definition.windows("validation")[0])).observe())
    before = sum(map(len, agent._optima._known.values()))
    agent.catch_up(-1.0)
    assert sum(map(len, agent._optima._known.values())) == before


def test_where_stages_are_found_to_be_slow_more_is_asked_for() -> None:
    """The answers it chooses from are those of the pipeline as it was measured."""
    definition = load_definition("video")
    state = SimulatedCluster(definition, Scenario(definition.windows("validation")[0])).observe()
    agent = agent_of(definition)
    slower = agent.serving(np.array([1.5, 1.5]))
    loads = [(one.scored(state)[0].planned_rps, one.scored(state)[0].rows) for one in (agent, slower)]
    assert slower.definition is not definition
    assert loads[1][1][:, :, 2].sum() > loads[0][1][:, :, 2].sum()
