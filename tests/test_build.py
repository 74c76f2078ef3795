"""What is built: an agent's folder made for an environment, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from ipa_rl import build
from ipa_rl.agents.opponents import MEASURED, Opponent
from ipa_rl.agents.opponents_file import write_opponents
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.training.hyperparameters import load_hyperparameters, save_hyperparameters
from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload
from tests.pipelines import write_environment

PPO = build.PpoBuild(seeds=1, candidates=1)
STAGES = {"fetch": ["small", "large"], "rank": ["small", "large"], "write": ["only"]}


def test_an_environment_gets_a_folder_with_hyperparameters_that_stay(tmp_path: Path) -> None:
    file = write_environment(tmp_path / "files", STAGES)
    begun = build.begin(str(file), tmp_path, replace(PPO, steps=50_000))
    path = begun.folder / "hyperparameters.yaml"
    made = load_hyperparameters(path)
    assert (begun.folder, begun.given) == (tmp_path / "mine", file)
    assert (made.environment, made.ppo.total_steps) == (str(file.resolve()), 50_000)
    save_hyperparameters(made.changed({"network": [8]}), path)
    assert build.begin(str(file), tmp_path, PPO).steps_of_a_run() == 50_000
    assert load_hyperparameters(path).network == (8,)


def test_an_environment_of_the_same_name_takes_no_other_one_s_folder(tmp_path: Path) -> None:
    build.begin(str(write_environment(tmp_path / "first", STAGES)), tmp_path, PPO)
    other = write_environment(tmp_path / "second", STAGES)
    with pytest.raises(InputError, match=r"holds an agent of .*first.*; fix: give another --out"):
        build.begin(str(other), tmp_path, PPO)


def test_a_build_whose_environment_has_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    file = write_environment(tmp_path / "files", STAGES)
    folder, before = build.begin(str(file), tmp_path, PPO).folder, load_definition(file)
    tuned = [Opponent("ip", "last", 0.4, dict.fromkeys(MEASURED, 1.0))]
    write_opponents(
        tuned, replace(before, timing=replace(before.timing, interval_s=5)), folder / "opponents.json"
    )
    with pytest.raises(InputError, match="has changed since they were tuned"):
        build.begin(str(file), tmp_path, PPO)


@pytest.mark.parametrize(
    ("ppo", "file", "said"), [(PPO, "fine-tuning.json", "without"), (None, "policy.npz", "with")]
)
def test_a_folder_holds_a_fitted_agent_or_one_of_ppo_and_not_both(
    tmp_path: Path, ppo: build.PpoBuild | None, file: str, said: str
) -> None:
    environment = write_environment(tmp_path / "files", STAGES)
    (build.begin(str(environment), tmp_path, ppo).folder / file).touch()
    with pytest.raises(InputError, match=f"holds a build {said} --ppo; fix: give another --out"):
        build.begin(str(environment), tmp_path, ppo)


@pytest.mark.parametrize("ppo", [PPO, None])
def test_a_name_that_is_neither_is_told_before_anything_is_made(
    tmp_path: Path, ppo: build.PpoBuild | None
) -> None:
    with pytest.raises(InputError, match="no such file or name"):
        build.begin("nobody", tmp_path, ppo)
    assert not list(tmp_path.iterdir())


def test_a_workload_too_short_for_fits_is_said_and_built_on_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_environment(tmp_path, STAGES)
    (tmp_path / "load").mkdir()
    save_workload(tmp_path / "load", WorkloadModel(), Recorded(np.full(900, 5)))
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | {"workload": {"load": "load"}}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    build.fit_forecasters(load_definition(file))
    assert "no forecasters are fitted: load" in capsys.readouterr().err
    build.fit_forecasters(load_definition("video"))
    assert capsys.readouterr().err == ""
