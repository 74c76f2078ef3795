"""The verbs of profiles."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmark_files import EXCERPTS
from tests.command_line import fits, ipa_rl

ENVIRONMENT = """\
pipeline: {folder}
sla_s: 0.5
weights: {{alpha: 40, beta: 0.5, delta: 0.000001, rho: 10}}
limits: {{max_replicas: 32, drop_limit_s: 1}}
baselines: {{fa2_low: [resnet18], fa2_high: [resnet50], rim_replicas: [4]}}
"""


def test_import_writes_a_pipeline_that_check_accepts_and_solve_runs_on(tmp_path: Path) -> None:
    paths = [EXCERPTS / "timm_accuracy.csv", EXCERPTS / "timm_speed.csv"]
    picks = ["--variants", "resnet18,resnet50", "--start-up", "20,resnet18=12", "--cores", "14"]
    done = ipa_rl("profiles", "import", *paths, *picks, "--out", "ladder", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    assert "wrote ladder/pipeline.yaml" in done.stderr
    assert ipa_rl("profiles", "check", tmp_path / "ladder").returncode == 0
    (tmp_path / "mine.yaml").write_text(ENVIRONMENT.format(folder="ladder"))
    solved = ipa_rl("solve", tmp_path / "mine.yaml", "--load", "50", "--json")
    assert json.loads(solved.stdout)["stages"][0]["variant"] == "resnet50"


def test_import_says_what_is_missing_in_one_line_and_ends_with_2(tmp_path: Path) -> None:
    asked = ipa_rl("profiles", "import", EXCERPTS / "inference_perf.json", "--out", tmp_path / "mine")
    assert asked.returncode == 2
    fix = "add --name NAME --accuracy FRACTION --start-up SECONDS --cores N (or --resource NAME, of a device)"
    assert asked.stderr.strip().endswith(fix)
    assert asked.stderr.count("\n") == 1


def test_import_takes_devices_and_show_names_their_units(tmp_path: Path) -> None:
    given = ["--accuracy", "76%", "--start-up", "5", "--resource", "h100=2", "--out", tmp_path / "mine"]
    done = ipa_rl("profiles", "import", EXCERPTS / "guidellm.json", *given)
    assert done.returncode == 0, done.stderr
    shown = ipa_rl("profiles", "show", tmp_path / "mine").stdout
    assert "@h100, base allocation 2 units of h100" in " ".join(shown.split())
    found = json.loads(ipa_rl("profiles", "show", tmp_path / "mine", "--json").stdout)
    variant = found["stages"][0]["variants"][0]
    assert (variant["resource"], variant["units"]) == ("h100", 2)


def test_percent_and_fractions_are_told_apart(tmp_path: Path) -> None:
    given = ["--start-up", "5", "--cores", "1", "--out", tmp_path / "mine"]
    verb = ["profiles", "import", EXCERPTS / "guidellm.json", *given]
    wrong = ipa_rl(*verb, "--accuracy", "76")
    assert "give a fraction (0.76) or percent (76%)" in wrong.stderr
    assert wrong.returncode == 2
    assert ipa_rl(*verb, "--accuracy", "76%").returncode == 0
    assert "accuracy: 0.76" in (tmp_path / "mine" / "pipeline.yaml").read_text()
