"""Functions that run as plain Python give what the compiled ones give."""

from __future__ import annotations

import importlib
import json
import math
import os
import pkgutil
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import INTERPRETED
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.pipeline import JointAccuracy, Pipeline
from ipa_rl.workload.forecasters import make_forecaster
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window, load_workload
from tests.policies import drawn_policy

ROOT = Path(__file__).parent.parent
NAMES = ("video", "nlp", "together")
"""The last one is video, whose stages were measured together."""
SECONDS = 80


def played(name: str) -> dict[str, Any]:
    """What agent, program and planner do on a short window in both simulators, and a repair of the solver."""
    definition = load_definition("video" if name == "together" else name)
    if name == "together":
        definition = definition.with_problem(pipeline=measured_together(definition.pipeline))
    whole = load_workload("twitter").named_window("bursty", HISTORY_STEPS)
    window = Window("bursty", whole.arrivals[: HISTORY_STEPS + SECONDS], HISTORY_STEPS)
    program = ProgramAgent(
        "ip", definition, make_forecaster("quantile:90@25", load_workload("twitter"), 1), 0.1
    )
    agent = PolicyAgent("ppo", definition, drawn_policy(definition), program)
    found: dict[str, Any] = {"infeasible": repr(definition.solver.solve(5000.0))}
    for kind in SimulatorKind:
        for one in (agent, program, make_planner(definition)):
            episode = play(definition, one, Scenario(window), kind)
            found[f"{one.name} {kind}"] = {
                "configured": episode.configured.tolist(),
                "planned": episode.planned_rps.tolist(),
                "figures": figures(definition, episode),
            }
    return found


def measured_together(pipeline: Pipeline) -> Pipeline:
    """The same, its stages a little more or less right together than their product."""
    rows = []
    for k, some in enumerate(product(*(stage.variants for stage in pipeline.stages))):
        right = math.prod(one.accuracy for one in some) * (0.9 + 0.02 * (k % 7))
        rows.append((tuple(one.name for one in some), right))
    joint = JointAccuracy(tuple(stage.name for stage in pipeline.stages), tuple(rows))
    return replace(pipeline, accuracies=(joint,))


PROGRAM = """
import json, sys
from ipa_rl import jit
from tests.test_jit import forecasts, played

assert jit.INTERPRETED
print(json.dumps({"played": {name: played(name) for name in sys.argv[1:]}, "forecasts": forecasts()}))
"""


@pytest.fixture(scope="module")
def interpreted() -> Any:
    """The same in a process that compiles nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *NAMES],
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPA_RL_INTERPRETED": "1"},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_both_simulators_agents_and_solver_agree_with_the_compiled_ones(interpreted: Any, name: str) -> None:
    assert not INTERPRETED
    plain, fast = interpreted["played"][name], json.loads(json.dumps(played(name)))
    assert plain.pop("infeasible") == fast.pop("infeasible")
    assert plain.keys() == fast.keys()
    for key, one in fast.items():
        assert plain[key]["configured"] == one["configured"], key
        assert plain[key]["planned"] == pytest.approx(one["planned"], rel=1e-6), key
        assert plain[key]["figures"] == pytest.approx(one["figures"], rel=1e-9, abs=1e-9), key


def test_no_field_of_a_record_is_hidden_by_an_attribute_of_arrays() -> None:
    """Where functions are interpreted fields are looked up as attributes, and numpy's own come first."""
    for module in pkgutil.walk_packages([str(ROOT / "ipa_rl" / "simulation")], "ipa_rl.simulation."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if isinstance(kind, np.dtype):
                hidden = [
                    one for one in kind.names or () if hasattr(np.recarray, one) or hasattr(np.record, one)
                ]
                assert not hidden, f"{module.name}.{name}"


FORECASTERS = ("last", "window-max:30", "moving-average:30", "clock:20", "autoregressive", "quantile:90@25")


def forecasts() -> dict[str, str]:
    """The kinds of number that forecasters give."""
    history = np.arange(120.0)
    return {
        name: type(make_forecaster(name, load_workload("twitter"), 1).forecast(history, 100.0)).__name__
        for name in FORECASTERS
    }


@pytest.mark.slow
def test_a_forecast_is_a_plain_number_also_uncompiled(interpreted: Any) -> None:
    """One of numpy's cannot be compared with an empty list, and the sidecar failed when it told its step."""
    assert interpreted["forecasts"] == dict.fromkeys(FORECASTERS, "float")
