"""`ipa-rl build` to the card, fitted and with PPO, on few windows; and that it does nothing twice."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from ipa_rl import build, fine_tuning
from ipa_rl.agents import windows
from ipa_rl.agents.opponents import Opponent
from ipa_rl.agents.opponents_file import write_opponents
from ipa_rl.cli import app
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.judge import experiment, tuning
from ipa_rl.training.hyperparameters import Cloning, Hyperparameters, Ppo, save_hyperparameters

QUICK = Hyperparameters(
    environment="video",
    environments=16,
    checkpoint_every_steps=800,
    randomisation=Randomisation(preference_share=0.3, preferences=(30.0,)),
    cloning=Cloning(steps=60, epochs=3),
    ppo=Ppo(total_steps=800, frozen_steps=0, n_steps=50, batch_size=400, n_epochs=2),
)
FIGURES = {"utility": -1.6, "pas_x100": 34.0, "cores": 2.2, "violations": 0.001}
OPPONENTS = [
    Opponent("ip", "window-max:60", 0.0, FIGURES),
    Opponent("fa2-low", "last", 0.1, {**FIGURES, "utility": -1.5}),
    Opponent("ip", "perfect:25", -0.1, {**FIGURES, "utility": -1.4}),
]


@pytest.mark.slow
@pytest.mark.usefixtures("short_stress")
def test_an_agent_is_built_from_nothing_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FRONT_TUNING_WINDOWS", 2)
    monkeypatch.setattr(build, "FRONT_FORECASTERS", ("ip last", "ip autoregressive"))
    monkeypatch.setattr(tuning, "MARGINS", (0.0,))
    monkeypatch.setattr(tuning, "EVERY", 120)
    monkeypatch.setattr(windows, "MOST_WINDOWS", 2)
    monkeypatch.setattr(experiment, "SEEDS", 2)
    monkeypatch.setattr(build, "_WINDOW_SEEDS", 2)
    tuning._windows.cache_clear()
    source, out = tmp_path / "mine", tmp_path / "built"
    source.mkdir()
    (out / "mine").mkdir(parents=True)
    save_hyperparameters(QUICK, source / "hyperparameters.yaml")
    write_opponents(OPPONENTS, load_definition("video"), out / "mine" / "opponents.json")
    command = ["build", str(source), "--ppo", "--seeds", "2", "--windows", "2", "--front-windows", "2"]
    command += ["--draws", "1", "--candidates", "5"]
    command += ["--workers", "1", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    tuning._windows.cache_clear()
    assert done.exit_code == 0, done.output
    folder = out / "mine"
    card = (folder / "card.md").read_text(encoding="utf-8")
    for section in (
        "## Verdict", "## Training", "2 seeds were trained", "## Results: test part, 2 windows",
        "## Regret", "## Where it loses", "## One policy, other preferences", "## Under stress",
        "the guard replaced the agent's answer with the program's",
        f"ipa-rl build {source} --ppo --seeds 2 --candidates 2 --draws 1 --front-windows 2 --windows 2 --out",
    ):  # fmt: skip
        assert section in card, section
    assert (folder / "curve.png").stat().st_size > 5000
    assert (folder / "front.png").stat().st_size > 5000
    seeds = json.loads((folder / "seeds.json").read_text(encoding="utf-8"))
    assert [(one["seed"], one["step"]) for one in seeds] == [(s, k) for s in (0, 1) for k in (0, 800)]
    assert sum(one["shipped"] for one in seeds) == 1
    rows = json.loads((folder / "front.json").read_text(encoding="utf-8"))["rows"]
    assert [row["alpha"] for row in rows] == [2.0, 60.0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")} == before


@pytest.mark.slow
@pytest.mark.usefixtures("short_stress")
def test_an_environment_gets_its_policy_and_a_card_in_few_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "fine_tune", partial(fine_tuning.fine_tune, courses=1))
    monkeypatch.setattr(fine_tuning, "CHECK_WINDOWS", 2)
    monkeypatch.setattr(experiment, "SEEDS", 2)
    monkeypatch.setattr(build, "_WINDOW_SEEDS", 2)
    folder = tmp_path / "video"
    folder.mkdir()
    write_opponents(OPPONENTS, load_definition("video"), folder / "opponents.json")
    command = ["build", "video", "--windows", "2", "--draws", "1", "--workers", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    fitted = json.loads((folder / "fine-tuning.json").read_text(encoding="utf-8"))
    is_better = fitted["gain_95"][0] > 0.0
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert card.startswith(f"# video: {'fine-tuned' if is_better else 'universal'}")
    assert (folder / "scorer.npz").is_file() is is_better
    sections = [line for line in card.splitlines() if line.startswith("## ")]
    assert sections[:3] == ["## Verdict", "## Where it loses", "## Repeat it"]
    assert "ipa-rl build video --draws 1 --windows 2" in card
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert json.loads((folder / "fine-tuning.json").read_text(encoding="utf-8")) == fitted
