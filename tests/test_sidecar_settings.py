"""The settings file of the sidecar: what it says, and how it says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_rl.agents.planner import PlannerAgent
from ipa_rl.agents.trained import least_capacity, load_agents
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.sidecar.fallbacks import Behaviour, MissingMetrics
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.leader import Election
from ipa_rl.sidecar.settings import Mode, read_settings
from tests.pipelines import write_environment
from tests.policies import ppo_folder

VIDEO = load_definition("video")
LEAST = "environment: video\ncluster: pipeline.yaml\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "sidecar.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_two_lines_are_enough_and_begin_in_shadow_mode(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, LEAST))
    assert found.mode is Mode.shadow
    assert found.cluster == tmp_path / "pipeline.yaml"
    assert (found.agent, found.unfit) == ("video", "")
    assert found.interval_s == 10.0
    assert found.guard.limits(VIDEO, 0.7) == Limits(max_replicas=100, least_capacity=0.7)
    assert (found.missing_metrics.after_s, found.missing_metrics.behaviour) == (60.0, Behaviour.current)
    election = found.leader_election
    assert election
    assert (election.lease_s, election.renew_s, election.retry_s) == (15.0, 10.0, 2.0)
    assert (election.namespace, election.name) == (None, "ipa-rl")
    assert found.telemetry
    assert (found.telemetry.host, found.telemetry.port) == ("0.0.0.0", 9404)
    assert (found.decision_log, found.state, found.promotion, found.demotion) == (None, None, None, None)


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = """
environment: video
agent: program
cluster: {environment: video, stages: {}}
load: {url: "http://prometheus:9090", template: nginx, name: shop}
latency_query: histogram_quantile(0.99, sum by (le) (rate(latency_bucket[1m])))
interval_s: 5
mode: act
guard:
  {max_replicas: 20, core_budget: 40, step_replicas: 4, step_cores: 16, variant_interval_s: 120,
   least_capacity: 0.9}
missing_metrics: {after_s: 90, behaviour: static, replicas: {crop: 2, classification: 5}}
leader_election: {name: video, namespace: shop, identity: a, lease_s: 30, renew_s: 20, retry_s: 5}
telemetry: {host: 127.0.0.1, port: 0}
decision_log: {path: log/decisions.jsonl, size_mb: 2, backups: 3}
state: /state/state.json
promotion: {by: 0.2, for_s: 7200}
demotion: {capacity_error: 0.3, for_s: 600}
"""
    found = read_settings(written(tmp_path, text))
    counts = {"crop": 2, "classification": 5}
    assert found.missing_metrics == MissingMetrics(after_s=90, behaviour=Behaviour.static, replicas=counts)
    assert found.leader_election == Election(
        name="video", namespace="shop", identity="a", lease_s=30, renew_s=20, retry_s=5
    )
    assert found.guard.limits(VIDEO, 0.7) == Limits(20, 40, 4, 16, 120.0, 0.9)
    assert found.decision_log is not None
    assert (found.decision_log.path, found.decision_log.size_mb) == (tmp_path / "log/decisions.jsonl", 2)
    assert found.state == Path("/state/state.json")
    assert found.promotion is not None
    assert found.promotion.for_s == 7200.0


def test_another_preference_is_handed_to_agent_and_program(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, LEAST + "alpha: 4\n"))
    assert found.definition.weights.alpha == 4.0
    assert found.definition.preference == pytest.approx(0.6931, abs=1e-4)


def test_election_and_telemetry_can_be_left_out(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, LEAST + "leader_election: false\ntelemetry: false\n"))
    assert (found.leader_election, found.telemetry) == (False, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster: x.yaml\n", "environment: Field required; fix: add the field"),
        (
            LEAST + "mod: act\n",
            "mod: Extra inputs are not permitted; fix: remove it, or correct its spelling",
        ),
        (
            LEAST + "mode: on\n",
            ":3: mode: 'on' is yes or no in YAML; fix: put it in quotes: \"on\"",
        ),
        (LEAST + "guard: {core_budget: 1}\n", "guard.core_budget: 1 cores are too few for video"),
        (LEAST + "guard: {step_cores: 0}\n", "guard.step_cores: Input should be greater than or equal to 1"),
        (
            LEAST + "leader_election: {lease_s: 5}\n",
            "leader_election: lease_s must be longer than renew_s",
        ),
        (LEAST + "missing_metrics: {behaviour: static}\n", "missing_metrics: static needs replicas"),
        (
            LEAST + "missing_metrics: {behaviour: static, replicas: {crop: 2}}\n",
            "missing_metrics.replicas: names crop; fix: give one count for each of crop, classification",
        ),
        (LEAST + "interval_s: .nan\n", ":3: '.nan' is not a finite number; fix: give a number"),
        ("environment: [\n", ":2: is not YAML"),
        ("- a\n", "holds no fields"),
        ("environment: vide\ncluster: x.yaml\n", "vide: no such file or name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_field_and_fix(
    tmp_path: Path, text: str, said: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "no such file" in said


def test_a_policy_of_another_pipeline_is_refused_with_the_difference(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_agents(load_definition("nlp"), str(ppo_folder(tmp_path)))
    assert "inputs and choices (5, 4, 17, 5, 4, 17), nlp has" in str(caught.value)


def test_the_planner_decides_where_no_agent_is_named_and_none_fits(tmp_path: Path) -> None:
    stages = {"fetch": ["small", "large"], "rank": ["small", "large"]}
    mine = write_environment(tmp_path, stages)
    other = LEAST.replace("video", Path(mine).name)
    found = read_settings(written(tmp_path, other))
    assert found.agent == "planner"
    assert "no such file or name" in found.unfit
    agents, program = load_agents(found.definition, found.agent, budget_s=0.2)
    assert [agent.name for agent in agents] == ["planner", program.name]
    assert isinstance(agents[0], PlannerAgent)
    assert agents[0].budget_s == 0.2
    assert program.margin == 0.1
    asked_for = read_settings(written(tmp_path, other + "agent: planner\n"))
    assert (asked_for.agent, asked_for.unfit) == ("planner", "")


def test_an_agent_of_the_same_name_that_does_not_fit_is_told(tmp_path: Path) -> None:
    mine = Path(write_environment(tmp_path, {"fetch": ["small", "large"]})).rename(tmp_path / "nlp.yaml")
    found = read_settings(written(tmp_path, LEAST.replace("video", mine.name)))
    assert found.agent == "planner"
    assert "opponents.json: they were tuned on pipeline nlp" in found.unfit


def test_the_guard_lets_a_planner_run_below_the_load_as_far_as_it_asks_for() -> None:
    agents, _ = load_agents(VIDEO, "planner")
    assert least_capacity(agents[0]) == 0.5


def test_the_policy_for_any_pipeline_decides_where_it_is_named(tmp_path: Path) -> None:
    mine = write_environment(tmp_path, {"fetch": ["small", "large"], "rank": ["small", "large"]})
    found = read_settings(written(tmp_path, LEAST.replace("video", Path(mine).name) + "agent: universal\n"))
    agents, program = load_agents(found.definition, found.agent)
    assert [agent.name for agent in agents] == ["universal", program.name]
    assert least_capacity(agents[0]) == 0.5


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"agent: holds neither policy\.npz nor scorer\.npz; fix: train one"):
        load_agents(load_definition("video"), str(tmp_path))


def test_the_program_behind_the_agent_needs_neither_torch_nor_foresight() -> None:
    for name in ("video", "nlp", "sum-qa", "audio-qa", "audio-sent"):
        agents, program = load_agents(load_definition(name), name)
        assert agents[0].name in ("fine-tuned", "universal")
        assert agents[1:] == (program,)
        assert "lstm" not in program.name
        assert "perfect" not in program.name


def test_the_guard_lets_an_agent_run_below_the_load_as_far_as_it_did_in_training(tmp_path: Path) -> None:
    agents, program = load_agents(load_definition("video"), str(ppo_folder(tmp_path)))
    assert 0.5 < least_capacity(agents[0]) < 1.0
    assert least_capacity(program) == 1.0


def test_the_program_can_decide_alone() -> None:
    agents, program = load_agents(load_definition("video"), "program")
    assert agents == (program,)
