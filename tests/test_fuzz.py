"""Broken inputs of every kind: none ends in anything but a result or one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "scripts" / "fuzz.py"


def fuzz(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


def test_broken_inputs_of_every_kind_are_taken_or_told_in_one_line() -> None:
    done = fuzz("--inputs", "200", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 inputs" in done.stdout


WRONG = """
import sys, time
sys.path.insert(0, {folder!r})
import fuzz, fuzz_kinds
from dataclasses import replace

kinds = fuzz_kinds.KINDS
fuzz.ENTRANCES.clear()

def wrong(what):
    def play(folder):
        if "whole" not in folder.parts:  # the example itself is fine
            what()
    return play

plays = {{"order": lambda: 1 / 0, "state": lambda: bytearray(3 << 30), "demo-core": lambda: burn(2.5)}}

def burn(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass

for name in list(kinds):
    if name in plays:
        kinds[name] = replace(kinds[name], play=wrong(plays[name]), example=fuzz_kinds.demo)
        kinds[name] = replace(kinds[name], file="kept.json", weight=1.0)
    else:
        del kinds[name]
sys.argv = ["fuzz.py", "--inputs", "9", "--seed", "3"]
sys.exit(fuzz.main())
"""


def test_a_traceback_much_memory_and_a_long_time_are_findings() -> None:
    command = [sys.executable, "-c", WRONG.format(folder=str(SCRIPT.parent))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 1, done.stderr
    assert "other: --only order" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "big: --only state" in done.stdout
    assert "slow: --only demo-core" in done.stdout
