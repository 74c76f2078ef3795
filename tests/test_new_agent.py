"""Hyperparameters of an agent that nobody has trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ipa_rl import resources
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.training.hyperparameters import load_hyperparameters
from ipa_rl.training.new_agent import new_hyperparameters
from tests.pipelines import write_environment


@pytest.mark.parametrize("name", resources.shipped_names("agents"))
def test_rewards_are_scaled_about_as_those_of_the_shipped_agents(name: str) -> None:
    own = load_hyperparameters(resources.folder("agents") / name / "hyperparameters.yaml")
    made = new_hyperparameters(name, load_definition(name))
    assert made.reward_scale == pytest.approx(own.reward_scale, rel=0.2)
    assert made.cloning.teacher == "clock"


@pytest.mark.parametrize("steps", [1, 40_000, 3_000_000])
def test_checkpoints_and_the_frozen_start_follow_the_steps(steps: int) -> None:
    made = new_hyperparameters("video", load_definition("video"), steps)
    assert made.ppo.total_steps == steps
    assert made.ppo.frozen_steps <= steps / 10
    assert made.checkpoint_every_steps % (made.environments * made.ppo.n_steps) == 0


@pytest.mark.parametrize(
    "weights", [{"alpha": 3, "beta": 0, "delta": 0}, {"alpha": 0, "beta": 0, "delta": 0}]
)
def test_weights_of_zero_leave_a_scale(weights: dict[str, float], tmp_path: Path) -> None:
    path = write_environment(tmp_path, {"only": ["small"]})
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | {"weights": weights}), encoding="utf-8")
    assert new_hyperparameters(str(path), load_definition(path)).reward_scale > 0
