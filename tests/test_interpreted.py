"""Functions that run as plain Python give what the compiled ones give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

PROGRAM = """
import json, sys
import numpy as np
from ipa_rl import jit
from ipa_rl.agents.policy import PolicyAgent, shipped_policy
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.scenario import Scenario
from ipa_rl.environment.definition import load_definition
from ipa_rl.judge.play import figures, play
from ipa_rl.workload.forecasters import make_forecaster
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window, paper_window

name = sys.argv[1]
video = load_definition(name)
whole = paper_window("bursty", HISTORY_S)
window = Window("bursty", whole.arrivals[: HISTORY_S + 200], HISTORY_S)
program = ProgramAgent("ip", video, make_forecaster("quantile:90@25"), 0.1)
agent = PolicyAgent("ppo", video, shipped_policy(name), program)
found = {}
for kind in (SimulatorKind.fluid, SimulatorKind.request_level):
    for one in (agent, program):
        played = play(video, one, Scenario(window), kind)
        found[f"{one.name} {kind}"] = {
            "configured": played.configured.tolist(), "figures": figures(video, played),
            "planned": played.planned_rps.tolist(),
        }
infeasible = video.solver.solve(5000.0)
found["infeasible"] = {"configured": repr(infeasible), "figures": {}, "planned": []}
print(json.dumps({"interpreted": jit.INTERPRETED, "found": found}))
"""


def run(name: str, interpreted: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPA_RL_INTERPRETED": interpreted}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, name],
        env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["video", "nlp"])
def test_both_simulators_agent_and_solver_agree_with_the_compiled_ones(name: str) -> None:
    plain, fast = run(name, "1"), run(name, "")
    assert (plain["interpreted"], fast["interpreted"]) == (True, False)
    for key, one in fast["found"].items():
        other = plain["found"][key]
        assert other["configured"] == one["configured"], key
        assert other["planned"] == one["planned"], key
        assert other["figures"] == pytest.approx(one["figures"], rel=1e-9, abs=1e-9), key


FORECASTS = """
import json, sys
import numpy as np
from ipa_rl.workload.forecasters import make_forecaster

history = np.arange(120.0)
found = {name: make_forecaster(name).forecast(history, 100.0) for name in sys.argv[1:]}
print(json.dumps({name: type(one).__name__ for name, one in found.items()}))
"""


def test_a_forecast_is_a_plain_number_also_uncompiled() -> None:
    """One of numpy's cannot be compared with an empty list, and the sidecar failed when it told its step."""
    names = ["last", "window-max:30", "moving-average:30", "clock:20", "autoregressive", "quantile:90@25"]
    done = subprocess.run(
        [sys.executable, "-c", FORECASTS, *names],
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPA_RL_INTERPRETED": "1"},
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == dict.fromkeys(names, "float")
