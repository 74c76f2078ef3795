"""The wheel: built and installed in a clean environment, every verb works away from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ipa_rl.cli import VERBS
from ipa_rl.resources import shipped_names

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a fresh environment, without any optional part."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-compile"]
    call(*install, "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt", wheel)
    (package,) = folder.glob("lib/python3*/site-packages/ipa_rl")
    take_what_is_compiled(package)
    return folder / "bin"


def take_what_is_compiled(package: Path) -> None:
    """Machine code that numba kept beside the checkout's sources serves the wheel's, which are the same.

    What the checkout has not compiled yet is compiled there.
    """
    for source in (ROOT / "ipa_rl").rglob("*.py"):
        installed = package / source.relative_to(ROOT / "ipa_rl")
        assert installed.read_bytes() == source.read_bytes()
        for kept in (source.parent / "__pycache__").glob(f"{source.stem}.*.nb?"):
            (installed.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy(kept, installed.parent / "__pycache__")


def call(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_the_wheel_holds_types_environments_agents_and_profiles(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "ipa_rl/py.typed" in names
    for file in ("index.html", "style.css", "main.js", "icon.svg"):
        assert f"ipa_rl/sidecar/page/{file}" in names
    for name in shipped_names("workloads"):
        for file in ("workload.yaml", "recorded.npz", "README.md"):
            assert f"ipa_rl/data/profiles/workloads/{name}/{file}" in names
    for name in ("video", "audio-qa", "audio-sent", "sum-qa", "nlp"):
        assert f"ipa_rl/data/envs/{name}.yaml" in names
        assert f"ipa_rl/data/profiles/{name}/pipeline.yaml" in names
        for file in ("opponents.json", "hyperparameters.yaml", "fine-tuning.json", "card.md"):
            assert f"ipa_rl/data/agents/{name}/{file}" in names
    scorers = [file.parent.name for file in (ROOT / "agents").glob("*/scorer.npz")]
    assert "universal" in scorers
    for name in scorers:
        assert f"ipa_rl/data/agents/{name}/scorer.npz" in names


SAYS = {
    "solve video --load 20 --json": '"feasible": true',
    "envs": "sum-qa",
    "profiles show nlp": "modelled",
    f"profiles check {ROOT / 'profiles' / 'video'}": "no faults",
    "forecast compare": "window-max:30",
    "explain decisions.jsonl": "0 steps",
}


@pytest.mark.parametrize("words", SAYS)
def test_a_verb_works_without_the_repository_and_without_extras(
    words: str, installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "decisions.jsonl").write_text("", encoding="utf-8")
    assert SAYS[words] in call(installed / "ipa-rl", *words.split(), cwd=tmp_path).stdout


def test_what_is_compared_without_extras_says_what_is_left_out(installed: Path, tmp_path: Path) -> None:
    """No torch and no matplotlib."""
    compared = call(installed / "ipa-rl", "compare", "video", "--seeds", "1", "--workers", "1", cwd=tmp_path)
    assert "universal" in compared.stdout
    assert "ip lstm" not in compared.stdout
    assert "pip install 'ipa-rl[train]'" in compared.stderr
    assert "pip install 'ipa-rl[plot]'" in compared.stderr
    assert (tmp_path / "runs" / "compare-video-bursty-seeds-1" / "comparison.csv").is_file()


LITTLE = """
from ipa_rl.judge import experiment, stress
experiment.SEEDS = 2
stress.SUITE = stress.SUITE[:1]
from ipa_rl.cli import main
main()
"""
"""The command with the first scenario of the stress suite alone, and two seeds a window."""


def test_an_agent_is_evaluated_without_extras(installed: Path, tmp_path: Path) -> None:
    program = (installed / "python", "-c", LITTLE)
    few = ("--windows", "1", "--draws", "1", "--workers", "1")
    evaluated = call(*program, "evaluate", "video", "--part", "validation", *few, cwd=tmp_path)
    assert "card.md" in evaluated.stderr


REHEARSAL = """
environment: video
cluster: {rehearsal: {window: bursty, speed: 10}}
leader_election: false
telemetry: false
"""
JOB = """
threshold_rps: 4
batches: [1]
cores: [1]
stages:
- name: classify
  stage_sla_s: 0.5
  target: {http: {url: "http://127.0.0.1:9", json: {}}}
  variants: [{name: small, accuracy: 0.62, start_up_s: 5}]
"""
NAMES_ITS_EXTRA = {
    "train video": "train",
    "train video --ppo": "train",
    "build video": "train",
    "search video": "train",
    "ablate video": "train",
    "fidelity": "train",
    "workload fit twitter --ship": "train",
    "report .": "plot",
    "profiles show video --plot fits.png": "plot",
    "workload import requests.csv --out mine": "data",
    "export video": "onnx",
    "profile job.yaml --out mine": "serving",
    "compare video --ray local": "ray",
    "sidecar --config rehearsal.yaml --once": "kubernetes",
    "demo": "demo",
}
"""Verbs that an environment without extras cannot serve. The others are in the specifications above."""


@pytest.mark.parametrize("words", NAMES_ITS_EXTRA)
def test_what_needs_an_extra_names_it_in_one_line(words: str, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "rehearsal.yaml").write_text(REHEARSAL, encoding="utf-8")
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    done = subprocess.run(
        [str(installed / "ipa-rl"), *words.split()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"; fix: pip install 'ipa-rl[{NAMES_ITS_EXTRA[words]}]'")


def test_every_verb_is_tried_without_extras(installed: Path) -> None:
    """A verb that is new must be told here whether it works without extras, or which one it needs.

    `tune` and `benchmark` take minutes, and play what `compare` plays.
    """
    works = {
        "envs", "solve", "profiles", "compare", "evaluate", "benchmark", "forecast", "tune", "explain",
        "fleet",
    }  # fmt: skip
    assert {verb.name for verb in VERBS} == works | {words.split()[0] for words in NAMES_ITS_EXTRA}


BRIEFLY = """
import sys; sys.path.insert(0, sys.argv[1])
import ipa_rl, ipa_rl.cli, ipa_rl.training.clone as cloning
assert "site" in ipa_rl.__file__
collect, less = cloning.collect, {"steps": 60}
cloning.collect = lambda definition, one, *more: collect(definition, one.model_copy(update=less), *more)
sys.argv = ["ipa-rl", "train", "video", "--ppo", "--steps", "3840", "--validation-windows", "2"]
ipa_rl.cli.main()
"""
"""The command with a clone that sees its teacher for 60 steps."""


def test_training_works_from_the_wheel_away_from_the_repository(installed: Path, tmp_path: Path) -> None:
    """The wheel's own files alone, with the libraries of this environment."""
    (package,) = installed.parent.glob("lib/python3*/site-packages/ipa_rl")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ipa_rl").symlink_to(package)
    call(sys.executable, "-c", BRIEFLY, tmp_path / "site", cwd=tmp_path)
    assert (tmp_path / "runs" / "video" / "policy.npz").is_file()
