"""Specifications once more with numba's own check of positions: compiled code reads nothing of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FILES = ("fluid", "action", "transitions", "request_level", "quantiles", "border")
HEAVY = ("waits", "whatever_is_given", "checkers", "acts_nowhere", "stable_baselines")
"""Parts of the names of those that need long runs or show nothing new here."""

SOLVED = """
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.solvers import FrontSolver
from tests.pipelines import two_stages

solver = FrontSolver(two_stages())
print([type(solver.solve(load)).__name__ for load in (0.0, 5.0, 200.0, 1e6)])
vector = IpaVectorEnv(3, "nlp")
vector.reset(seed=0)
vector.action_space.seed(0)
for _ in range(125):  # past the end of an episode
    vector.step(vector.action_space.sample())
"""

BEYOND = """
import numpy as np
from ipa_rl.jit import compiled

@compiled
def beyond(values):
    return values[values.shape[0]]

beyond(np.zeros(3))
"""


def checked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python in which every position is checked, with a cache of its own."""
    own = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **own}, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numba")


@pytest.mark.slow
def test_no_position_of_the_specifications_is_out_of_bounds(cache: Path) -> None:
    files = [f"tests/test_{name}.py" for name in FILES]
    few = " and ".join(f"not {name}" for name in HEAVY)
    done = checked(cache, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", few, *files)
    assert done.returncode == 0, done.stdout[-3000:]
    solved = checked(cache, "-c", SOLVED)
    assert solved.returncode == 0, solved.stderr[-3000:]
    assert solved.stdout.strip() == "['Optimum', 'Optimum', 'Optimum', 'Infeasible']"


@pytest.mark.slow
def test_the_check_finds_a_position_that_is(tmp_path: Path) -> None:
    (tmp_path / "beyond.py").write_text(BEYOND, encoding="utf-8")
    assert "IndexError" in checked(tmp_path, str(tmp_path / "beyond.py")).stderr
