"""Specifications once more with numba's own check of positions: compiled code reads nothing of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECKED = ROOT / ".pytest_cache" / "compiled-with-checks"

FILES = (
    "fluid",
    "flow",
    "action",
    "transitions",
    "request_level",
    "network",
    "quantiles",
    "border",
    "outlook",
)
HEAVY = (
    "waits",
    "the_wait_is",
    "exact_formula",
    "whatever_is_given",
    "checkers",
    "acts_nowhere",
    "by_nobody",
    "stable_baselines",
)
"""Parts of the names of those that need long runs or show nothing new here."""

MORE = """
import numpy as np
import pytest

from ipa_rl.agents.planner import make_planner
from ipa_rl.environment.env import IpaVectorEnv
from ipa_rl.jit import compiled, compiled_in_place
from ipa_rl.judge.simulated_cluster import SimulatedCluster, SimulatorKind
from ipa_rl.solvers import FrontSolver
from tests.pipelines import two_stages
from tests.scenarios import VIDEO, short


def beyond(values):
    return values[values.shape[0]]


@pytest.mark.parametrize("how", [compiled, compiled_in_place])
def test_the_check_finds_a_position_that_is_out_of_bounds(how):
    with pytest.raises(IndexError):
        how(beyond)(np.zeros(3))


def test_a_front_and_a_whole_episode():
    solver = FrontSolver(two_stages())
    answers = [type(solver.solve(load)).__name__ for load in (0.0, 5.0, 200.0, 1e6)]
    assert answers == ["Optimum", "Optimum", "Optimum", "Infeasible"]
    vector = IpaVectorEnv(3, "nlp")
    vector.reset(seed=0)
    vector.action_space.seed(0)
    for _ in range(125):  # past the end of an episode
        vector.step(vector.action_space.sample())


def test_the_rollouts_of_decisions_through_a_burst():
    cluster, planner = SimulatedCluster(VIDEO, short("bursty"), SimulatorKind.fluid), make_planner(VIDEO)
    for _ in range(8):
        cluster.apply(planner.decide(cluster.observe()).configuration)
        cluster.wait()
"""


@pytest.mark.slow
def test_no_position_of_the_specifications_is_out_of_bounds(tmp_path: Path) -> None:
    """In one process, in which every position is checked, with a cache of its own that the next run finds."""
    (tmp_path / "test_more.py").write_text(MORE, encoding="utf-8")
    own = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(CHECKED), "PYTHONPATH": str(ROOT)}
    own["NUMBA_OPT"] = "1"  # what is compiled here runs so briefly that to optimise it takes longer
    few = " and ".join(f"not {name}" for name in HEAVY)
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", few]
    words += ["--hypothesis-profile", "quick"]
    files = [f"tests/test_{name}.py" for name in FILES] + [str(tmp_path / "test_more.py")]
    done = subprocess.run(
        [*words, *files], cwd=ROOT, env={**os.environ, **own}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
