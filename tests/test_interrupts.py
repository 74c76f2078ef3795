"""Ctrl-C and SIGTERM at any moment: one line, the exit status of a shell, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import children_of, is_running
from tests.prometheus_server import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

PROGRAM = """
import atexit, os, sys

def strike():
    os.kill(os.getpid(), {number})

class WhenImported:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            strike()

sys.meta_path.insert(0, WhenImported())
if {module!r} == "the end":
    atexit.register(strike)
sys.argv = ["bin/ipa-rl", *{words!r}]
from ipa_rl.cli import main
{more}
main()
"""


def run(
    module: str,
    *,
    number: int = signal.SIGINT,
    more: str = "",
    words: tuple[str, ...] = ("profiles", "show", "nlp"),
) -> subprocess.CompletedProcess[str]:
    """``ipa-rl`` as its script runs it, struck by a signal when it begins to import a module."""
    program = PROGRAM.format(number=int(number), module=module, words=list(words), more=more)
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


MOMENTS = {
    "ipa_rl.environment.registration": ("profiles", "show", "nlp"),
    "typer": ("profiles", "show", "nlp"),
    "ipa_rl.cli.profiles": ("profiles", "show", "nlp"),
    "numpy": ("profiles", "show", "nlp"),
    "pydantic": ("profiles", "show", "nlp"),
    "ipa_rl.cli.compare": ("compare", "video"),
    "numba": ("compare", "video"),
    "matplotlib": ("profiles", "show", "sum-qa", "--plot", "fits.png"),
    "pulp": ("solve", "video", "--load", "20", "--solver", "program"),
    "the end": ("profiles", "show", "nlp"),
}
"""A module, and a verb that imports it: before the verb begins, or while it runs."""


@pytest.mark.parametrize("module", MOMENTS)
def test_an_interruption_while_modules_load_or_at_the_end_is_one_line(module: str) -> None:
    done = run(module, words=MOMENTS[module])
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("module", ["numpy", "typer", "the end"])
def test_sigterm_is_one_line_too(module: str) -> None:
    done = run(module, number=signal.SIGTERM)
    assert (done.returncode, done.stderr) == (143, "terminated\n")


WITHIN = {
    "its own code": "def show(*_): strike()",
    "a destructor": """
class Dying:
    def __del__(self): strike()
def show(*_):
    Dying()
    __import__('time').sleep(30)
""",
    "code that takes it for something else": """
def show(*_):
    try: strike()
    except BaseException: raise ValueError("no")
""",
    "code that loses it": """
def show(*_):
    try: strike()
    except BaseException: pass
""",
}


@pytest.mark.parametrize("where", WITHIN)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_of_a_verb_is_one_line_wherever_it_hits(where: str, number: signal.Signals) -> None:
    more = f"{WITHIN[where]}\nimport ipa_rl.cli.profiles as verbs\nverbs.load_profile = show"
    done = run("nothing", number=number, more=more)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert (done.returncode, done.stderr) == (128 + number, f"{word}\n")


def test_a_program_that_imports_the_package_keeps_its_own_signals() -> None:
    program = (
        "import signal; before = signal.getsignal(2); import ipa_rl; print(before == signal.getsignal(2))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_what_runs_in_the_background_is_not_interrupted() -> None:
    """A shell has it ignore Ctrl-C, which is meant for what runs in the foreground."""
    more = "import signal\nsignal.signal(2, signal.SIG_IGN)"
    assert run("numpy", more=more).returncode == 0


@pytest.mark.parametrize("after", [1, 4])
def test_a_terminal_interrupts_all_processes_and_one_speaks(after: int, tmp_path: Path) -> None:
    """While workers are being started, and once all are; a terminal sends the signal to each of them."""
    words = [sys.executable, "-m", "ipa_rl", "compare", "video", "--part", "validation", "--windows", "40"]
    running = subprocess.Popen(
        [*words, "--workers", "3", "--out", str(tmp_path)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    children: list[int] = []

    def are_started() -> bool:
        children[:] = children_of(running.pid)
        return len(children) >= after

    wait_until(are_started, "the workers are started", 120.0)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == f"interrupted; what is done stays in {tmp_path}: the same command goes on"
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_running, children)), "the workers have ended", 30.0)
