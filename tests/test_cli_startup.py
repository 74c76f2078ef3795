"""What importing the package and starting a verb import, and what they do without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

HEAVY = {
    "gymnasium", "highspy", "kubernetes", "matplotlib", "numba", "plotly", "pulp", "ray", "scipy",
    "stable_baselines3", "torch",
}  # fmt: skip
LIBRARIES = {*HEAVY, "numpy", "pydantic", "yaml"}

PROGRAM = """
import json, sys
sys.argv = ["ipa-rl", *{words!r}]
from ipa_rl.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(list(sys.modules)), file=sys.stderr)
"""


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables}, capture_output=True, text=True, check=True,
    )  # fmt: skip


def imported_by(*words: str) -> set[str]:
    """All modules that a verb has imported at its end."""
    return set(json.loads(run(PROGRAM.format(words=words)).stderr))


@pytest.mark.parametrize("words", [("--help",), ("--version",)])
def test_help_and_version_import_no_library_but_that_of_the_command_line(words: tuple[str, ...]) -> None:
    imported = imported_by(*words)
    assert not imported & LIBRARIES
    own = {name.removeprefix("ipa_rl.") for name in imported if name.startswith("ipa_rl.")}
    assert own == {"cli", "environment", "environment.registration", "errors", "interrupts"}


@pytest.mark.parametrize(
    "words",
    [("solve", "video", "--load", "20"), ("profiles", "show", "nlp"), ("envs",), ("explain", "--help")],
)
def test_a_verb_that_computes_little_imports_nothing_that_takes_long(words: tuple[str, ...]) -> None:
    imported = imported_by(*words)
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith(("ipa_rl.judge", "ipa_rl.live"))}


def test_the_help_of_no_verb_imports_anything_that_takes_long() -> None:
    program = "from ipa_rl.cli import VERBS; import json, sys; [verb.command for verb in VERBS]"
    done = run(f"{program}; print(json.dumps(list(sys.modules)))", IPA_RL_INTERPRETED="1")
    assert not set(json.loads(done.stdout)) & HEAVY


def test_importing_the_package_imports_no_library() -> None:
    done = run("import json, sys, ipa_rl; print(json.dumps(list(sys.modules)))")
    assert not set(json.loads(done.stdout)) & LIBRARIES


@pytest.mark.parametrize(
    "imports", ["import ipa_rl, gymnasium", "import gymnasium, ipa_rl", "import gymnasium"]
)
def test_gymnasium_knows_the_environments_in_whichever_order_both_are_imported(imports: str) -> None:
    name = "ipa_rl/video-v1" if "ipa_rl" in imports else "ipa_rl:ipa_rl/video-v1"
    done = run(f"{imports}; print(gymnasium.make({name!r}).spec.id)")
    assert (done.stdout, done.stderr) == ("ipa_rl/video-v1\n", "")


LINES = {
    "so": ["solve"],
    "profiles s": ["show"],
    "solve vi": ["video"],
    "profiles show sum": ["sum-qa"],
    "solve video --sol": ["--solver"],
    "solve video --solver p": ["program"],
}


@pytest.mark.parametrize("line", LINES)
def test_a_shell_completes_verbs_options_and_the_names_of_what_ships(line: str) -> None:
    words = ["ipa-rl", *line.split()]
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = run(PROGRAM.format(words=()), _IPA_RL_COMPLETE="complete_bash", **asked)
    assert done.stdout.split() == LINES[line]
    assert not set(json.loads(done.stderr)) & HEAVY
