"""Hyperparameters that ship."""

from __future__ import annotations

import pytest

from ipa_rl import resources

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from ipa_rl.training.hyperparameters import load_hyperparameters  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", resources.shipped_names("agents"))
def test_the_shipped_hyperparameters_are_valid(name: str) -> None:
    found = load_hyperparameters(resources.folder("agents") / name / "hyperparameters.yaml")
    assert found.environment == name
