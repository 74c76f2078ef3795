"""deploy/Dockerfile: what its text promises, and its build steps run as they stand, without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.manifests import DEPLOY, ROOT

LEFT_OUT = {"numba", "pulp"}
"""Dependencies of the package that the sidecar does without."""

SETTINGS = """
environment: video
agent: program
cluster: {rehearsal: {window: bursty, speed: 50}}
mode: act
leader_election: false
decision_log: {path: decisions.jsonl}
"""


@dataclass
class Stage:
    """One stage of the build: what it begins with, and its instructions."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        """Arguments of every instruction of a kind."""
        return [argument for word, argument in self.instructions if word == keyword]


def stages() -> dict[str, Stage]:
    """The stages in order, by name."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, argument = line.partition(" ")
        if word == "FROM":
            base, _, name = argument.partition(" AS ")
            stage = found[name] = Stage(name, base)
        elif found:
            stage.instructions.append((word, argument.strip()))
    return found


def lineage(name: str) -> list[Stage]:
    """A stage and those that it is built upon, the first one first."""
    stage = stages()[name]
    return [*(lineage(stage.base) if stage.base in stages() else ()), stage]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out; of the lines that fit the last one counts."""
    answer = False
    parts = Path(path).parts
    heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        places = parts if pattern.startswith("**/") else heads
        if line and not line.startswith("#") and any(fnmatch(p, pattern.removeprefix("**/")) for p in places):
            answer = not line.startswith("!")
    return answer


def test_what_is_built_when_nothing_is_said_is_the_sidecar() -> None:
    assert list(stages())[-1] == "sidecar"
    words = [one for stage in lineage("sidecar") for one in stage.all("ENTRYPOINT") + stage.all("CMD")]
    assert [json.loads(one) for one in words] == [
        ["ipa-rl", "sidecar"],
        ["--config", "/etc/ipa-rl/sidecar.yaml"],
    ]


@pytest.mark.parametrize("name", ["sidecar", "example"])
def test_what_runs_is_slim_runs_nothing_while_built_and_has_a_user_without_rights(name: str) -> None:
    chain = lineage(name)
    assert chain[0].base == "${PYTHON}"
    assert not [argument for stage in chain for argument in stage.all("RUN")]
    (user,) = [argument for stage in chain for argument in stage.all("USER")]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert user.split(":")[0] == "65532"  # that of the manifests
    environment = " ".join(argument for stage in chain for argument in stage.all("ENV"))
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert "IPA_RL_INTERPRETED=1" in environment


def test_nothing_is_fetched_but_packages_of_known_hashes() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert "slim" in next(line for line in text.splitlines() if line.startswith("ARG PYTHON="))
    assert not re.search(r"^ADD|curl|wget|apt-get|sudo|https?://|chmod 777", text, re.MULTILINE)
    installs = [
        one for stage in stages().values() for one in stage.all("RUN") if "install" in one or "wheel" in one
    ]
    for one in installs:
        for part in one.split("&&"):
            assert "--require-hashes" in part or "--no-deps" in part
            assert "wheel " not in part or "--no-build-isolation" in part
            assert "--no-cache-dir" in part


def test_everything_that_is_copied_is_sent_to_the_builder_and_nothing_else() -> None:
    sources = [
        source
        for stage in stages().values()
        for copy in stage.all("COPY")
        if not copy.startswith("--from")
        for source in shlex.split(copy)[:-1]
    ]
    assert "ipa_rl" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    for path in (".git/config", "tests/live.py", "runs/a.csv", "docs/README.md", ".venv/bin/python"):
        assert ignored(path), path
    assert ignored("ipa_rl/__pycache__")
    assert not ignored("ipa_rl/cli/sidecar.py")


def test_the_requirements_are_those_of_the_package_without_what_a_sidecar_does_not_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["kubernetes"]
    kept = {one for one in wanted if re.split(r"[<>=!~\[]", one)[0] not in LEFT_OUT}
    kept |= {one for one in project["optional-dependencies"]["serving"] if one.startswith("aiohttp")}
    lines = (DEPLOY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == kept


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_each_package_is_of_the_version_that_is_tested_and_has_its_hashes(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--index-url|--find-links", text)
    blocks = text.replace("\\\n", " ").splitlines()[1:]
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().lower().splitlines())
    for block in blocks:
        package, *hashes = block.split()
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
        known, version = package.split("==")
        assert tested.get(known, tested.get(known.replace("-", "_"))) == version, package


def test_the_lock_holds_what_is_required() -> None:
    locked = re.findall(r"^([a-z0-9-]+)==(\S+)", (DEPLOY / "requirements.lock").read_text(), re.MULTILINE)
    versions = {name: tuple(int(part) for part in version.split(".")) for name, version in locked}
    for line in (DEPLOY / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, least = line.split(",")[0].split(">=")
            assert versions[name] >= tuple(int(part) for part in least.split(".")), line


ADVISED = {"urllib3": (2, 6, 3), "aiohttp": (3, 13, 3), "jinja2": (3, 1, 6)}
"""The first versions without the advisories that were published for those before."""


@pytest.mark.parametrize("name", ADVISED)
def test_no_version_with_a_published_advisory_may_be_installed(name: str) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    bounds = re.findall(rf'"{name}>=([0-9.]+)"', text)
    assert bounds
    for bound in bounds:
        assert tuple(int(part) for part in bound.split(".")) >= ADVISED[name]


def run(words: list[str] | str, folder: Path, environment: dict[str, str]) -> str:
    """Standard output and error of a command that must succeed."""
    done = subprocess.run(
        words, cwd=folder, env=environment, shell=isinstance(words, str), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_build_steps_give_a_sidecar_that_steps_without_torch_and_numba(tmp_path: Path) -> None:
    source, installed = tmp_path / "src", tmp_path / "opt"
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    tools.pop("PYTHONPATH", None)
    tools["PIP_COMPILE"] = "0"  # what a process does not import is not compiled
    for word, argument in stages()["build"].instructions:
        if word == "WORKDIR":
            source.mkdir()
        elif word == "COPY":
            *names, target = shlex.split(argument)
            for name in names:
                place = source / target / (Path(name).name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, place)
        else:
            assert word == "RUN"
            run(argument.replace("/opt/ipa-rl", str(installed)), source, tools)
    there = {path.name.lower() for path in installed.glob("lib/python3*/site-packages/*")}
    assert "ipa_rl" in there
    assert not there & (LEFT_OUT | {"torch", "stable_baselines3", "llvmlite", "pip"})
    work = tmp_path / "work"
    work.mkdir()
    (work / "sidecar.yaml").write_text(SETTINGS, encoding="utf-8")
    bare = {"PATH": str(installed / "bin"), "IPA_RL_INTERPRETED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(installed / "bin" / "ipa-rl")]
    assert "--config" in run([*command, "sidecar", "--help"], work, bare | {"COLUMNS": "80"})
    assert '"message": "stepped"' in run(
        [*command, "sidecar", "--config", "sidecar.yaml", "--once"], work, bare
    )
    assert "chosen" in run([*command, "explain", "decisions.jsonl"], work, bare)
    run([str(installed / "bin" / "python"), "-c", "import ipa_rl.live.kubernetes.lease"], work, bare)
