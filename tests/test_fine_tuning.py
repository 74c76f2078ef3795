"""The policy for any pipeline, fitted further to one: kept where it is better; a kill costs little."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from ipa_rl import fine_tuning, resources
from ipa_rl.agents.trained import FINE_TUNED, load_agents
from ipa_rl.agents.universal import SCORER, UNIVERSAL, Scorer, load_scorer, save_scorer
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.fine_tuning import ROUNDS, fine_tune
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.pools import A, Here, R
from ipa_rl.progress import Report, Silent
from ipa_rl.training.lessons import Course, Lessons, attend
from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload
from tests.command_line import ipa_rl
from tests.policies import drawn_scorer

FEW = 2


class CutOff(Here):
    """Is interrupted in its second round, after a job."""

    def __init__(self) -> None:
        self.rounds = 0

    def each(self, function: Callable[[A], R], arguments: Sequence[A]) -> Iterator[tuple[int, R]]:
        self.rounds += 1
        yield from super().each(function, arguments[:1] if self.rounds == 2 else arguments)
        if self.rounds == 2:
            raise KeyboardInterrupt


def as_it_began(
    lessons: Lessons, seed: int, report: Report, epochs: int, start: Scorer, learning_rate: float
) -> tuple[Scorer, None]:
    """A fit that learns nothing."""
    return start, None


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning, "CHECK_WINDOWS", 6)


@pytest.mark.slow
def test_what_is_better_is_an_agent_of_its_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one that knows nothing to the one that ships."""
    learned = load_scorer(resources.folder("agents") / UNIVERSAL / SCORER)
    monkeypatch.setattr(fine_tuning, "fit", lambda *_: (learned, None))
    save_scorer(drawn_scorer(), tmp_path / "start.npz")
    out = tmp_path / "out"
    out.mkdir()
    found = fine_tune("made-up-9", out, Here(), Silent(), FEW, start=tmp_path / "start.npz")
    assert found.is_better
    assert found.gain == pytest.approx(found.after["utility"] - found.before["utility"])
    told = json.loads((out / "fine-tuning.json").read_text())
    assert (told["windows"], told["states"], told["gain"]) == (6, ROUNDS * FEW * 180, found.gain)
    assert sorted(one.name for one in out.iterdir()) == ["fine-tuning.json", SCORER]
    definition = load_definition("made-up-9")
    agents, program = load_agents(definition, str(out))
    assert [one.name for one in agents] == [FINE_TUNED, program.name]
    assert controllers(definition, out).ours == [FINE_TUNED, UNIVERSAL]


@pytest.mark.slow
def test_what_is_no_better_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / SCORER).touch()  # of an earlier run
    monkeypatch.setattr(fine_tuning, "fit", as_it_began)
    found = fine_tune("video@twitter", tmp_path, Here(), Silent(), courses=1)
    assert (found.gain, found.gain_95, found.is_better) == (0.0, (0.0, 0.0), False)
    assert [one.name for one in tmp_path.iterdir()] == ["fine-tuning.json"]


@pytest.mark.slow
def test_after_a_kill_lessons_that_are_there_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning, "fit", as_it_began)
    with pytest.raises(KeyboardInterrupt):
        fine_tune("video@twitter", tmp_path, CutOff(), Silent(), courses=2)
    (tmp_path / "lessons-of-another").mkdir()
    assert len(list(tmp_path.glob("lessons-*/?.npz"))) == 3
    made: list[int] = []

    def counted(course: Course, scorer: Scorer) -> Lessons:
        made.append(course.seed)
        return attend(course, scorer)

    monkeypatch.setattr(fine_tuning, "attend", counted)
    assert fine_tune("video@twitter", tmp_path, Here(), Silent(), courses=2).states == 6 * 180
    assert made == [3, 4, 5]


def test_a_load_that_is_too_short_to_learn_from_is_told(tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    save_workload(tmp_path / "short", WorkloadModel(), Recorded(np.full(700, 20)))
    with pytest.raises(InputError, match=r"train part is shorter than the \d+ s .* run agent: universal"):
        fine_tune(f"video@{tmp_path / 'short'}", tmp_path, Here(), Silent(), courses=1)


@pytest.mark.parametrize("verb", ["train", "build"])
def test_what_is_of_training_with_ppo_is_refused_without_it(verb: str) -> None:
    told = ipa_rl(verb, "made-up-3", "--steps", 100)
    assert told.returncode == 2
    assert "--steps" in told.stderr
    assert "is of training with PPO; fix: leave it out, or add --ppo" in " ".join(told.stderr.split())


def test_a_folder_with_hyperparameters_is_told_to_be_of_ppo() -> None:
    told = ipa_rl("train", resources.folder("agents") / "video")
    assert told.returncode == 2
    assert "add --ppo" in told.stderr
