"""The command line: tables, JSON, exit status, one clear line for bad input."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ipa_rl import resources
from ipa_rl.agents.opponents import rivals
from ipa_rl.agents.opponents_file import read_opponents, write_opponents
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge import experiment
from tests.command_line import fits, ipa_rl
from tests.pipelines import write_environment
from tests.policies import ppo_folder


def test_solve_prints_the_optimum_with_its_latency_budget() -> None:
    done = ipa_rl("solve", "video", "--load", "20")
    assert done.returncode == 0
    assert "yolov5n" in done.stdout
    assert "classification" in done.stdout
    assert "of SLA" in done.stdout
    assert "PAS x 100" in done.stdout
    assert fits(done.stdout)
    assert "…" not in done.stdout


def test_solve_tells_what_comes_to_each_stage_of_a_graph_and_what_is_waited_for(tmp_path: Path) -> None:
    stages = {"detect": ("small", "large"), "people": ("one",), "cars": ("slow", "slower")}
    edges: list[dict[str, object]] = [{"from": "detect", "to": "people", "requests": 2}]
    edges.append({"from": "detect", "to": "cars"})
    path = write_environment(tmp_path, stages, edges=edges)
    done = ipa_rl("solve", str(path), "--load", "20")
    assert done.returncode == 0, done.stderr
    assert " ".join(done.stdout.split()).endswith("along detect cars")
    found = json.loads(ipa_rl("solve", str(path), "--load", "20", "--json").stdout)
    assert [stage["load_rps"] for stage in found["stages"]] == [20.0, 40.0, 20.0]


@pytest.mark.parametrize("solver", ["front", "program"])
def test_solve_prints_json_and_both_solvers_agree(solver: str) -> None:
    done = ipa_rl("solve", "nlp", "--load", "12", "--json", "--solver", solver)
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert answer["feasible"]
    assert answer["cores"] == 40
    assert [stage["stage"] for stage in answer["stages"]] == ["language-id", "translation", "summarisation"]


def test_an_infeasible_load_is_an_answer_with_exit_status_1() -> None:
    done = ipa_rl("solve", "video", "--load", "20000")
    assert done.returncode == 1
    assert "infeasible" in done.stdout
    assert "cheapest repair" in done.stdout
    assert "serves the most" in done.stdout
    assert fits(done.stdout)


def test_an_sla_out_of_reach_is_named_with_the_sla_that_would_do() -> None:
    done = ipa_rl("solve", "video", "--load", "20", "--sla", "0.01", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["binding"] == ["SLA"]
    assert 0.1 < answer["repair"]["sla_s"] < 1.0


def test_profiles_show_tells_measured_from_modelled() -> None:
    done = ipa_rl("profiles", "show", "video", "--stage", "crop")
    assert done.returncode == 0
    assert "* modelled" in done.stdout
    assert "base allocation 8 cores" in done.stdout
    assert "borrowed" in done.stdout
    assert fits(done.stdout)


def test_profiles_show_draws_the_fits(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = ipa_rl("profiles", "show", "sum-qa", "--plot", tmp_path / "fits.png")
    assert done.returncode == 0
    assert (tmp_path / "fits.png").read_bytes()[:4] == b"\x89PNG"


def test_profiles_check_says_yes_and_says_no(tmp_path: Path) -> None:
    good = ipa_rl("profiles", "check", resources.folder("profiles") / "video")
    assert (good.returncode, "no faults" in good.stdout) == (0, True)
    (tmp_path / "pipeline.yaml").write_text("threshold_rps: 0\nbatches: []\nstages: []\n", encoding="utf-8")
    bad = ipa_rl("profiles", "check", tmp_path, "--json")
    assert bad.returncode == 2
    fields = {fault["field"] for fault in json.loads(bad.stdout)}
    assert {"threshold_rps", "batches", "stages"} <= fields


@pytest.mark.slow
def test_compare_takes_any_environment_file_and_writes_table_csv_json_and_pictures(tmp_path: Path) -> None:
    text = (resources.folder("envs") / "video.yaml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace("alpha: 2", "alpha: 60"), encoding="utf-8")
    options = ("--window", "steady-low", "--seeds", "2", "--workers", "1", "--out", "out")
    done = ipa_rl("compare", mine, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    for name in ("ip last", "ip lstm", "ip perfect", "fa2-low", "fa2-high", "rim", "static"):
        assert name in done.stdout
    content = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    rows = content["rows"]
    assert (content["simulator"], content["seeds"]) == ("request-level", 2)
    assert content["ranking"][0]["place"] == 1
    assert {"utility", "pas_x100", "cores", "violations", "p99_s", "decide_p99_ms"} <= set(rows[0])
    assert (tmp_path / "out" / "comparison.csv").read_text(encoding="utf-8").count("\n") == len(rows) + 1
    for picture in ("timeline.png", "trade-offs.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000
    assert "no agent of its own" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("short_stress")
def test_evaluate_writes_a_card_with_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "SEEDS", 2)
    agent = ppo_folder(tmp_path / "agent")
    few = rivals(read_opponents(agent / "opponents.json"))
    write_opponents(few, load_definition("video"), agent / "opponents.json")
    little = ("--part", "validation", "--windows", "5", "--draws", "2", "--workers", "1")
    done = ipa_rl("evaluate", "video", "--agent", agent, *little, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert "## Where it loses" in card
    assert "ppo minus `ip" in card
    assert "| flash crowd" in card
    assert "Means over 2 draws" in card
    assert "Weak spots" in card
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["windows"] == 5
    for row in content["rows"]:
        low, high = row["utility_95"]
        assert low <= row["utility"] <= high


@pytest.mark.slow
def test_a_preference_is_asked_of_the_same_agent(tmp_path: Path) -> None:
    """Accuracy first: the policy buys more accuracy, and utilities are of the other weights."""
    found = []
    for options in ((), ("--alpha", "60")):
        quick = ("--fluid", "--seeds", "1", "--workers", "1", "--json")
        done = ipa_rl("compare", "video", *quick, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found.append({row["controller"]: row for row in json.loads(done.stdout)["rows"]})
    own, accurate = (rows["universal"] for rows in found)
    assert accurate["pas_x100"] > own["pas_x100"] + 3
    assert accurate["cores"] > own["cores"]
    assert accurate["utility"] > 10 > own["utility"]


BAD = {
    "negative load": ("solve", "video", "--load", "-3"),
    "NaN load": ("solve", "video", "--load", "nan"),
    "unknown environment": ("solve", "vidoe", "--load", "3"),
    "missing file": ("compare", "nowhere/mine.yaml"),
    "a folder for a file": ("solve", ".", "--load", "3"),
    "unknown stage": ("profiles", "show", "video", "--stage", "crap"),
    "unknown pipeline": ("profiles", "show", "vidoe"),
    "no such folder": ("profiles", "check", "nowhere"),
    "unknown agent": ("train", "vidoe", "--ppo"),
    "an agent without hyperparameters": ("train", ".", "--ppo"),
    "an alpha that is none": ("compare", "video", "--alpha", "-1"),
    "unknown agent to build": ("build", "vidoe"),
    "unknown agent to search for": ("search", "vidoe"),
    "unknown agent to ablate": ("ablate", "vidoe"),
    "unknown window": ("compare", "video", "--window", "busy"),
    "two things to compare on": ("compare", "video", "--window", "bursty", "--part", "test"),
    "outages in the fluid": ("compare", "video", "--suite", "stress", "--fluid"),
    "a file to import that is not there": ("workload", "import", "nowhere.csv", "--out", "mine"),
    "an interval that is none": ("workload", "check", "nowhere.csv", "--interval", "often"),
    "a zone that is none": ("workload", "check", "nowhere.csv", "--zone", "Mars"),
    "no window at all": ("compare", "video", "--window"),
    "an option that does not exist": ("compare", "video", "--windw", "bursty"),
    "a folder without an agent": ("compare", "video", "--agent", "."),
    "a load that is no number": ("solve", "video", "--load", "many"),
    "tune of nothing": ("tune", "nothing.yaml"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_ends_with_status_2_and_one_clear_line(kind: str, tmp_path: Path) -> None:
    done = ipa_rl(*BAD[kind], cwd=tmp_path)
    assert done.returncode == 2
    (line,) = (done.stderr + done.stdout).splitlines()
    assert "; fix: " in line


@pytest.mark.slow
def test_the_command_is_a_process_that_ends_with_its_status_and_its_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ipa_rl", "solve", "video", "--load", "-3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    here = ipa_rl("solve", "video", "--load", "-3")
    assert (done.returncode, done.stdout, done.stderr) == (here.returncode, here.stdout, here.stderr)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("solve",),
        ("compare",),
        ("evaluate",),
        ("train",),
        ("tune",),
        ("profiles", "show"),
        ("profiles", "import"),
    ],
)
def test_help_has_an_example_and_fits(words: tuple[str, ...]) -> None:
    done = ipa_rl(*words, "--help")
    assert done.returncode == 0
    assert fits(done.stdout)
    assert not words or "Example" in done.stdout


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    verbs = (
        ("compare", "video"),
        ("train", "video", "--ppo"),
        ("tune", "video"),
        ("tune", "video", "--replace"),
    )
    for arguments in ((*words, "--out") for words in verbs):
        done = ipa_rl(*arguments, tmp_path / "file" / "x")
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "cannot be written to" in done.stderr


def test_opponents_of_another_environment_are_not_replaced_unasked(tmp_path: Path) -> None:
    kept = tmp_path / "opponents.json"
    shutil.copy(resources.folder("agents") / "video" / "opponents.json", kept)
    before = kept.read_bytes()
    done = ipa_rl("tune", another_load(tmp_path), "--out", kept)
    assert done.returncode == 2
    assert "holds other opponents" in done.stderr
    assert "--replace" in done.stderr
    assert kept.read_bytes() == before


def another_load(folder: Path) -> Path:
    """Video under twice its load."""
    text = (resources.folder("envs") / "video.yaml").read_text(encoding="utf-8")
    path = folder / "busy.yaml"
    path.write_text(text.replace("scale: 1", "scale: 2", 1), encoding="utf-8")
    return path


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ipa_rl",
        "train",
        "video",
        "--ppo",
        "--out",
        str(tmp_path),
        "--validation-windows",
        "2",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "hyperparameters.yaml").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert f"--out {tmp_path} --resume" in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_stretch_of_the_workload_is_compared_and_names_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stretch = ("--from", "1301160", "--to", "1301280", "--seeds", "1", "--fluid", "--workers", "1")
    done = ipa_rl("compare", "video", *stretch, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subject"] == "1301160 to 1301280"
    assert (tmp_path / "runs" / "compare-video-1301160-to-1301280-seeds-1-fluid" / "timeline.png").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--from", "500", "--to", "400"), "error: --to: lies before --from; fix: give a later moment"),
        (
            ("--from", "2026-03-01"),
            "is not a number, and twitter has no clock; fix: give seconds",
        ),
        (("--from", "5", "--part", "test"), "error: --part and --from and --to: cannot be combined"),
        (("--suite", "stress", "--windows", "3"), "error: --suite and --windows: cannot be combined"),
    ],
)
def test_stretches_that_make_no_sense_are_told_in_one_line(given: tuple[str, ...], told: str) -> None:
    done = ipa_rl("compare", "video", *given)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
