"""Policies exported as ONNX decide as numpy and as stable-baselines3 do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from ipa_rl.agents.policy import Policy
from ipa_rl.cli import app
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.errors import MissingExtraError
from tests.policies import drawn_policy, ppo_folder

runtime: Any = pytest.importorskip("onnxruntime")
onnx: Any = pytest.importorskip("onnx")


def session(policy: Policy, name: str, path: Path) -> Any:
    from ipa_rl.agents.onnx_export import export_policy

    export_policy(policy, load_definition(name), path)
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def observations(name: str, count: int = 2000) -> NDArray[np.float32]:
    rng = np.random.default_rng(7)
    entries = len(observation_names(load_definition(name).problem))
    return rng.normal(0.5, 1.0, (count, entries)).clip(-5, 5).astype(np.float32)


@pytest.mark.parametrize("name", ["video", "audio-qa", "audio-sent", "sum-qa", "nlp"])
def test_a_policy_of_every_environment_decides_the_same_as_onnx(name: str, tmp_path: Path) -> None:
    policy, seen = drawn_policy(load_definition(name)), observations(name)
    assert len(np.unique(policy.act(seen), axis=0)) > 100
    logits, actions, unfamiliarity = session(policy, name, tmp_path / "p.onnx").run(
        None, {"observations": seen}
    )
    np.testing.assert_allclose(logits, policy.logits(seen), rtol=1e-4, atol=1e-4)
    assert (actions == policy.act(seen)).mean() > 0.9995  # ties within a rounding may go either way
    assert policy.coverage is not None
    own = [policy.coverage.score(one) for one in seen[:50]]
    np.testing.assert_allclose(unfamiliarity[:50], own, rtol=1e-3)


def test_one_observation_is_a_batch_of_one(tmp_path: Path) -> None:
    policy = drawn_policy(load_definition("video"))
    found = session(policy, "video", tmp_path / "p.onnx").run(
        ["actions"], {"observations": observations("video", 1)}
    )
    assert found[0].shape == (1, len(policy.sizes))


@pytest.mark.slow
def test_a_policy_of_stable_baselines3_decides_the_same_as_onnx(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    import gymnasium
    import torch
    from gymnasium import spaces
    from stable_baselines3 import PPO

    from ipa_rl.environment.action import action_sizes
    from ipa_rl.training.ppo import export_policy as as_arrays

    definition = load_definition("video")
    entries = len(observation_names(definition.problem))

    class Shape(gymnasium.Env):
        observation_space = spaces.Box(-5.0, 5.0, (entries,), np.float32)
        action_space = spaces.MultiDiscrete(action_sizes(definition.problem))

    torch.manual_seed(3)
    model = PPO("MlpPolicy", Shape(), device="cpu")
    seen = observations("video")
    found = session(as_arrays(model, definition, ()), "video", tmp_path / "p.onnx").run(
        ["actions"], {"observations": seen}
    )
    expected, _ = model.predict(seen, deterministic=True)
    assert (found[0] == expected).mean() > 0.9995


def test_the_file_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    words = ["export", str(ppo_folder(tmp_path / "agent")), "--environment", "video"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "policy.onnx")])
    assert result.exit_code == 0, result.output
    told = {one.key: one.value for one in onnx.load(tmp_path / "policy.onnx").metadata_props}
    assert told["environment"] == "video"
    assert told["inputs"].splitlines() == observation_names(load_definition("video").problem)
    assert told["choices"] == "5,4,17,5,4,17"
    assert float(told["unfamiliarity_limit"]) > 1.0


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "ipa_rl.agents.onnx_export", raising=False)
    with pytest.raises(MissingExtraError, match=r"onnx is not installed; fix: pip install 'ipa-rl\[onnx\]'"):
        import ipa_rl.agents.onnx_export  # noqa: F401
