"""Whose folder a run is: another's is refused, its own is run again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.pools import Here
from ipa_rl.judge.runs import RunFolder, default_folder, describe, run_folder
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.progress import Silent
from tests.scenarios import short


def experiment(*, seeds: int = 1, subject: str = "a short window") -> Experiment:
    """One static controller on one short window."""
    setup = Setup("video", None, SimulatorKind.fluid, only=("static",))
    return Experiment(subject, setup, trials([short("steady-low")], seeds))


def run_it(folder: Path, wanted: Experiment) -> None:
    """Run it, and lay a report of it beside it."""
    folder.mkdir(exist_ok=True)
    compare(wanted, folder, Here(), Silent())
    (folder / "report.html").write_text("yesterday's")


def begin_it(folder: Path, wanted: Experiment) -> None:
    """Begin it, as where it was cut off."""
    folder.mkdir(exist_ok=True)
    RunFolder(folder).begin(describe(wanted))


@pytest.mark.parametrize("before", [run_it, begin_it])
@pytest.mark.parametrize("within", ["", "stress"])
def test_a_folder_that_holds_another_run_is_refused_and_left_as_it_is(
    before: Callable[[Path, Experiment], None], within: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    before(tmp_path / "mine" / within, experiment())
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"mine: holds another run: .*; fix: give another --out"):
        run_folder(tmp_path / "mine", tmp_path / "other", {within: experiment(seeds=2)}, print)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_a_run_is_the_same_wherever_its_workload_lies(tmp_path: Path) -> None:
    """As in another checkout, or on another machine."""
    shipped, found = resources.find("video", "envs").read_text(encoding="utf-8"), []
    for place in ("here", "there"):
        shutil.copytree(resources.folder("workloads") / "autothrottle-noisy", tmp_path / place / "noisy")
        environment = tmp_path / place / "mine.yaml"
        environment.write_text(shipped.replace("load: twitter", "load: noisy"), encoding="utf-8")
        setup = Setup(str(environment), None, SimulatorKind.fluid, only=("static",))
        window = setup.definition().windows("test")[0]
        found.append(describe(Experiment("one", setup, trials([Scenario(window)], 1))))
    assert found[0].fingerprint == found[1].fingerprint


def test_by_default_another_run_has_the_next_name_and_the_same_one_its_own(tmp_path: Path) -> None:
    default = tmp_path / "run"
    one, other, third = ({"": experiment(seeds=k)} for k in (1, 2, 3))
    run_it(run_folder(None, default, one, print), one[""])
    begin_it(tmp_path / "run-2", other[""])
    assert run_folder(None, default, one, print) == default
    assert run_folder(None, default, other, print) == tmp_path / "run-2"
    said: list[str] = []
    assert run_folder(None, default, third, said.append) == tmp_path / "run-3"
    assert [f"{default} holds another run" in said[0], f"{default}-2 holds another run" in said[1]] == [
        True
    ] * 2
    assert (default / "report.html").exists()


@example("ж" * 300, 5)
@given(st.text(min_size=1, max_size=300), st.none() | st.integers(1, 10**6))
def test_a_run_by_default_is_named_after_what_was_asked_within_the_folder_of_runs(
    subject: str, windows: int | None
) -> None:
    setup = Setup("video", Path("mine"), SimulatorKind.request_level)
    folder = default_folder("compare", setup, subject, windows=windows)
    assert folder.parent == Path("runs")
    assert folder.name.startswith("compare-video-")
    assert len(folder.name.encode()) <= 255
    named = default_folder("compare", setup, "bursty window", seeds=3)
    assert named.name == "compare-video-bursty-seeds-3-agent-mine"


def test_a_run_that_runs_again_leaves_no_report_of_before(tmp_path: Path) -> None:
    run_it(tmp_path, experiment())
    said: list[str] = []
    assert run_folder(tmp_path, tmp_path, {"": experiment()}, said.append) == tmp_path
    assert "running it again" in said[0]
    RunFolder(tmp_path).begin(describe(experiment()))
    assert not (tmp_path / "report.html").exists()
